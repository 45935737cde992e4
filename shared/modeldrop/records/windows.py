"""Windows of prediction logs: the bottom-k samples of predictions and of labels, over any DocumentStore (ADR 7).

| path | holds |
|---|---|
| ``models/{model}/windows/{start}~{version}`` | WindowRecord: a window of a version's predictions |
| ``models/{model}/labels/{start}`` | WindowRecord without a version: a window of the model's labels |
| ``…/shards/{index}`` | a shard of the window's sample, packed |

Every document says in ``expire_at`` when it may go. The shards of a window outlive its record, so that a store which
deletes by time, in any order, never leaves part of a sample that looks like a whole one.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.packing import pack, unpack
from modeldrop.domain.sampling.shards import Shard, empty_shard, shard_count
from modeldrop.domain.sampling.window_sample import WindowSample, window_sample
from modeldrop.domain.sampling.windows import window_start
from modeldrop.errors import Conflict, InvalidInput, Unavailable
from modeldrop.ports import Create, Delete, Document, DocumentStore, Replace, Write
from modeldrop.records.stored import Stored, stored

log = logging.getLogger(__name__)

RETENTION = timedelta(days=90)
"""So long after its end a window is kept, and takes late events."""
SHARDS_OUTLIVE = timedelta(days=15)
"""Longer than a window can be, which keeps its shards' time when a change of the policy lengthens it."""
PAGE = 50
SHARDS_AT_ONCE = 16
WRITES_AT_ONCE = 400  # Firestore took 500 a commit for years; nobody needs more
OPENING_TRIES = 10
MOST_NEARBY = 64
"""So many windows of labels are looked at for those of a window's predictions."""


WindowKey = tuple[str, str | None, datetime]
"""Model, version (None: the model's labels) and start."""


class WindowRecord(msgspec.Struct, frozen=True):
    """A window, as it was laid out when its first event came. ``version`` None: it holds the model's labels."""

    model: str
    version: str | None
    start: datetime  # UTC
    seconds: int
    sample_size: int
    created_at: datetime
    expire_at: datetime

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return self.start + timedelta(seconds=self.seconds)

    @property
    def key(self) -> WindowKey:
        """Which window it is."""
        return self.model, self.version, self.start

    @property
    def path(self) -> str:
        """The record's document."""
        return window_path(*self.key)


class StoredShard(msgspec.Struct, frozen=True):
    """A shard and where it stands; ``revision`` None: it is not stored yet."""

    path: str
    shard: Shard
    revision: str | None
    expire_at: datetime

    def write(self, shard: Shard) -> Write:
        """The write that puts ``shard`` in this one's place, and fails if it changed meanwhile."""
        data: dict[str, Any] = {"packed": pack(shard), "expire_at": msgspec.to_builtins(self.expire_at)}
        if self.revision is None:
            return Create(self.path, data)
        return Replace(self.path, data, self.revision)


def window_path(model: str, version: str | None, start: datetime) -> str:
    """The document of a window: of a version's predictions, without a version of the model's labels.

    >>> window_path("fraud", "v1", datetime(2026, 1, 1, tzinfo=UTC))
    'models/fraud/windows/2026-01-01T00:00:00Z~v1'
    >>> window_path("fraud", None, datetime(2026, 1, 1, tzinfo=UTC))
    'models/fraud/labels/2026-01-01T00:00:00Z'
    """
    moment = start_text(start)
    return f"models/{model}/labels/{moment}" if version is None else f"models/{model}/windows/{moment}~{version}"


def new_window(model: str, version: str | None, start: datetime, policy: DriftPolicy, now: datetime) -> WindowRecord:
    """A window that is not stored yet, laid out as the policy says."""
    expire_at = start + timedelta(seconds=policy.window_seconds) + RETENTION
    return WindowRecord(model, version, start, policy.window_seconds, policy.sample_size, now, expire_at)


