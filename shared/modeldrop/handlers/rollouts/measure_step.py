"""One measurement of a rollout's step: candidate and stable version over the same time."""

from datetime import datetime

import msgspec

from modeldrop.domain.analysis import Limits, Measurement, Verdict, assess, overall
from modeldrop.domain.rollout import Rollout, with_measurement
from modeldrop.domain.serving_metrics import VersionMetrics
from modeldrop.errors import ModeldropError
from modeldrop.handlers.rollouts.compare_predictions import compare_predictions
from modeldrop.ports import Endpoint
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def measure_step(services: Services, slot: Stored[Rollout], endpoint: Endpoint | None, since: datetime) -> None:
    """Measure and store; raises Conflict if somebody else did so meanwhile."""
    assert endpoint is not None
    measurement = _measure(services, slot.value, endpoint, since)
    services.registry.commit([slot.write(with_measurement(slot.value, measurement))])


def _measure(services: Services, rollout: Rollout, endpoint: Endpoint, since: datetime) -> Measurement:
    until = services.clock()
    percent = endpoint.traffic.get(rollout.version, 0)
    try:
        measured = services.metrics.measure(endpoint, since, until)
        predicted = compare_predictions(services, rollout, since, until) if 0 < percent < 100 else None
    except ModeldropError as error:
        return Measurement(services.clock(), since, percent, Verdict.ERROR, str(error)[:1000])
    candidate = measured.get(rollout.version, VersionMetrics())
    stable = measured.get(rollout.stable, VersionMetrics()) if rollout.stable else None
    signals = assess(candidate, stable, _limits(rollout, percent)) + ([predicted] if predicted else [])
    verdict, why = overall(signals)
    return Measurement(
        at=services.clock(),  # when it was done: one that takes longer than the interval is not due again at once
        since=since,
        percent=percent,
        verdict=verdict,
        why=why[:1000],
        requests=candidate.requests,
        stable_requests=stable.requests if stable else 0,
        stable_answering=stable.answering if stable else None,
        signals=signals,
    )


def _limits(rollout: Rollout, percent: int) -> Limits:
    """No requests are asked for where none can come, nor where nobody else could answer them."""
    if percent and rollout.stable:
        return rollout.limits
    return msgspec.structs.replace(rollout.limits, min_requests=0)
