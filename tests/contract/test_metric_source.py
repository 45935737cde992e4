"""Every sentence of the MetricSource port, on every adapter."""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from modeldrop.errors import Unavailable
from modeldrop.ports import VersionMetrics
from tests.contract.metric_source_system import MetricSourceSystem
from tests.contract.monitoring_system import (  # noqa: F401 (fixtures)
    monitoring_metrics,
    monitoring_server,
    monitoring_system,
)
from tests.contract.router_metrics_system import router_metrics_system  # noqa: F401 (a fixture)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture(params=["router_metrics", "monitoring"])
def system(request: pytest.FixtureRequest) -> MetricSourceSystem:
    return request.getfixturevalue(f"{request.param}_system")  # type: ignore[no-any-return]


def moment(system: MetricSourceSystem, number: int) -> datetime:
    """The times of the suite, one resolution apart."""
    return NOON + timedelta(seconds=number * system.resolution_seconds)


def requests(
    system: MetricSourceSystem, since: int, until: int, version: str = "v1", model: str = "fraud"
) -> tuple[int, int]:
    """Requests and errors of one version between two of the suite's times."""
    endpoint = system.endpoint([version], model)
    measured = system.source.measure(endpoint, moment(system, since), moment(system, until))
    assert measured.keys() == {version}
    return measured[version].requests, measured[version].errors


