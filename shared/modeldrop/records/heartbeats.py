"""Heartbeats of the ticks: when each ran last, and how it went. A scheduler that stands still shows here."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.errors import Conflict
from modeldrop.ports import DocumentStore
from modeldrop.records.stored import Stored, stored

LATE_AFTER = 3  # intervals
SLACK = timedelta(seconds=30)  # for a tick that takes its time


class Heartbeat(msgspec.Struct, frozen=True):
    """A tick's last run. ``interval_seconds``: how often it is meant to come."""

    tick: str
    at: datetime
    seconds: float  # it took
    status: str  # ok | incomplete
    models: int
    errors: int
    interval_seconds: float
    stopped_at: str | None = None  # the last model it reached, where time ran out: the next tick goes on from there

    def is_stale(self, now: datetime) -> bool:
        """Whether it should have come again long ago, or is of a time to come: then a clock was ahead."""
        return abs(now - self.at) > LATE_AFTER * timedelta(seconds=self.interval_seconds) + SLACK


class Heartbeats:
    """Reads and writes heartbeats: ``heartbeats/{tick}``."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def all(self) -> list[Heartbeat]:
        """Those of every tick that ever ran, by name."""
        return [stored(document, Heartbeat).value for document in self._documents.list("heartbeats")]

    def find(self, tick: str) -> Heartbeat | None:
        """That of a tick; None: it never ran."""
        document = self._documents.get(f"heartbeats/{tick}")
        return stored(document, Heartbeat).value if document else None

    def beat(self, heartbeat: Heartbeat) -> None:
        """Keep it, unless a later run was as quick: of two that end at once one is enough.

        One that is later by more than an interval was written by a clock that was ahead, and gives way.
        """
        path = f"heartbeats/{heartbeat.tick}"
        document = self._documents.get(path)
        slot = stored(document, Heartbeat) if document else Stored(path, heartbeat)
        ahead = slot.value.at - heartbeat.at
        if document is not None and timedelta(0) <= ahead <= timedelta(seconds=heartbeat.interval_seconds):
            return
        try:
            self._documents.commit([slot.write(heartbeat)])
        except Conflict:
            return
