"""Reads of models: the list, one of them, its health and history, and what its next version is judged by."""

import logging
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from modeldrop import __version__
from modeldrop.domain.endpoint import Endpoint
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import Status
from modeldrop.errors import ModeldropError
from modeldrop.records.health import HealthRecord, health_path
from modeldrop.records.registry import Registry
from modeldrop.records.stored import stored
from modeldrop.web.answers.models import (
    About,
    Aliases,
    Health,
    History,
    HistoryRow,
    Model,
    ModelRow,
    Models,
    NewestVersion,
    PolicyInForce,
    ServedAt,
    Traffic,
    WhatToBeat,
)
from modeldrop.web.calls import Call, HistoryQuery, NoQuery, Page
from modeldrop.web.instants import instant
from modeldrop.web.problem import Problem, not_found
from modeldrop.web.reading.ticks import trouble
from modeldrop.web.reports import latest_drifts
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

LINKS = ["/v1/models", "/v1/ticks", "/v1/quarantine", "/v1/audit", "/v1/openapi.json", "/metrics"]


def about(services: Services, call: Call[NoQuery]) -> About:
    """Who answers."""
    return About("modeldrop", __version__, LINKS)


def models(services: Services, call: Call[Page]) -> Models:
    """A page of models. However many there are, stores are asked a fixed number of times."""
    limit = call.query.limit
    heads = list(islice(services.registry.heads(after=call.query.before), limit))
    following = heads[-1].model if len(heads) == limit else None
    return Models(_rows(services, heads), trouble(services), following)


def model(services: Services, call: Call[NoQuery]) -> Model | Problem:
    """One model, with its aliases."""
    head = services.registry.head(call.model)
    if head.revision is None:
        return no_model(call.model)
    (row,) = _rows(services, [head.value])
    return Model(**msgspec.structs.asdict(row), aliases=_aliases(services, head.value))


def health(services: Services, call: Call[NoQuery]) -> Health | Problem:
    """How the version that serves is doing."""
    if services.registry.head(call.model).revision is None:
        return no_model(call.model)
    return Health(**msgspec.structs.asdict(services.registry.health(call.model).value), model=call.model)


def history(services: Services, call: Call[HistoryQuery]) -> History | ServedAt | Problem:
    """What was committed about a model; or what served at a time."""
    if services.registry.head(call.model).revision is None:
        return no_model(call.model)
    query = call.query
    if query.at is not None:
        moment = instant("at", query.at)
        return (
            moment
            if isinstance(moment, Problem)
            else ServedAt(query.at, services.registry.served_at(call.model, moment))
        )
    entries = services.registry.history(call.model, before=query.before, limit=query.limit)
    rows = [HistoryRow(**msgspec.structs.asdict(entry), number=number) for number, entry in entries]
    return History(rows, rows[-1].number if len(rows) == query.limit else None)


def standing(services: Services, call: Call[NoQuery]) -> WhatToBeat:
    """What the next version would be judged by. A model nobody knows has a standing too: nobody to beat."""
    head = services.registry.head(call.model).value
    policy = services.registry.policy(call.model).value
    gate = PolicyInForce(policy.digest, policy.policy.gate)
    return WhatToBeat(**msgspec.structs.asdict(head.last_standing), model=head.model, policy=gate)


def no_model(name: str) -> Problem:
    """404 for a model nobody knows."""
    return not_found(f"there is no model {name}")


def _rows(services: Services, heads: Sequence[ModelHead]) -> list[ModelRow]:
    serving = {head.model: head.production.version for head in heads if head.production}
    endpoints = _endpoints(services, [head.model for head in heads])
    healths = _healths(services, list(serving))
    drifts = latest_drifts(services, serving)
    newest = _newest(services, heads)
    return [
        ModelRow(
            model=head.model,
            production=serving.get(head.model),
            desired=head.desired,
            endpoint=Traffic(seen.traffic) if (seen := endpoints.get(head.model)) else None,
            rollout=head.rollout,
            paused=head.paused.why if head.paused else None,
            health=healths.get(head.model),
            drift=drifts.get(head.model),
            newest=newest.get(head.model),
        )
        for head in heads
    ]


def _endpoints(services: Services, names: Sequence[str]) -> Mapping[str, Endpoint]:
    """The endpoints of these models, as far as they can be seen: a server that does not answer hides nothing else."""
    try:
        return services.model_server.observe_many(names) if names else {}
    except ModeldropError as error:
        log.warning("the endpoints of %d models cannot be seen: %s", len(names), error)
        return {}


def _healths(services: Services, names: Sequence[str]) -> dict[str, str]:
    documents = services.documents.get_many([health_path(name) for name in names]) if names else []
    unknown = HealthRecord()
    return {
        name: stored(document, HealthRecord).value.status if document else unknown.status
        for name, document in zip(names, documents, strict=True)
    }


def _newest(services: Services, heads: Sequence[ModelHead]) -> dict[str, NewestVersion]:
    """What stands last in the order of each model's versions and commands, where that is a version."""
    paths = [Registry.version_path(head.model, head.last_key) for head in heads if head.last_key]
    found = [document for document in services.documents.get_many(paths) if document] if paths else []
    return {
        document.path.split("/")[1]: msgspec.convert(document.data, NewestVersion)
        for document in found
        if document.data.get("kind") != "command"
    }


def _aliases(services: Services, head: ModelHead) -> Aliases:
    latest = services.registry.versions(head.model, limit=1)
    return Aliases(
        production=head.production.version if head.production else None,
        previous=head.previous.version if head.previous else None,
        staging=_staging(services, head),
        latest=latest[0].version if latest else None,
    )


def _staging(services: Services, head: ModelHead) -> str | None:
    """What comes next: the version that is rolling out, else the newest that waits for approval."""
    if head.rollout is not None:
        return head.desired
    versions = services.registry.versions(head.model)
    return next((v.version for v in versions if v.status is Status.AWAITING_APPROVAL), None)
