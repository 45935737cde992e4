"""The alert that a channel could not be told something."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from modeldrop.domain.news import News
from modeldrop.domain.targets import Channel
from modeldrop.handlers.outbox.due_news import deliveries_to
from modeldrop.ports import Create, Write
from modeldrop.records.outbox import Delivery, Dispatch, dispatch

_LONGEST_WHY = 2000


def alert_of(
    path: str, item: Dispatch, failed: Sequence[Delivery], channels: Mapping[str, Channel], now: datetime
) -> list[Write]:
    """The write that tells the model's other channels, whatever they want to hear of; none where there are none.

    ``path``: of the item; ``failed``: its deliveries that were just given up. An alert that cannot be delivered makes
    no further one.
    """
    dead = {delivery.channel for delivery in item.deliveries or [] if delivery.status == "dead"}
    others = {key: channel for key, channel in channels.items() if key not in dead}
    if not failed or not others or item.news.kind == "undelivered":
        return []
    names = "; ".join(delivery.to for delivery in failed)
    reasons = "; ".join(delivery.error for delivery in failed)
    news = item.news
    why = f"{reasons}\nit was: {news.what}{' (resolved)' if news.resolved else ''}: {news.why}"[:_LONGEST_WHY]
    alert = dispatch(item.model, News("undelivered", news.version, f"{news.what}: not told to {names}", why), now)
    told = msgspec.structs.replace(alert, deliveries=deliveries_to(others))
    moment = now.isoformat(timespec="microseconds")
    return [Create(f"{path}~undelivered~{failed[0].channel}~{moment}", msgspec.to_builtins(told))]
