"""What came of an episode: the version that closes it, or none in time; and later whether that version is a gain."""

from datetime import timedelta
from itertools import islice

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.retraining.closing import came_of, gained, why_no_gain
from modeldrop.domain.retraining.episode import CLOSED, EXPIRED, Episode
from modeldrop.domain.retraining.state import Judging, RetrainingState
from modeldrop.domain.versions import ModelVersion
from modeldrop.ports import Write
from modeldrop.records.retraining import Retraining
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

VERSIONS_LOOKED_AT = 50
"""So many of the newest versions are looked at for the one that came of an episode."""


class Ended(msgspec.Struct, frozen=True):
    """The state after it, the writes that belong to it, and the news."""

    state: RetrainingState
    writes: list[Write] = []
    news: list[News] = []


def end_episode(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    """Close or expire the open episode, if its time has come; else judge the version that came of the last one."""
    slot = _slot(services, head, state.open)
    if slot is not None and slot.value.is_open:
        return _closed(services, head, state, slot)
    if state.open is not None:  # it ended without the state being told: it is gone
        return Ended(msgspec.structs.replace(state, open=None))
    return _judged(services, head, state) if state.judging is not None else Ended(state)


def _slot(services: Services, head: ModelHead, episode: str | None) -> Stored[Episode] | None:
    """The number is the last part of an episode's id."""
    number = None if episode is None else int(episode.rpartition("-")[2])
    return None if number is None else Retraining(services.documents).episode(head.model, number)


def _closed(services: Services, head: ModelHead, state: RetrainingState, slot: Stored[Episode]) -> Ended:
    now, episode = services.clock(), slot.value
    version = came_of(episode, _newest(services, head.model))
    if version is not None:
        outcome = f"{version.version} came of it"
        judging = Judging(episode.id, version.version, now + (episode.until - episode.opened_at))
        closed = msgspec.structs.replace(
            episode, status=CLOSED, ended_at=now, closed_by=version.version, outcome=outcome
        )
        after = msgspec.structs.replace(state, open=None, judging=judging)
        news = News("retraining", version.version, "retraining closed", f"{outcome} ({episode.id})", resolved=True)
        return Ended(after, [slot.write(closed)], [news])
    if now < episode.until:
        return Ended(state)
    outcome = f"no version came of it until {episode.until.isoformat(timespec='seconds')}"
    expired = msgspec.structs.replace(episode, status=EXPIRED, ended_at=now, gain=False, outcome=outcome)
    after = msgspec.structs.replace(state, open=None, without_gain=state.without_gain + 1)
    news = News("retraining", episode.request.version or "", "retraining expired", f"{outcome} ({episode.id})")
    return Ended(after, [slot.write(expired)], [news])


def _newest(services: Services, model: str) -> list[ModelVersion]:
    return list(islice(services.registry.versions(model, limit=VERSIONS_LOOKED_AT), VERSIONS_LOOKED_AT))


def _judged(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    """Whether the version is a gain; what is not known in time counts neither way."""
    assert state.judging is not None
    now, judging = services.clock(), state.judging
    slot = _slot(services, head, judging.episode)
    version = services.registry.version(head.model, judging.version)
    if slot is None or version is None:
        return Ended(msgspec.structs.replace(state, judging=None))
    production = head.production
    serves_since = production.since if production and production.version == judging.version else None
    gain = gained(version.value, serves_since=serves_since, watched_seconds=head.keep_warm_seconds, now=now)
    if gain is None:
        over = now >= judging.until
        return Ended(msgspec.structs.replace(state, judging=None)) if over else Ended(state)
    outcome = slot.value.outcome + (", and is live" if gain else f": {why_no_gain(version.value)}"[:500])
    episode = msgspec.structs.replace(slot.value, gain=gain, outcome=outcome)
    without = 0 if gain else state.without_gain + 1
    after = msgspec.structs.replace(state, judging=None, without_gain=without, stopped=state.stopped and not gain)
    return Ended(after, [slot.write(episode)])


def judging_ends(episode: Episode) -> timedelta:
    """As long as a version may take to come, it may take to be judged."""
    return episode.until - episode.opened_at
