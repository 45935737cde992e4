"""The whole control plane in one process, over the local adapters, with a clock that stands still until it is moved.

Only the machines are missing: ``serve`` reports every wanted deployment as answering, as the supervisor of the
embedded cloud does once its processes run (tests/e2e has those).
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modeldrop.adapters.hot_swap.model_server import HotSwapModelServer
from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import LATENCY_BUCKETS, AnswerCounts, RouterMetricsWriter, latency_bucket
from modeldrop.adapters.local.serving_table import Deployment, ServingTableReader
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.packages import OUR_FILES
from modeldrop.domain.rollout import Rollout
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.handlers.health_tick import TickReport, health_tick
from modeldrop.handlers.packages.take_upload import take_upload
from modeldrop.settings import Settings
from modeldrop.wiring import Services

MODEL = "fraud"
START = datetime(2026, 1, 1, tzinfo=UTC)
FAST = "rollout: {bake_seconds: 0, keep_warm_seconds: 0, min_requests: 0}\n"


@dataclass
class StillClock:
    """A time that moves when it is told to."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def metadata(version: str, f1: float, day: int, **changes: Any) -> dict[str, Any]:
    """A scorecard's metadata, declared ``day`` days after the start of 2026."""
    return {
        "model": MODEL,
        "version": version,
        "runtime": "scorecard",
        "created_at": (START + timedelta(days=day)).isoformat(),
        "metrics": {"f1": f1},
        "features": {"amount": {"type": "numeric"}},
        "parameters": {"intercept": -1.0, "coefficients": {"amount": 0.5}},
    } | changes


