"""Pictures in drift reports: shares over bins or categories that a person can see something in."""

import json
import math
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from modeldrop.domain.documents import check_data
from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.drift.distribution import CategoricalDistribution, Distribution, NumericDistribution
from modeldrop.domain.drift.drawing import (
    LONGEST_NAME,
    MOST_BINS,
    MOST_CATEGORIES,
    categorical_distribution,
    numeric_distribution,
)
from modeldrop.domain.drift.feature_drift import FeatureDrift
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.drift.text_features import text_features
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.scorecard import FeatureType
from modeldrop.handlers.reports.room_for_pictures import FEW_FEATURES, MOST_BYTES, within_room

ROWS = 1000


def normal(seed: int, shift: float = 0.0, rows: int = ROWS) -> list[Any]:
    drawn: list[Any] = (np.random.default_rng(seed).normal(size=rows) + shift).tolist()
    return drawn


def numbers(before: list[float], after: list[float]) -> NumericDistribution:
    shown = numeric_distribution(np.sort(np.array(before, dtype=float)), np.sort(np.array(after, dtype=float)))
    assert shown is not None
    assert_drawable(shown)
    return shown


def categories(before: list[str], after: list[str]) -> CategoricalDistribution:
    shown = categorical_distribution(Counter(before), Counter(after))
    assert shown is not None
    assert_drawable(shown)
    return shown


def assert_drawable(shown: Distribution) -> None:
    """A document, and JSON, of finite plain values: no more bars than wanted, and each side's add up to one."""
    check_data(msgspec.to_builtins(shown))
    text = msgspec.json.encode(shown)
    assert msgspec.json.decode(text, type=NumericDistribution | CategoricalDistribution) == shown
    numbers = [*shown.reference, *shown.live, *(shown.edges if isinstance(shown, NumericDistribution) else [])]
    assert all(str(number) != "-0.0" for number in numbers)  # stores need not tell it from 0.0
    json.loads(text, parse_constant=pytest.fail)
    for side in (shown.reference, shown.live):
        assert math.fsum(side) == pytest.approx(1.0, abs=1e-4)
        assert all(0.0 <= share <= 1.0 for share in side)
    if isinstance(shown, NumericDistribution):
        assert len(shown.reference) == len(shown.live) == len(shown.edges) - 1
        assert 1 <= len(shown.live) <= MOST_BINS
        assert all(low < high for low, high in pairwise(shown.edges))
    else:
        assert len(shown.reference) == len(shown.live) == len(shown.categories) <= MOST_CATEGORIES


def report_on(type_: FeatureType, before: list[Any], after: list[Any], **policy: Any) -> FeatureDrift:
    profile = profile_reference(Observations([Column("x", type_, before)], Column("prediction", type_, before)))
    current = Observations([Column("x", type_, after)], Column("prediction", type_, after))
    report = drift_report(profile, current, DriftPolicy(**policy))
    assert report.prediction is not None
    assert report.prediction.distribution == report.features[0].distribution
    return report.features[0]


# --- numbers -----------------------------------------------------------------------------------------------------

finite = some.floats(allow_nan=False, allow_infinity=False)
whole = some.integers(-(2**70), 2**70).map(float)


@given(some.lists(finite | whole, min_size=1, max_size=300), some.lists(finite | whole, min_size=1, max_size=300))
def test_any_numbers_can_be_drawn(before: list[float], after: list[float]) -> None:
    shown = numbers(before, after)
    inner = np.array(shown.edges[1:-1])
    for side, shares in ((before, shown.reference), (after, shown.live)):
        counts = np.bincount(np.searchsorted(inner, side, side="left"), minlength=len(shares))
        assert shares == pytest.approx((counts / len(side)).tolist(), abs=1e-6)


def test_bins_are_equally_wide_and_span_both_sides() -> None:
    shown = numbers([float(row) / 7 for row in range(700)], [50 + float(row) / 7 for row in range(700)])
    widths = np.diff(shown.edges)
    assert len(widths) == MOST_BINS
    assert widths == pytest.approx(widths[0])
    assert shown.edges[0] == 0.0
    assert shown.edges[-1] == pytest.approx(50 + 699 / 7)
    assert shown.reference[-1] == shown.live[0] == 0.0


def test_all_of_a_bell_is_shown() -> None:
    before, after = normal(1), normal(2)
    shown = numbers(before, after)
    assert (shown.edges[0], shown.edges[-1]) == (min(before + after), max(before + after))


def test_what_moved_away_is_seen_where_it_is() -> None:
    shown = numbers(normal(1), [1000 * value for value in normal(2)])
    assert (shown.edges[0] < -1000, shown.edges[-1] > 1000) == (True, True)
    assert max(shown.reference) > 0.49 and max(shown.live) < 0.3


@pytest.mark.parametrize("wild", [1e12, -1e12, 1.7e308])
def test_a_wild_value_does_not_press_the_rest_into_one_bar(wild: float) -> None:
    shown = numbers(normal(1), [*normal(2)[1:], wild])
    assert max(map(abs, shown.edges)) < 6
    assert max(shown.live) < 0.3
    at_its_end = shown.live[-1] if wild > 0 else shown.live[0]
    assert at_its_end >= 0.001


