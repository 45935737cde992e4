"""Reads of versions, the gate's decisions on them, and rollouts."""

import msgspec

from modeldrop.domain.rollout import Rollout
from modeldrop.domain.versions import ModelVersion
from modeldrop.web.answers.versions import Explained, Rollouts, VersionAnswer, VersionRow, Versions
from modeldrop.web.calls import Call, NoQuery, Page
from modeldrop.web.problem import Problem, not_found
from modeldrop.web.reading.models import no_model
from modeldrop.wiring import Services


def versions(services: Services, call: Call[Page]) -> Versions | Problem:
    """Versions of a model, by pages."""
    if services.registry.head(call.model).revision is None:
        return no_model(call.model)
    limit = call.query.limit
    found = services.registry.versions(call.model, before=call.query.before, limit=limit)
    return Versions([_row(version) for version in found], found[-1].key if len(found) == limit else None)


def version(services: Services, call: Call[NoQuery]) -> VersionAnswer | Problem:
    """A version with its decision."""
    found = _found(services, call)
    if isinstance(found, Problem):
        return found
    return VersionAnswer(**msgspec.structs.asdict(_row(found)), decision=found.decision)


def explain(services: Services, call: Call[NoQuery]) -> Explained | Problem:
    """The decision on a version; 404 while there is none."""
    found = _found(services, call)
    if isinstance(found, Problem):
        return found
    if found.decision is None:
        waiting = ", ".join(found.waiting_for) or "its turn"
        return not_found(f"{found.version} has no decision yet: it waits for {waiting}")
    decision = msgspec.structs.asdict(found.decision)
    return Explained(**decision, model=found.model, version=found.version, status=found.status)


def rollouts(services: Services, call: Call[Page]) -> Rollouts | Problem:
    """Rollouts of a model, by pages."""
    if services.registry.head(call.model).revision is None:
        return no_model(call.model)
    limit = call.query.limit
    found = services.registry.rollouts(call.model, before=call.query.before, limit=limit)
    return Rollouts(found, found[-1].id if len(found) == limit else None)


def rollout(services: Services, call: Call[NoQuery]) -> Rollout | Problem:
    """One rollout, with its steps and what was measured."""
    found = services.registry.rollout(call.model, call.arguments["rollout"])
    if found is None:
        return not_found(f"{call.model} has no rollout {call.arguments['rollout']}")
    return found.value


def _found(services: Services, call: Call[NoQuery]) -> ModelVersion | Problem:
    found = services.registry.version(call.model, call.arguments["version"])
    return found.value if found else not_found(f"{call.model} has no version {call.arguments['version']}")


def _row(version: ModelVersion) -> VersionRow:
    metadata = version.metadata
    return VersionRow(
        version=version.version,
        status=version.status,
        score=version.decision.score if version.decision else None,
        digest=version.digest,
        runtime=metadata.runtime if metadata else None,
        metrics=metadata.metrics if metadata else {},
        lineage=metadata.lineage if metadata else {},
        labels=metadata.labels if metadata else {},
        declared_at=version.declared_at.isoformat(),
        received_at=version.received_at.isoformat(),
        waiting_for=version.waiting_for,
        fallen=version.fallen,
    )
