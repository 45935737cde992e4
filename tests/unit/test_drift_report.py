"""The report: which features drifted, by which test, and why."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from modeldrop.domain.drift.alarm import alarm
from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.drift.feature_drift import FeatureDrift
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.drift.text_features import text_features
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import InvalidInput

ROWS = 1000
STATISTICS = ("psi", "ks", "wasserstein", "jensen_shannon", "l_infinity", "chi_square")


def normal(seed: int, shift: float = 0.0, rows: int = ROWS) -> list[Any]:
    return (np.random.default_rng(seed).normal(size=rows) + shift).tolist()


def compare(
    before: Sequence[object], after: Sequence[object], type_: FeatureType = "numeric", **policy: Any
) -> FeatureDrift:
    """The report on one feature."""
    profile = profile_reference(Observations([Column("x", type_, before)]))
    report = drift_report(profile, Observations([Column("x", type_, after)]), DriftPolicy(**policy), histograms=True)
    (feature,) = report.features
    assert report.verdict == feature.verdict
    assert_finite(report)
    return feature


def assert_finite(report: DriftReport) -> None:
    """A report is JSON: no NaN, no infinity, no numpy."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(msgspec.json.encode(report), parse_constant=refuse)
    json.dumps(msgspec.to_builtins(report), allow_nan=False)


def test_the_fields_of_the_contract_come_first() -> None:
    names = [field.name for field in msgspec.structs.fields(FeatureDrift)]
    assert names[:8] == ["name", "type", "test", "value", "threshold", "p_value", "missing", "verdict"]
    assert names[8:14] == list(STATISTICS)


def test_a_shift_of_numbers() -> None:
    found = compare(normal(1), normal(2, 1.0))
    assert (found.verdict, found.test, found.threshold) == ("drifted", "psi", 0.2)
    assert found.value == found.psi
    assert found.p_value is not None
    assert found.p_value < 1e-9
    assert found.ks == pytest.approx(0.4, abs=0.05)
    assert found.wasserstein == pytest.approx(1.0, abs=0.1)
    assert (found.l_infinity, found.chi_square, found.unseen) == (None, None, None)
    assert found.reason.startswith(f"psi {found.psi:.3g} is above 0.2")


def test_no_shift_of_numbers() -> None:
    found = compare(normal(1), normal(2))
    assert found.verdict == "ok"
    assert "is within 0.2" in found.reason


def test_a_shift_of_categories() -> None:
    found = compare(["a"] * 500 + ["b"] * 500, ["a"] * 200 + ["b"] * 700 + ["c"] * 100, "categorical")
    assert (found.verdict, found.test, found.value) == ("drifted", "jensen_shannon", found.jensen_shannon)
    assert found.l_infinity == pytest.approx(0.3)
    assert found.unseen == pytest.approx(0.1)
    assert (found.ks, found.wasserstein, found.out_of_range) == (None, None, None)
    assert found.histogram is not None
    assert found.histogram.labels == ["b", "a", "c", "(other)", "(missing)", "(other type)"]


def test_booleans_are_compared_as_categories() -> None:
    found = compare([True] * 900 + [False] * 100, [True] * 500 + [False] * 500, "boolean")
    assert (found.verdict, found.test, found.l_infinity) == ("drifted", "jensen_shannon", pytest.approx(0.4))


@pytest.mark.parametrize("test", ["psi", "ks", "wasserstein", "jensen_shannon"])
def test_every_test_finds_a_shift_and_leaves_the_rest_alone(test: str) -> None:
    tests = {"numeric": test}
    assert compare(normal(1), normal(2, 0.6), tests=tests).verdict == "drifted"
    assert compare(normal(1), normal(2), tests=tests).verdict == "ok"


def test_a_text_is_reported_by_the_number_that_moved_most() -> None:
    before = [text_features(f"order {number} please") for number in range(ROWS)]
    after = [list(text_features(f"öffne {number} bitte")) for number in range(ROWS)]
    found = compare(before, after, "text")
    assert (found.verdict, found.derived, found.type) == ("drifted", "non_ascii", "text")
    assert found.reason.startswith("non_ascii: psi ")
    assert compare(before, [list(row) for row in before[::-1]], "text").verdict == "ok"


