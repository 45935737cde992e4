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


class QuarantinedEvent(msgspec.Struct, frozen=True):
    """What came on the topic and is no event, with its reasons."""

    what: str
    problems: list[FieldProblem]
    at: datetime
    raw: bytes
    is_cut: bool  # the bytes are the beginning only: it cannot be put back
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

    def entries(self) -> Iterator[Stored[QuarantinedEvent]]:
        """All of them, by id, read page by page as they are taken. Uploads are passed over."""
        after: str | None = None
        while True:
            page = self._documents.list("quarantine", after=after, limit=PAGE)
            yield from (stored(d, QuarantinedEvent) for d in page if d.data.get("what") == PREDICTION_EVENT)
            if len(page) < PAGE:
                return
            after = page[-1].path.rsplit("/", 1)[1]
