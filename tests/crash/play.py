"""A control plane in which scenarios are played: machines, live traffic, and rules that hold at every observation.

What happened so far can be kept and begun from again: bucket files are linked, so that they keep their generations.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import LATENCY_BUCKETS, AnswerCounts, RouterMetricsWriter, latency_bucket
from modeldrop.adapters.local.serving_table import Deployment, ServingTableReader
from modeldrop.handlers.health_tick import TickReport, health_tick
from modeldrop.ports import Endpoint
from modeldrop.wiring import Services
from tests.crash.watched import Effect, Hook, WatchedServices, close
from tests.handlers.control import MODEL, Control, StillClock

STEP_SECONDS = 20.0
REQUESTS_PER_STEP = 1_000
MOST_TICKS = 150
QUIET_TICKS = 3  # health is checked every second tick
_FIGURES = re.compile(r"\d+ of \d+ requests failed \([\d.]+%")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BrokenRule(BaseException):
    """Something was seen that must never be; nothing catches it."""


class Rules:
    """What holds at every observation, whoever makes it: traffic sums to 100, or to 0 until something serves."""

    def __init__(self) -> None:
        self.serves = False

    def before(self, effect: Effect) -> None:
        """See Hook."""

    def after(self, effect: Effect) -> None:
        """See Hook."""

    def seen(self, endpoint: Endpoint) -> None:
        """See Hook."""
        total = sum(endpoint.traffic.values())
        if total != 100 and (total != 0 or self.serves):
            raise BrokenRule(f"traffic is {endpoint.traffic}")
        self.serves = total == 100


class Play(Control):
    """A control plane with live traffic: versions answer what they get, and those in ``sick`` answer with errors.

    Deployments of versions in ``broken`` end in an error. ``services`` only looks on; whoever acts is an ``instance``.
    """

    def __init__(self, data: Path, clock: StillClock) -> None:
        super().__init__(data, clock)
        self.sick: frozenset[str] = frozenset()
        self.broken: frozenset[str] = frozenset()
        self.rules = Rules()
        self.machines = ProcessModelServer(data / "serving.sqlite")
        self._table = ServingTableReader(data / "serving.sqlite")
        self.router = RouterMetricsWriter(data / "router-metrics.sqlite")
        self._instances: list[Services] = [self.services]

    def instance(self, hook: Hook | None = None) -> Services:
        """Another function instance, watched by ``hook``."""
        services = WatchedServices(self.settings, self.clock, hook=hook or self.rules)
        self._instances.append(services)
        return services

    def close(self) -> None:
        """Everybody lets go of the files."""
        for services in self._instances:
            close(services)
        self.machines.close()
        self._table.close()
        self.router.close()

    def tick_of(self, services: Services) -> TickReport:
        """One tick, by that instance."""
        return health_tick(services)

    def step(self, *instances: Services) -> None:
        """Machines come up, one tick of each instance, and ``STEP_SECONDS`` of traffic."""
        self.work()
        for services in instances:
            self.tick_of(services)
        self.pass_time()

    def settle(self, *instances: Services) -> None:
        """Steps until nothing is under way, or nothing moves any more, and a little longer."""
        quiet = 0
        for _ in range(MOST_TICKS):
            self.step(*instances)
            quiet = quiet + 1 if self.head.is_settled or self.waits_for_somebody else 0
            if quiet == QUIET_TICKS:
                return
        raise BrokenRule(f"not settled after {MOST_TICKS} ticks: {self.head}")

    @property
    def waits_for_somebody(self) -> bool:
        """Whether it is paused, or its rollout held: then nothing goes on by itself."""
        rollout = self.services.registry.rollout(MODEL, self.head.rollout) if self.head.rollout else None
        return self.head.paused is not None or (rollout is not None and rollout.value.held is not None)

    def work(self) -> None:
        """The machines of every deployment under way answer now, or fail for good."""
        for deployment in self._wanted():
            if deployment.ready:
                continue
            if deployment.served.version in self.broken:
                self.machines.report_failed(deployment.operation, "no quota")
            else:
                self.machines.report_answering(deployment.operation, 1)

    def take_down(self, version: str) -> None:
        """The version's machine is gone for good."""
        for deployment in self._wanted():
            if deployment.served.version == version:
                self.machines.report_down(deployment.operation)

    def pass_time(self) -> None:
        """Traffic as it is split now, for one step; asked for twice, the same requests are counted once."""
        at_ms = (self.clock.now - _EPOCH) // timedelta(milliseconds=1)
        self.router.add(
            [
                _answers(version, at_ms, REQUESTS_PER_STEP * percent // 100, sick=version in self.sick)
                for version, percent in self.traffic.items()
                if percent
            ]
        )
        self.clock.forward(STEP_SECONDS)

    def facts(self) -> dict[str, Any]:
        """What must be the same however it was come by: state, rollouts, ledger, history, outbox, deployments.

        Only how many requests a verdict rests on, and whether an illness was noticed that is over, may differ: both
        depend on when somebody looked.
        """
        documents = self.services.documents
        registry = self.services.registry
        rollouts = [(r.id, r.version, r.kind, r.phase, r.step, r.held is not None) for r in registry.rollouts(MODEL)]
        history = [(entry.what, entry.version, entry.by) for _, entry in reversed(registry.history(MODEL, limit=1_000))]
        told = [item.value.news for item in registry.outbox(limit=1_000)]
        health = registry.health(MODEL).value
        return self.end_state() | {
            "settled": self.head.is_settled,
            "paused": self.head.paused is not None,
            "waiting": self.head.waiting,
            "wanted": sorted(deployment.served.version for deployment in self._wanted()),
            "rollouts": rollouts,
            "ledger": sorted(document.path for document in documents.list(f"models/{MODEL}/ledger")),
            "served": [document.data["version"] for document in documents.list(f"models/{MODEL}/served")],
            "history": history,
            "outbox": _without_passing_illness((news.kind, news.version, news.what) for news in told),
            "quarantine": sorted(record.what for _, record in registry.quarantine()),
            "health": (health.version, health.status),
            "verified": self._verified(),
        }

    def _verified(self) -> dict[str, int]:
        """Sizes of the copies that are deployed, by name; each folder is named after its content."""
        folder = self.data / "bucket/verified"
        files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "digests"]
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}

    def _wanted(self) -> list[Deployment]:
        return [deployment for deployments in self._table.read().values() for deployment in deployments]

    def record(self, version: str, name: str) -> dict[str, Any] | None:
        """One of our files beside the metadata, without the figures a verdict rests on."""
        record = super().record(version, name)
        if record is not None and record.get("fallen"):
            record["fallen"] = _FIGURES.sub("… requests failed (…", record["fallen"])
        return record


