"""The health of a live version, from one look."""

from datetime import UTC, datetime, timedelta

import pytest

from modeldrop.domain.analysis import Limits, Verdict
from modeldrop.domain.health import (
    DEGRADED,
    HEALTHY,
    UNHEALTHY,
    UNKNOWN,
    Look,
    look_at,
    missing,
    status_of,
    unmeasured,
    window_start,
)
from modeldrop.domain.serving_metrics import VersionMetrics

LIMITS = Limits(min_requests=100, max_error_rate=0.01, max_p95_ms=200)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_look_has_every_figure_of_its_window() -> None:
    look = look_at(VersionMetrics(200, 1, 35.5, answering=True), 95, LIMITS, 3600)
    assert (look.available, look.loadable, look.verdict) == (True, True, Verdict.PASS)
    signals = look.metadata.pop("signals")
    assert look.metadata == {
        "traffic_percent": 95,
        "window_seconds": 3600,
        "requests": 200,
        "errors": 1,
        "error_rate": 0.005,
        "success_rate": 0.995,
        "p95_latency_ms": 35.5,
        "thresholds": {"error_rate": 0.01, "p95_latency_ms": 200},
    }
    assert [(row["name"], row["verdict"]) for row in signals] == [
        ("containers", "pass"),
        ("error_rate", "pass"),
        ("p95_latency_ms", "pass"),
    ]


@pytest.mark.parametrize(
    ("metrics", "verdict"),
    [
        (VersionMetrics(200, 2, 35, answering=True), Verdict.PASS),
        (VersionMetrics(200, 3, 35, answering=True), Verdict.FAIL),
        (VersionMetrics(200, 0, 201, answering=True), Verdict.FAIL),
        (VersionMetrics(200, 0, 35, answering=False), Verdict.FAIL),
        (VersionMetrics(99, 99, 35, answering=True), Verdict.INCONCLUSIVE),
        (VersionMetrics(), Verdict.INCONCLUSIVE),
    ],
)
def test_what_the_figures_say(metrics: VersionMetrics, verdict: Verdict) -> None:
    look = look_at(metrics, 100, LIMITS, 60)
    assert (look.verdict, look.loadable) == (verdict, metrics.answering)


def test_without_requests_there_are_no_rates() -> None:
    look = look_at(VersionMetrics(), 100, LIMITS, 60)
    assert (look.metadata["error_rate"], look.metadata["success_rate"]) == (None, None)


def test_without_traffic_it_is_not_available_and_its_figures_are_not_held_against_it() -> None:
    look = look_at(VersionMetrics(200, 100, 35, answering=True), 0, LIMITS, 60)
    assert (look.available, look.loadable) == (False, True)
    assert (look.verdict, look.why) == (Verdict.INCONCLUSIVE, "it has no traffic")


def test_one_that_is_gone_fails_and_one_that_could_not_be_measured_does_not() -> None:
    gone = missing("not deployed")
    assert (gone.available, gone.loadable, gone.verdict, gone.why) == (False, False, Verdict.FAIL, "not deployed")
    dark = unmeasured(100, "no answer")
    assert (dark.available, dark.loadable, dark.verdict, dark.why) == (True, None, Verdict.ERROR, "no answer")
    assert unmeasured(0, "no answer").available is False


def look(verdict: Verdict, *, available: bool = True) -> Look:
    return Look(available, None, verdict, "")


@pytest.mark.parametrize(
    ("seen", "failures", "status"),
    [
        (look(Verdict.PASS), 0, HEALTHY),
        (look(Verdict.INCONCLUSIVE), 0, HEALTHY),  # too few requests are no sign of illness
        (look(Verdict.FAIL), 1, DEGRADED),
        (look(Verdict.FAIL), 2, DEGRADED),  # as many as the limit
        (look(Verdict.FAIL), 3, UNHEALTHY),
        (look(Verdict.ERROR), 0, UNKNOWN),
        (look(Verdict.ERROR), 3, UNHEALTHY),  # nothing says that it is well again
        (look(Verdict.PASS, available=False), 0, UNHEALTHY),
        (look(Verdict.ERROR, available=False), 0, UNHEALTHY),
    ],
)
def test_status(seen: Look, failures: int, status: str) -> None:
    assert status_of(seen, failures, failure_limit=2) == status


def test_figures_count_from_when_it_began_to_serve_but_no_longer_than_the_window() -> None:
    assert window_start(NOW, NOW - timedelta(seconds=10), 60) == NOW - timedelta(seconds=10)
    assert window_start(NOW, NOW - timedelta(days=1), 60) == NOW - timedelta(seconds=60)
