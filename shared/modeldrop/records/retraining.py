"""Retraining: each model's state, its episodes, and the orders that are being carried out.

| path | holds |
|---|---|
| ``models/{model}/retraining/state`` | RetrainingState: alarms, and the governor's memory |
| ``models/{model}/episodes/{number}`` | Episode |
| ``training/{episode}`` | Order: a run to be started or followed; only while there is something to do |
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from modeldrop.domain.retraining.episode import Episode
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.targets import Target
from modeldrop.ports import Create, Delete, Document, DocumentStore, Write
from modeldrop.records.outbox import Dispatch, numbered_dispatch
from modeldrop.records.stored import Stored, stored

PAGE = 50


class Order(msgspec.Struct, frozen=True):
    """Something to do at a target: start the episode's run, and follow it where the target tells."""

    model: str
    number: int  # of the episode
    target: str = ""  # for people; orders at one that does not answer wait for each other, not for it
    attempts: int = 0
    refusals: int = 0  # among them: what the target would not take
    next_at: datetime | None = None
    claimed_until: datetime | None = None  # somebody is at it until then
    asked_at: datetime | None = None  # when the target was asked last to start it; whether it did may be unknown
    asked: Target | None = None  # which was asked then: its run is followed, whatever the policy says by now
    error: str = ""


class Retraining:
    """Reads them, and commits writes."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def state(self, model: str) -> Stored[RetrainingState]:
        """The model's state; a new one that is not stored yet where there is none."""
        path = f"models/{model}/retraining/state"
        document = self._documents.get(path)
        return stored(document, RetrainingState) if document else Stored(path, RetrainingState())

    def episode(self, model: str, number: int) -> Stored[Episode] | None:
        """An episode by its number."""
        document = self._documents.get(episode_path(model, number))
        return stored(document, Episode) if document else None

    def episodes(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[tuple[str, Episode]]:
        """Episodes, the newest first, with the ids to go on from."""
        page = self._documents.list(f"models/{model}/episodes", after=before, descending=True, limit=limit)
        return [(document.path.rsplit("/", 1)[1], stored(document, Episode).value) for document in page]

    def orders(self, *, after: str | None = None, limit: int = PAGE) -> list[Stored[Order]]:
        """What is to be started or followed, by episode."""
        return [read_order(document) for document in self.order_documents(after=after, limit=limit)]

    def order_documents(self, *, after: str | None = None, limit: int = PAGE) -> list[Document]:
        """The same for whoever must go on where one cannot be read (``read_order``)."""
        return self._documents.list("training", after=after, limit=limit)

    def order(self, path: str) -> Stored[Order] | None:
        """One of them, as it is now."""
        document = self._documents.get(path)
        return read_order(document) if document else None

    def commit_about(
        self,
        slot: Stored[RetrainingState],
        state: RetrainingState,
        writes: Sequence[Write] = (),
        news: Sequence[Dispatch] = (),
    ) -> None:
        """Commit a model's new state with all that belongs to it, if nothing else was since ``slot`` was read.

        ``news`` go to the outbox under ids that follow from the commit, so that nothing is told twice.
        """
        numbered = msgspec.structs.replace(state, changes=slot.value.changes + 1)
        told = [numbered_dispatch("retraining", numbered.changes, number, item) for number, item in enumerate(news)]
        self.commit([slot.write(numbered), *writes, *told])

    def commit(self, writes: Sequence[Write]) -> None:
        """All or none; raises Conflict if anything changed meanwhile."""
        self._documents.commit(writes)


def episode_path(model: str, number: int) -> str:
    """The document of an episode; listing them is in their order.

    >>> episode_path("fraud", 3)
    'models/fraud/episodes/0000000003'
    """
    return f"models/{model}/episodes/{number:010d}"


def new_episode(number: int, episode: Episode) -> list[Write]:
    """The writes of an episode that is opened, with the order to start its run."""
    model = episode.request.model
    data: dict[str, Any] = msgspec.to_builtins(episode)
    order: dict[str, Any] = msgspec.to_builtins(Order(model, number, episode.target))
    return [Create(episode_path(model, number), data), Create(f"training/{episode.id}", order)]


def read_order(document: Document) -> Stored[Order]:
    """The order in a document; raises msgspec.ValidationError if it is none that we know."""
    return stored(document, Order)


def order_done(order: Stored[Order]) -> Write:
    """The write that ends an order."""
    assert order.revision is not None
    return Delete(order.path, order.revision)