class Windows:
    """Reads and opens windows, and reads their samples."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def record(self, model: str, version: str | None, start: datetime) -> WindowRecord | None:
        """A window by its start; ``version`` None: of labels."""
        document = self._documents.get(window_path(model, version, start))
        return stored(document, WindowRecord).value if document else None

    def records(
        self, model: str, version: str | None = None, *, before: datetime | None = None, page: int = PAGE
    ) -> Iterator[WindowRecord]:
        """Windows of predictions from the newest on, read page by page as they are taken.

        With ``version`` only its own; with ``before`` those that start earlier than that.
        """
        after = None if before is None else start_text(before)
        for slot in self._listed(f"models/{model}/windows", after=after, size=page):
            if version in (None, slot.value.version):
                yield slot.value

    def label_records(self, model: str) -> Iterator[WindowRecord]:
        """Windows of the model's labels, from the newest on, read page by page as they are taken."""
        return (slot.value for slot in self._listed(f"models/{model}/labels", after=None))

    def open(self, wanted: Sequence[WindowRecord]) -> list[WindowRecord]:
        """The windows that stand where ``wanted`` do, in their order; those that do not stand yet are made.

        A window keeps the sample size it was made with. One that was made shorter (the policy changed since) is
        lengthened, so that no event lies outside its window. Raises Conflict if others are faster again and again.
        """
        for _ in range(OPENING_TRIES):
            found = self._documents.get_many([record.path for record in wanted])
            slots = [_slot(record, document) for record, document in zip(wanted, found, strict=True)]
            opened = [_opened(slot, record) for slot, record in zip(slots, wanted, strict=True)]
            writes = {
                slot.path: slot.write(record)
                for slot, record in zip(slots, opened, strict=True)
                if slot.revision is None or slot.value != record
            }
            try:
                self._commit(list(writes.values()))
            except Conflict:
                continue
            return opened
        raise Conflict(f"{wanted[0].path} and others are being opened elsewhere")

    def shard(self, record: WindowRecord, index: int) -> StoredShard:
        """A shard as it stands; an empty one that is not stored yet where there is none."""
        return self.shards(record, [index])[0]

    def shards(self, record: WindowRecord, indices: Sequence[int]) -> list[StoredShard]:
        """Several at once, in the order asked for."""
        paths = [f"{record.path}/shards/{index:03d}" for index in indices]
        found = self._documents.get_many(paths)
        return [_shard(record, path, document) for path, document in zip(paths, found, strict=True)]

    def sample(self, model: str, version: str, start: datetime) -> WindowSample | None:
        """The sample of a version's predictions in the window that begins then; None if there is no such window."""
        return self._sample(self.record(model, version, start))

    def labels(self, model: str, start: datetime) -> WindowSample | None:
        """The sample of a model's labels whose predictions belong to that window; None if there is none."""
        return self._sample(self.record(model, None, start))

    def labels_nearby(self, window: WindowRecord, seconds_now: int) -> list[WindowSample]:
        """Samples of labels that may belong to a window's predictions: those of its own time first.

        Besides these the windows before and after, since an app may take another time for a label than for its
        prediction; and where the policy's windows are of another length by now (``seconds_now``), those in which labels
        that came since then are. Windows of a length between the two are not looked for.
        """
        starts = dict.fromkeys([window.start, *_starts_touching(window, window.seconds)])
        starts |= dict.fromkeys(_starts_touching(window, seconds_now))
        found = self._documents.get_many([window_path(window.model, None, start) for start in starts])
        records = (stored(document, WindowRecord).value for document in found if document is not None)
        return [self._read_sample(record) for record in records]

    def forget_expired(self, model: str, now: datetime, *, most: int = 20) -> int:
        """Delete windows of predictions and of labels that are past their time; at most ``most`` of each, oldest first.

        How many were deleted. For stores that do not do it by themselves.
        """
        forgotten = 0
        for kind in ("windows", "labels"):
            for document in self._documents.list(f"models/{model}/{kind}", limit=most):
                slot = stored(document, WindowRecord)
                if slot.value.expire_at <= now:
                    forgotten += self._is_forgotten(slot.value, Delete(slot.path, document.revision))
        return forgotten

    def _sample(self, record: WindowRecord | None) -> WindowSample | None:
        return None if record is None else self._read_sample(record)

    def _read_sample(self, record: WindowRecord) -> WindowSample:
        indices = range(shard_count(record.sample_size))
        shards: dict[int, Shard] = {}
        for first in range(0, len(indices), SHARDS_AT_ONCE):  # packed, the largest sample has 256 MB
            some = indices[first : first + SHARDS_AT_ONCE]
            shards |= {index: slot.shard for index, slot in zip(some, self.shards(record, some), strict=True)}
        return window_sample(shards, record.sample_size)

    def _is_forgotten(self, record: WindowRecord, deletion: Delete) -> bool:
        """Whether it was this call that deleted the window: somebody else may, or may just be writing to it."""
        try:
            self._documents.commit([*self._shard_deletions(record), deletion])
        except Conflict as error:
            log.info("%s", error)
            return False
        return True

    def _shard_deletions(self, record: WindowRecord) -> list[Write]:
        """Without the record, nobody would find them again: they go in one commit with it."""
        paths = [f"{record.path}/shards/{index:03d}" for index in range(shard_count(record.sample_size))]
        deletions: list[Write] = []
        for first in range(0, len(paths), SHARDS_AT_ONCE):  # only their revisions are kept in memory
            found = self._documents.get_many(paths[first : first + SHARDS_AT_ONCE])
            deletions += [Delete(document.path, document.revision) for document in found if document is not None]
        return deletions

    def _commit(self, writes: Sequence[Write]) -> None:
        for first in range(0, len(writes), WRITES_AT_ONCE):
            self._documents.commit(writes[first : first + WRITES_AT_ONCE])

    def _listed(self, collection: str, after: str | None, size: int = PAGE) -> Iterator[Stored[WindowRecord]]:
        while True:
            page = self._documents.list(collection, after=after, descending=True, limit=size)
            yield from (stored(document, WindowRecord) for document in page)
            if len(page) < size:
                return
            after = page[-1].path.rsplit("/", 1)[1]


