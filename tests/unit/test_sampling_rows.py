"""One event in a sample: its hash, its canonical payload, and two tellings of it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.sampling.hashing import LARGEST_HASH, hash_id
from modeldrop.domain.sampling.payload import (
    MOST_LEVELS,
    MOST_PROBLEMS,
    SampledLabel,
    SampledPrediction,
    label_row,
    prediction_row,
    read_label,
    read_prediction,
)
from modeldrop.domain.sampling.rows import MAX_NAMES_BYTES, MAX_ROW_BYTES, Row, RowTooLarge, merge_rows
from modeldrop.errors import InvalidInput, TooLarge
from tests.unit.sampled_events import rows, steady

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
numbers = st.one_of(integers, st.floats(allow_nan=False, allow_infinity=False), integers.map(float))
scalars = st.one_of(st.none(), st.booleans(), numbers, names)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
predictions = st.builds(
    SampledPrediction,
    event_time_ms=st.integers(-62_135_596_800_000, 253_402_300_799_999),
    prediction=values,
    latency_ms=st.none() | st.floats(0, 1e12),
    status=st.sampled_from(["ok", "error"]),
    features=st.dictionaries(names, values, max_size=5),
)


def predicted(features: dict[str, Any], prediction: Any = 1) -> SampledPrediction:
    return SampledPrediction(0, prediction, None, "ok", features)


def exactly(value: Any) -> Any:
    """The value in a form in which 1, 1.0 are equal, True is another, and the order of keys does not count."""
    if isinstance(value, dict):
        return {"map": sorted((key, exactly(item)) for key, item in value.items())}.__repr__()
    if isinstance(value, list):
        return repr([exactly(item) for item in value])
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
        value = int(value)
    return f"{type(value).__name__} {value!r}"


# --- hash ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction_id", "expected"),
    [
        ("order-1", 7583360803719873292),
        ("", 9582603831999086496),
        ("\N{GREEK SMALL LETTER ALPHA}", 12400314629238962513),
        ("\ud800", 14027228749085160790),
    ],
)
def test_hashes_stay_what_they_are_for_ever(prediction_id: str, expected: int) -> None:
    assert hash_id(prediction_id) == expected


@given(st.text(st.characters()))
def test_any_text_has_a_hash_of_64_bits(prediction_id: str) -> None:
    assert 0 <= hash_id(prediction_id) <= LARGEST_HASH


# --- payload ---------------------------------------------------------------------------------------------------


@steady
@given(predictions)
def test_what_is_kept_of_a_prediction_is_read_again(kept: SampledPrediction) -> None:
    row = prediction_row(7, kept)
    again = read_prediction(row)
    assert (again.event_time_ms, again.latency_ms, again.status) == (kept.event_time_ms, kept.latency_ms, kept.status)
    assert exactly(again.prediction) == exactly(kept.prediction)
    assert exactly(again.features) == exactly(kept.features)
    assert prediction_row(7, again) == row
    assert list(again.features) == sorted(kept.features)


@given(predictions, predictions)
def test_equal_predictions_are_equal_bytes_and_no_others(one: SampledPrediction, other: SampledPrediction) -> None:
    same = exactly(msgspec.to_builtins(one)) == exactly(msgspec.to_builtins(other))
    assert (prediction_row(7, one) == prediction_row(7, other)) == same


@steady
@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_features_does_not_count(kept: SampledPrediction, chance: Any) -> None:
    features = list(kept.features.items())
    chance.shuffle(features)
    assert prediction_row(7, msgspec.structs.replace(kept, features=dict(features))) == prediction_row(7, kept)


@given(values, st.none() | st.integers(0, 253_402_300_799_999))
def test_what_is_kept_of_a_label_is_read_again(value: Any, label_time_ms: int | None) -> None:
    again = read_label(label_row(7, SampledLabel(value, label_time_ms)))
    assert exactly(again.label) == exactly(value)
    assert again.label_time_ms == label_time_ms


@pytest.mark.parametrize(
    ("one", "other"),
    [(5, 5.0), (0, -0.0), (2**60, 2.0**60), (-(2**63), -(2.0**63)), ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0})],
)
def test_one_value_written_in_two_ways_is_one_row(one: Any, other: Any) -> None:
    assert prediction_row(7, predicted({"x": one}, one)) == prediction_row(7, predicted({"x": other}, other))
    assert label_row(7, SampledLabel(one)) == label_row(7, SampledLabel(other))


@pytest.mark.parametrize(
    ("one", "other"), [(True, 1), (False, 0), (None, 0), (None, False), ("1", 1), (2**53, 2**53 + 1)]
)
def test_different_values_are_different_rows(one: Any, other: Any) -> None:
    assert prediction_row(7, predicted({"x": one})) != prediction_row(7, predicted({"x": other}))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


HOSTILE = {
    "nan": float("nan"),
    "infinite": float("-inf"),
    "beyond 64 bits": 2**63,
    "far beyond": -(10**5_000),
    "bytes": b"x",
    "tuple": (1, 2),
    "number as key": {1: 2},
    "bomb": nested(100_000),
    "one level too deep": nested(MOST_LEVELS + 1),
    "half a pair": "\ud800",
    "half a pair as key": {"\udfff": 1},
    "deep inside": {"a": [{"b": float("inf")}]},
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_cannot_be_kept_is_refused(value: Any) -> None:
    for make in (
        lambda: prediction_row(7, predicted({"x": value})),
        lambda: prediction_row(7, predicted({}, value)),
        lambda: label_row(7, SampledLabel(value)),
    ):
        with pytest.raises(InvalidInput):
            make()


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput):
        prediction_row(7, predicted({"\ud800": 1}))


def test_the_deepest_value_allowed_is_kept() -> None:
    assert read_prediction(prediction_row(7, predicted({}, nested(MOST_LEVELS)))).prediction == nested(MOST_LEVELS)


def test_a_status_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="status: 'fine' is neither ok nor error"):
        prediction_row(7, msgspec.structs.replace(predicted({}), status="fine"))


def test_all_problems_are_named_at_once_up_to_a_limit() -> None:
    with pytest.raises(InvalidInput) as caught:
        prediction_row(7, SampledPrediction(2**63, b"", float("nan"), "ok", {"a": (), "b": 1, "\ud800" * 99: 2**64}))
    found = [problem.field for problem in caught.value.problems]
    assert found == ["timestamp", "latency_ms", "prediction", "features.a", "features." + "\\ud800" * 80]
    with pytest.raises(InvalidInput) as caught:
        label_row(7, SampledLabel([float("nan")] * 10_000))
    assert len(caught.value.problems) == MOST_PROBLEMS


def test_a_row_is_kept_up_to_its_last_byte() -> None:
    spare = MAX_ROW_BYTES - len(prediction_row(7, predicted({"x": "a" * 1_000})).values)
    fits = prediction_row(7, predicted({"x": "a" * (1_000 + spare)}))
    assert len(fits.values) == MAX_ROW_BYTES
    with pytest.raises(RowTooLarge, match=r"1,951 bytes of values are to be kept; 1,950 at most"):
        prediction_row(7, predicted({"x": "a" * (1_001 + spare)}))
    longest = MAX_NAMES_BYTES - 4  # a list, one text
    assert len(prediction_row(7, predicted({"x" * longest: 1})).names) == MAX_NAMES_BYTES
    with pytest.raises(RowTooLarge, match=r"6,001 bytes of names are to be kept; 6,000 at most"):
        prediction_row(7, predicted({"x" * (longest + 1): 1}))


@pytest.mark.parametrize("features", [{"x": "a" * 10_000_000}, {f"feature {n}": n for n in range(100_000)}])
def test_huge_events_are_too_large_for_a_row(features: dict[str, Any]) -> None:
    with pytest.raises(TooLarge):
        prediction_row(7, predicted(features))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_of_anything_are_read_or_refused(one: bytes, other: bytes) -> None:
    for read in (read_prediction, read_label):
        try:
            read(Row(7, one, other))
        except InvalidInput:
            continue


@pytest.mark.parametrize(
    "row",
    [
        Row(7, b"\x90", b"\x91" * 100_000),
        Row(7, b"", b"\x92\xc0" + b"\x91" * 100_000),  # a label that is a bomb
        Row(7, b"\x90", b"\x92\xc0\x01"),  # a label with names
        Row(7, b"\x90", b"\x95\x00\xc3\xc0\x01\x91\x01"),  # a value without a name
        Row(7, b"\x90", b"\x95\x00\xc3\xc0\xa1\xff\x90"),  # no UTF-8
        Row(7, b"\x90", b"\x96\x00\xc3\xc0\x01\x90\x01"),  # one part too many
        Row(7, b"\x90", b"\xdd\xff\xff\xff\xff"),
    ],
)
def test_damaged_rows_are_refused(row: Row) -> None:
    for read in (read_prediction, read_label):
        with pytest.raises(InvalidInput):
            read(row)


def test_a_prediction_is_no_label_and_a_label_no_prediction() -> None:
    with pytest.raises(InvalidInput):
        read_label(prediction_row(7, predicted({})))
    with pytest.raises(InvalidInput):
        read_prediction(label_row(7, SampledLabel(1)))


# --- two tellings of one event -----------------------------------------------------------------------------------


def of_one_event(row: Row) -> Row:
    return msgspec.structs.replace(row, hash=7)


@given(rows, rows, rows)
def test_merging_rows_is_a_semilattice(a: Row, b: Row, c: Row) -> None:
    a, b, c = map(of_one_event, (a, b, c))
    assert merge_rows(a, b) == merge_rows(b, a)
    assert merge_rows(merge_rows(a, b), c) == merge_rows(a, merge_rows(b, c))
    assert merge_rows(a, a) == a
    assert merge_rows(merge_rows(a, b), b) == merge_rows(a, b)


@given(st.lists(rows.map(of_one_event), min_size=1))
def test_a_row_is_conflicted_if_two_tellings_differed(told: list[Row]) -> None:
    merged = told[0]
    for row in told[1:]:
        merged = merge_rows(merged, row)
    payloads = {(row.names, row.values) for row in told}
    assert (merged.names, merged.values) == max(payloads)
    assert merged.conflicted == (len(payloads) > 1 or any(row.conflicted for row in told))


@given(st.integers(0, 253_402_300_799_999), st.integers(0, 253_402_300_799_999), scalars, scalars)
def test_of_two_labels_with_times_the_later_stays(one: int, other: int, label: Any, another: Any) -> None:
    early, late = sorted((one, other + (one == other)))
    merged = merge_rows(label_row(7, SampledLabel(label, early)), label_row(7, SampledLabel(another, late)))
    assert read_label(merged).label_time_ms == late
    assert exactly(read_label(merged).label) == exactly(another)
    assert merged.conflicted