class Control:
    """Drop packages, deliver events, let time pass, look at what came of it."""

    def __init__(self, data: Path, clock: StillClock | None = None) -> None:
        self.data = data
        self.clock = clock or StillClock()
        self._answers = 0
        self.settings = Settings(backend="local", data=data, auth="none")
        self.services = self.another_instance()

    def another_instance(self) -> Services:
        """Another function instance over the same state, with connections of its own."""
        return Services(self.settings, self.clock)

    def policy(self, text: str) -> None:
        """Put the model's policy into the bucket."""
        self.put(f"policies/{MODEL}.yaml", text.encode())

    def put(self, name: str, content: bytes) -> None:
        """A file in the bucket's folder."""
        path = self.data / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def drop(self, version: str, f1: float, day: int, **changes: Any) -> None:
        """A package in the bucket; nobody is told yet."""
        content = json.dumps(metadata(version, f1, day, **changes)).encode()
        self.put(f"models/{MODEL}/{version}/metadata.json", content)

    def tell(self, name: str, services: Services | None = None) -> str:
        """Deliver the event of an object."""
        event = {
            "specversion": "1.0",
            "type": "google.cloud.storage.object.v1.finalized",
            "source": "//storage.googleapis.com/projects/_/buckets/local",
            "id": "1",
            "data": {"bucket": "local", "name": name},
        }
        return take_upload(services or self.services, {}, json.dumps(event).encode())

    def tell_version(self, version: str, services: Services | None = None) -> str:
        """Deliver the event of a package's metadata."""
        return self.tell(f"models/{MODEL}/{version}/metadata.json", services)

    def make_live(self, version: str, f1: float, day: int) -> None:
        """Drop a package and let everything happen that follows from it."""
        self.drop(version, f1, day)
        self.tell_version(version)
        self.settle()

    def serve(self) -> None:
        """Every deployment that is wanted answers from now on."""
        server = self._machines
        for deployment in self._wanted():
            if not deployment.ready:
                server.report_answering(deployment.operation, 1)

    def tick(self) -> TickReport:
        """One health tick."""
        return health_tick(self.services)

    def settle(self) -> None:
        """Ticks and machines until nothing is under way; every traffic split seen on the way sums to 100."""
        for _ in range(200):
            self.serve()
            report = self.tick()
            assert report.errors == {}
            endpoint = self.services.model_server.observe(MODEL)
            assert endpoint is None or sum(endpoint.traffic.values()) in {0, 100}
            if not report.moved:
                return
            self.clock.forward(60)
        raise AssertionError(f"not settled: {self.head}")

    def settle_until_live(self, version: str) -> None:
        """As ``settle``, but only until the version is live."""
        for _ in range(500):
            self.serve()
            self.tick()
            if self.version(version).status is Status.LIVE:
                return
            self.clock.forward(1)
        raise AssertionError(f"{version} is {self.version(version).status}")

    def answered(self, version: str, requests: int, errors: int = 0, p95_ms: float = 20.0) -> None:
        """The router counted these answers of the version just now, all as slow as that."""
        counts = [0] * LATENCY_BUCKETS
        counts[latency_bucket(p95_ms)] = requests
        self._answers += 1
        at_ms = -(-int(self.clock.now.timestamp() * 1_000_000) // 1000)
        row = AnswerCounts(f"{self._answers}", MODEL, version, at_ms, errors, tuple(counts))
        writer = RouterMetricsWriter(self.data / "router-metrics.sqlite")
        try:
            writer.add([row])
        finally:
            writer.close()

    def minutes(self, number: int, **answers: tuple[int, int]) -> None:
        """A tick a minute; in each one versions answer so many requests, so many of them with errors."""
        for _ in range(number):
            for version, (requests, errors) in answers.items():
                self.answered(version, requests, errors)
            self.clock.forward(60)
            self.serve()
            self.tick()

    def edit_traffic(self, **split: int) -> None:
        """Somebody else sets the split of the endpoint."""
        endpoint = self.services.model_server.observe(MODEL)
        assert endpoint is not None
        self.services.model_server.set_traffic(MODEL, split, endpoint.etag)

    def lose(self, *versions: str, endpoint: bool = False) -> None:
        """Somebody else deletes deployments, with ``endpoint`` also the endpoint itself."""
        with closing(sqlite3.connect(self.data / "serving.sqlite")) as connection, connection:
            for version in versions:
                connection.execute("DELETE FROM deployments WHERE model = ? AND version = ?", (MODEL, version))
            if endpoint:
                connection.execute("DELETE FROM endpoints WHERE model = ?", (MODEL,))

    def worker_dies(self, version: str) -> None:
        """The version's process is gone, and does not come back."""
        server = self._machines
        for deployment in self._wanted():
            if deployment.served.version == version:
                server.report_down(deployment.operation)

    @property
    def rollout(self) -> Rollout:
        """The latest one."""
        return self.services.registry.rollouts(MODEL, limit=1)[0]

    @property
    def news(self) -> list[News]:
        """What lies in the outbox, the oldest first."""
        return [slot.value.news for slot in sorted(self.services.registry.outbox(), key=lambda slot: slot.value.at)]

    def fail_deployments(self, reason: str) -> None:
        """Every deployment under way ends in an error."""
        server = self._machines
        for deployment in self._wanted():
            if not deployment.ready:
                server.report_failed(deployment.operation, reason)

    @property
    def head(self) -> ModelHead:
        return self.services.registry.head(MODEL).value

    def version(self, name: str) -> ModelVersion:
        found = self.services.registry.version(MODEL, name)
        assert found is not None, name
        return found.value

    def record(self, version: str, name: str) -> dict[str, Any] | None:
        """One of our files beside the metadata."""
        path = self.data / "bucket/models" / MODEL / version / name
        return json.loads(path.read_bytes()) if path.exists() else None

    @property
    def traffic(self) -> dict[str, int]:
        endpoint = self.services.model_server.observe(MODEL)
        return endpoint.traffic if endpoint else {}

    def end_state(self) -> dict[str, Any]:
        """What must not depend on order, duplicates or crashes."""
        versions = self.services.registry.versions(MODEL)
        return {
            "desired": self.head.desired,
            "production": self.head.production.version if self.head.production else None,
            "traffic": self.traffic,
            "deployed": self.deployed,
            "versions": {v.version: (v.status, v.decision, v.standing) for v in versions},
            "records": {
                v.version: {name: self._without_times(v.version, name) for name in sorted(OUR_FILES)} for v in versions
            },
        }

    @property
    def deployed(self) -> list[str]:
        endpoint = self.services.model_server.observe(MODEL)
        return sorted(deployed.version for deployed in endpoint.deployed) if endpoint else []

    @property
    def _machines(self) -> ProcessModelServer:
        server = self.services.model_server
        assert isinstance(server, HotSwapModelServer)
        assert isinstance(server.machines, ProcessModelServer)
        return server.machines

    def _wanted(self) -> list[Deployment]:
        reader = ServingTableReader(self.data / "serving.sqlite")
        try:
            return [deployment for deployments in reader.read().values() for deployment in deployments]
        finally:
            reader.close()

    def _without_times(self, version: str, name: str) -> dict[str, Any] | None:
        record = self.record(version, name)
        return None if record is None else {k: v for k, v in record.items() if k != "received_at"}
