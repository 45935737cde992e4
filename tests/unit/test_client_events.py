"""What the app-side client makes of an app's values, held against the reader of the events."""

import enum
import hashlib
import hmac
import logging
import math
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.client import PredictionLogger, event_json
from modeldrop.client.background_sender import MOST_BATCH_BYTES, MOST_BATCH_EVENTS
from modeldrop.client.event_ids import Uuid7Ids, is_uuid7
from modeldrop.client.event_json import Prediction, encode_label, encode_prediction
from modeldrop.client.redaction import Redaction
from modeldrop.domain import packages
from modeldrop.domain.sampling.prediction_time import uuid7_time
from modeldrop.errors import InvalidInput
from modeldrop.events import prediction_events
from modeldrop.events.prediction_events import LabelEvent, PredictionEvent, decode_predictions

START = datetime(2026, 1, 1, tzinfo=UTC)
NO_REDACTION = Redaction({}, None)
UUID7 = "01941f29-7c00-7aaa-8000-0123456789ab"


def given_as(**fields: Any) -> Prediction:
    usual = {"features": {}, "prediction": 0.5, "latency_ms": 1, "status": "ok"}
    return Prediction(**({"prediction_id": "p1", "timestamp": START} | usual | fields))


def read_back(given: Prediction, redaction: Redaction = NO_REDACTION) -> PredictionEvent:
    batch = decode_predictions(encode_prediction("fraud", "v3", given, redaction))
    assert (batch.labels, batch.poison) == ((), ())
    return batch.predictions[0]


def features_of(features: Any, redaction: Redaction = NO_REDACTION) -> Any:
    return read_back(given_as(features=features), redaction).features


def test_the_limits_are_those_of_the_reader() -> None:
    for name in (
        "LONGEST_PREDICTION_ID",
        "LONGEST_TEXT",
        "LONGEST_FEATURE_NAME",
        "MOST_FEATURES",
        "LONGEST_LATENCY_MS",
    ):
        assert getattr(event_json, name) == getattr(prediction_events, name), name
    assert packages.MODEL_NAME == event_json.MODEL_NAME
    assert packages.VERSION_NAME == event_json.VERSION_NAME
    assert MOST_BATCH_EVENTS == prediction_events.MOST_EVENTS
    assert event_json.MOST_EVENT_BYTES == MOST_BATCH_BYTES - 2
    assert MOST_BATCH_BYTES < prediction_events.MESSAGE_LIMIT_BYTES


# --- values ----------------------------------------------------------------------------------------------------


class Country(enum.StrEnum):
    GERMANY = "DE"


class Colour(str, enum.Enum):  # noqa: UP042 - as apps have them, and another thing than a StrEnum
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    pass


VALUES = {
    "an integer": (2**63 - 1, 2**63 - 1),
    "a small one": (-(2**63), -(2**63)),
    "a number": (0.1, 0.1),
    "minus zero": (-0.0, 0.0),
    "true": (True, True),
    "missing": (None, None),
    "NaN is missing": (float("nan"), None),
    "text": ("☃ 😀 \x00 \"\\'", "☃ 😀 \x00 \"\\'"),
    "the longest text": ("☃" * 10_000, "☃" * 10_000),
    "an enumeration of texts": (Country.GERMANY, "DE"),
    "another": (Colour.RED, "red"),
    "an enumeration of integers": (Level.HIGH, 3),
    "a kind of text": (Text("x"), "x"),
    "float64": (numpy.float64(0.5), 0.5),
    "float32": (numpy.float32(0.5), 0.5),
    "NaN of numpy": (numpy.float32("nan"), None),
    "int64": (numpy.int64(-7), -7),
    "uint8": (numpy.uint8(7), 7),
    "bool of numpy": (numpy.bool_(True), True),
    "text of numpy": (numpy.str_("x"), "x"),
    "an array of one number": (numpy.array([0.93]), 0.93),
    "a number as an array": (numpy.array(3), 3),
}