def _starts_touching(window: WindowRecord, seconds: int) -> list[datetime]:
    """The windows of that length which overlap this one or touch it, the first of them at its start or before it."""
    length = timedelta(seconds=seconds)
    first = window_start(window.start, seconds)
    first_touching = first - length if first == window.start else first
    count = min((window.end - first_touching) // length + 1, MOST_NEARBY)
    return [first_touching + number * length for number in range(count)]


def _slot(wanted: WindowRecord, document: Document | None) -> Stored[WindowRecord]:
    return Stored(wanted.path, wanted) if document is None else stored(document, WindowRecord)


def _opened(slot: Stored[WindowRecord], wanted: WindowRecord) -> WindowRecord:
    if slot.value.seconds >= wanted.seconds:
        return slot.value
    return msgspec.structs.replace(slot.value, seconds=wanted.seconds, expire_at=wanted.expire_at)


def _shard(record: WindowRecord, path: str, document: Document | None) -> StoredShard:
    expire_at = record.expire_at + SHARDS_OUTLIVE
    if document is None:
        return StoredShard(path, empty_shard(record.sample_size), None, expire_at)
    try:
        return StoredShard(path, unpack(document.data["packed"]), document.revision, expire_at)
    except InvalidInput as error:  # no fault of the events that wait for it, nor of whoever asks for a report
        raise Unavailable(f"{path} cannot be read: {error}") from error


def start_text(start: datetime) -> str:
    """A window's start as paths and links have it: UTC, to the second, of one width, so that ids sort by time.

    >>> start_text(datetime(2026, 1, 1, tzinfo=UTC))
    '2026-01-01T00:00:00Z'
    """
    return f"{start.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
