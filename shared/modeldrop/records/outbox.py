"""The outbox: news committed together with the change they tell of, and the log of their delivery.

| path | holds |
|---|---|
| ``outbox/{id}`` | Dispatch: news that are not delivered to every channel yet |
| ``models/{model}/deliveries/{time}~{id}`` | Dispatch: news that are, or were given up; kept for a while |

A dispatch moves from the one to the other in one commit, so the outbox is empty while nothing is to be told.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from modeldrop.domain.news import News
from modeldrop.ports import Create, Delete, DocumentStore, Write
from modeldrop.records.stored import Stored, stored

KEPT = timedelta(days=30)
PAGE = 100


class Delivery(msgspec.Struct, frozen=True):
    """How it stands with one channel of the policy. ``next_at``: not before then (again)."""

    channel: str  # stands for the channel's settings
    to: str  # for people
    status: Literal["waiting", "delivered", "dead"] = "waiting"
    attempts: int = 0
    next_at: datetime | None = None
    error: str = ""
    at: datetime | None = None  # of the end


class Dispatch(msgspec.Struct, frozen=True):
    """News of a model, from when on, and to whom. ``deliveries`` None: nobody looked yet who wants to hear of it."""

    model: str
    news: News
    at: datetime
    expire_at: datetime
    deliveries: list[Delivery] | None = None
    claimed_until: datetime | None = None  # somebody is delivering it until then


def dispatch(model: str, news: News, at: datetime) -> Dispatch:
    """News that happened ``at``."""
    return Dispatch(model, news, at, at + KEPT)


def outgoing(model: str, changes: int, item: Dispatch) -> Write:
    """The write that puts it into the outbox; its id follows from the commit it is part of."""
    return Create(f"outbox/{model}~{changes:010d}~{item.news.kind}", msgspec.to_builtins(item))


def health_dispatch(item: Dispatch) -> Write:
    """The same for news of a model's health, which is no commit about the model: one a check."""
    moment = item.at.isoformat(timespec="microseconds")
    return Create(f"outbox/{item.model}~health~{moment}", msgspec.to_builtins(item))


def numbered_dispatch(source: str, changes: int, number: int, item: Dispatch) -> Write:
    """The same for news that come with another numbered change (``source`` names what changes)."""
    return Create(f"outbox/{item.model}~{source}~{changes:010d}~{number}", msgspec.to_builtins(item))


class Outbox:
    """Reads what is to be told, and keeps the log."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def waiting(self, *, after: str | None = None, limit: int = PAGE) -> list[Stored[Dispatch]]:
        """News to be told, by id."""
        return [stored(document, Dispatch) for document in self._documents.list("outbox", after=after, limit=limit)]

    def find(self, path: str) -> Stored[Dispatch] | None:
        """One of them, as it is now."""
        document = self._documents.get(path)
        return stored(document, Dispatch) if document else None

    def log(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[tuple[str, Dispatch]]:
        """What was told of a model, the newest first, with its ids."""
        page = self._documents.list(f"models/{model}/deliveries", after=before, descending=True, limit=limit)
        return [(document.path.rsplit("/", 1)[1], stored(document, Dispatch).value) for document in page]

    def commit(self, writes: Sequence[Write]) -> None:
        """All or none; raises Conflict if anything changed meanwhile."""
        self._documents.commit(writes)


def into_log(item: Stored[Dispatch], done: Dispatch) -> list[Write]:
    """The writes that move a dispatch nobody waits for any more into the log."""
    assert item.revision is not None
    name = item.path.rsplit("/", 1)[1]
    moment = done.at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    path = f"models/{done.model}/deliveries/{moment}Z~{name}"
    return [Create(path, msgspec.to_builtins(done)), Delete(item.path, item.revision)]