@contextmanager
def played(data: Path, now: datetime) -> Iterator[Play]:
    """A play over ``data``, closed at the end. ``now`` has whole milliseconds, as the router's counts have."""
    play = Play(data, StillClock(now))
    try:
        yield play
    finally:
        play.close()


def begin_again(kept: Path, data: Path) -> None:
    """A copy of all state as it was kept; nobody has it open."""
    shutil.copytree(kept / "bucket", data / "bucket", copy_function=os.link)
    for path in kept.iterdir():
        if path.name != "bucket":
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, data / path.name)


def _without_passing_illness(told: Iterable[tuple[str, str, str]]) -> Counter[tuple[str, str, str]]:
    """How often each was told; a version that was ill and is well again was told of twice, or not at all."""
    counted = Counter(told)
    for kind, version, what in list(counted):
        ill, well = (kind, version, "unhealthy"), (kind, version, "healthy again")
        if what == "unhealthy" and counted[ill] == counted[well]:
            del counted[ill], counted[well]
    return counted


def _answers(version: str, at_ms: int, requests: int, *, sick: bool) -> AnswerCounts:
    counts = [0] * LATENCY_BUCKETS
    counts[latency_bucket(10.0)] = requests
    return AnswerCounts(f"{version}-{at_ms}", MODEL, version, at_ms, requests // 2 if sick else 0, tuple(counts))