def test_a_version_without_requests_has_zeros(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1", "v2"])
    measured = system.source.measure(endpoint, moment(system, 0), moment(system, 10))
    assert measured == {"v1": VersionMetrics(), "v2": VersionMetrics()}
    assert measured["v1"].error_rate is None
    system.answered(endpoint, "v1", moment(system, 3))
    measured = system.source.measure(endpoint, moment(system, 0), moment(system, 10))
    assert measured["v2"] == VersionMetrics()
    assert measured["v1"].requests == 1


def test_an_endpoint_without_versions_has_no_measurements(system: MetricSourceSystem) -> None:
    system.answered(system.endpoint(["v1"]), "v1", moment(system, 3))
    assert system.source.measure(system.endpoint([]), moment(system, 0), moment(system, 10)) == {}


def test_a_span_has_its_start_and_not_its_end(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1"])
    for number in range(6):
        system.answered(endpoint, "v1", moment(system, number), count=10**number)
    assert requests(system, 2, 4) == (1_100, 0)
    assert requests(system, 0, 6) == (111_111, 0)
    assert requests(system, -5, 0) == (0, 0)
    assert requests(system, 6, 9) == (0, 0)
    for number in range(6):
        assert requests(system, number, number + 1) == (10**number, 0)
        assert requests(system, number, number) == (0, 0)
        before, after = requests(system, 0, number), requests(system, number, 6)
        assert before[0] + after[0] == 111_111


def test_requests_of_one_time_are_added_and_later_ones_are_seen(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1"])
    for total in range(1, 4):
        system.answered(endpoint, "v1", moment(system, 3), count=5)
        system.answered(endpoint, "v1", moment(system, 3), status_ok=False, count=2)
        assert requests(system, 3, 4) == (7 * total, 2 * total)


def test_versions_are_measured_apart(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1", "v2", "v3"])
    system.answered(endpoint, "v1", moment(system, 1), count=95, latency_ms=10)
    system.answered(endpoint, "v2", moment(system, 1), count=5, latency_ms=1_000)
    system.answered(endpoint, "v2", moment(system, 2), count=3, latency_ms=1_000, status_ok=False)
    measured = system.source.measure(endpoint, moment(system, 0), moment(system, 10))
    assert {version: (m.requests, m.errors) for version, m in measured.items()} == {
        "v1": (95, 0),
        "v2": (8, 3),
        "v3": (0, 0),
    }
    assert measured["v1"].p95_ms == pytest.approx(10, rel=system.p95_tolerance)
    assert measured["v2"].p95_ms == pytest.approx(1_000, rel=system.p95_tolerance)
    assert measured["v3"].p95_ms is None


def test_only_what_is_behind_the_endpoint_is_measured(system: MetricSourceSystem) -> None:
    before = system.endpoint(["v1", "v2"])
    system.answered(before, "v1", moment(system, 1), count=3)
    system.answered(before, "v2", moment(system, 1), count=4)
    now = system.endpoint(["v2", "never-asked"])
    measured = system.source.measure(now, moment(system, 0), moment(system, 10))
    assert {version: m.requests for version, m in measured.items()} == {"v2": 4, "never-asked": 0}


def test_models_are_measured_apart_though_their_versions_have_one_name(system: MetricSourceSystem) -> None:
    for number, model in enumerate(("fraud", "fraud-eu", "frau"), start=1):
        endpoint = system.endpoint(["v1"], model)
        system.answered(endpoint, "v1", moment(system, 1), count=10 * number)
        system.answered(endpoint, "v1", moment(system, 1), count=number, status_ok=False)
    assert requests(system, 0, 10) == (11, 1)
    assert requests(system, 0, 10, model="fraud-eu") == (22, 2)
    assert requests(system, 0, 10, model="frau") == (33, 3)
    assert requests(system, 0, 10, model="nobody") == (0, 0)


def test_errors_are_requests_too(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1", "v2"])
    system.answered(endpoint, "v1", moment(system, 1), count=30)
    system.answered(endpoint, "v1", moment(system, 2), status_ok=False, count=10)
    system.answered(endpoint, "v2", moment(system, 1), status_ok=False, count=7)
    measured = system.source.measure(endpoint, moment(system, 0), moment(system, 10))
    assert (measured["v1"].requests, measured["v1"].errors, measured["v1"].error_rate) == (40, 10, 0.25)
    assert (measured["v2"].requests, measured["v2"].errors, measured["v2"].error_rate) == (7, 7, 1.0)


LATENCIES: dict[str, dict[float, int]] = {
    "one request": {123.0: 1},
    "all the same": {40.0: 1_000},
    "the slowest one in twenty does not count": {5.0: 19, 9_000.0: 1},
    "the slowest two in twenty do": {5.0: 18, 9_000.0: 2},
    "evenly spread": {10.0 * number: 4 for number in range(1, 51)},
    "a long tail": {1.15**number: 60 - number for number in range(60)},
    "the slowest and the fastest": {1.0: 10, 30_000.0: 10},
}


@pytest.mark.parametrize("latencies", LATENCIES.values(), ids=LATENCIES)
def test_p95_is_the_nearest_rank_as_exactly_as_the_source_says(
    system: MetricSourceSystem, latencies: dict[float, int]
) -> None:
    endpoint = system.endpoint(["v1"])
    for number, (latency_ms, count) in enumerate(latencies.items()):
        system.answered(endpoint, "v1", moment(system, number % 3), latency_ms=latency_ms, count=count)
    metrics = system.source.measure(endpoint, moment(system, 0), moment(system, 3))["v1"]
    assert metrics.requests == sum(latencies.values())
    in_order = sorted(latency_ms for latency_ms, count in latencies.items() for _ in range(count))
    nearest_rank = in_order[math.ceil(len(in_order) * 95 / 100) - 1]
    assert metrics.p95_ms == pytest.approx(nearest_rank, rel=system.p95_tolerance)


def test_p95_is_of_the_span_alone(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1"])
    system.answered(endpoint, "v1", moment(system, 1), latency_ms=2_000, count=100)
    system.answered(endpoint, "v1", moment(system, 2), latency_ms=20, count=100)
    for since, expected in ((1, 2_000), (2, 20)):
        measured = system.source.measure(endpoint, moment(system, since), moment(system, since + 1))
        assert measured["v1"].p95_ms == pytest.approx(expected, rel=system.p95_tolerance)


def test_answering_is_about_the_containers(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1", "v2", "v3"])
    system.containers(endpoint, "v1", moment(system, 1), True)
    system.containers(endpoint, "v2", moment(system, 1), True)
    system.containers(endpoint, "v2", moment(system, 2), False)
    assert _answering(system) == {"v1": True, "v2": False, "v3": None}
    system.containers(endpoint, "v1", moment(system, 3), False)
    system.containers(endpoint, "v2", moment(system, 3), True)
    assert _answering(system) == {"v1": False, "v2": True, "v3": None}


def _answering(system: MetricSourceSystem) -> dict[str, bool | None]:
    measured = system.source.measure(system.endpoint(["v1", "v2", "v3"]), moment(system, 0), moment(system, 5))
    assert all(metrics.requests == 0 for metrics in measured.values())
    return {version: metrics.answering for version, metrics in measured.items()}


def test_what_cannot_be_measured_is_unavailable(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1"])
    system.answered(endpoint, "v1", moment(system, 1))
    assert requests(system, 0, 2) == (1, 0)
    system.break_down()
    for _ in range(2):
        with pytest.raises(Unavailable):
            system.source.measure(endpoint, moment(system, 0), moment(system, 2))


def test_many_may_write_and_measure_at_once(system: MetricSourceSystem) -> None:
    endpoint = system.endpoint(["v1", "v2"])
    written = threading.Event()

    def write(version: str) -> None:
        for number in range(10):
            system.answered(endpoint, version, moment(system, number % 5), count=3)
            system.answered(endpoint, version, moment(system, number % 5), count=1, status_ok=False)

    def read() -> None:
        seen = (0, 0)
        while not written.is_set():
            now = requests(system, 0, 5)
            assert now >= seen, "what was measured does not go away"
            seen = now

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for writer in [pool.submit(write, version) for version in ("v1", "v1", "v2", "v2")]:
                writer.result()
        finally:
            written.set()
        for reader in readers:
            reader.result()
    assert requests(system, 0, 5) == (80, 20)
    assert requests(system, 0, 5, "v2") == (80, 20)
