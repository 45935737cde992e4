"""Read a backup into a store that holds nothing else.

Everything is compared before anything is written. Safe to repeat after an interruption: what is there already and is
the same is passed over, and nothing is overwritten.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from modeldrop.domain.documents import MAX_COMMIT_BYTES
from modeldrop.errors import Conflict, Refused, Unavailable
from modeldrop.handlers.backups.backup_file import Entry, check_backup, entries_of
from modeldrop.handlers.backups.comparison import Comparison, compare
from modeldrop.ports import Create
from modeldrop.wiring import Services

AT_ONCE = 200
ATTEMPTS = 5
"""At a batch of which nothing comes to be there, whoever else writes."""


class Restored(msgspec.Struct, frozen=True):
    """``there``: documents that were there already, and are the same."""

    documents: int
    there: int


def restore_backup(
    services: Services, path: Path, progress: Callable[[int], object] = lambda _: None, at_once: int = AT_ONCE
) -> Restored:
    """Create what the file holds. ``progress`` is told how many documents are done.

    Raises, before anything is written, InvalidInput if the file is no whole backup, and Refused, which names all that
    is in the way, if the store holds something else or something more, as that of a control plane in use does.
    """
    _, trailer = check_backup(path)
    if refusal := compare(services.documents, _batches(path, at_once)).refusal:
        raise Refused(f"nothing was written: {refusal}")
    done = there = 0
    for batch in _batches(path, at_once):
        there += _create(services, batch)
        done += len(batch)
        progress(done)
    return Restored(trailer.documents, there)


def _create(services: Services, batch: list[Entry]) -> int:
    """How many of them were there. Others may write the same at once: what is missing then is asked for anew."""
    missing, stuck = batch, 0
    while missing:
        try:
            services.documents.commit([Create(entry.path, entry.data) for entry in missing])
            break
        except Conflict:
            found = services.documents.get_many([entry.path for entry in missing])
        pairs = list(zip(missing, found, strict=True))
        others = [entry.path for entry, one in pairs if one is not None and one.data != entry.data]
        if refusal := Comparison(0, others, []).refusal:
            raise Refused(f"written to by somebody else meanwhile: {refusal}")
        left = [entry for entry, one in pairs if one is None]
        stuck = stuck + 1 if len(left) == len(missing) else 0
        if stuck == ATTEMPTS:
            raise Unavailable("others write to the same documents all the while: try again")
        missing = left
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