@pytest.mark.parametrize(("value", "expected"), VALUES.values(), ids=VALUES.keys())
def test_a_value_arrives_as_json_knows_it(value: Any, expected: Any) -> None:
    event = read_back(given_as(features={"f": value}, prediction=value))
    for arrived in (event.features["f"], event.prediction):
        assert arrived == expected
        assert type(arrived) is type(expected)


def test_a_feature_that_is_infinite_is_missing_and_the_others_arrive() -> None:
    features = {"a": float("inf"), "b": numpy.float32("-inf"), "c": numpy.array([numpy.inf]), "d": 1}
    assert read_back(given_as(features=features)).features == {"a": None, "b": None, "c": None, "d": 1}


def test_a_feature_may_be_a_long_text() -> None:
    assert read_back(given_as(features={"note": "x" * 500_000})).features == {"note": "x" * 500_000}


def test_a_scorecard_answer_arrives() -> None:
    answer = {"score": numpy.float64(0.5), "decision": numpy.bool_(False)}
    assert read_back(given_as(prediction=answer)).prediction == {"score": 0.5, "decision": False}


def test_the_time_is_sent_in_utc() -> None:
    local = datetime(2026, 1, 1, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=2, minutes=29, seconds=59)))
    assert read_back(given_as(timestamp=local)).timestamp == local
    (label,) = decode_predictions(encode_label("fraud", "p1", 1, local)).labels
    assert label == LabelEvent("fraud", "p1", 1, local)


def test_an_id_may_be_a_uuid() -> None:
    name = uuid.uuid4()
    assert read_back(given_as(prediction_id=name)).prediction_id == str(name)


class Odd:
    """A value that takes offence at being looked at."""

    def item(self) -> float:
        raise ArithmeticError("do not touch")


UNUSABLE = {
    "infinite": (given_as(prediction=float("inf")), "prediction"),
    "infinite of numpy": (given_as(prediction=numpy.float32("-inf")), "prediction"),
    "beyond 64 bits": (given_as(features={"f": 2**63}), "f"),
    "beyond 64 bits of numpy": (given_as(features={"f": numpy.uint64(2**63)}), "f"),
    "bytes": (given_as(features={"f": b"x"}), "f"),
    "a list": (given_as(features={"f": [1]}), "f"),
    "an object": (given_as(features={"f": {}}), "f"),
    "a time": (given_as(features={"f": START}), "f"),
    "a time of numpy": (given_as(features={"f": numpy.datetime64("2026-01-01")}), "f"),
    "a complex number": (given_as(features={"f": 1j}), "f"),
    "a name of no text": (given_as(features={1: 1}), "features"),
    "no name": (given_as(features={"": 1}), "features"),
    "a name too long": (given_as(features={"f" * 129: 1}), "features"),
    "too many": (given_as(features={f"f{n}": n for n in range(1_001)}), "features"),
    "no mapping": (given_as(features=[("f", 1)]), "features"),
    "no features": (given_as(features=None), "features"),
    "too large in all": (given_as(features={f"f{n}": "x" * 10_000 for n in range(101)}), "$"),
    "prediction a list": (given_as(prediction=[0.5]), "prediction"),
    "prediction too long": (given_as(prediction="x" * 10_001), "prediction"),
    "prediction another object": (given_as(prediction={"score": 1}), "prediction"),
    "a score that is a text": (given_as(prediction={"score": "1", "decision": True}), "prediction"),
    "a score that is missing": (given_as(prediction={"score": float("nan"), "decision": True}), "prediction"),
    "a score that is true": (given_as(prediction={"score": True, "decision": True}), "prediction"),
    "a decision that is a number": (given_as(prediction={"score": 1, "decision": 1}), "prediction"),
    "negative latency": (given_as(latency_ms=-1), "latency_ms"),
    "latency of ages": (given_as(latency_ms=1e13), "latency_ms"),
    "latency true": (given_as(latency_ms=True), "latency_ms"),
    "latency a text": (given_as(latency_ms="1"), "latency_ms"),
    "unknown status": (given_as(status="OK"), "status"),
    "time without zone": (given_as(timestamp=datetime(2026, 1, 1)), "timestamp"),
    "time as a number": (given_as(timestamp=1_767_225_600), "timestamp"),
    "time before all": (given_as(timestamp=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))), "timestamp"),
    "id a number": (given_as(prediction_id=7), "prediction_id"),
    "empty id": (given_as(prediction_id=""), "prediction_id"),
    "id too long": (given_as(prediction_id="x" * 257), "prediction_id"),
}


