"""The bounds of metrics hold as often as they say, whatever the metric, the base rate and the number of labels."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.auc import auc
from modeldrop.domain.quality.auc_bounds import auc_bounds
from modeldrop.domain.quality.class_bounds import f1_bounds_of, precision_bounds, recall_bounds
from modeldrop.domain.quality.confusion import confusion
from modeldrop.domain.quality.f1_bounds import f1_bounds
from modeldrop.domain.quality.interval import Interval, mean_of_independent
from modeldrop.domain.quality.mean_bounds import mean_bounds
from modeldrop.domain.quality.report import Yardsticks, quality_report
from modeldrop.domain.quality.share_bounds import share_bounds

ROUNDS = 1_000
MOST_WRONG = 0.08  # of bounds that say 5 %: approximations, small samples, and 1,000 rounds
Random = np.random.Generator


def missed(truth: float, rounds: Iterator[Interval]) -> tuple[float, float]:
    """How often the truth was below the lower bound, and above the upper one."""
    found = list(rounds)
    below = sum(truth < each.lower - 1e-12 for each in found) / len(found)
    return below, sum(truth > each.upper + 1e-12 for each in found) / len(found)


def often(make: Callable[[Random], Interval]) -> Iterator[Interval]:
    random = np.random.default_rng(7)
    return (make(random) for _ in range(ROUNDS))


@pytest.mark.parametrize(("cases", "share"), [(20, 0.5), (100, 0.9), (100, 0.97), (1000, 0.02)])
def test_of_a_share(cases: int, share: float) -> None:
    assert (
        max(missed(share, often(lambda random: share_bounds(int(random.binomial(cases, share)), cases)))) < MOST_WRONG
    )


def test_wilsons_bounds_are_where_the_score_test_turns() -> None:
    for right, cases in ((0, 7), (3, 10), (90, 100), (100, 100)):
        for bound in share_bounds(right, cases):
            if 0 < bound < 1:
                assert abs(right / cases - bound) / math.sqrt(bound * (1 - bound) / cases) == pytest.approx(1.644853627)


@pytest.mark.parametrize(("rows", "base"), [(200, 0.03), (1000, 0.05), (300, 0.5)])
def test_of_f1(rows: int, base: float) -> None:
    hit, alarm = 0.8, 0.02
    true_f1 = 2 * base * hit / (base * hit + (1 - base) * alarm + base)

    def made(random: Random) -> Interval:
        positive = random.random(rows) < base
        said = np.where(positive, random.random(rows) < hit, random.random(rows) < alarm)
        return f1_bounds(int((positive & said).sum()), int(said.sum()), int(positive.sum()))

    assert max(missed(true_f1, often(made))) < MOST_WRONG


@pytest.mark.parametrize(("positive", "others", "apart"), [(10, 90, 1.5), (50, 50, 0.5), (30, 500, 2.5)])
def test_of_an_area(positive: int, others: int, apart: float) -> None:
    """Scores of two normal distributions: the area is Φ(apart/√2)."""
    area = 0.5 * (1 + math.erf(apart / 2))

    def made(random: Random) -> Interval:
        found = auc(random.normal(apart, 1, positive).tolist(), random.normal(0, 1, others).tolist())
        assert found is not None
        return auc_bounds(found, positive, others)

    assert max(missed(area, often(made))) < MOST_WRONG


def test_an_area_at_the_end_is_no_certainty() -> None:
    assert auc_bounds(1.0, 3, 3).lower < 0.9
    assert auc_bounds(0.0, 1, 20).upper > 0.3
    assert auc_bounds(1.0, 3, 3).upper == 1.0
    assert auc_bounds(0.0, 3, 3).lower == 0.0


@pytest.mark.parametrize("rows", [100, 1000])
def test_of_a_mean_error(rows: int) -> None:
    """Absolute errors of a normal distribution: their mean is √(2/π)."""

    def made(random: Random) -> Interval:
        errors = np.abs(random.normal(0, 1, rows)).tolist()
        return mean_bounds(errors, math.fsum(errors) / rows)

    assert max(missed(math.sqrt(2 / math.pi), often(made))) < MOST_WRONG


def test_of_one_error_or_huge_ones_nothing_is_known() -> None:
    for errors in ([3.0], [1e300, 0.0]):
        bounds = mean_bounds(errors, sum(errors) / len(errors))
        assert bounds.lower == 0 and math.isfinite(bounds.upper) and bounds.upper > 1e308


def macro_pairs(random: Random, rows: int) -> list[tuple[str, str]]:
    labels = random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])
    said = np.where(random.random(rows) < 0.7, labels, random.choice(["a", "b", "c"], rows))
    return list(zip(said.tolist(), labels.tolist(), strict=True))


@pytest.mark.parametrize(
    ("bounds", "truth"),
    [(recall_bounds, 0.8), (precision_bounds, (0.48 / 0.52 + 0.24 / 0.31 + 0.08 / 0.17) / 3)],
    ids=["recall", "precision"],
)
def test_of_macro_averages(bounds: Callable[..., Interval], truth: float) -> None:
    rounds = often(lambda random: bounds(confusion(macro_pairs(random, 300)), None))
    assert max(missed(truth, rounds)) < MOST_WRONG


def test_of_macro_f1_at_least_as_often() -> None:
    shares = {"a": (0.48, 0.52, 0.6), "b": (0.24, 0.31, 0.3), "c": (0.08, 0.17, 0.1)}
    truth = sum(2 * right / (said + label) for right, said, label in shares.values()) / 3
    rounds = often(lambda random: f1_bounds_of(confusion(macro_pairs(random, 300)), None))
    assert max(missed(truth, rounds)) < 0.06


def test_without_cases_anything_is_possible() -> None:
    nothing = confusion([])
    assert {precision_bounds(nothing, None), recall_bounds(nothing, "1"), f1_bounds_of(nothing, None)} == {(0.0, 1.0)}
    never_said = precision_bounds(confusion([("a", "a")] * 50 + [("a", "b")] * 50), None)
    assert never_said.upper > 0.7  # b: nobody knows


def test_a_mean_of_many_is_surer_than_each() -> None:
    assert mean_of_independent([0.5] * 4, [Interval(0.3, 0.7)] * 4) == pytest.approx((0.4, 0.6))


@pytest.mark.parametrize(
    ("metric", "rows", "rates", "declared", "drop"),
    [
        ("accuracy", 100, (0.5, 0.9, 0.1), 0.9, 0.03),
        ("recall", 100, (0.05, 0.8, 0.02), 0.8, 0.05),
        ("recall", 1000, (0.02, 0.8, 0.01), 0.8, 0.05),
        ("f1", 200, (0.03, 0.8, 0.01), 0.75, 0.1),
    ],
)
def test_where_nothing_changed_hardly_a_window_is_degraded(
    metric: str, rows: int, rates: tuple[float, float, float], declared: float, drop: float
) -> None:
    """The shares that judged the bare value were 14 to 32 %."""
    base, hit, alarm = rates
    random = np.random.default_rng(1)
    policy = QualityPolicy(metric=metric, max_drop=drop, min_labels=100)  # type: ignore[arg-type]
    degraded = 0
    for _ in range(300):
        labels = random.random(rows) < base
        said = np.where(labels, random.random(rows) < hit, random.random(rows) < alarm)
        pairs = list(zip(said.tolist(), labels.tolist(), strict=True))
        report = quality_report(pairs, policy, Yardsticks(declared={metric: declared}), 1.0)
        degraded += report.verdict == "degraded"
    assert degraded / 300 <= 0.05


def test_what_really_dropped_is_still_found() -> None:
    random = np.random.default_rng(2)
    policy = QualityPolicy(metric="accuracy", max_drop=0.05, min_labels=100)
    found = 0
    for _ in range(100):
        right = random.random(500) < 0.78
        report = quality_report(
            [(True, bool(each)) for each in right], policy, Yardsticks(declared={"accuracy": 0.9}), 1.0
        )
        found += report.verdict == "degraded"
    assert found > 80