def test_the_p_value_allows_for_every_number_of_a_text() -> None:
    before, after = ([abs(value) for value in normal(seed, 0.2 * seed, 400)] for seed in (1, 2))
    alone = compare(before, after).p_value
    of_four = compare([[value, 1, 0, 0] for value in before], [[value, 1, 0, 0] for value in after], "text").p_value
    assert alone is not None
    assert of_four == min(1.0, 4 * alone) < 1.0


def test_what_a_policy_leaves_out_is_as_by_default() -> None:
    found = compare(normal(1), normal(2, 1.0), tests={"categorical": "psi"}, thresholds={"ks": 0.9})
    assert (found.test, found.threshold) == ("psi", 0.2)


def test_the_policys_threshold_counts_above_the_noise() -> None:
    found = compare(normal(1), normal(2, 0.6), tests={"numeric": "ks"}, thresholds={"ks": 0.5})
    assert (found.verdict, found.threshold) == ("ok", 0.5)


def test_the_noise_floor_lifts_a_threshold_that_chance_exceeds() -> None:
    found = compare(normal(1, rows=250), normal(2, rows=250), thresholds={"psi": 1e-6})
    assert found.threshold == pytest.approx(16.919 * 2 / 250, rel=1e-3)
    assert found.verdict == "ok"


def test_tests_of_numbers_do_not_fit_categories() -> None:
    with pytest.raises(InvalidInput, match=r"drift.tests.categorical: ks compares numbers"):
        compare(["a"] * 300, ["a"] * 300, "categorical", tests={"categorical": "ks"})


def test_a_striking_value_must_survive_the_control_of_false_discoveries() -> None:
    policy = {"thresholds": {"ks": 1e-6}, "tests": {"numeric": "ks"}, "false_discovery_rate": 1e-12}
    found = compare(normal(1), normal(2, 0.2), **policy)
    assert found.value is not None
    assert found.threshold is not None
    assert found.value > found.threshold
    assert found.verdict == "ok"
    assert "does not survive the control of false discoveries" in found.reason
    assert compare(normal(1), normal(2, 0.2), **(policy | {"false_discovery_rate": 0.05})).verdict == "drifted"


@pytest.mark.parametrize("test", ["psi", "ks", "wasserstein", "jensen_shannon"])
def test_values_that_go_missing_are_drift_by_every_test(test: str) -> None:
    after = [None if row % 5 == 0 else value for row, value in enumerate(normal(2))]
    found = compare(normal(1), after, tests={"numeric": test})
    assert found.verdict == "drifted"
    assert (found.missing, found.missing_reference) == (pytest.approx(0.2), 0.0)
    assert found.ks is not None
    if test in ("ks", "wasserstein"):
        assert found.test == "missing_values"
        assert found.reason.endswith("missing 0.0% → 20.0%, of another type 0.0% → 0.0%")


def test_numbers_that_come_as_text_are_reported() -> None:
    found = compare(normal(1), [str(value) for value in normal(2)])
    assert (found.verdict, found.test, found.other_type, found.missing) == ("drifted", "missing_values", 1.0, 0.0)
    assert found.psi is None
    assert found.reason.endswith("of another type 0.0% → 100.0%")


def test_a_feature_that_is_no_longer_sent_is_drift() -> None:
    profile = profile_reference(Observations([Column("x", "numeric", normal(1)), Column("y", "numeric", normal(2))]))
    report = drift_report(profile, Observations([Column("x", "numeric", normal(3))]), DriftPolicy())
    assert [(feature.name, feature.verdict, feature.missing) for feature in report.features] == [
        ("x", "ok", 0.0),
        ("y", "drifted", 1.0),
    ]


