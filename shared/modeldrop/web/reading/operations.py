"""Reads of what goes on beside the rollouts: retraining, news and their delivery, and the quarantine."""

from itertools import takewhile

import msgspec

from modeldrop.domain.retraining.episode import Episode
from modeldrop.records.outbox import Dispatch, Outbox
from modeldrop.records.proposals import ProposalRecord, Proposals
from modeldrop.records.retraining import Retraining
from modeldrop.web.answers.operations import (
    Deliveries,
    DeliveryRow,
    EpisodeRow,
    ProposalRow,
    Quarantine,
    QuarantineRow,
    Remembered,
    Retrainings,
)
from modeldrop.web.calls import Call, Page
from modeldrop.web.problem import Problem
from modeldrop.web.reading.models import no_model
from modeldrop.wiring import Services

MOST_WAITING = 100
MOST_PROPOSALS = 50


def retraining(services: Services, call: Call[Page]) -> Retrainings | Problem:
    """A model's episodes, the newest first, what the governor remembers, and what people are proposed."""
    model, limit = call.model, call.query.limit
    if services.registry.head(model).revision is None:
        return no_model(model)
    records = Retraining(services.documents)
    state = records.state(model).value
    found = records.episodes(model, before=call.query.before, limit=limit)
    proposals = Proposals(services.documents).all(model, limit=MOST_PROPOSALS)
    return Retrainings(
        model,
        [_episode_row(episode) for _, episode in found],
        Remembered(state.open, state.alarms, state.without_gain, state.stopped, state.declined, state.judging),
        [_proposal_row(each) for each in sorted(proposals, key=lambda p: p.proposed_at, reverse=True)],
        found[-1][0] if len(found) == limit else None,
    )


def deliveries(services: Services, call: Call[Page]) -> Deliveries | Problem:
    """News of a model: what was told, the newest first, and at most ``MOST_WAITING`` that are still to be told."""
    model, limit = call.model, call.query.limit
    if services.registry.head(model).revision is None:
        return no_model(model)
    outbox = Outbox(services.documents)
    found = outbox.log(model, before=call.query.before, limit=limit)
    first = f"{model}~"  # how the ids of its news begin; a name has no ~
    page = outbox.waiting(after=first, limit=MOST_WAITING)
    waiting = [(slot.path.rsplit("/", 1)[1], slot.value) for slot in page]
    return Deliveries(
        model,
        [_delivery_row(name, item) for name, item in found],
        [_delivery_row(*row) for row in takewhile(lambda row: row[0].startswith(first), waiting)],
        found[-1][0] if len(found) == limit else None,
    )


def quarantine(services: Services, call: Call[Page]) -> Quarantine:
    """Uploads and events that have no place in the registry, with the reasons."""
    limit = call.query.limit
    found = services.registry.quarantine(after=call.query.before, limit=limit)
    rows = [QuarantineRow(**msgspec.structs.asdict(entry), id=name) for name, entry in found]
    return Quarantine(rows, rows[-1].id if len(rows) == limit else None)


def _episode_row(episode: Episode) -> EpisodeRow:
    request = episode.request
    return EpisodeRow(
        id=episode.id,
        cause=request.cause,
        why=episode.why,
        by=episode.by,
        version=request.version,
        status=episode.status,
        target=episode.target,
        run=episode.run,
        opened_at=episode.opened_at,
        until=episode.until,
        ended_at=episode.ended_at,
        closed_by=episode.closed_by,
        gain=episode.gain,
        outcome=episode.outcome,
        window=request.window,
        report=request.report,
    )


def _proposal_row(proposal: ProposalRecord) -> ProposalRow:
    return ProposalRow(**msgspec.structs.asdict(proposal), text=proposal.text)


def _delivery_row(name: str, item: Dispatch) -> DeliveryRow:
    return DeliveryRow(**msgspec.structs.asdict(item.news), id=name, at=item.at, deliveries=item.deliveries or [])
