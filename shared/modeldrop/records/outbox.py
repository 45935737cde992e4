"""The outbox: news committed together with the change they tell of, and the log of their delivery.

| path | holds |
|---|---|
| ``outbox/{id}`` | Dispatch: news that are not delivered to every channel yet |
| ``models/{model}/deliveries/{time}~{id}`` | Dispatch: news that are, or were given up; kept for a while |

A dispatch moves from the one to the other in one commit, so the outbox is empty while nothing is to be told. Alerts
that a channel could not be told something have an id, and a place in the log, that follow from channel and day: there
is one a day.
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
    refusals: int = 0  # of the attempts: it was said that it never will be taken


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


def alert_dispatch(channel: str, item: Dispatch) -> Create:
    """The same for the alert that a channel could not be told something: one a day, the others have its id."""
    return Create(f"outbox/{item.model}~undelivered~{channel}~{_day(item.at):%Y-%m-%d}", msgspec.to_builtins(item))


class OutboxPage(msgspec.Struct, frozen=True):
    """News to be told, by id. ``unreadable``: what is wrong with others, by id (of a later release, say)."""

    items: list[Stored[Dispatch]]
    unreadable: dict[str, str]
    next: str | None  # the id after which the next page begins; None: this is the last


class Outbox:
    """Reads what is to be told, and keeps the log."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def page(self, *, after: str | None = None, limit: int = PAGE) -> OutboxPage:
        """News to be told: one page of them."""
        found = self._documents.list("outbox", after=after, limit=limit)
        items, unreadable = [], {}
        for document in found:
            try:
                items.append(stored(document, Dispatch))
            except msgspec.ValidationError as error:
                unreadable[_id(document.path)] = str(error)
        return OutboxPage(items, unreadable, _id(found[-1].path) if len(found) == limit else None)

    def waiting(self, *, after: str | None = None, limit: int = PAGE) -> list[Stored[Dispatch]]:
        """Of a page of news to be told those that can be read."""
        return self.page(after=after, limit=limit).items

    def find(self, path: str) -> Stored[Dispatch] | None:
        """One of them, as it is now."""
        document = self._documents.get(path)
        return stored(document, Dispatch) if document else None

    def log(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[tuple[str, Dispatch]]:
        """What was told of a model, the newest first, with its ids."""
        page = self._documents.list(f"models/{model}/deliveries", after=before, descending=True, limit=limit)
        return [(_id(document.path), stored(document, Dispatch).value) for document in page]

    def is_known(self, news: Create) -> bool:
        """Whether these are in the outbox, or were told already."""
        item = msgspec.convert(news.data, Dispatch)
        found = self._documents.get_many([news.path, _log_path(_id(news.path), item)])
        return any(document is not None for document in found)

    def forget_expired(self, model: str, now: datetime, *, most: int = PAGE) -> int:
        """Delete what is past its time in the log, the oldest first, at most ``most``; how many were deleted."""
        page = self._documents.list(f"models/{model}/deliveries", limit=most)
        expired = [each for each in page if msgspec.convert(each.data["expire_at"], datetime) <= now]
        if expired:
            self._documents.commit([Delete(each.path, each.revision) for each in expired])
        return len(expired)

    def commit(self, writes: Sequence[Write]) -> None:
        """All or none; raises Conflict if anything changed meanwhile."""
        self._documents.commit(writes)


def into_log(item: Stored[Dispatch], done: Dispatch) -> list[Write]:
    """The writes that move a dispatch nobody waits for any more into the log."""
    assert item.revision is not None
    return [Create(_log_path(_id(item.path), done), msgspec.to_builtins(done)), Delete(item.path, item.revision)]


def _log_path(name: str, item: Dispatch) -> str:
    """By time; alerts at the beginning of their day, where the day's next one finds them."""
    at = item.at.astimezone(UTC).replace(tzinfo=None)
    moment = _day(item.at) if item.news.kind == "undelivered" else at
    return f"models/{item.model}/deliveries/{moment.isoformat(timespec='microseconds')}Z~{name}"


def _day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


def _id(path: str) -> str:
    return path.rsplit("/", 1)[1]