def test_a_feature_the_reference_lacks_cannot_be_judged() -> None:
    profile = profile_reference(Observations([Column("x", "numeric", normal(1))]))
    current = Observations([Column("z", "numeric", [None, *normal(4)][:ROWS]), Column("x", "numeric", normal(3))])
    report = drift_report(profile, current, DriftPolicy())
    assert [(feature.name, feature.verdict) for feature in report.features] == [("x", "ok"), ("z", "insufficient_data")]
    assert report.features[1].missing == pytest.approx(0.001)
    assert report.verdict == "ok"


def test_the_type_of_the_reference_counts() -> None:
    profile = profile_reference(Observations([Column("x", "categorical", ["1", "2"] * 500)]))
    report = drift_report(profile, Observations([Column("x", "numeric", [1, 2.0] * 500)]), DriftPolicy())
    assert (report.features[0].type, report.features[0].verdict) == ("categorical", "ok")
    assert report.features[0].psi == 0.0


@pytest.mark.parametrize(("before", "after"), [(199, 1000), (1000, 199), (0, 1000), (1000, 0)])
def test_too_few_rows_is_a_verdict(before: int, after: int) -> None:
    found = compare(normal(1, rows=before), normal(2, 5.0, rows=after))
    assert (found.verdict, found.value, found.p_value, found.psi) == ("insufficient_data", None, None, None)
    assert found.reason == "too few rows"


def test_some_rows_are_needed_whatever_the_policy_says() -> None:
    assert compare(normal(1, rows=19), normal(2, 9.0, rows=19), min_rows=0).verdict == "insufficient_data"
    assert compare(normal(1, rows=20), normal(2, 9.0, rows=20), min_rows=0).verdict == "drifted"


def test_too_few_values_is_a_verdict_unless_missing_is_what_changed() -> None:
    sparse = [value if row % 10 == 0 else None for row, value in enumerate(normal(1))]
    again = [value if row % 10 == 0 else None for row, value in enumerate(normal(2, 5.0))]
    found = compare(sparse, again)
    assert (found.verdict, found.value, found.missing) == ("insufficient_data", None, 0.9)
    assert found.reason == "fewer than 200 usable values on one side"
    for before, after in ((normal(1), again), (again, normal(1))):
        gone = compare(before, after)
        assert (gone.verdict, gone.test, gone.psi) == ("drifted", "missing_values", None)
    assert compare([None] * ROWS, [None] * ROWS).verdict == "insufficient_data"


def test_no_features_are_insufficient() -> None:
    report = drift_report(profile_reference(Observations([])), Observations([]), DriftPolicy())
    assert (report.verdict, report.features, report.prediction) == ("insufficient_data", [], None)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([7.0] * ROWS, [7.0] * ROWS, "ok"),
        ([7.0] * ROWS, [7.5] * ROWS, "drifted"),
        ([7.0] * ROWS, [math.nextafter(7.0, 8.0)] * ROWS, "drifted"),
        ([0, 1] * 500, [0, 1] * 500, "ok"),
        ([0, 1] * 500, [0] * 900 + [1] * 100, "drifted"),
        ([1e300, -1e300, 0.0, 1.0] * 250, [1e300, -1e300, 0.0, 1.0] * 250, "ok"),
        ([1e300, -1e300, 0.0, 1.0] * 250, [1.7e308, -1.7e308, 0.0, 5e-324] * 250, "drifted"),
        ([2**60 + row for row in range(ROWS)], [2**60 + row for row in range(ROWS)], "ok"),
        ([2**60 + row for row in range(ROWS)], [2**80 + row for row in range(ROWS)], "drifted"),
    ],
)
@pytest.mark.parametrize("test", ["psi", "ks", "jensen_shannon", "wasserstein"])
def test_awkward_numbers(before: list[float], after: list[float], verdict: str, test: str) -> None:
    assert compare(before, after, tests={"numeric": test}).verdict == verdict


@pytest.mark.parametrize("test", ["psi", "ks", "jensen_shannon"])
def test_the_smallest_float_is_not_zero(test: str) -> None:
    """By order; as a distance it is none."""
    assert compare([5e-324, 0.0] * 500, [5e-324] * ROWS, tests={"numeric": test}).verdict == "drifted"


