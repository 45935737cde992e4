"""What is special about the metric source of the embedded cloud: its file, its buckets, its memory of a day."""

import math
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import (
    LATENCY_BOUNDS_MS,
    LATENCY_BUCKETS,
    LATENCY_STEP,
    RETENTION_MS,
    RouterMetrics,
    RouterMetricsWriter,
    latency_bucket,
    p95_ms,
)
from modeldrop.errors import Unavailable
from modeldrop.ports import VersionMetrics
from tests.contract.router_metrics_system import (
    RouterMetricsSystem,
    counts_of,
    endpoint_of,
    router_metrics_system,  # noqa: F401 (a fixture)
)

REPOSITORY = Path(__file__).parents[2]
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
FRAUD = endpoint_of(["v1"])


@pytest.fixture
def system(router_metrics_system: RouterMetricsSystem) -> RouterMetricsSystem:  # noqa: F811
    return router_metrics_system


def measured(source: RouterMetrics, since: datetime, until: datetime) -> VersionMetrics:
    """Of version v1 of model fraud."""
    return source.measure(FRAUD, since, until)["v1"]


def test_bounds_are_geometric_from_half_a_millisecond_to_more_than_a_minute() -> None:
    assert LATENCY_BOUNDS_MS[0] == 0.5
    assert 60_000 < LATENCY_BOUNDS_MS[-1] < 70_000
    steps = [upper / lower for lower, upper in pairwise(LATENCY_BOUNDS_MS)]
    assert steps == pytest.approx([LATENCY_STEP] * len(steps))


@given(st.lists(st.floats(0.5, LATENCY_BOUNDS_MS[-1]), min_size=1, max_size=300))
def test_p95_lies_in_the_bucket_of_the_nearest_rank(latencies: list[float]) -> None:
    nearest_rank = sorted(latencies)[math.ceil(len(latencies) * 95 / 100) - 1]
    found = _p95_of(latencies)
    assert found is not None
    # Rounding may leave the edge by a last digit; the bucket is that of the edge then.
    assert latency_bucket(found * (1 - 1e-12)) <= latency_bucket(nearest_rank) <= latency_bucket(found * (1 + 1e-12))
    assert found == pytest.approx(nearest_rank, rel=LATENCY_STEP - 1)


def _p95_of(latencies: list[float]) -> float | None:
    counted = Counter(map(latency_bucket, latencies))
    return p95_ms([counted[bucket] for bucket in range(LATENCY_BUCKETS)])


def test_p95_at_both_ends_of_the_scale() -> None:
    assert p95_ms([0] * LATENCY_BUCKETS) is None
    assert _p95_of([0.0]) == pytest.approx(0.475)
    assert _p95_of([0.5] * 100) == pytest.approx(0.475)
    assert _p95_of([1e9]) == LATENCY_BOUNDS_MS[-1]
    assert _p95_of([1.0] * 95 + [1e9] * 5) == pytest.approx(1.0, rel=LATENCY_STEP - 1)


def test_a_bucket_ends_with_its_bound() -> None:
    for number, bound in enumerate(LATENCY_BOUNDS_MS):
        assert latency_bucket(bound) == number == bisect_left(LATENCY_BOUNDS_MS, bound * 0.999)
        assert latency_bucket(bound * 1.001) == number + 1


@pytest.mark.parametrize(
    ("since_microseconds", "until_microseconds", "expected"),
    [(0, 300_000, 11), (0, 300_001, 111), (1, 300_000, 10), (100_000, 100_000, 0), (100_000, 100_001, 10)],
)
def test_spans_are_exact_to_the_edge_of_an_interval(
    system: RouterMetricsSystem, since_microseconds: int, until_microseconds: int, expected: int
) -> None:
    for milliseconds, count in ((0, 1), (100, 10), (300, 100)):
        system.writer.add([counts_of("fraud", "v1", NOON + timedelta(milliseconds=milliseconds), count)])
    since, until = (NOON + timedelta(microseconds=number) for number in (since_microseconds, until_microseconds))
    assert measured(system.source, since, until).requests == expected