def test_values_at_the_end_are_strays_from_half_the_width_of_the_others_on() -> None:
    inside = [row / 980 for row in range(980)]
    for beyond, is_shown in ((1.4, True), (1.6, False), (-0.4, True), (-0.6, False)):
        edges = numbers([*inside, beyond], inside).edges
        assert (min(edges) <= beyond <= max(edges)) is is_shown


def test_the_smallest_and_largest_floats_are_drawn() -> None:
    shown = numbers([-1.7e308, 0.5, 1.7e308] * 100, [1.7e308] * 100)
    assert (len(shown.live), shown.edges[0], shown.edges[-1]) == (MOST_BINS, -1.7e308, 1.7e308)
    assert shown.reference[0] == shown.reference[-1] == 0.333333


def test_there_is_but_one_zero() -> None:
    assert str(numbers([-0.5, -0.0], [-0.25, -0.0]).edges[-1]) == "0.0"


def test_where_nearly_all_values_are_one_the_others_are_shown() -> None:
    shown = numbers([0.0] * 995 + [0.5, 1.0, 1.5, 2.0, 2.5], [0.0] * 1000)
    assert (shown.edges[0], shown.edges[-1], shown.reference[0], shown.live[0]) == (0.0, 2.5, 0.995, 1.0)


def test_whole_numbers_have_a_bar_each() -> None:
    shown = numbers([1, 2, 3, 4] * 100, [4, 5, 6, 6] * 100)
    assert shown.edges == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert shown.reference == [0.25, 0.25, 0.25, 0.25, 0.0, 0.0]
    assert shown.live == [0.0, 0.0, 0.0, 0.25, 0.25, 0.5]


def test_numbers_are_whole_only_if_those_of_both_sides_are() -> None:
    shown = numbers([1, 2, 3] * 100, [1, 2.5, 3] * 100)
    assert (len(shown.live), shown.edges[0], shown.edges[-1]) == (MOST_BINS, 1.0, 3.0)
    assert numbers([1, 2.5, 3] * 100, [1, 2, 3] * 100).edges == shown.edges


def test_bars_of_whole_numbers_hold_equally_many() -> None:
    """Else an even spread of ages would have teeth."""
    ages = [float(age) for age in range(18, 93)] * 10
    shown = numbers(ages, ages)
    assert {high - low for low, high in pairwise(shown.edges)} == {4.0}
    assert len(set(shown.reference[:-1])) == 1


@pytest.mark.parametrize("value", [0.0, -0.0, 7.0, 7.25, -1e-9, 5e-324, 1.7e308, -1.7e308, 2.0**60])
def test_a_column_of_one_value_has_one_bar(value: float) -> None:
    shown = numbers([value] * 300, [value] * 300)
    assert (shown.reference, shown.live) == ([1.0], [1.0])
    assert shown.edges[0] < value < shown.edges[1]


def test_neighbouring_floats_have_no_more_bars_than_there_are_floats() -> None:
    shown = numbers([7.0, math.nextafter(7.0, 8.0)] * 100, [7.0] * 100)
    assert len(shown.live) == 1 and shown.edges == [7.0, math.nextafter(7.0, 8.0)]


# --- categories --------------------------------------------------------------------------------------------------


@given(
    some.dictionaries(some.text(max_size=80), some.integers(0, 500), max_size=60),
    some.dictionaries(some.text(max_size=80), some.integers(0, 500), max_size=60),
)
def test_any_categories_can_be_drawn(before: dict[str, int], after: dict[str, int]) -> None:
    shown = categorical_distribution(before, after)
    if not (sum(before.values()) and sum(after.values())):
        assert shown is None
        return
    assert shown is not None
    assert_drawable(shown)
    own = shown.reference[:-1] if len(before.keys() | after.keys()) > MOST_CATEGORIES else shown.reference
    assert own == sorted(own, reverse=True)


def test_a_new_category_is_shown_among_many() -> None:
    shown = categories([f"c{row % 50}" for row in range(ROWS)], ["new"] * 600 + [f"c{row % 50}" for row in range(400)])
    assert len(shown.categories) == MOST_CATEGORIES
    place = shown.categories.index("new")
    assert (shown.reference[place], shown.live[place]) == (0.0, 0.6)
    assert shown.categories[-1] == "(other)"
    assert shown.reference[-1] == pytest.approx(0.02 * 32)
    assert shown.live[-1] == pytest.approx(0.008 * 32)


def test_a_category_that_became_frequent_is_shown_among_many() -> None:
    even = [f"c{row % 50:02d}" for row in range(ROWS)]
    shown = categories(even, even[:400] + ["c49"] * 600)
    assert shown.live[shown.categories.index("c49")] == 0.608


def test_ids_are_not_shown() -> None:
    shown = categories([f"id{row}" for row in range(ROWS)], [f"id{row + 500}" for row in range(ROWS)])
    assert (shown.categories, shown.reference, shown.live) == (["(other)"], [1.0], [1.0])


