"""What a step of a rollout, or a live version, is judged by: three-valued, and "could not measure" apart.

Each signal looks at the candidate and, where there is one, at the stable version over the same time, so that trouble
both have (bad requests, a slow network) is not laid at the candidate's door.
"""

from datetime import datetime
from enum import StrEnum
from math import sqrt

import msgspec

from modeldrop.domain.policy import HealthPolicy, RolloutPolicy
from modeldrop.domain.serving_metrics import VersionMetrics

NOTICEABLY_SLOWER = 1.1
"""A candidate within a tenth of the stable version's latency is as fast, where both are over the limit."""
ONE_SIDED_95_PERCENT = 1.645
"""Standard deviations beyond which a difference is no chance."""


class Verdict(StrEnum):
    """What a measurement says."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"  # too little to tell by
    ERROR = "error"  # it could not be measured


class Limits(msgspec.Struct, frozen=True):
    """What is good enough. Fixed for a rollout when it opens."""

    min_requests: int = 100
    max_error_rate: float = 0.01
    max_p95_ms: float | None = None
    max_prediction_drift: float | None = None  # Jensen-Shannon distance between candidate and stable version


class SignalResult(msgspec.Struct, frozen=True):
    """One signal's figures, for candidate and stable, and what they say."""

    name: str  # containers | error_rate | p95_latency_ms | prediction_distribution
    verdict: Verdict
    candidate: float | None
    stable: float | None
    limit: float | None
    why: str


class Measurement(msgspec.Struct, frozen=True):
    """What was seen between ``since`` and ``at``, and the verdict over all signals."""

    at: datetime
    since: datetime
    percent: int  # the candidate's share of traffic meanwhile
    verdict: Verdict
    why: str
    requests: int = 0
    stable_requests: int = 0
    stable_answering: bool | None = None
    signals: list[SignalResult] = []


def limits_of(policy: RolloutPolicy) -> Limits:
    """What a step of a rollout must keep."""
    return Limits(policy.min_requests, policy.max_error_rate, policy.max_p95_ms, policy.max_prediction_drift)


def health_limits(health: HealthPolicy, rollout: RolloutPolicy) -> Limits:
    """What a live version must keep: the health policy's limits, and the rollout's where it has none."""
    return Limits(
        rollout.min_requests if health.min_requests is None else health.min_requests,
        rollout.max_error_rate if health.max_error_rate is None else health.max_error_rate,
        rollout.max_p95_ms if health.max_p95_ms is None else health.max_p95_ms,
    )


def assess(candidate: VersionMetrics, stable: VersionMetrics | None, limits: Limits) -> list[SignalResult]:
    """Every signal that was measured.

    >>> limits = Limits(min_requests=100, max_error_rate=0.01)
    >>> bad, good = VersionMetrics(requests=200, errors=20), VersionMetrics(requests=900, errors=1)
    >>> [(signal.name, signal.verdict.value) for signal in assess(bad, good, limits)]
    [('error_rate', 'fail'), ('p95_latency_ms', 'pass')]
    >>> [signal.verdict.value for signal in assess(bad, VersionMetrics(requests=900, errors=99), limits)]
    ['inconclusive', 'pass']
    """
    signals = [] if candidate.answering is None else [_containers(candidate, stable)]
    return [*signals, _error_rate(candidate, stable, limits), _latency(candidate, stable, limits)]


def overall(signals: list[SignalResult]) -> tuple[Verdict, str]:
    """The worst of the signals, and why."""
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        reasons = [signal.why for signal in signals if signal.verdict is verdict]
        if reasons:
            return verdict, "; ".join(reasons)
    return Verdict.PASS, "; ".join(signal.why for signal in signals)


def _containers(candidate: VersionMetrics, stable: VersionMetrics | None) -> SignalResult:
    other = None if stable is None or stable.answering is None else float(stable.answering)
    verdict = Verdict.PASS if candidate.answering else Verdict.FAIL
    why = "its containers answer" if candidate.answering else "its containers do not answer"
    return SignalResult("containers", verdict, float(bool(candidate.answering)), other, None, why)


def _error_rate(candidate: VersionMetrics, stable: VersionMetrics | None, limits: Limits) -> SignalResult:
    rate, limit = candidate.error_rate, limits.max_error_rate
    other = stable.error_rate if stable else None

    def result(verdict: Verdict, why: str) -> SignalResult:
        return SignalResult("error_rate", verdict, rate, other, limit, why)

    if candidate.requests < limits.min_requests:
        return result(Verdict.INCONCLUSIVE, f"{candidate.requests} requests of at least {limits.min_requests}")
    if rate is None:
        return result(Verdict.PASS, "no requests, and none asked for")
    seen = f"{candidate.errors} of {candidate.requests} requests failed ({rate:.2%}, at most {limit:.2%})"
    if rate <= limit:
        return result(Verdict.PASS, seen)
    if stable is None or other is None or stable.requests < limits.min_requests:
        return result(Verdict.FAIL, seen)
    if _is_worse(candidate, stable):
        return result(Verdict.FAIL, f"{seen}, and of the stable version {other:.2%}")
    return result(Verdict.INCONCLUSIVE, f"{seen}, but no more than of the stable version ({other:.2%}), beyond chance")


def _is_worse(candidate: VersionMetrics, stable: VersionMetrics) -> bool:
    """Whether the candidate fails more often, beyond chance: the two-proportion z-test with the pooled variance."""
    pooled = (candidate.errors + stable.errors) / (candidate.requests + stable.requests)
    deviation = sqrt(pooled * (1 - pooled) * (1 / candidate.requests + 1 / stable.requests))
    difference = candidate.errors / candidate.requests - stable.errors / stable.requests
    return difference > ONE_SIDED_95_PERCENT * deviation


def _latency(candidate: VersionMetrics, stable: VersionMetrics | None, limits: Limits) -> SignalResult:
    value, limit = candidate.p95_ms, limits.max_p95_ms
    other = stable.p95_ms if stable else None

    def result(verdict: Verdict, why: str) -> SignalResult:
        return SignalResult("p95_latency_ms", verdict, value, other, limit, why)

    if value is None and candidate.requests and limit is not None:
        return result(Verdict.INCONCLUSIVE, "no latencies are known yet")
    if value is None:
        return result(Verdict.PASS, "no latency without requests")
    if limit is None or value <= limit:
        return result(Verdict.PASS, f"95 % answered within {value:.0f} ms")
    seen = f"95 % answered within {value:.0f} ms only (at most {limit:g} ms)"
    if candidate.requests < limits.min_requests:
        return result(Verdict.INCONCLUSIVE, seen)
    if other is not None and other > limit and value <= NOTICEABLY_SLOWER * other:
        return result(Verdict.INCONCLUSIVE, f"{seen}, but the stable version took {other:.0f} ms as well")
    return result(Verdict.FAIL, seen)
