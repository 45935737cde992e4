"""An episode is opened: recorded together with the order to start its run and the news of it, or not at all."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import Episode, TrainingRequest, episode_id
from modeldrop.domain.retraining.governor import Reason, openings_of_week
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.targets import describe
from modeldrop.ports import Write
from modeldrop.records.retraining import new_episode
from modeldrop.wiring import Services

MOST_OPENINGS = 100
LONGEST_WHY = 1000


class Opened(msgspec.Struct, frozen=True):
    """The state with the episode in it, the writes that belong to it, and the news."""

    state: RetrainingState
    episode: Episode
    writes: list[Write]
    news: News


def open_episode(
    services: Services, head: ModelHead, state: RetrainingState, reason: Reason, labels: Mapping[str, int], by: str
) -> Opened:
    """What is to be committed for the episode. Its number, and so its id, follows from the state it replaces."""
    now = services.clock()
    episode = _episode(services, head, state.episodes + 1, reason, by)
    opened = msgspec.structs.replace(
        state,
        episodes=state.episodes + 1,
        open=episode.id,
        openings=[*openings_of_week(state, now), now][-MOST_OPENINGS:],
        labels_known=dict(labels or state.labels_known),
        declined={},
        without_gain=0 if reason.cause == "manual" else state.without_gain,
        stopped=False,
    )
    version = episode.request.version or ""
    news = News("retraining", version, "retraining asked for", f"{reason.cause}: {episode.why} ({episode.id})")
    return Opened(opened, episode, new_episode(opened.episodes, episode), news)


def _episode(services: Services, head: ModelHead, number: int, reason: Reason, by: str) -> Episode:
    now = services.clock()
    policy = services.registry.policy(head.model).value.policy.retrain
    assert policy.target is not None  # the governor has looked
    production = head.production
    version = services.registry.version_at(head.model, production.key) if production else None
    metadata = version.value.metadata if version else None
    request = TrainingRequest(
        episode=episode_id(head.model, number, now),
        model=head.model,
        version=production.version if production else None,
        cause=reason.cause,
        report=reason.report,
        window=reason.window,
        lineage=dict(metadata.lineage) if metadata else {},
    )
    until = now + timedelta(seconds=policy.deadline_seconds)
    return Episode(request, reason.why[:LONGEST_WHY], by, now, until, describe(policy.target))
