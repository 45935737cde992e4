"""The outbox: news committed together with the change they tell of, for a dispatcher to deliver."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.news import News
from modeldrop.ports import Create, Write

KEPT = timedelta(days=30)


class Dispatch(msgspec.Struct, frozen=True):
    """News of a model, and from when on."""

    model: str
    news: News
    at: datetime
    expire_at: datetime


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
