"""Which news are due at which channels: a pure decision on what lies in the outbox."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from modeldrop.domain.news import AnyKind, News
from modeldrop.domain.targets import Channel, describe
from modeldrop.records.outbox import Delivery, Dispatch
from modeldrop.records.stored import Stored


class DueNews(msgspec.Struct, frozen=True):
    """An item of the outbox with all its deliveries; ``now``: keys of the channels to be told now.

    ``gone``: keys of those that wait, and that the policy no longer has; in their place ``deliveries`` has, at its end,
    one to each channel that wants such news and has not had these. Neither: nobody waits for it any more.
    """

    slot: Stored[Dispatch]
    deliveries: list[Delivery]
    now: list[str]
    gone: list[str]


def channel_key(channel: Channel) -> str:
    """Stands for a channel's settings, but for what it wants to hear of: that may change while news are on the way.

    >>> from modeldrop.domain.targets import PubsubChannel
    >>> channel_key(PubsubChannel("news", ["drift"]))
    '4ccd451f9f8d1151'
    """
    settings = msgspec.to_builtins(channel)
    del settings["on"]
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:16]


def channels_by_key(channels: Sequence[Channel]) -> dict[str, Channel]:
    """The channels of a policy; one that stands there twice is one."""
    return {channel_key(channel): channel for channel in channels}


def due_news(items: Sequence[Stored[Dispatch]], notify: Sequence[Channel], now: datetime) -> list[DueNews]:
    """What is to be done about the items of one model, the oldest first. ``notify``: its policy's channels.

    That a trouble is over is not told to a channel before the trouble is, nor a new one before that: where either of
    two of the same kind is a resolution, the later one waits until the earlier is delivered there, or given up.
    Items that somebody else has claimed are passed over, but others wait for them.
    """
    channels = channels_by_key(notify)
    ahead: dict[tuple[AnyKind, str], set[bool]] = {}  # of those that wait: are they resolutions?
    found = []
    for slot in sorted(items, key=lambda item: (item.value.at, item.path)):
        item = slot.value
        deliveries = first_look(item.news, notify) if item.deliveries is None else item.deliveries
        gone = [each.channel for each in deliveries if each.status == "waiting" and each.channel not in channels]
        if gone:
            deliveries = [*deliveries, *_in_place_of_gone(item.news, deliveries, notify)]
        waiting = [delivery for delivery in deliveries if delivery.status == "waiting"]
        due = []
        for delivery in waiting:
            earlier = ahead.setdefault((item.news.kind, delivery.channel), set())
            has_to_wait = earlier and (item.news.resolved or True in earlier)
            if delivery.channel in channels and not has_to_wait and _is_due(delivery, now):
                due.append(delivery.channel)
            earlier.add(item.news.resolved)
        if _is_free(item, now) and (due or gone or not waiting):
            found.append(DueNews(slot, deliveries, due, gone))
    return found


def first_look(news: News, notify: Sequence[Channel]) -> list[Delivery]:
    """The deliveries of news that nobody looked at yet: to the channels that want to hear of them.

    Alerts are for all of them.
    """
    wanted = [channel for channel in notify if news.kind == "undelivered" or news.kind in channel.on]
    return deliveries_to(channels_by_key(wanted))


def _in_place_of_gone(news: News, deliveries: Sequence[Delivery], notify: Sequence[Channel]) -> list[Delivery]:
    """To whom the news go where channels have left the policy: it may be one of them, with other settings."""
    had = {delivery.channel for delivery in deliveries}
    return [delivery for delivery in first_look(news, notify) if delivery.channel not in had]


def deliveries_to(channels: Mapping[str, Channel]) -> list[Delivery]:
    """One to each of the channels."""
    return [Delivery(key, describe(channel)) for key, channel in channels.items()]


def _is_due(delivery: Delivery, now: datetime) -> bool:
    return delivery.next_at is None or delivery.next_at <= now


def _is_free(item: Dispatch, now: datetime) -> bool:
    return item.claimed_until is None or item.claimed_until <= now