def test_the_same_counts_added_again_are_counted_once(system: RouterMetricsSystem) -> None:
    first, second, third = (counts_of("fraud", "v1", NOON, count, errors=count) for count in (1, 10, 100))
    system.writer.add([first, second])
    system.writer.add([second, third])
    system.writer.add([])
    metrics = measured(system.source, NOON, NOON + timedelta(seconds=1))
    assert (metrics.requests, metrics.errors) == (111, 111)


def test_a_day_is_remembered_and_what_is_older_is_forgotten_bit_by_bit(system: RouterMetricsSystem) -> None:
    retention = timedelta(milliseconds=RETENTION_MS)
    assert retention > timedelta(days=1)
    system.writer.add([counts_of("fraud", "v1", NOON + timedelta(seconds=second), 1) for second in range(10)])
    kept = [counts_of("fraud", "v1", NOON + timedelta(seconds=10), 1)]
    system.writer.add(kept)

    def remembered() -> int:
        return measured(system.source, NOON, NOON + timedelta(minutes=1)).requests

    remaining = []
    for _ in range(6):
        system.writer.add([counts_of("other", "v1", NOON + timedelta(seconds=10) + retention, 1)])
        remaining.append(remembered())
    assert remaining == [9, 7, 5, 3, 1, 1]
    system.writer.add([counts_of("other", "v1", NOON + timedelta(seconds=10, milliseconds=1) + retention, 1)])
    assert remembered() == 0


def test_what_was_measured_survives_a_restart(system: RouterMetricsSystem) -> None:
    system.writer.add([counts_of("fraud", "v1", NOON, 7)])
    system.writer.close()
    system.source.close()
    source = RouterMetrics(system.folder / "router-metrics.sqlite", system.server.path)
    assert measured(source, NOON, NOON + timedelta(seconds=1)).requests == 7
    source.close()


def test_files_may_be_made_by_whoever_comes_first(tmp_path: Path) -> None:
    source = RouterMetrics(tmp_path / "metrics.sqlite", tmp_path / "serving.sqlite")
    writer = RouterMetricsWriter(tmp_path / "metrics.sqlite")
    server = ProcessModelServer(tmp_path / "serving.sqlite")
    writer.add([counts_of("fraud", "v1", NOON, 7)])
    assert measured(source, NOON, NOON + timedelta(seconds=1)).requests == 7
    for each in (source, writer, server):
        each.close()


def _a_folder(path: Path) -> None:
    path.mkdir()


def _something_else(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1_000)


@pytest.mark.parametrize("spoil", [_a_folder, _something_else])
@pytest.mark.parametrize("spoiled", ["metrics.sqlite", "serving.sqlite"])
def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, spoiled: str, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / spoiled)
    with pytest.raises(Unavailable):
        RouterMetrics(tmp_path / "metrics.sqlite", tmp_path / "serving.sqlite")


def test_without_the_serving_database_it_is_unavailable_not_down(system: RouterMetricsSystem) -> None:
    system.containers(FRAUD, "v1", NOON, True)
    assert measured(system.source, NOON, NOON).answering is True
    system.server.close()
    for suffix in ("", "-wal", "-shm"):
        system.server.path.with_name(f"serving.sqlite{suffix}").unlink(missing_ok=True)
    _something_else(system.server.path)
    with pytest.raises(Unavailable):
        RouterMetrics(system.folder / "router-metrics.sqlite", system.server.path)


def test_closed_is_unavailable(system: RouterMetricsSystem) -> None:
    system.writer.close()
    with pytest.raises(Unavailable):
        system.writer.add([counts_of("fraud", "v1", NOON, 1)])
    system.source.close()
    with pytest.raises(Unavailable):
        measured(system.source, NOON, NOON)


WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from modeldrop.adapters.local.router_metrics import RouterMetricsWriter
from tests.contract.router_metrics_system import counts_of
from tests.contract.test_router_metrics import NOON
writer = RouterMetricsWriter(Path(sys.argv[1]))
for number in range(50):
    writer.add([counts_of("fraud", "v1", NOON + timedelta(milliseconds=100 * number), 3, errors=1)])
"""


def test_several_processes_may_write_one_file(system: RouterMetricsSystem) -> None:
    path = system.folder / "router-metrics.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=REPOSITORY) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    metrics = measured(system.source, NOON, NOON + timedelta(seconds=5))
    assert (metrics.requests, metrics.errors) == (300, 100)
