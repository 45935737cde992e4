"""Quarantined prediction events: ``quarantine/{SHA-256 of the bytes}``, beside the uploads (records.registry).

With the bytes, so that what was refused by mistake can be put back.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from modeldrop.errors import FieldProblem
from modeldrop.ports import DocumentStore
from modeldrop.records.registry import Registry
from modeldrop.records.stored import Stored, stored

PREDICTION_EVENT = "prediction event"
KEPT = timedelta(days=90)
PAGE = 20  # of up to 88 KB each
POISON_LIMIT_BYTES = 64 << 10
MOST_ENTRIES = 10_000
ROOM_PATH = "unknown/quarantine"


class Room(msgspec.Struct, frozen=True):
    """How many more entries the quarantine takes: there was room for ``entries`` at that time.

    It comes back evenly, all of it in the time an entry is kept, and at once when an entry is put back. So whatever
    comes, and however entries are deleted, no more than twice ``MOST_ENTRIES`` ever stand there.
    """

    entries: float
    at: datetime
    changes: int = 0  # no two states are ever equal: a store may keep the revision of equal ones

    def left(self, now: datetime) -> int:
        """For how many there is room now."""
        return int(self._at(now))

    def less(self, taken: int, now: datetime) -> "Room":
        """The room after so many entries were made (negative: put back).

        >>> from datetime import UTC
        >>> day = datetime(2026, 1, 1, tzinfo=UTC)
        >>> room = Room(10, day).less(9, day)
        >>> room.left(day), room.left(day + KEPT / 1_000), room.left(day + 9 * KEPT)
        (1, 11, 10000)
        """
        return Room(min(self._at(now) - taken, MOST_ENTRIES), now, self.changes + 1)

    def _at(self, now: datetime) -> float:
        return min(self.entries + MOST_ENTRIES * max(0.0, (now - self.at) / KEPT), MOST_ENTRIES)


class QuarantinedEvent(msgspec.Struct, frozen=True):
    """What came on the topic and is no event, with its reasons."""

    what: str
    problems: list[FieldProblem]
    at: datetime
    raw: bytes
    is_cut: bool  # some of the bytes are missing: it cannot be put back
    expire_at: datetime


def quarantine_id(raw: bytes) -> str:
    """The id of the entry of these bytes."""
    return hashlib.sha256(raw).hexdigest()


class QuarantinedEvents:
    """Reads and makes entries."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def slots(self, events: list[QuarantinedEvent]) -> list[Stored[QuarantinedEvent]]:
        """What stands where these events belong, in their order; themselves, not stored yet, where nothing does."""
        paths = [Registry.quarantine_path(quarantine_id(event.raw)) for event in events]
        found = self._documents.get_many(paths)
        return [
            stored(document, QuarantinedEvent) if document else Stored(path, event)
            for path, event, document in zip(paths, events, found, strict=True)
        ]

    def room(self, now: datetime) -> Stored[Room]:
        """The room there is for more."""
        document = self._documents.get(ROOM_PATH)
        return stored(document, Room) if document else Stored(ROOM_PATH, Room(MOST_ENTRIES, now))

    def entries(self, after: str | None = None) -> Iterator[Stored[QuarantinedEvent]]:
        """All of them, by id, those beyond ``after``; read page by page as they are taken. Uploads are passed over."""
        while True:
            page = self._documents.list("quarantine", after=after, limit=PAGE)
            yield from (stored(d, QuarantinedEvent) for d in page if d.data.get("what") == PREDICTION_EVENT)
            if len(page) < PAGE:
                return
            after = page[-1].path.rsplit("/", 1)[1]