def test_a_hundred_thousand_categories_are_no_drift_by_themselves() -> None:
    """Of ids, hardly one comes back: neither rare nor new ones may count as moved."""
    random = np.random.default_rng(7)
    before, after = ([f"id{number}" for number in random.integers(0, 100_000, 4000)] for _ in range(2))
    found = compare(before, after, "categorical", thresholds={"jensen_shannon": 1e-9})
    assert found.verdict == "ok"
    assert found.p_value is not None
    assert found.p_value > 0.05
    assert found.unseen is not None
    assert found.unseen > 0.9


def test_a_long_tail_of_categories_is_no_drift_by_itself() -> None:
    random = np.random.default_rng(8)
    draws = [[f"w{number}" for number in random.zipf(1.3, 2000) if number < 10**9] for _ in range(2)]
    found = compare(*draws, type_="categorical", thresholds={"jensen_shannon": 1e-9})
    assert found.verdict == "ok"


def test_many_rare_new_categories_are_found() -> None:
    before = [f"c{row % 10}" for row in range(ROWS)]
    found = compare(before, [*before[:900], *(f"junk{row}" for row in range(100))], "categorical")
    assert (found.verdict, found.unseen) == ("drifted", pytest.approx(0.1))


def test_one_category_stays_one() -> None:
    assert compare(["a"] * ROWS, ["a"] * ROWS, "categorical").verdict == "ok"
    assert compare(["a"] * ROWS, ["b"] * ROWS, "categorical").jensen_shannon == 1.0


def test_predictions_have_a_verdict_of_their_own() -> None:
    x = Column("x", "numeric", normal(1))
    reference = Observations([x], Column("prediction", "numeric", normal(2)))
    moved = Observations([x], Column("prediction", "numeric", normal(3, 2.0)))
    report = drift_report(profile_reference(reference), moved, DriftPolicy())
    assert report.verdict == "ok"
    assert report.prediction is not None
    assert (report.prediction.name, report.prediction.verdict) == ("prediction", "drifted")
    alone = drift_report(profile_reference(Observations([x])), moved, DriftPolicy())
    assert alone.prediction is not None
    assert alone.prediction.verdict == "insufficient_data"
    assert drift_report(profile_reference(reference), Observations([x]), DriftPolicy()).prediction is None


def test_histograms_are_shares_and_left_out_unless_asked_for() -> None:
    found = compare(normal(1), [None, *normal(2)[1:]])
    assert found.histogram is not None
    assert sum(found.histogram.reference) == pytest.approx(1.0)
    assert sum(found.histogram.current) == pytest.approx(1.0)
    assert len(found.histogram.labels) == len(found.histogram.current) == len(found.histogram.edges) + 3
    profile = profile_reference(Observations([Column("x", "numeric", normal(1))]))
    plain = drift_report(profile, Observations([Column("x", "numeric", normal(2))]), DriftPolicy())
    assert plain.features[0].histogram is None


def test_values_out_of_range_are_reported() -> None:
    before = [float(row) for row in range(ROWS)]
    assert compare(before, before).out_of_range == 0.0
    assert compare(before, [-1.0, 5000.0, *before[2:]]).out_of_range == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("verdicts", "windows", "expected"),
    [
        ([], 1, False),
        (["drifted"], 1, True),
        (["drifted"], 2, False),
        (["drifted", "drifted"], 2, True),
        (["drifted", "ok", "drifted"], 2, False),
        (["drifted", "drifted", "ok"], 2, False),
        (["drifted", "insufficient_data", "drifted"], 2, True),
        (["drifted", "insufficient_data", "insufficient_data"], 2, False),
        (["drifted", "drifted", "insufficient_data"], 2, True),
        (["insufficient_data"] * 5, 1, False),
    ],
)
def test_windows_to_alarm(verdicts: list[str], windows: int, expected: bool) -> None:
    assert alarm(verdicts, windows) is expected
