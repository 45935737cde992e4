"""Retraining, news and ticks on request: what was asked for, what came of it, who was told, and whether ticks come."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

import msgspec

from modeldrop.domain.retraining.episode import Episode
from modeldrop.records.heartbeats import Heartbeats
from modeldrop.records.outbox import Dispatch, Outbox
from modeldrop.records.proposals import ProposalRecord, Proposals
from modeldrop.records.retraining import Retraining
from modeldrop.web.problem import Problem, not_found
from modeldrop.wiring import Services

MOST_WAITING = 100
MOST_PROPOSALS = 50
EXPECTED_TICKS = ("health_tick", "outbox_tick", "retrain_tick")
"""One that never came is worth a word, too."""
LAG = timedelta(minutes=15)
"""News that wait for longer are worth a word. Those of a channel that stumbled once are told within."""
MOST_PAGES_OF_NEWS = 5

Arguments = Mapping[str, Any]


def retraining(services: Services, arguments: Arguments, limit: int) -> dict[str, Any] | Problem:
    """A model's episodes, the newest first, what the governor remembers, and what people are proposed."""
    model = arguments["model"]
    if services.registry.head(model).revision is None:
        return not_found(f"there is no model {model}")
    records = Retraining(services.documents)
    state: dict[str, Any] = msgspec.to_builtins(records.state(model).value)
    found = records.episodes(model, before=arguments["before"], limit=limit)
    proposals = Proposals(services.documents).all(model, limit=MOST_PROPOSALS)
    return {
        "model": model,
        "episodes": [_episode_row(episode) for _, episode in found],
        "state": {name: state[name] for name in ("open", "alarms", "without_gain", "stopped", "declined", "judging")},
        "proposals": [_proposal_row(each) for each in sorted(proposals, key=lambda p: p.proposed_at, reverse=True)],
        "next": found[-1][0] if len(found) == limit else None,
    }


def deliveries(services: Services, arguments: Arguments, limit: int) -> dict[str, Any] | Problem:
    """News of a model: what was told, the newest first, and at most ``MOST_WAITING`` that are still to be told."""
    model = arguments["model"]
    if services.registry.head(model).revision is None:
        return not_found(f"there is no model {model}")
    outbox = Outbox(services.documents)
    found = outbox.log(model, before=arguments["before"], limit=limit)
    first = f"{model}~"  # how the ids of its news begin; a name has no ~
    page = outbox.waiting(after=first, limit=MOST_WAITING)
    waiting = [(slot.path.rsplit("/", 1)[1], slot.value) for slot in page]
    return {
        "model": model,
        "deliveries": [_dispatch_row(name, item) for name, item in found],
        "waiting": [_dispatch_row(*row) for row in takewhile(lambda row: row[0].startswith(first), waiting)],
        "next": found[-1][0] if len(found) == limit else None,
    }


def ticks(services: Services, arguments: Arguments, limit: int) -> dict[str, Any]:
    """When each tick ran last."""
    now = services.clock()
    names = ("tick", "at", "seconds", "status", "models", "errors", "interval_seconds")
    rows = []
    for heartbeat in Heartbeats(services.documents).all():
        data: dict[str, Any] = msgspec.to_builtins(heartbeat)
        rows.append({name: data[name] for name in names} | {"stale": heartbeat.is_stale(now)})
    return {"ticks": rows}


def late_ticks(services: Services) -> dict[str, Any]:
    """What is wrong with the ticks, by name, and since when news wait.

    ``stale``: should have come again long ago; ``never``: never came; ``incomplete``: could not do all its work the
    last time; ``oldest_news``: the time of the oldest still to be told, if they have been for long, else null.
    """
    now = services.clock()
    seen = Heartbeats(services.documents).all()
    return {
        "stale": [heartbeat.tick for heartbeat in seen if heartbeat.is_stale(now)],
        "never": [tick for tick in EXPECTED_TICKS if all(tick != heartbeat.tick for heartbeat in seen)],
        "incomplete": [heartbeat.tick for heartbeat in seen if heartbeat.status != "ok"],
        "oldest_news": _oldest_news(services, now),
    }


def _oldest_news(services: Services, now: datetime) -> str | None:
    """Among the first pages of the outbox: it is empty, or nearly, unless something is wrong."""
    outbox, oldest, after = Outbox(services.documents), now, None
    for _ in range(MOST_PAGES_OF_NEWS):
        page = outbox.page(after=after)
        oldest = min([oldest, *[slot.value.at for slot in page.items]])
        after = page.next
        if after is None:
            break
    return _text(oldest) if now - oldest > LAG else None


def _episode_row(episode: Episode) -> dict[str, Any]:
    request = episode.request
    row = {
        "id": episode.id,
        "cause": request.cause,
        "why": episode.why,
        "by": episode.by,
        "version": request.version,
        "status": episode.status,
        "target": episode.target,
        "run": episode.run,
        "opened_at": episode.opened_at,
        "until": episode.until,
        "ended_at": episode.ended_at,
        "closed_by": episode.closed_by,
        "gain": episode.gain,
        "outcome": episode.outcome,
        "window": request.window,
        "report": request.report,
    }
    plain: dict[str, Any] = msgspec.to_builtins(row)
    return plain


def _proposal_row(proposal: ProposalRecord) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(proposal)
    return row | {"text": proposal.text}


def _dispatch_row(name: str, item: Dispatch) -> dict[str, Any]:
    news: dict[str, Any] = msgspec.to_builtins(item.news)
    deliveries = msgspec.to_builtins(item.deliveries or [])
    return {"id": name, "at": _text(item.at), **news, "deliveries": deliveries}


def _text(moment: datetime) -> str:
    text: str = msgspec.to_builtins(moment)
    return text
