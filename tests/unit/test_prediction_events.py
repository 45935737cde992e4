"""Prediction events: what is taken, what is poison and why, and that both ways of decoding agree."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.events.json_array import split_array
from modeldrop.events.prediction_events import (
    MESSAGE_LIMIT_BYTES,
    MOST_ELEMENTS,
    MOST_EXPLAINED,
    Batch,
    LabelEvent,
    PredictionEvent,
    decode_predictions,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
PREDICTION: dict[str, Any] = {
    "type": "prediction",
    "model": "fraud",
    "version": "v3",
    "prediction_id": "p1",
    "timestamp": "2026-01-01T00:00:00Z",
    "features": {"amount": 12.5, "country": "DE"},
    "prediction": 0.93,
    "latency_ms": 12.3,
    "status": "ok",
}
EVENT = PredictionEvent("fraud", "v3", "p1", START, {"amount": 12.5, "country": "DE"}, 0.93, 12.3, "ok")
LABEL: dict[str, Any] = {
    "type": "label",
    "model": "fraud",
    "prediction_id": "p1",
    "label": "fraud",
    "predicted_at": "2026-01-01T00:00:00Z",
}
TRUTH = LabelEvent("fraud", "p1", "fraud", START)
NO_EVENT = b"{}"


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def array(*elements: bytes) -> bytes:
    return b"[" + b", ".join(elements) + b"]"


def without(document: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in fields}


def changed(**fields: Any) -> bytes:
    return encoded(PREDICTION | fields)


def with_features(features: Any) -> bytes:
    return changed(features=features)


# --- what is taken ---------------------------------------------------------------------------------------------


def test_one_event() -> None:
    assert decode_predictions(encoded(PREDICTION)) == Batch((EVENT,), (), ())
    assert decode_predictions(encoded(LABEL)) == Batch((), (TRUTH,), ())


def test_an_array_keeps_its_order() -> None:
    events = [PREDICTION | {"prediction_id": str(n)} for n in range(1_000)]
    batch = decode_predictions(encoded(events))
    assert [event.prediction_id for event in batch.predictions] == [str(n) for n in range(1_000)]
    assert (batch.labels, batch.poison) == ((), ())


def test_predictions_and_labels_in_one_array() -> None:
    data = encoded([PREDICTION, LABEL, without(PREDICTION, "type"), LABEL])
    assert decode_predictions(data) == Batch((EVENT, EVENT), (TRUTH, TRUTH), ())


TAKEN = {
    "no type": (encoded(without(PREDICTION, "type")), EVENT),
    "fewest fields": (encoded(without(PREDICTION, "latency_ms", "status")), (None, "ok")),
    "no latency": (changed(latency_ms=None), (None, "ok")),
    "failed": (changed(status="error", prediction=None), {"status": "error", "prediction": None}),
    "latency as a whole number": (changed(latency_ms=12), {"latency_ms": 12.0}),
    "no features": (with_features({}), {"features": {}}),
    "every kind of feature": (
        with_features({"a": 1, "b": 1.5, "c": "x", "d": True, "e": None, "f": -(2**63), "g": 2**63 - 1}),
        {"features": {"a": 1, "b": 1.5, "c": "x", "d": True, "e": None, "f": -(2**63), "g": 2**63 - 1}},
    ),
    "scorecard answer": (
        changed(prediction={"score": 0.7, "decision": True}),
        {"prediction": {"score": 0.7, "decision": True}},
    ),
    "scorecard answer with more in it": (
        changed(prediction={"score": 1, "decision": False, "why": [[1]]}),
        {"prediction": {"score": 1, "decision": False}},
    ),
    "text": (changed(prediction="yes"), {"prediction": "yes"}),
    "yes or no": (changed(prediction=False), {"prediction": False}),
    "other time zone": (
        changed(timestamp="2026-01-01T01:30:00.25+01:30"),
        {"timestamp": START.replace(microsecond=250_000)},
    ),
    "a time zone of nothing": (changed(timestamp="2026-01-01T00:00:00+00:00"), {"timestamp": START}),
    "first day": (changed(timestamp="0001-01-01T00:00:00Z"), {"timestamp": datetime(1, 1, 1, tzinfo=UTC)}),
    "last day": (changed(timestamp="9999-12-31T00:00:00Z"), {"timestamp": datetime(9999, 12, 31, tzinfo=UTC)}),
    "unknown fields": (changed(trace="t", environment={"region": [1, {"x": "y"}]}), EVENT),
    "a field of labels": (changed(label={"x": [[]]}), EVENT),
    "longest names": (
        changed(model="m" * 63, version="v" * 128, prediction_id="☃" * 256, features={"☃" * 128: "☃" * 50_000}),
        {"model": "m" * 63, "version": "v" * 128, "features": {"☃" * 128: "☃" * 50_000}},
    ),
    "most features": (with_features({f"f{n}": n for n in range(1_000)}), {}),
    "colons and quotes": (with_features({'a":': ':"', '\\":"': '\\":'}), {"features": {'a":': ':"', '\\":"': '\\":'}}),
    "spaces before colons": (json.dumps(PREDICTION, separators=(",", "\t \n:")).encode(), EVENT),
    "byte order mark": (b"\xef\xbb\xbf" + encoded(PREDICTION), EVENT),
    "space around": (b" \r\n\t" + encoded(PREDICTION) + b"\n", EVENT),
    "emoji as a pair": (with_features({"a": "😀"}), {"features": {"a": "😀"}}),
}


@pytest.mark.parametrize(("data", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_taken(data: bytes, expected: Any) -> None:
    """Alone, in an array of its like, and beside poison, which leads the slow way."""
    (event,) = decode_predictions(data).predictions
    if isinstance(expected, tuple):
        expected = {"latency_ms": expected[0], "status": expected[1]}
    if isinstance(expected, dict):
        assert {name: getattr(event, name) for name in expected} == expected
    else:
        assert event == expected
    assert event.timestamp.tzinfo is UTC
    element = data.removeprefix(b"\xef\xbb\xbf")
    assert decode_predictions(array(element, element)) == Batch((event, event), (), ())
    beside = decode_predictions(array(element, NO_EVENT, element))
    assert (beside.predictions, [poison.index for poison in beside.poison]) == ((event, event), [1])


def test_a_label_may_leave_the_time_to_the_id() -> None:
    (label,) = decode_predictions(encoded(without(LABEL, "predicted_at"))).labels
    assert label.predicted_at is None
    (label,) = decode_predictions(encoded(LABEL | {"predicted_at": "2026-01-01T02:00:00+02:00"})).labels
    assert label.predicted_at == START
    assert label.predicted_at.tzinfo is UTC
    assert label.labelled_at is None


def test_a_label_may_say_when_it_was_known() -> None:
    later = "2026-01-01T02:00:00+02:00"
    for data in (encoded(LABEL | {"labelled_at": later}), array(encoded(LABEL | {"labelled_at": later}), NO_EVENT)):
        (label,) = decode_predictions(data).labels
        assert (label.predicted_at, label.labelled_at) == (START, START)
        assert label.labelled_at is not None
        assert label.labelled_at.tzinfo is UTC


@pytest.mark.parametrize("label", ["fraud", 1, 0.5, True, "", "☃" * 10_000])
def test_every_kind_of_label(label: Any) -> None:
    assert decode_predictions(encoded(LABEL | {"label": label})).labels[0].label == label


# --- poison: one event -----------------------------------------------------------------------------------------

BOMB = b"[" * 10_000 + b"]" * 10_000
AMOUNT = b'{"amount": 12.5'
POISON = {
    "empty": (b"", "$"),
    "no object": (b"7", "$"),
    "text": (b'"prediction"', "$"),
    "an array in the array": (array(encoded(PREDICTION)), "$"),
    "NaN": (encoded(PREDICTION).replace(b"12.5", b"NaN"), "$"),
    "minus infinity": (encoded(PREDICTION).replace(b"12.5", b"-Infinity"), "$"),
    "1e999": (encoded(PREDICTION).replace(b"12.5", b"1e999"), "$"),
    "1e999 in an unknown field": (changed(x=0).replace(b'"x": 0', b'"x": 1e999'), "$"),
    "integer beyond 64 bits": (with_features({"amount": 2**63}), "$"),
    "integer below 64 bits": (with_features({"amount": -(2**63) - 1}), "$"),
    "integer beyond 64 bits as latency": (changed(latency_ms=2**64), "$"),
    "integer beyond 64 bits as score": (changed(prediction={"score": 2**64, "decision": True}), "$"),
    "integer of 5,000 digits": (encoded(PREDICTION).replace(b"12.5", b"9" * 5_000), "$"),
    "lone surrogate": (encoded(PREDICTION).replace(b"DE", b"\\ud800"), "$"),
    "lone surrogate in a name": (encoded(PREDICTION).replace(b"country", b"\\udc00"), "$"),
    "not UTF-8": (encoded(PREDICTION).replace(b"DE", b"\xff"), "$"),
    "not UTF-8 in an unknown field": (changed(x="y").replace(b'"y"', b'"\xff"'), "$"),
    "control character": (encoded(PREDICTION).replace(b"DE", b"\x00"), "$"),
    "feature twice": (encoded(PREDICTION).replace(AMOUNT, AMOUNT + b', "amount": 12.5'), "$"),
    "feature twice, once escaped": (encoded(PREDICTION).replace(AMOUNT, AMOUNT + b', "\\u0061mount": 1'), "$"),
    "feature twice, space before the colon": (encoded(PREDICTION).replace(AMOUNT, AMOUNT + b', "amount" : 1'), "$"),
    "field twice": (encoded(PREDICTION)[:-1] + b', "version":"v4"}', "$"),
    "type twice": (encoded(PREDICTION)[:-1] + b', "type":"prediction"}', "$"),
    "score twice": (
        changed(prediction={"score": 1, "decision": True}).replace(b'"score"', b'"score": 2, "score"'),
        "$",
    ),
    "key twice in an unknown field": (changed(x=0).replace(b'"x": 0', b'"x": {"a": 1, "a": 2}'), "$"),
    "nested bomb": (with_features({"a": 0}).replace(b"0}", BOMB + b"}"), "$"),
    "nested bomb in an unknown field": (changed(x=0).replace(b'"x": 0', b'"x": ' + BOMB), "$"),
    "33 levels in an unknown field": (changed(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 32 + b"]" * 32), "$"),
    "unknown type": (changed(type="metric"), "type"),
    "type of no text": (changed(type=["prediction"]), "type"),
    "null type": (changed(type=None), "type"),
    "model in capitals": (changed(model="Fraud"), "model"),
    "model with a line end": (changed(model="fraud\n"), "model"),
    "model too long": (changed(model="m" * 64), "model"),
    "version too long": (changed(version="v" * 129), "version"),
    "version with a slash": (changed(version="a/b"), "version"),
    "null version": (changed(version=None), "version"),
    "empty id": (changed(prediction_id=""), "prediction_id"),
    "id too long": (changed(prediction_id="x" * 257), "prediction_id"),
    "id a number": (changed(prediction_id=7), "prediction_id"),
    "time without zone": (changed(timestamp="2026-01-01T00:00:00"), "timestamp"),
    "time as seconds": (changed(timestamp=1_767_225_600), "timestamp"),
    "time as seconds in text": (changed(timestamp="1767225600"), "timestamp"),
    "a day alone": (changed(timestamp="2026-01-01"), "timestamp"),
    "year 10,000": (changed(timestamp="10000-01-01T00:00:00Z"), "timestamp"),
    "before year 1 in UTC": (changed(timestamp="0001-01-01T00:00:00+01:00"), "timestamp"),
    "after year 9999 in UTC": (changed(timestamp="9999-12-31T23:59:59-01:00"), "timestamp"),
    "features as a list": (with_features([1, 2]), "features"),
    "null features": (with_features(None), "features"),
    "too many features": (with_features({f"f{n}": n for n in range(1_001)}), "features"),
    "nameless feature": (with_features({"": 1}), "features."),
    "feature name too long": (with_features({"f" * 129: 1}), f"features.{'f' * 128}"),
    "feature a list": (with_features({"a": [1]}), "features.a"),
    "feature an object": (with_features({"a": {}}), "features.a"),
    "prediction a list": (changed(prediction=[0.5]), "prediction"),
    "prediction another object": (changed(prediction={"class": "fraud"}), "prediction"),
    "score a text": (changed(prediction={"score": "1", "decision": True}), "prediction.score"),
    "prediction too long": (changed(prediction="x" * 10_001), "prediction"),
    "negative latency": (changed(latency_ms=-0.1), "latency_ms"),
    "latency of ages": (changed(latency_ms=1e13), "latency_ms"),
    "latency a text": (changed(latency_ms="12"), "latency_ms"),
    "unknown status": (changed(status="OK"), "status"),
    "label without a value": (encoded(without(LABEL, "label")), "label"),
    "null label": (encoded(LABEL | {"label": None}), "label"),
    "label a list": (encoded(LABEL | {"label": ["fraud"]}), "label"),
    "label in no time zone": (encoded(LABEL | {"predicted_at": "2026-01-01T00:00:00"}), "predicted_at"),
    "label without zone": (encoded(LABEL | {"labelled_at": "2026-01-01T00:00:00"}), "labelled_at"),
    "labelled before year 1 in UTC": (encoded(LABEL | {"labelled_at": "0001-01-01T00:00:00+01:00"}), "labelled_at"),
    "label before year 1 in UTC": (encoded(LABEL | {"predicted_at": "0001-01-01T00:00:00+01:00"}), "predicted_at"),
    "label of a model in capitals": (encoded(LABEL | {"model": "Fraud"}), "model"),
}


@pytest.mark.parametrize(("data", "field"), POISON.values(), ids=POISON.keys())
def test_poison_does_not_harm_its_neighbours(data: bytes, field: str) -> None:
    batch = decode_predictions(array(encoded(PREDICTION), data, encoded(LABEL)))
    (poison,) = batch.poison
    assert (batch.predictions, batch.labels) == ((EVENT,), (TRUTH,))
    assert (poison.index, poison.raw) == (1, data)
    assert [problem.field for problem in poison.problems] == [field]
    assert poison.problems[0].message


ALONE = {name: case for name, case in POISON.items() if name != "an array in the array"}


@pytest.mark.parametrize(("data", "field"), ALONE.values(), ids=ALONE.keys())
def test_poison_alone_and_among_its_like(data: bytes, field: str) -> None:
    for message, indexes in ((data, [0]), (array(data, data), [0, 1])):
        batch = decode_predictions(message)
        assert (batch.predictions, batch.labels) == ((), ())
        assert [poison.index for poison in batch.poison] == indexes
        assert [poison.problems[0].field for poison in batch.poison] == [field] * len(indexes)


def test_all_that_is_wrong_is_said_at_once() -> None:
    wrong = without(PREDICTION, "timestamp") | {
        "model": "Fraud",
        "version": "-",
        "status": 7,
        "features": {"a": [], "b": {}},
    }
    (poison,) = decode_predictions(encoded(wrong)).poison
    fields = {problem.field for problem in poison.problems}
    assert fields == {"model", "version", "timestamp", "status", "features.a", "features.b"}


def test_there_is_an_end_to_what_is_said() -> None:
    (poison,) = decode_predictions(with_features({f"f{n}": [] for n in range(900)})).poison
    assert len(poison.problems) == 100


def test_what_was_refused_is_not_quoted() -> None:
    """Reasons go into logs, and values are nobody's business."""
    wrong = PREDICTION | {"status": "SECRET of a patient", "type": "prediction", "features": {"a": ["SECRET"]}}
    (poison,) = decode_predictions(encoded(wrong)).poison
    assert {problem.field for problem in poison.problems} == {"status", "features.a"}
    assert "SECRET" not in str(poison.problems)
    assert "patient" not in str(poison.problems)


