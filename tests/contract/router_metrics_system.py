"""The embedded cloud's metric source for the contract suite: real files, written as the traffic router writes them."""

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import (
    LATENCY_BUCKETS,
    LATENCY_STEP,
    AnswerCounts,
    RouterMetrics,
    RouterMetricsWriter,
    latency_bucket,
)
from modeldrop.adapters.local.serving_table import ServingTableReader
from modeldrop.localcloud.answer_counting import INTERVAL_MS
from modeldrop.ports import DeployedVersion, Endpoint, ServedVersion

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def counts_of(
    model: str, version: str, at: datetime, count: int, *, errors: int = 0, latency_ms: float = 10.0
) -> AnswerCounts:
    """One row of ``count`` answers, all of one latency; never the same row twice."""
    latency_counts = [0] * LATENCY_BUCKETS
    latency_counts[latency_bucket(latency_ms)] = count
    at_ms = (at - EPOCH) // timedelta(milliseconds=1)
    return AnswerCounts(secrets.token_hex(8), model, version, at_ms, errors, tuple(latency_counts))


def served_version(model: str, version: str) -> ServedVersion:
    """A version to be known to the serving database; nothing is ever loaded from its address."""
    digest = sha256(f"{model} {version}".encode()).hexdigest()
    return ServedVersion(model, version, digest, "scorecard", "file:///nowhere")


def endpoint_of(versions: Sequence[str], model: str = "fraud") -> Endpoint:
    """An endpoint with these versions behind it."""
    return Endpoint(model, "etag", tuple(DeployedVersion(version, f"{model} {version}", 0) for version in versions))


@dataclass(frozen=True)
class RouterMetricsSystem:
    """See MetricSourceSystem."""

    folder: Path
    source: RouterMetrics
    writer: RouterMetricsWriter
    server: ProcessModelServer
    resolution_seconds: int = 1
    p95_tolerance: float = LATENCY_STEP - 1

    def endpoint(self, versions: Sequence[str], model: str = "fraud") -> Endpoint:
        """See MetricSourceSystem."""
        return endpoint_of(versions, model)

    def answered(
        self,
        endpoint: Endpoint,
        version: str,
        at: datetime,
        status_ok: bool = True,
        latency_ms: float = 10.0,
        count: int = 1,
    ) -> None:
        """See MetricSourceSystem. One half in the first interval of the second, the other in its last."""
        last = at + timedelta(seconds=self.resolution_seconds, milliseconds=-INTERVAL_MS)
        halves = ((at, count - count // 2), (last, count // 2))
        self.writer.add(
            [
                counts_of(endpoint.model, version, begin, half, errors=0 if status_ok else half, latency_ms=latency_ms)
                for begin, half in halves
            ]
        )

    def containers(self, endpoint: Endpoint, version: str, at: datetime, running: bool) -> None:
        """See MetricSourceSystem. The serving database knows of now alone, so ``at`` does not matter."""
        served = served_version(endpoint.model, version)
        if self.server.upload(served) is not None:
            self.server.deploy(served)
        with closing(ServingTableReader(self.server.path)) as reader:
            (operation,) = [each.operation for each in reader.read()[served.model] if each.served == served]
        if running:
            self.server.report_answering(operation, 1)
        else:
            self.server.report_down(operation)

    def break_down(self) -> None:
        """See MetricSourceSystem. The file is another one than it was."""
        with closing(sqlite3.connect(self.folder / "router-metrics.sqlite")) as connection:
            connection.execute("DROP TABLE answers")


@pytest.fixture
def router_metrics_system(tmp_path: Path) -> Iterator[RouterMetricsSystem]:
    """Empty files."""
    server = ProcessModelServer(tmp_path / "serving.sqlite")
    source = RouterMetrics(tmp_path / "router-metrics.sqlite", server.path)
    writer = RouterMetricsWriter(tmp_path / "router-metrics.sqlite")
    yield RouterMetricsSystem(tmp_path, source, writer, server)
    writer.close()
    source.close()
    server.close()
