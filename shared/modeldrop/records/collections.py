"""The tree of all collections, for those who go through everything, in an order that is safe to restore."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from modeldrop.ports import Document, DocumentStore

SAMPLES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "windows": {"shards": {}},
        "labels": {"shards": {}},
        "drift": {},
        "quality": {},
        "baselines": {},
        "deliveries": {},
        "health": {},
    }
)
"""Of a model: what was seen of it. No decision is serialised by these, so they may change while they are read."""
DECISIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "versions": {},
        "names": {},
        "rollouts": {},
        "history": {},
        "ledger": {},
        "served": {},
        "retraining": {},
        "episodes": {},
        "proposals": {},
    }
)
"""Of a model: what was decided. The head changes with them."""
MODELS: Final = "models"
POLICIES: Final = "policies"
"""What models are judged by: there before them, so that nobody judges a model by the defaults."""
SHARED: Final = ("quarantine", "outbox", "training", "audit")
"""Beside the models."""
NOT_STATE: Final = ("heartbeats", "unknown")
"""When ticks ran, and what was counted and passed over, says nothing of another place."""

PAGE = 100


def below(documents: DocumentStore, path: str, collections: Mapping[str, Any]) -> Iterator[Document]:
    """All documents in those collections of a document, each after what is below it; read page by page as taken."""
    for collection, children in collections.items():
        for document in listed(documents, f"{path}/{collection}" if path else collection):
            yield from below(documents, document.path, children)
            yield document


def listed(documents: DocumentStore, collection: str) -> Iterator[Document]:
    """All documents of a collection, by id."""
    after = None
    while True:
        page: Sequence[Document] = documents.list(collection, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].path.rsplit("/", 1)[1]