# --- poison: a whole message -----------------------------------------------------------------------------------

WHOLE = {
    "more than 10 MB": b" " * (MESSAGE_LIMIT_BYTES + 1),
    "an empty array": b"[]",
    "an empty array with a space": b"[ ]",
    "100,001 elements": b"[" + b"{}," * MOST_ELEMENTS + b"{}]",
    "100,001 elements, one of them NaN": b"[" + b"{}," * MOST_ELEMENTS + b"NaN]",
    "cut off": encoded([PREDICTION, PREDICTION])[:-1],
    "cut off in a text": encoded([PREDICTION, PREDICTION])[:-10],
    "brackets that do not match": array(encoded(PREDICTION), b'{"a": [}', encoded(PREDICTION)),
    "brackets of the wrong kind": array(encoded(PREDICTION), b'{"a": [}}', encoded(PREDICTION)),
    "a text that does not end": array(encoded(PREDICTION), b'{"a": "}', encoded(PREDICTION)),
    "something behind it": encoded([PREDICTION]) + b" x",
    "two arrays": encoded([PREDICTION]) + encoded([PREDICTION]),
    "an open bracket": b"[",
    "a bomb": b"[" * 100_000,
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE.keys())
def test_nothing_is_taken_of_a_message_that_is_poison(data: bytes) -> None:
    batch = decode_predictions(data)
    (poison,) = batch.poison
    assert (batch.predictions, batch.labels) == ((), ())
    assert (poison.index, poison.raw) == (None, data)
    assert [problem.field for problem in poison.problems] == ["$"]