@pytest.mark.parametrize(("given_value", "field"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_no_reader_would_take_is_refused_here(given_value: Prediction, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        encode_prediction("fraud", "v3", given_value, NO_REDACTION)
    assert [problem.field for problem in caught.value.problems] == [field]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("p1", 1, None), "predicted_at"),
        ((uuid.uuid4(), 1, None), "predicted_at"),
        ((UUID7, None, None), "label"),
        ((UUID7, float("nan"), None), "label"),
        ((UUID7, {"a": 1}, None), "label"),
        ((UUID7, 1, datetime(2026, 1, 1)), "predicted_at"),
        ((7, 1, START), "prediction_id"),
        ((UUID7, 1, None, datetime(2026, 1, 1)), "labelled_at"),
    ],
)
def test_what_is_no_label(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        encode_label("fraud", *arguments)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_every_reason_is_logged_once_and_no_more_than_twenty(caplog: pytest.LogCaptureFixture) -> None:
    logger = PredictionLogger("http://127.0.0.1:9/", "fraud", "v3", flush_seconds=3600)
    with caplog.at_level(logging.WARNING, "modeldrop.client"):
        for features in [{"f": b"x"}, {"f": [1]}, {"g": [1]}] * 3:
            logger.log(features, 1)
        assert len(caplog.records) == 3
        for number in range(50):
            logger.log({f"f{number}": [1]}, 1)
        assert (len(caplog.records), logger.dropped) == (20, 59)
        logger.close(0)


def test_the_app_never_notices_and_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = PredictionLogger("http://127.0.0.1:9/", "fraud", "v3", flush_seconds=3600)
    secret = "4111-1111"
    with caplog.at_level(logging.WARNING, "modeldrop.client"):
        for given_value, _ in UNUSABLE.values():
            fields = {
                name: getattr(given_value, name) for name in ("prediction_id", "timestamp", "latency_ms", "status")
            }
            assert isinstance(logger.log(given_value.features, given_value.prediction, **fields), str)
        assert logger.log({"card": [secret]}, 1)
        assert logger.log({"f": Odd()}, 1)
        assert logger.log({"f": "\ud800"}, 1)
        assert isinstance(logger.log({}, 1, prediction_id=Odd()), str)  # type: ignore[arg-type]
        logger.label("p1", 1)
        logger.label(None, 1)  # type: ignore[arg-type]
        dropped = logger.dropped
        logger.close(0)
    assert dropped == len(UNUSABLE) + 6
    assert len(caplog.messages) == len(set(caplog.messages)) == 20
    assert secret not in caplog.text


ANY_VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2)
ANY_FEATURES = st.dictionaries(st.text(max_size=5) | st.integers(), ANY_VALUE, max_size=5)
ANY_TIME = st.datetimes(timezones=st.none() | st.timezones())


@given(ANY_FEATURES, ANY_VALUE | ANY_FEATURES, ANY_TIME, st.none() | st.floats(), st.text(max_size=5))
def test_whatever_is_sent_is_taken_by_the_reader(
    features: Any, prediction: Any, timestamp: datetime, latency_ms: float | None, prediction_id: str
) -> None:
    given_value = Prediction(prediction_id, timestamp, features, prediction, latency_ms, "ok")
    try:
        data = encode_prediction("fraud", "v3", given_value, NO_REDACTION)
    except (InvalidInput, UnicodeEncodeError):
        return
    (event,) = decode_predictions(b"[%b]" % data).predictions
    # In UTC: across zones Python calls the hours unequal that a clock shows twice or never (PEP 495).
    assert (event.timestamp, event.prediction_id) == (timestamp.astimezone(UTC), prediction_id)
    assert event.features == {name: as_sent(value) for name, value in features.items()}


