"""The health of the version that serves, from one look at its endpoint and figures."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from modeldrop.domain.analysis import Limits, SignalResult, Verdict, assess, overall
from modeldrop.domain.serving_metrics import VersionMetrics

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = "healthy", "degraded", "unhealthy", "unknown"


class Look(msgspec.Struct, frozen=True):
    """What one check saw of the live version."""

    available: bool
    loadable: bool | None
    verdict: Verdict
    why: str
    metadata: dict[str, Any] = {}


def look_at(metrics: VersionMetrics, traffic_percent: int, limits: Limits, window_seconds: float) -> Look:
    """What the figures of a window say. Too few requests are no sign of illness."""
    signals = assess(metrics, None, limits)
    verdict, why = overall(signals) if traffic_percent else (Verdict.INCONCLUSIVE, "it has no traffic")
    rate = metrics.error_rate
    figures: dict[str, Any] = {
        "traffic_percent": traffic_percent,
        "window_seconds": window_seconds,
        "requests": metrics.requests,
        "errors": metrics.errors,
        "error_rate": rate,
        "success_rate": None if rate is None else 1 - rate,
        "p95_latency_ms": metrics.p95_ms,
        "thresholds": {"error_rate": limits.max_error_rate, "p95_latency_ms": limits.max_p95_ms},
        "signals": [_row(signal) for signal in signals],
    }
    return Look(traffic_percent > 0, metrics.answering, verdict, why, figures)


def missing(why: str) -> Look:
    """The version is not behind its endpoint."""
    return Look(available=False, loadable=False, verdict=Verdict.FAIL, why=why)


def unmeasured(traffic_percent: int, why: str) -> Look:
    """It is there, but nothing could be measured: no bad sign."""
    return Look(traffic_percent > 0, None, Verdict.ERROR, why, {"traffic_percent": traffic_percent})


def status_of(look: Look, failures: int, failure_limit: int) -> str:
    """``failures``: how many checks in a row have failed, this one included."""
    if not look.available or failures > failure_limit:
        return UNHEALTHY
    if look.verdict is Verdict.FAIL:
        return DEGRADED
    return UNKNOWN if look.verdict is Verdict.ERROR else HEALTHY


def window_start(now: datetime, serving_since: datetime, window_seconds: float) -> datetime:
    """From when on figures count: what was measured before it served alone says nothing of it."""
    return max(now - timedelta(seconds=window_seconds), serving_since)


def _row(signal: SignalResult) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(signal)
    return row
