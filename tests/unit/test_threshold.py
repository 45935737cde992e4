"""A new decision threshold: which one, and when none is proposed."""

import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.packages import VERSION_NAME
from modeldrop.domain.retraining.threshold import (
    LEAST_GAIN,
    TWO_SIDED_95_PERCENT,
    Proposal,
    between,
    decisions,
    proposal_name,
    propose,
)

WINDOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
SCORES = st.lists(st.sampled_from([n / 50 for n in range(51)]) | st.floats(0, 1), min_size=1, max_size=300)


def normal(count: int, mean: float, seed: str) -> list[float]:
    chance = random.Random(seed)
    return [chance.gauss(mean, 0.1) for _ in range(count)]


def share(scores: list[float], threshold: float) -> float:
    return sum(score >= threshold for score in scores) / len(scores)


def test_the_share_of_positives_comes_back() -> None:
    baseline, current = normal(5_000, 0.42, "baseline"), normal(4_096, 0.47, "current")
    made = propose(baseline, current, 0.5)
    assert made is not None
    assert made.baseline_rate == share(baseline, 0.5) == pytest.approx(0.21, abs=0.02)
    assert made.current_rate == share(current, 0.5) == pytest.approx(0.38, abs=0.03)
    assert made.rate == share(current, made.threshold)
    assert abs(made.rate - made.baseline_rate) <= 1 / 4_096
    assert made.threshold == pytest.approx(0.55, abs=0.01)
    assert (made.rows, made.baseline_rows) == (4_096, 5_000)


def test_down_as_well_as_up() -> None:
    made = propose(normal(1_000, 0.5, "a"), normal(1_000, 0.4, "b"), 0.5)
    assert made is not None
    assert made.threshold == pytest.approx(0.4, abs=0.02)


def test_decisions_are_a_baseline_too() -> None:
    current = [n / 1_000 for n in range(1_000)]
    made = propose([True] * 200 + [False] * 800 + [None] * 50, current, 0.5)
    assert made is not None
    assert (made.threshold, made.rate, made.baseline_rate, made.baseline_rows) == (0.7995, 0.2, 0.2, 1_000)
    assert propose([1] * 200 + [0] * 800, current, 0.5) == made, "tables write them as 1 and 0"


def test_the_baseline_may_have_a_threshold_of_its_own() -> None:
    """The rows an applied proposal took along: with the new threshold their share would be another one."""
    scores = [n / 1_000 for n in range(1_000)]
    assert propose(scores, scores, 0.8) is None
    made = propose(scores, scores, 0.8, baseline_threshold=0.5)
    assert made is not None
    assert (made.threshold, made.baseline_rate) == (0.4995, 0.5)


def test_equal_scores_stay_on_one_side() -> None:
    """A threshold is none of the scores where there is room, and what the share can be, the ties decide."""
    current = [0.2] * 300 + [0.4] * 300 + [0.6] * 250 + [0.8] * 150
    made = propose([True] * 200 + [False] * 800, current, 0.5)
    assert made == Proposal(0.7, 0.15, 0.4, 0.2, 1_000, 1_000)
    made = propose([True] * 690 + [False] * 310, current, 0.5)
    assert made == Proposal(0.3, 0.7, 0.4, 0.69, 1_000, 1_000)


def test_of_two_as_near_the_one_nearer_the_present_threshold() -> None:
    """Shares of 10 % and 30 % are as far from 20 %."""
    current = [0.1] * 100 + [0.3] * 300 + [0.6] * 300 + [0.8] * 200 + [0.9] * 100
    for present, expected in ((0.5, 0.7), (0.2, 0.7)):
        made = propose([True] * 200 + [False] * 800, current, present)
        assert made is not None
        assert (made.threshold, made.rate) == (expected, 0.3)
    upside_down = [1 - score for score in current]
    made = propose([True] * 800 + [False] * 200, upside_down, 0.95)
    assert made is not None
    assert (made.threshold, made.rate) == (0.3, 0.7)


def test_nothing_to_gain() -> None:
    scores = normal(2_000, 0.5, "a")
    assert propose(scores, scores, 0.5) is None, "nothing has moved"
    assert propose(scores, normal(2_000, 0.5, "b"), 0.5) is None, "chance"
    assert propose([0.1] * 500, [0.2] * 499 + [0.3], 0.5) is None, "no positives then and now"
    assert propose([True] * 700 + [False] * 300, [0.3] * 700 + [0.9] * 300, 0.5) is None, "only all or nothing is left"
    assert propose([True] * 700 + [False] * 300, [0.5] * 1_000, 0.6) is None, "all scores are equal"
    ties = [0.1] * 500 + [0.4] * 430 + [0.9] * 70
    assert propose([True] * 200 + [False] * 800, ties, 0.05) is not None
    assert propose([True] * 285 + [False] * 715, ties, 0.3) is None, "7 % is hardly nearer to 28.5 % than 50 %"
    assert LEAST_GAIN == 0.5


