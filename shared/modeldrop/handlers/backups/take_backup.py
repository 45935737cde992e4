"""Write everything into a file, while the control plane goes on working.

What was decided of a model is read as of one moment: its head says whether anything changed meanwhile. Samples and
reports are read as they come. Each document is written after those below it, and the head after all that is the
model's: whoever restores the file never sees a model before it is whole.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from modeldrop import __version__
from modeldrop.handlers.backups.backup_file import FORMAT, Entry, Header, Trailer, write_backup
from modeldrop.ports import Document, DocumentStore
from modeldrop.records.collections import DECISIONS, MODELS, POLICIES, SAMPLES, SHARED, below, listed
from modeldrop.wiring import Services

_ATTEMPTS = 5


def take_backup(services: Services, path: Path, progress: Callable[[str], object] = lambda _: None) -> Trailer:
    """Write the backup to ``path``; ``progress`` is told each model. Raises Unavailable where the store is silent."""
    unsettled: list[str] = []
    found = chain(
        listed(services.documents, POLICIES),
        chain.from_iterable(_model(services.documents, head, unsettled, progress) for head in _heads(services)),
        chain.from_iterable(listed(services.documents, collection) for collection in SHARED),
    )
    header = Header(FORMAT, __version__, services.clock())
    return write_backup(path, header, (Entry(one.path, one.data) for one in found), unsettled)


def _heads(services: Services) -> Iterator[Document]:
    return listed(services.documents, MODELS)


def _model(
    documents: DocumentStore, head: Document, unsettled: list[str], progress: Callable[[str], object]
) -> Iterator[Document]:
    progress(head.path.rsplit("/", 1)[1])
    yield from below(documents, head.path, SAMPLES)
    decided: list[Document] = []
    for _ in range(_ATTEMPTS):
        decided = list(below(documents, head.path, DECISIONS))
        again = documents.get(head.path)
        if again is None or again.revision == head.revision:
            break
        head = again
    else:
        unsettled.append(head.path.rsplit("/", 1)[1])
    yield from decided
    yield head
