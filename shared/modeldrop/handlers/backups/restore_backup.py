"""Read a backup into a store that does not know its models yet.

Safe to repeat after an interruption: what is there already and is the same is passed over, and nothing is overwritten.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from modeldrop.domain.documents import MAX_COMMIT_BYTES
from modeldrop.errors import Conflict, Refused
from modeldrop.handlers.backups.backup_file import Entry, check_backup, entries_of
from modeldrop.ports import Create
from modeldrop.wiring import Services

AT_ONCE = 200
MOST_NAMED = 10


class Restored(msgspec.Struct, frozen=True):
    """``there``: documents that were there already, and are the same."""

    documents: int
    there: int


def restore_backup(
    services: Services, path: Path, progress: Callable[[int], object] = lambda _: None, at_once: int = AT_ONCE
) -> Restored:
    """Create what the file holds. ``progress`` is told how many documents are done.

    Raises InvalidInput, before anything is written, if the file is no whole backup; Refused if a document is there
    that differs, as in a control plane that is in use.
    """
    _, trailer = check_backup(path)
    done = there = 0
    for batch in _batches(path, at_once):
        there += _create(services, batch)
        done += len(batch)
        progress(done)
    return Restored(trailer.documents, there)


def _create(services: Services, batch: list[Entry]) -> int:
    """How many of them were there."""
    try:
        services.documents.commit([Create(entry.path, entry.data) for entry in batch])
    except Conflict:
        found = services.documents.get_many([entry.path for entry in batch])
    else:
        return 0
    missing = [entry for entry, one in zip(batch, found, strict=True) if one is None]
    others = [entry.path for entry, one in zip(batch, found, strict=True) if one is not None and one.data != entry.data]
    if others:
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        raise Refused(f"these are there and differ; nothing is overwritten: {', '.join(others[:MOST_NAMED])}{more}")
    services.documents.commit([Create(entry.path, entry.data) for entry in missing])
    return len(batch) - len(missing)


def _batches(path: Path, at_once: int) -> Iterator[list[Entry]]:
    """As many documents as one commit takes, in their order."""
    batch: list[Entry] = []
    size = 0
    for entry in entries_of(path):
        bytes_ = len(msgspec.msgpack.encode(entry))
        if batch and (len(batch) == at_once or size + 2 * bytes_ > MAX_COMMIT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += 2 * bytes_
    if batch:
        yield batch