@pytest.mark.parametrize("joined", [b",", b"\n", b"", b"],["])
def test_two_objects_are_no_message(joined: bytes) -> None:
    data = encoded(PREDICTION) + joined + encoded(PREDICTION)
    batch = decode_predictions(data)
    assert (batch.predictions, [poison.raw for poison in batch.poison]) == ((), [data])


@pytest.mark.parametrize("data", [b"", b"]", b"1", b"{}", b'"[1]"', b"[1]]", b"[[1]"])
def test_what_is_no_array_is_not_taken_apart(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        split_array(data, limit_count=10)


def test_exactly_as_much_as_allowed() -> None:
    data = encoded([LABEL] * 1_000)
    assert len(decode_predictions(data + b" " * (MESSAGE_LIMIT_BYTES - len(data))).labels) == 1_000


def test_hostile_messages_take_linear_time() -> None:
    """A megabyte of the dearest shapes each: seconds of work in all; quadratic work would take minutes."""
    size = 1_000_000
    shapes = [
        b"[" * size,
        b"[" + b"," * size + b"]",
        b"[" + b"[]," * (size // 3) + b"1]",
        b"[" * (size // 2) + b"]" * (size // 2),
        b'["' + b"\\\\" * (size // 2),
        b'{"features":{' + b",".join(b'"%x":[]' % n for n in range(size // 10)) + b"}}",
        b'{"x":[' + b"[]," * (size // 3) + b"1]}",
        msgspec.json.encode([{"features": {f"f{n}": [] for n in range(200)}}] * 990),
    ]
    started = time.process_time()
    for data in shapes:
        batch = decode_predictions(data)
        assert batch.poison
        assert not batch.predictions
    assert time.process_time() - started < 10


MANY = {f"f{n}": n / 7 for n in range(20)}
USUAL = {
    "compact": (PREDICTION, (",", ":")),
    "with spaces": (PREDICTION, (", ", ": ")),
    "no type": (without(PREDICTION, "type"), (",", ":")),
    "scorecard answers": (PREDICTION | {"prediction": {"score": 0.5, "decision": True}}, (",", ":")),
    "another zone": (PREDICTION | {"timestamp": "2026-01-01T01:00:00+01:00"}, (",", ":")),
}


@pytest.mark.parametrize(("document", "separators"), USUAL.values(), ids=USUAL.keys())
def test_usual_arrays_take_the_quick_way(document: dict[str, Any], separators: tuple[str, str]) -> None:
    """It is seven times as fast; the array with poison, one event longer, is the yardstick."""
    quick = json.dumps([document | {"features": MANY}] * 300, separators=separators).encode()
    slow = quick[:-1] + b",{}]"
    assert least_seconds(quick) < least_seconds(slow) / 2


def least_seconds(data: bytes) -> float:
    seconds = []
    for _ in range(5):
        started = time.process_time()
        decode_predictions(data)
        seconds.append(time.process_time() - started)
    return min(seconds)


def test_a_hostile_message_of_the_largest_size() -> None:
    """A thousand events of a thousand bad features took eight seconds when all of them were looked at."""
    data = msgspec.json.encode([{"features": {f"f{n:x}": [] for n in range(1_000)}}] * 1_000)
    started = time.process_time()
    assert len(decode_predictions(data).poison) == 1_000
    assert time.process_time() - started < 6


# --- more than an array is meant to have -----------------------------------------------------------------------


def test_a_long_array_is_taken() -> None:
    events = [LABEL | {"prediction_id": f"p{n}"} for n in range(2_500)]
    batch = decode_predictions(encoded(events))
    assert [label.prediction_id for label in batch.labels] == [event["prediction_id"] for event in events]
    assert batch.poison == ()


def test_poison_in_a_long_array_harms_nobody() -> None:
    events: list[Any] = [LABEL] * 1_500 + [float("nan")] + [PREDICTION] * 1_000 + [{}]
    batch = decode_predictions(encoded(events))
    assert (len(batch.labels), len(batch.predictions)) == (1_500, 1_000)
    assert [poison.index for poison in batch.poison] == [1_500, 2_501]


def test_much_poison_is_not_explained_to_the_last() -> None:
    batch = decode_predictions(b"[" + b"{}," * 2_000 + encoded(LABEL) + b"]")
    assert (len(batch.poison), batch.labels) == (2_000, (TRUTH,))
    assert batch.poison[MOST_EXPLAINED - 1].problems[0].field == "model"
    assert [problem.field for problem in batch.poison[MOST_EXPLAINED].problems] == ["$"]


# --- any bytes -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from([":", '":', '"', "\\", "a"])
NUMBER = st.integers(-(2**64), 2**64) | st.floats()
VALUE = st.none() | st.booleans() | NUMBER | TEXT
ZONE = st.sampled_from(["Z", "", "+00:00", "+14:00", "-01:00"])
MOMENT = st.builds(lambda moment, zone: moment.isoformat() + zone, st.datetimes(), ZONE)
JUNK = st.recursive(
    VALUE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


def mostly(right: st.SearchStrategy[Any], wrong: st.SearchStrategy[Any] = JUNK) -> st.SearchStrategy[Any]:
    return st.one_of(right, right, right, right, wrong)


FIELDS = {
    "model": mostly(st.sampled_from(["fraud", "m-1"])),
    "prediction_id": mostly(TEXT),
    "timestamp": mostly(MOMENT),
    "version": mostly(st.sampled_from(["v3", "1.0"])),
    "features": mostly(st.dictionaries(TEXT, mostly(VALUE), max_size=4)),
    "prediction": mostly(VALUE | st.fixed_dictionaries({"score": NUMBER, "decision": st.booleans()})),
}
OPTIONAL = {
    "type": st.sampled_from(["prediction", "prediction", "label", "other"]),
    "latency_ms": mostly(st.floats(0, 1e6) | st.integers(0, 10**6)),
    "status": mostly(st.sampled_from(["ok", "error"])),
    "label": mostly(VALUE),
    "predicted_at": mostly(MOMENT),
    "labelled_at": mostly(MOMENT),
    "unknown": JUNK,
}
EVENTS = st.fixed_dictionaries(FIELDS, optional=OPTIONAL)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), ("\n,", "\t:\r")])


@given(st.lists(EVENTS, min_size=1, max_size=4), SEPARATORS, st.booleans())
def test_an_event_fares_alike_alone_among_its_like_and_beside_poison(
    documents: list[dict[str, Any]], separators: tuple[str, str], in_ascii: bool
) -> None:
    elements = [json.dumps(d, separators=separators, ensure_ascii=in_ascii).encode() for d in documents]
    alone = [decode_predictions(element) for element in elements]
    together = decode_predictions(array(*elements))
    beside = decode_predictions(array(*elements, NO_EVENT))
    for batch in (together, beside):
        assert batch.predictions == tuple(event for one in alone for event in one.predictions)
        assert batch.labels == tuple(event for one in alone for event in one.labels)
        bad = [index for index, one in enumerate(alone) if one.poison]
        assert [poison.index for poison in batch.poison][: len(bad)] == bad
    assert together.poison == beside.poison[:-1]
    assert all(len(one.predictions) + len(one.labels) + len(one.poison) == 1 for one in alone)


@given(st.binary(max_size=60) | st.text('[]{}",:\\ 1eNa-', max_size=60).map(str.encode) | JUNK.map(encoded))
def test_any_bytes_give_a_batch(data: bytes) -> None:
    batch = decode_predictions(data)
    assert batch.predictions or batch.labels or batch.poison
    assert all(poison.problems for poison in batch.poison)


@given(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 5))
def test_damaged_messages_give_a_batch_of_at_most_what_was_in_it(at: int, put: bytes, cut: int) -> None:
    whole = encoded([PREDICTION, LABEL])
    data = whole[:at] + put + whole[at + cut :]
    batch = decode_predictions(data)
    assert len(batch.predictions) + len(batch.labels) + len(batch.poison) <= 4
    assert all(event.timestamp.tzinfo is UTC for event in batch.predictions)


def test_what_was_decoded_can_be_encoded_and_decoded_again() -> None:
    batch = decode_predictions(encoded([PREDICTION, LABEL]))
    assert decode_predictions(msgspec.json.encode([*batch.predictions, *batch.labels])) == batch
