"""The verdict on quality: against a limit, against a yardstick, or not to be had."""

import json
from typing import Any

import msgspec
import pytest

from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.interval import Interval
from modeldrop.domain.quality.report import QualityReport, Yardsticks, quality_report

NONE = Yardsticks()
EIGHT_OF_TEN: list[tuple[object, object]] = (
    [(True, True)] * 5 + [(False, False)] * 3 + [(True, False)] + [(False, True)]
)
OFF_BY_TWO = [(12.0, 10.0)] * 5 + [(8.0, 10.0)] * 5


def many(pairs: list[Any]) -> list[Any]:
    """So many that nothing is left to chance."""
    return pairs * 100


def judged(pairs: list[Any], yardsticks: Yardsticks = NONE, **policy: Any) -> QualityReport:
    report = quality_report(pairs, QualityPolicy(**({"min_labels": 10} | policy)), yardsticks, coverage=0.25)
    json.dumps(msgspec.to_builtins(report), allow_nan=False)
    return report


@pytest.mark.parametrize(("least", "verdict"), [(0.8, "ok"), (0.803, "degraded"), (None, "ok")])
def test_against_the_least_that_is_good_enough(least: float | None, verdict: str) -> None:
    report = judged(many(EIGHT_OF_TEN) * 100, metric="accuracy", min=least)
    assert (report.verdict, report.value, report.n, report.coverage) == (verdict, 0.8, 100_000, 0.25)


@pytest.mark.parametrize(("most", "verdict"), [(2.0, "ok"), (1.9, "degraded")])
def test_errors_are_better_when_lower(most: float, verdict: str) -> None:
    report = judged(OFF_BY_TWO, metric="mae", min=most)
    assert (report.verdict, report.value) == (verdict, 2.0)


@pytest.mark.parametrize(
    ("metric", "pairs", "expected", "verdict"),
    [
        ("accuracy", EIGHT_OF_TEN, 0.85, "ok"),
        ("accuracy", EIGHT_OF_TEN, 0.93, "degraded"),
        ("accuracy", EIGHT_OF_TEN, 0.5, "ok"),
        ("mape", OFF_BY_TWO, 0.15, "ok"),
        ("mape", OFF_BY_TWO, 0.09, "degraded"),
        ("mape", OFF_BY_TWO, 0.9, "ok"),
    ],
)
def test_against_what_was_declared(metric: str, pairs: list[Any], expected: float, verdict: str) -> None:
    report = judged(many(pairs), Yardsticks(declared={metric: expected}), metric=metric, max_drop=0.1)
    assert (report.verdict, report.compared_with, report.expected) == (verdict, "declared", expected)


def test_what_was_measured_before_comes_first() -> None:
    yardsticks = Yardsticks(baseline={"accuracy": 0.95}, declared={"accuracy": 0.8})
    report = judged(many(EIGHT_OF_TEN), yardsticks, metric="accuracy", max_drop=0.1)
    assert (report.verdict, report.compared_with, report.expected) == ("degraded", "baseline", 0.95)
    assert report.reasons == ["accuracy 0.8 is worse by more than 0.1 than the 0.95 measured before"]


def test_every_broken_limit_is_a_reason() -> None:
    yardsticks = Yardsticks(declared={"accuracy": 1.0})
    report = judged(many(EIGHT_OF_TEN), yardsticks, metric="accuracy", min=0.9, max_drop=0.1)
    assert len(report.reasons) == 2


def test_a_drop_of_exactly_the_limit_is_allowed() -> None:
    seven_of_ten = [*EIGHT_OF_TEN[:7], *[(True, False)] * 2, EIGHT_OF_TEN[-1]]
    report = judged(seven_of_ten, Yardsticks(declared={"accuracy": 0.8}), metric="accuracy", max_drop=0.1)
    assert (report.value, report.verdict) == (0.7, "ok")  # though 0.8 - 0.7 > 0.1 in floats


