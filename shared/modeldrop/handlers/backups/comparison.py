"""What is in a store beside what a backup holds: all of it is found before anything is written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from modeldrop.handlers.backups.backup_file import Entry
from modeldrop.ports import DocumentStore
from modeldrop.records.collections import DECISIONS, MODELS, POLICIES, SAMPLES, SHARED, below, listed

MOST_NAMED = 10


class Comparison(msgspec.Struct, frozen=True):
    """``there``: documents that are there and the same. The others are in the way, and are paths or words for many."""

    there: int
    differ: list[str]
    foreign: list[str]

    @property
    def refusal(self) -> str | None:
        """Why the backup cannot be restored here; None: it can."""
        said = []
        if self.differ:
            said.append(f"these are there and differ; nothing is overwritten: {_named(self.differ)}")
        if self.foreign:
            said.append(f"the registry has what the backup has not: {_named(self.foreign)}")
        return "; ".join(said) or None


def compare(documents: DocumentStore, batches: Iterable[Sequence[Entry]]) -> Comparison:
    """Compare a backup with what is in the store; reads both whole, a batch at a time."""
    differ: list[str] = []
    found: Counter[str] = Counter()
    known: set[str] = set()
    for batch in batches:
        for entry, one in zip(batch, documents.get_many([entry.path for entry in batch]), strict=True):
            known.add(_part(entry.path))
            if one is not None:
                found[_part(entry.path)] += 1
                if one.data != entry.data:
                    differ.append(entry.path)
    return Comparison(found.total() - len(differ), differ, list(_foreign(documents, known, found)))


def _foreign(documents: DocumentStore, known: set[str], found: Counter[str]) -> Iterator[str]:
    """Models and policies the backup does not know, and by their number documents of parts it does know."""
    for collection in (MODELS, POLICIES):
        yield from (head.path for head in listed(documents, collection) if head.path not in known)
    for part in sorted(part for part in known if part.startswith(f"{MODELS}/")):
        more = sum(1 for _ in below(documents, part, {**SAMPLES, **DECISIONS})) - found[part]
        more += documents.get(part) is not None
        if more > 0:
            yield f"{more} more documents of {part}"
    for collection in SHARED:
        more = sum(1 for _ in listed(documents, collection)) - found[collection]
        if more > 0:
            yield f"{more} more in {collection}"


def _part(path: str) -> str:
    """What a document is counted with: its model, the policy itself, or its collection.

    >>> _part("models/fraud/versions/v1"), _part("policies/fraud"), _part("outbox/7")
    ('models/fraud', 'policies/fraud', 'outbox')
    """
    collection, _, name = path.partition("/")
    return collection if collection in SHARED else f"{collection}/{name.partition('/')[0]}"


def _named(many: Sequence[str]) -> str:
    more = f" and {len(many) - MOST_NAMED} more" if len(many) > MOST_NAMED else ""
    return f"{', '.join(many[:MOST_NAMED])}{more}"