def test_one_score_stays_on_each_side() -> None:
    current = [n / 1_000 for n in range(1_000)]
    for decision, rate in ((True, 0.999), (False, 0.001)):
        made = propose([decision] * 1_000, current, 0.5)
        assert made is not None
        assert made.rate == rate


def test_chance_is_told_by_the_number_of_rows() -> None:
    """23 % after 20 %: chance among 1,000 rows, none among 10,000."""
    for factor, is_chance in ((1, True), (10, False)):
        baseline = [True] * (200 * factor) + [False] * (800 * factor)
        current = [0.3 + n / 1e6 for n in range(770 * factor)] + [0.7 + n / 1e6 for n in range(230 * factor)]
        z = 0.03 / math.sqrt(0.215 * 0.785 * 2 / (1_000 * factor))
        assert (z < TWO_SIDED_95_PERCENT) is is_chance
        assert (propose(baseline, current, 0.5) is None) is is_chance


def test_too_few_rows() -> None:
    baseline, current = [True] * 200 + [False] * 800, [n / 300 for n in range(300)]
    assert propose(baseline, current, 0.5, fewest_rows=300) is not None
    assert propose(baseline, current, 0.5, fewest_rows=301) is None
    assert propose(baseline[:250], current, 0.5, fewest_rows=300) is None
    assert propose(baseline, [], 0.5, fewest_rows=0) is None
    assert propose([], current, 0.5, fewest_rows=0) is None
    assert propose(baseline, current + [None] * 500, 0.5, fewest_rows=301) is None, "what is missing is no row"


def test_what_is_no_score() -> None:
    baseline = [True] * 200 + [False] * 800
    scores = [n / 1_000 for n in range(1_000)]
    for values in (["fraud"] * 1_000, [True, False] * 500, [0, 1] * 500, [{"a": 1}] * 1_000, [math.nan] * 1_000):
        assert propose(baseline, values, 0.5) is None
    assert propose([True] * 600 + [False] * 400, [0, 1] * 500, 3.0) is None, "decisions, by a threshold of scores"
    assert propose(["fraud"] * 1_000, scores, 0.5) is None
    assert propose([True] * 500 + [0.3] * 500, scores, 0.5) is None, "neither decisions nor scores"
    few, many = ["?"] * 50, ["?"] * 60
    assert propose(baseline, scores + few, 0.5) == propose(baseline, scores, 0.5)
    assert propose(baseline, scores + many, 0.5) is None
    assert propose(baseline + many, scores, 0.5) is None


def test_decisions() -> None:
    assert decisions([0.5, None, 0.49], 0.5) == [True, False], "as the scorecard: at the threshold is above it"
    assert decisions([None], 0.5) is None
    assert decisions([0, 1], 0.5) == decisions([0, 1], 7.5) == [False, True]
    assert decisions([0, 1, 7], 5.0) == [False, False, True], "whole numbers are scores if any is another"


@given(SCORES, SCORES, st.sampled_from([0.1, 0.5, 0.9]))
def test_no_other_threshold_comes_nearer(baseline: list[float], current: list[float], threshold: float) -> None:
    made = propose(baseline, current, threshold)
    if made is None:
        return
    assert made.rate == share(current, made.threshold)
    assert 0 < made.rate < 1
    gap = abs(made.rate - made.baseline_rate)
    assert gap <= LEAST_GAIN * abs(made.current_rate - made.baseline_rate) + 1e-12
    decided = decisions(baseline, threshold)
    assert decided is not None
    assert made.baseline_rate == sum(decided) / len(decided)
    possible = {share(current, score) for score in current} - {1.0}
    assert gap <= min(abs(rate - made.baseline_rate) for rate in possible) + 1e-12


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_threshold_between_any_two_scores(one: float, other: float) -> None:
    low, high = sorted((one, other))
    if low < high:
        assert low < between(low, high) <= high


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.4, 0.41, 0.405), (0.1, 0.9, 0.5), (1e-9, 3e-9, 2e-9), (-1e308, 1.7e308, 3e307), (-0.0, 5e-324, 5e-324)],
)
def test_few_digits_are_enough(low: float, high: float, expected: float) -> None:
    assert between(low, high) == expected


def test_names_are_names_of_versions() -> None:
    long = "v" * 128
    named = [proposal_name(version, WINDOW) for version in ("v2", "20260110T120000Z_3f9c2d1", long, long[:-1] + "w")]
    assert named[0] == "v2-threshold-20260301T100000Z"
    assert all(VERSION_NAME.fullmatch(name) for name in named)
    assert len({*named}) == 4
    assert len(named[2]) == 128
    assert proposal_name(named[2], WINDOW) == named[2], "names do not grow"