@pytest.mark.parametrize(
    ("pairs", "policy", "reason"),
    [
        (EIGHT_OF_TEN[:9], {"metric": "accuracy", "min": 0.1}, "9 labelled predictions; the policy wants 10"),
        ([], {"metric": "accuracy", "min_labels": 0}, "accuracy cannot be measured"),
        ([(0.9, "fraud")] * 10, {"metric": "f1", "min": 0.1}, "quality.positive must be one of those"),
        ([("a", "a")] * 10, {"metric": "mae", "min": 0.1, "min_labels": 0}, "mae cannot be measured"),
        ([(0.9, True)] * 10, {"metric": "auc", "min": 0.1}, "auc cannot be measured"),
        (EIGHT_OF_TEN, {"min": 0.1}, "has a limit, but names no metric"),
        (EIGHT_OF_TEN, {"metric": "accuracy", "max_drop": 0.1}, "no earlier or declared accuracy"),
        ([(1.0, 0)] * 20, {"metric": "mape", "min": 0.1}, "0 labelled predictions; the policy wants 10"),
    ],
)
def test_what_could_not_be_measured_is_neither_good_nor_bad(
    pairs: list[Any], policy: dict[str, Any], reason: str
) -> None:
    report = judged(pairs, **policy)
    assert report.verdict == "insufficient_data"
    assert len(report.reasons) == 1
    assert reason in report.reasons[0]


def test_a_broken_limit_counts_even_where_another_cannot_be_checked() -> None:
    assert judged(many(EIGHT_OF_TEN), metric="accuracy", min=0.9, max_drop=0.1).verdict == "degraded"


def test_what_may_be_chance_is_neither_good_nor_bad() -> None:
    report = judged(EIGHT_OF_TEN, Yardsticks(declared={"accuracy": 0.95}), metric="accuracy", min=0.9, max_drop=0.1)
    assert report.verdict == "insufficient_data"
    assert report.reasons == [
        "accuracy 0.8 is worse than the 0.9 the policy wants, but with 10 labels that may be chance",
        "accuracy 0.8 is worse by more than 0.1 than the 0.95 declared by the package, "
        "but with 10 labels that may be chance",
    ]
    assert report.interval is not None and report.interval.lower < 0.8
    assert report.interval.upper > 0.9


def test_of_two_limits_one_that_is_surely_broken_is_enough() -> None:
    report = judged(
        many(EIGHT_OF_TEN), Yardsticks(declared={"accuracy": 0.91}), metric="accuracy", min=0.9, max_drop=0.1
    )
    assert (report.verdict, len(report.reasons)) == ("degraded", 1)


@pytest.mark.parametrize(("metric", "pairs"), [("accuracy", EIGHT_OF_TEN), ("mae", [(10, 12), (10, 10)])])
def test_a_yardstick_that_was_measured_may_be_off_as_well(metric: str, pairs: list[Any]) -> None:
    """Both are off by chance: it takes more than where one is known."""
    policy = {"metric": metric, "max_drop": 0.0}
    alone = judged(many(pairs), metric=metric)
    assert alone.value is not None and alone.interval is not None
    better = alone.interval.upper - alone.value
    expected = alone.value + 1.2 * (better if metric == "accuracy" else -better)
    assert judged(many(pairs), Yardsticks(declared={metric: expected}), **policy).verdict == "degraded"
    known = Interval(expected - better, expected + better)
    measured = Yardsticks(baseline={metric: expected}, intervals={metric: known})
    assert judged(many(pairs), measured, **policy).verdict == "insufficient_data"
    sure = Yardsticks(baseline={metric: expected}, intervals={metric: Interval(expected, expected)})
    assert judged(many(pairs), sure, **policy).verdict == "degraded"


def test_pairs_that_say_nothing_are_left_out_and_counted() -> None:
    report = judged([*EIGHT_OF_TEN, (None, True), (0.5, None), ({"error": "x"}, True)], metric="accuracy", min=0.8)
    assert (report.verdict, report.n, report.unusable) == ("ok", 10, 3)


def test_without_a_metric_all_that_can_be_measured_is_reported() -> None:
    classes = judged(EIGHT_OF_TEN)
    assert (classes.verdict, classes.metric, classes.value, classes.n) == ("ok", None, None, 10)
    assert classes.values.keys() == {"accuracy", "precision", "recall", "f1", "auc"}
    numbers = judged([*OFF_BY_TWO, (1.0, 0)])
    assert numbers.values == {"mae": pytest.approx(21 / 11), "mape": pytest.approx(0.2)}
    assert (numbers.n, numbers.zero_labels) == (11, 1)


def test_the_threshold_of_scores_can_be_given() -> None:
    policy = QualityPolicy(metric="recall", min_labels=1)
    pairs = [(0.3, True), (0.6, True)]
    values = [quality_report(pairs, policy, Yardsticks(), None, threshold).value for threshold in (0.2, 0.5, 0.7)]
    assert values == [1.0, 0.5, 0.0]
