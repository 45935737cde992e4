"""The audit trail of the API: ``audit/{number}``, only ever added to."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from modeldrop.domain.audit_chain import START, AuditEntry, Link, sealed
from modeldrop.errors import Conflict, Unavailable
from modeldrop.ports import Create, Document, DocumentStore

COLLECTION = "audit"
PAGE = 100
_PATIENCE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 0.5


def audit_path(number: int) -> str:
    """The document of an entry; paths are in the order of their numbers."""
    return f"audit/{number:012d}"


class AuditTrail:
    """Reads and appends entries. Several processes may append at once."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def append(self, entry: AuditEntry, patience_seconds: float = _PATIENCE_SECONDS) -> AuditEntry:
        """The entry as it stands at the end of the trail; its number and hashes are made here.

        Somebody else may be faster: then it goes behind theirs. Of those who are at it one always gets on. Raises
        Unavailable where the store gives no answer, or the patience is at an end; the entry may be there all the same.
        """
        until = time.monotonic() + patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            placed = sealed(entry, self.end())
            try:
                self._documents.commit([Create(audit_path(placed.number), msgspec.to_builtins(placed))])
            except Conflict:
                # Clients of stores repeat a write whose answer was lost: what stands there may be ours.
                if self._stands(placed):
                    return placed
            except Unavailable:
                if not self._stands(placed):
                    raise
                return placed
            else:
                return placed
            if time.monotonic() >= until:
                raise Unavailable("the audit trail is written to by too many at once")
            time.sleep(random.uniform(0, pause))  # noqa: S311 - so that writers spread out, no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def end(self) -> Link:
        """Where the trail goes on: behind the last document, whatever was made of it. Verifying finds what it was."""
        page = self._documents.list(COLLECTION, descending=True, limit=1)
        if not page:
            return START
        number = _number(page[0])
        if number is None:
            raise Unavailable(f"the audit trail cannot go on after {page[0].path}, which is no entry")
        digest = page[0].data.get("hash")
        return Link(number, digest if isinstance(digest, str) else "")

    def entries(self, after: int = 0) -> Iterator[AuditEntry | None]:
        """All entries with greater numbers, in their order, read page by page as taken; None for what is none."""
        last: str | None = None if after == 0 else f"{after:012d}"
        while True:
            page = self._documents.list(COLLECTION, after=last, limit=PAGE)
            yield from map(_entry, page)
            if len(page) < PAGE:
                return
            last = page[-1].path.rsplit("/", 1)[1]

    def latest(self, *, before: str | None = None, limit: int = PAGE) -> list[AuditEntry]:
        """The newest entries first; ``before`` is the id (12 digits) to go on from. What is no entry says so."""
        page = self._documents.list(COLLECTION, after=before, descending=True, limit=limit)
        return [_entry(document) or _unreadable(_number(document) or 0) for document in page]

    def _stands(self, placed: AuditEntry) -> bool:
        document = self._documents.get(audit_path(placed.number))
        return document is not None and _entry(document) == placed


def _entry(document: Document) -> AuditEntry | None:
    """The entry; None if it is written in any other way than ours, or stands where another belongs."""
    try:
        entry = msgspec.convert(document.data, AuditEntry)
    except msgspec.ValidationError:
        return None
    is_ours = document.path == audit_path(entry.number) and msgspec.to_builtins(entry) == document.data
    return entry if is_ours else None


def _number(document: Document) -> int | None:
    name = document.path.rsplit("/", 1)[1]
    return int(name) if name.isascii() and name.isdigit() and len(name) == 12 else None


def _unreadable(number: int) -> AuditEntry:
    detail = "this entry is not as it was written: modeldrop audit verify"
    return AuditEntry(number, datetime.fromtimestamp(0, UTC), "", "", "failed", 0, detail, None, "", "", "")