def test_names_can_be_written_and_drawn() -> None:
    shown = categories(["\ud800 half"] * 2 + ["n" * 500], ["n" * 500])
    assert shown.categories == ["? half", "n" * (LONGEST_NAME - 1) + "…"]


# --- in a report -------------------------------------------------------------------------------------------------


def test_a_report_has_a_picture_of_each_column() -> None:
    numeric = report_on("numeric", normal(1), normal(2)).distribution
    assert isinstance(numeric, NumericDistribution) and len(numeric.live) == MOST_BINS
    listed = report_on("categorical", ["a", "b"] * 300, ["b", 7] * 300).distribution
    assert listed == CategoricalDistribution(["b", "a", "7"], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5])
    flags = report_on("boolean", [True, True, False, None] * 100, [True] * 400).distribution
    assert flags == CategoricalDistribution(["true", "false"], [0.666667, 0.333333], [1.0, 0.0])


def test_of_a_text_the_number_that_moved_most_is_shown() -> None:
    before = [text_features(f"order {number} please") for number in range(ROWS)]
    after = [list(text_features(f"öffne {number} bitte")) for number in range(ROWS)]
    found = report_on("text", before, after)
    assert found.derived == "non_ascii"
    assert found.distribution == numbers([row.non_ascii for row in before], [row[3] for row in after])


def test_of_a_text_whose_values_went_missing_no_number_is_shown() -> None:
    before: list[Any] = [list(text_features(f"order {number} please")) for number in range(ROWS)]
    found = report_on("text", before, before[:500] + [None] * 500, tests={"numeric": "ks"})
    assert (found.test, found.derived, found.distribution) == ("missing_values", None, None)


def test_too_few_rows_for_a_verdict_are_shown_all_the_same() -> None:
    found = report_on("numeric", [1, 2, 3], [2])
    assert found.verdict == "insufficient_data"
    assert found.distribution == NumericDistribution([0.5, 1.5, 2.5, 3.5], [0.333333] * 3, [0.0, 1.0, 0.0])


@pytest.mark.parametrize("type_", ["numeric", "categorical", "boolean", "text"])
def test_a_side_without_values_has_no_picture(type_: FeatureType) -> None:
    values: dict[str, Any] = {"numeric": 1.5, "categorical": "a", "boolean": True, "text": [9, 3, 0.2, 0.0]}
    there, gone = [values[type_]] * ROWS, [None] * ROWS
    assert report_on(type_, there, gone).distribution is None
    assert report_on(type_, gone, there).distribution is None


# --- within a document -------------------------------------------------------------------------------------------


def wide_report(count: int, of_type: FeatureType, drifted: int) -> DriftReport:
    """Many columns, the last of which have drifted; categories have the longest names there can be."""
    names = [f"{number:02d}" + "\U0001f600" * 80 for number in range(20)]
    quiet: list[Any] = normal(1, rows=40) if of_type == "numeric" else names * 2
    moved: list[Any] = normal(2, 9.0, rows=40) if of_type == "numeric" else names[:1] * 40
    columns = [Column(f"{number:04d}", of_type, quiet) for number in range(count)]
    current = columns[: count - drifted] + [Column(f"{n:04d}", of_type, moved) for n in range(count - drifted, count)]
    score = Column("prediction", "numeric", normal(3, rows=40))
    profile = profile_reference(Observations(columns, score))
    return drift_report(profile, Observations(current, score), DriftPolicy(min_rows=20, thresholds={"psi": 1.0}))


@pytest.mark.parametrize(("count", "of_type"), [(200, "numeric"), (FEW_FEATURES, "categorical")])
def test_a_report_of_hundreds_of_features_has_room(count: int, of_type: FeatureType) -> None:
    report = wide_report(count, of_type, 3)
    assert within_room(report) == (report, 0)
    assert check_data(msgspec.to_builtins(report)) < MOST_BYTES


@pytest.mark.parametrize(("count", "of_type"), [(1_000, "numeric"), (300, "categorical")])
def test_what_has_no_room_loses_pictures_first_and_nothing_else(count: int, of_type: FeatureType) -> None:
    report = wide_report(count, of_type, 3)
    kept, left_out = within_room(report)
    pictured = [feature.distribution is not None for feature in kept.features]
    assert check_data(msgspec.to_builtins(kept)) <= MOST_BYTES
    assert (left_out, pictured.count(False)) == (pictured.count(False), left_out) and left_out > 0
    assert pictured[-3:] == [True] * 3 and [each.verdict for each in kept.features[-3:]] == ["drifted"] * 3
    assert kept.prediction == report.prediction and kept.prediction and kept.prediction.distribution
    without = [msgspec.structs.replace(feature, distribution=None) for feature in kept.features]
    assert without == [msgspec.structs.replace(feature, distribution=None) for feature in report.features]
    picture = check_data(msgspec.to_builtins(report.features[0].distribution))
    assert (
        check_data(msgspec.to_builtins(kept)) > MOST_BYTES - 2 * picture - 10_000
    )  # of each, ten bytes too many count