def as_sent(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- redaction -------------------------------------------------------------------------------------------------


def hashed(text: str, key: bytes = b"key") -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def test_features_are_left_out_or_hashed() -> None:
    redaction = Redaction({"name": "drop", "email": "hash", "age": "hash", "absent": "hash"}, "key")
    features = {"name": object(), "email": "a@b.c", "age": 42, "amount": 1}
    assert features_of(features, redaction) == {"email": hashed("a@b.c"), "age": hashed("42"), "amount": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (5.0, "5"), ("5", "5"), (numpy.int64(5), "5"), (0.1, "0.1"), (-0.0, "0"), (True, "true"), ("", "")],
)
def test_equal_values_have_equal_hashes(value: Any, text: str) -> None:
    assert features_of({"f": value}, Redaction({"f": "hash"}, b"key")) == {"f": hashed(text)}
    assert features_of({"f": value}, Redaction({"f": "hash"}, b"other")) == {"f": hashed(text, b"other")}


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_what_is_missing_stays_missing(missing: Any) -> None:
    assert features_of({"f": missing}, Redaction({"f": "hash"}, b"key")) == {"f": None}


def test_a_hashed_text_may_be_long() -> None:
    assert features_of({"f": "x" * 50_000}, Redaction({"f": "hash"}, b"key")) == {"f": hashed("x" * 50_000)}


# --- ids -------------------------------------------------------------------------------------------------------


def test_ids_are_of_version_7_and_carry_their_time() -> None:
    now_ns = 1_767_225_600_123_456_789
    name = uuid.UUID(Uuid7Ids(lambda: now_ns).new())
    assert (name.version, name.variant) == (7, uuid.RFC_4122)
    assert name.int >> 80 == 1_767_225_600_123
    assert (name.int >> 64) & 0xFFF == int(0.456789 * 4096)


def test_ids_only_grow_while_the_clock_stands_still_or_is_set_back() -> None:
    times = iter([10**18] * 5_000 + [10**18 - 10**12] * 5_000)
    ids = Uuid7Ids(lambda: next(times))
    names = [ids.new() for _ in range(10_000)]
    assert names == sorted(set(names))
    assert all(map(is_uuid7, names))
    assert (uuid.UUID(names[-1]).int >> 80) - (uuid.UUID(names[0]).int >> 80) <= 3


def test_an_id_of_another_time() -> None:
    ids = Uuid7Ids()
    names = {ids.of(START + timedelta(microseconds=999)) for _ in range(1_000)}
    assert len(names) == 1_000
    assert {uuid7_time(name) for name in names} == {START}
    for odd in (datetime(1969, 12, 31, tzinfo=UTC), datetime(2026, 1, 1), datetime.min.replace(tzinfo=UTC)):
        assert is_uuid7(ids.of(odd))
    assert is_uuid7(ids.of(datetime.max.replace(tzinfo=UTC)))


def test_ids_of_many_threads_and_makers_differ() -> None:
    one, other = Uuid7Ids(), Uuid7Ids()
    start = threading.Barrier(8)

    def make(n: int) -> list[str]:
        start.wait()
        return [(one if n % 2 else other).new() for _ in range(1_000)]

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(make, range(8)))
    assert all(each == sorted(each) for each in names)
    assert len({name for each in names for name in each}) == 8_000


@pytest.mark.parametrize(
    "text", ["", "p1", "d7f17fdf-2793-4f50-a4d8-898deb7e6eea", UUID7[:-1], UUID7 + "0", UUID7.replace("-8000", "-c000")]
)
def test_other_ids_carry_no_time(text: str) -> None:
    assert not is_uuid7(text)
    assert is_uuid7(UUID7)
    assert is_uuid7(UUID7.upper())
