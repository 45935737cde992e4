"""What a step is judged by: candidate against stable, three-valued, every rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from modeldrop.domain.analysis import (
    ONE_SIDED_95_PERCENT,
    Limits,
    SignalResult,
    Verdict,
    assess,
    health_limits,
    limits_of,
    overall,
)
from modeldrop.domain.policy import HealthPolicy, RolloutPolicy
from modeldrop.domain.serving_metrics import VersionMetrics

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
LIMITS = Limits(min_requests=100, max_error_rate=0.01, max_p95_ms=200)
GOOD = VersionMetrics(requests=1000, errors=0, p95_ms=50)


def signal(
    name: str, candidate: VersionMetrics, stable: VersionMetrics | None, limits: Limits = LIMITS
) -> SignalResult:
    (found,) = [each for each in assess(candidate, stable, limits) if each.name == name]
    return found


@pytest.mark.parametrize(
    ("candidate", "stable", "verdict"),
    [
        ((100, 1), GOOD, PASS),  # at the limit
        ((100, 2), GOOD, FAIL),
        ((99, 0), GOOD, INCONCLUSIVE),  # too few
        ((99, 99), GOOD, INCONCLUSIVE),  # too few, however bad
        ((0, 0), GOOD, INCONCLUSIVE),
        ((200, 20), None, FAIL),  # nobody to compare with
        ((200, 20), VersionMetrics(), FAIL),  # nobody who answers requests
        ((200, 20), VersionMetrics(requests=99, errors=99), FAIL),  # of whom too little is known
        ((200, 20), VersionMetrics(requests=100, errors=1), FAIL),  # who keeps the limit
        ((200, 20), VersionMetrics(requests=900, errors=99), INCONCLUSIVE),  # as bad
        ((200, 1), VersionMetrics(requests=900, errors=99), PASS),
        ((200, 80), VersionMetrics(requests=900, errors=99), FAIL),  # both bad, and this one worse
        ((200, 200), VersionMetrics(requests=900, errors=900), INCONCLUSIVE),  # all fails: no deviation at all
    ],
)
def test_error_rate(candidate: tuple[int, int], stable: VersionMetrics | None, verdict: Verdict) -> None:
    found = signal("error_rate", VersionMetrics(*candidate), stable)
    assert found.verdict is verdict
    assert found.candidate == (candidate[1] / candidate[0] if candidate[0] else None)
    assert found.stable == (stable.error_rate if stable else None)
    assert found.limit == 0.01


def test_where_no_requests_are_asked_for_none_are_missed() -> None:
    """A step at 0 %, or a first version nobody asks yet; what does come is judged all the same."""
    nothing_asked = Limits(min_requests=0, max_error_rate=0.01)
    assert overall(assess(VersionMetrics(), GOOD, nothing_asked))[0] is PASS
    assert overall(assess(VersionMetrics(), None, nothing_asked))[0] is PASS
    assert signal("error_rate", VersionMetrics(1, 1), GOOD, nothing_asked).verdict is FAIL


# (candidate's requests, stable's errors and requests): the smallest number of the candidate's errors whose difference
# is significant on one side at 5 %, by the chi-squared test of scipy 1.17 without correction (z = its square root).
GOLDEN = [(1000, (200, 10_000), 28), (200, (30, 1000), 11), (100, (5, 100), 12), (5000, (1500, 100_000), 90)]


@pytest.mark.parametrize(("requests", "stable", "worse_from"), GOLDEN)
def test_worse_than_stable_by_the_two_proportion_test(requests: int, stable: tuple[int, int], worse_from: int) -> None:
    other = VersionMetrics(requests=stable[1], errors=stable[0])
    assert signal("error_rate", VersionMetrics(requests, worse_from - 1), other).verdict is INCONCLUSIVE
    assert signal("error_rate", VersionMetrics(requests, worse_from), other).verdict is FAIL


@given(st.integers(100, 2000), st.integers(100, 5000), st.data())
def test_the_test_agrees_with_scipy(requests: int, stable_requests: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(2, requests - 1).filter(lambda n: n / requests > 0.01))
    stable_errors = data.draw(st.integers(2, stable_requests - 1).filter(lambda n: n / stable_requests > 0.01))
    table = [[errors, requests - errors], [stable_errors, stable_requests - stable_errors]]
    z = chi2_contingency(table, correction=False).statistic ** 0.5
    is_higher = errors * stable_requests > stable_errors * requests
    expected = FAIL if is_higher and z > ONE_SIDED_95_PERCENT else INCONCLUSIVE
    found = signal("error_rate", VersionMetrics(requests, errors), VersionMetrics(stable_requests, stable_errors))
    assert found.verdict is expected or abs(z - ONE_SIDED_95_PERCENT) < 1e-9


@pytest.mark.parametrize(
    ("p95", "requests", "stable_p95", "limit", "verdict"),
    [
        (None, 0, 50, 200, PASS),
        (1e6, 1000, 50, None, PASS),  # no limit
        (200, 1000, 50, 200, PASS),  # at the limit
        (201, 1000, 50, 200, FAIL),
        (201, 1000, None, 200, FAIL),
        (201, 1000, 200, 200, FAIL),  # the stable version keeps it
        (201, 99, 50, 200, INCONCLUSIVE),  # too few to tell
        (330, 1000, 300, 200, INCONCLUSIVE),  # both slow, this one by a tenth
        (331, 1000, 300, 200, FAIL),
        (250, 1000, 300, 200, INCONCLUSIVE),
    ],
)
def test_p95_latency(
    p95: float | None, requests: int, stable_p95: float | None, limit: float | None, verdict: Verdict
) -> None:
    candidate = VersionMetrics(requests, 0, p95)
    stable = VersionMetrics(1000, 0, stable_p95)
    found = signal("p95_latency_ms", candidate, stable, Limits(100, 0.01, limit))
    assert (found.verdict, found.candidate, found.stable, found.limit) == (verdict, p95, stable_p95, limit)
    alone = signal("p95_latency_ms", candidate, None, Limits(100, 0.01, limit))
    assert alone.verdict is (FAIL if verdict is INCONCLUSIVE and requests >= 100 else verdict)


@pytest.mark.parametrize(("answering", "verdict"), [(True, PASS), (False, FAIL)])
def test_containers(answering: bool, verdict: Verdict) -> None:
    found = signal("containers", VersionMetrics(answering=answering), VersionMetrics(answering=True))
    assert (found.verdict, found.candidate, found.stable) == (verdict, float(answering), 1.0)
    assert signal("containers", VersionMetrics(answering=answering), None).stable is None


def test_where_nothing_tells_of_containers_there_is_no_such_signal() -> None:
    names = [each.name for each in assess(VersionMetrics(answering=None), VersionMetrics(answering=True), LIMITS)]
    assert names == ["error_rate", "p95_latency_ms"]


def result(verdict: Verdict, why: str) -> SignalResult:
    return SignalResult("error_rate", verdict, None, None, None, why)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, Verdict.ERROR, PASS], Verdict.ERROR),
        ([Verdict.ERROR, INCONCLUSIVE, FAIL, PASS], FAIL),
    ],
)
def test_the_worst_signal_decides_and_says_why(verdicts: list[Verdict], expected: Verdict) -> None:
    verdict, why = overall([result(each, f"{number}") for number, each in enumerate(verdicts)])
    assert verdict is expected
    assert why == "; ".join(str(number) for number, each in enumerate(verdicts) if each is expected)


def test_limits_of_a_live_version_are_those_of_the_rollout_where_it_has_none() -> None:
    rollout = RolloutPolicy(min_requests=7, max_error_rate=0.5, max_p95_ms=9)
    assert limits_of(rollout) == Limits(7, 0.5, 9)
    assert health_limits(HealthPolicy(), rollout) == Limits(7, 0.5, 9)
    own = HealthPolicy(min_requests=0, max_error_rate=0.0, max_p95_ms=1)
    assert health_limits(own, rollout) == Limits(0, 0.0, 1), "zero is a limit"
