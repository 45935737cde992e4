"""What came of an episode: the version that closes it, or none in time; and later whether that version is a gain."""

from datetime import timedelta
from itertools import islice

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.retraining.closing import came_of, gained, why_no_gain
from modeldrop.domain.retraining.episode import CLOSED, EXPIRED, Episode
from modeldrop.domain.retraining.state import Judging, RetrainingState
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.ports import Write
from modeldrop.records.retraining import Retraining
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

VERSIONS_LOOKED_AT = 50
"""So many of the newest versions are looked at for the one that came of an episode."""
MOST_BESIDES = 10
WAITING_FOR_A_WORD = frozenset({Status.AWAITING_APPROVAL, Status.PAUSED})


class Ended(msgspec.Struct, frozen=True):
    """The state after it, the writes that belong to it, and the news."""

    state: RetrainingState
    writes: list[Write] = []
    news: list[News] = []


def end_episode(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    """Judge the versions that came of earlier episodes; close or expire the open one, if its time has come.

    And one that failed or expired is closed after all, where its run was done again and a version came of it.
    """
    judged = _judged(services, head, state)
    closed = _closed(services, head, judged.state)
    late = _closed_late(services, head, closed.state)
    return Ended(late.state, [*judged.writes, *closed.writes, *late.writes], [*closed.news, *late.news])


def is_waiting(state: RetrainingState) -> bool:
    """Whether there is an episode to be ended or a version to be judged."""
    return any((state.open, state.judging, state.judging_besides, state.without_version))


def _closed(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    """The open episode: closed by a version, expired, or as it is."""
    if state.open is None:
        return Ended(state)
    slot, now = _slot(services, head, state.open), services.clock()
    if slot is None or not slot.value.is_open:  # it ended without the state being told: it is gone
        return Ended(msgspec.structs.replace(state, open=None))
    episode = slot.value
    version = came_of(episode, _newest(services, head.model))
    if version is not None:
        return _closed_by(version, slot, msgspec.structs.replace(state, open=None), services)
    if now < episode.until:
        return Ended(state)
    outcome = f"no version came of it until {episode.until.isoformat(timespec='seconds')}"
    expired = msgspec.structs.replace(episode, status=EXPIRED, ended_at=now, gain=False, outcome=outcome)
    without_gain = state.without_gain + (episode.accepted_at is not None)  # one that no target took says nothing
    after = msgspec.structs.replace(state, open=None, without_gain=without_gain, without_version=episode.id)
    news = News("retraining", episode.request.version or "", "retraining expired", f"{outcome} ({episode.id})")
    return Ended(after, [slot.write(expired)], [news])


def _closed_late(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    """The last episode that failed or expired: a version may name its run for as long again."""
    if state.without_version is None:
        return Ended(state)
    forgotten = msgspec.structs.replace(state, without_version=None)
    slot = _slot(services, head, state.without_version)
    if slot is None or services.clock() >= slot.value.until + judging_time(slot.value):
        return Ended(forgotten)
    version = came_of(slot.value, _newest(services, head.model))
    return Ended(state) if version is None else _closed_by(version, slot, forgotten, services)


def _closed_by(version: ModelVersion, slot: Stored[Episode], state: RetrainingState, services: Services) -> Ended:
    """Closed, and to be judged from now on, beside those that are not judged yet."""
    now, episode = services.clock(), slot.value
    outcome = f"{version.version} came of it"
    if not episode.is_open:
        outcome = f"{episode.outcome}; later {outcome}"
    closed = msgspec.structs.replace(
        episode, status=CLOSED, ended_at=now, closed_by=version.version, gain=None, outcome=outcome
    )
    counted = not episode.is_open and episode.accepted_at is not None
    judging = Judging(episode.id, version.version, now + judging_time(episode), counted)
    besides = [*state.judging_besides, *([state.judging] if state.judging else [])][-MOST_BESIDES:]
    after = msgspec.structs.replace(state, judging=judging, judging_besides=besides)
    news = News("retraining", version.version, "retraining closed", f"{outcome} ({episode.id})", resolved=True)
    return Ended(after, [slot.write(closed)], [news])


def _judged(services: Services, head: ModelHead, state: RetrainingState) -> Ended:
    writes: list[Write] = []
    for judging in [*state.judging_besides, *([state.judging] if state.judging else [])]:
        ended = _judge(services, head, state, judging)
        state, writes = ended.state, [*writes, *ended.writes]
    return Ended(state, writes)


def _judge(services: Services, head: ModelHead, state: RetrainingState, judging: Judging) -> Ended:
    """Whether the version is a gain; what is not known in time counts neither way."""
    now, done = services.clock(), _without(state, judging)
    slot = _slot(services, head, judging.episode)
    version = services.registry.version(head.model, judging.version)
    if slot is None or version is None:
        return Ended(done)
    production = head.production
    serves_since = production.since if production and production.version == judging.version else None
    gain = gained(version.value, serves_since=serves_since, watched_seconds=head.keep_warm_seconds, now=now)
    if gain is None:
        is_over = now >= judging.until and version.value.status not in WAITING_FOR_A_WORD
        return Ended(done if is_over else state)
    outcome = slot.value.outcome + (", and is live" if gain else f": {why_no_gain(version.value)}"[:500])
    episode = msgspec.structs.replace(slot.value, gain=gain, outcome=outcome)
    without = 0 if gain else state.without_gain + (not judging.counted)
    after = msgspec.structs.replace(done, without_gain=without, stopped=state.stopped and not gain)
    return Ended(after, [slot.write(episode)])


def _without(state: RetrainingState, judging: Judging) -> RetrainingState:
    besides = [each for each in state.judging_besides if each != judging]
    latest = None if state.judging == judging else state.judging
    return msgspec.structs.replace(state, judging=latest, judging_besides=besides)


def _slot(services: Services, head: ModelHead, episode: str) -> Stored[Episode] | None:
    """The number is the last part of an episode's id."""
    return Retraining(services.documents).episode(head.model, int(episode.rpartition("-")[2]))


def _newest(services: Services, model: str) -> list[ModelVersion]:
    return list(islice(services.registry.versions(model, limit=VERSIONS_LOOKED_AT), VERSIONS_LOOKED_AT))


def judging_time(episode: Episode) -> timedelta:
    """As long as a version may take to come, it may take to be judged."""
    return episode.until - episode.opened_at
