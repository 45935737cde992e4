"""The alert that a channel could not be told something."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from modeldrop.domain.news import News
from modeldrop.domain.targets import Channel
from modeldrop.handlers.outbox.due_news import deliveries_to
from modeldrop.ports import Create
from modeldrop.records.outbox import Delivery, Dispatch, alert_dispatch, dispatch

_LONGEST_WHY = 2000


def alerts_of(
    item: Dispatch, failed: Sequence[Delivery], channels: Mapping[str, Channel], now: datetime
) -> list[Create]:
    """Writes that tell the model's other channels, whatever they want to hear of; none where there are none.

    One for each of ``failed``, deliveries of the item that were just given up; those of a channel have the same id all
    day, so the first of them speaks for all. An alert that cannot be delivered makes no further one.
    """
    dead = {delivery.channel for delivery in item.deliveries or [] if delivery.status == "dead"}
    others = {key: channel for key, channel in channels.items() if key not in dead}
    if not others or item.news.kind == "undelivered":
        return []
    return [alert_dispatch(delivery.channel, _alert(item, delivery, others, now)) for delivery in failed]


def _alert(item: Dispatch, failed: Delivery, others: Mapping[str, Channel], now: datetime) -> Dispatch:
    news = item.news
    first = f"the first today: {news.what}{' (resolved)' if news.resolved else ''}: {news.why}"
    why = f"{failed.error}\n{first}\nwhatever else is not told there today stands in the deliveries"
    what = f"news are not told to {failed.to}"
    alert = dispatch(item.model, News("undelivered", news.version, what, why[:_LONGEST_WHY]), now)
    return msgspec.structs.replace(alert, deliveries=deliveries_to(others))
