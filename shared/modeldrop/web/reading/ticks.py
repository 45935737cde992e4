"""Reads of the ticks: when each ran last, and what is wrong with them."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.records.outbox import Outbox
from modeldrop.web.answers.models import Trouble
from modeldrop.web.answers.operations import TickRow, Ticks
from modeldrop.web.calls import Call, NoQuery
from modeldrop.wiring import Services

EXPECTED_TICKS = ("health_tick", "outbox_tick", "retrain_tick")
"""One that never came is worth a word, too."""
LAG = timedelta(minutes=15)
"""News that wait for longer are worth a word. Those of a channel that stumbled once are told within."""
MOST_PAGES_OF_NEWS = 5


def ticks(services: Services, call: Call[NoQuery]) -> Ticks:
    """When each tick ran last."""
    now = services.clock()
    return Ticks([_row(heartbeat, now) for heartbeat in Heartbeats(services.documents).all()])


def trouble(services: Services) -> Trouble:
    """What is wrong with the ticks, and since when news wait (null: not for long)."""
    now = services.clock()
    seen = Heartbeats(services.documents).all()
    return Trouble(
        stale=[heartbeat.tick for heartbeat in seen if heartbeat.is_stale(now)],
        never=[tick for tick in EXPECTED_TICKS if all(tick != heartbeat.tick for heartbeat in seen)],
        incomplete=[heartbeat.tick for heartbeat in seen if heartbeat.status != "ok"],
        oldest_news=_oldest_news(services, now),
    )


def _oldest_news(services: Services, now: datetime) -> str | None:
    """Among the first pages of the outbox: it is empty, or nearly, unless something is wrong."""
    outbox, oldest, after = Outbox(services.documents), now, None
    for _ in range(MOST_PAGES_OF_NEWS):
        page = outbox.page(after=after)
        oldest = min([oldest, *[slot.value.at for slot in page.items]])
        after = page.next
        if after is None:
            break
    text: str = msgspec.to_builtins(oldest)
    return text if now - oldest > LAG else None


def _row(heartbeat: Heartbeat, now: datetime) -> TickRow:
    return TickRow(
        heartbeat.tick,
        heartbeat.at,
        heartbeat.seconds,
        heartbeat.status,
        heartbeat.models,
        heartbeat.errors,
        heartbeat.interval_seconds,
        heartbeat.is_stale(now),
    )
