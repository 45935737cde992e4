"""One transition of a rollout, committed together with everything it means for the version and the model."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.model_head import ModelHead, Retired, Serving
from modeldrop.domain.rollout import FINAL, Move, Phase, Rollout, Signal, move
from modeldrop.domain.versions import Command, ModelVersion, Status, WentLive, settled_status, with_live
from modeldrop.handlers.refold import refold
from modeldrop.ports import Write
from modeldrop.records.registry import HistoryEntry, LedgerEntry, Served
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

LONGEST_DEPLOYMENT_SECONDS = 7_800  # Vertex AI gives up after two hours


def advance(services: Services, head: Stored[ModelHead], slot: Stored[Rollout], step: Move) -> None:
    """Commit the transition; raises Conflict if the model or the rollout changed since they were read."""
    now = services.clock()
    rollout = move(slot.value, step.signal, step.reason, now)
    writes: list[Write] = [slot.write(rollout)]
    new_head = head.value
    if rollout.phase in FINAL:
        new_head = _closed(new_head, slot.value, step.signal, now)
    if rollout.phase is Phase.LIVE:
        new_head, more = _went_live(services, new_head, rollout)
    elif rollout.phase is Phase.FAILED:
        new_head, more = _failed(services, new_head, rollout)
    elif rollout.phase is Phase.SUPERSEDED:
        new_head, more = _with_status(services, new_head, rollout.key, None)
    elif rollout.phase is Phase.BAKING and rollout.stable is not None:
        new_head, more = _with_status(services, new_head, rollout.key, Status.CANARY)
    else:
        more = []
    note = HistoryEntry(now, rollout.phase.value, rollout.version, f"rollout {rollout.id}", step.reason[:1000])
    services.registry.commit_about(head, new_head, [*writes, *more], note)


def _closed(head: ModelHead, rollout: Rollout, signal: Signal, now: datetime) -> ModelHead:
    """No rollout is under way any more. One that ends while its version is being deployed leaves that to be cleared."""
    head = msgspec.structs.replace(head, rollout=None, untidy=True)
    if rollout.phase is not Phase.DEPLOYING or signal is Signal.REFUSED:
        return head
    if rollout.operation is not None:
        return msgspec.structs.replace(head, retiring=Retired(rollout.version, rollout.operation))
    # It may have been asked for by an instance that died, or whose answer was lost.
    return msgspec.structs.replace(head, untidy_until=now + timedelta(seconds=LONGEST_DEPLOYMENT_SECONDS))


def _went_live(services: Services, head: ModelHead, rollout: Rollout) -> tuple[ModelHead, list[Write]]:
    assert rollout.phase_since is not None
    since = rollout.phase_since
    former = head.production
    head = msgspec.structs.replace(
        head,
        production=Serving(rollout.version, rollout.key, since),
        previous=former or head.previous,
        went_live=with_live(head.went_live, WentLive(rollout.key, since)),
    )
    head, writes = _with_status(services, head, rollout.key, Status.LIVE)
    path = services.registry.served_path(rollout.model, since, rollout.id)
    served = Served(rollout.version, rollout.digest, since, rollout.wanted_by, rollout.wanted_why, rollout.id)
    writes.append(Stored(path, served).write(served))
    if former is not None and former.key != rollout.key:
        head, more = _with_status(services, head, former.key, None)
        writes += more
    return head, writes


def _failed(services: Services, head: ModelHead, rollout: Rollout) -> tuple[ModelHead, list[Write]]:
    """The version falls: the fold runs again without it, so that it is neither desired nor a yardstick."""
    found = services.registry.version_at(rollout.model, rollout.key)
    if found is None:
        return head, []
    fallen = msgspec.structs.replace(found.value, fallen=rollout.reason, status=Status.FAILED)
    policy = services.registry.policy(rollout.model).value
    # Whoever made it champion by his word did so before it fell.
    entries = services.registry.entries_after(rollout.model, rollout.key)
    commands = [entry.value for entry in entries if isinstance(entry.value, Command)]
    void = {c.key: msgspec.structs.replace(c, void=rollout.reason) for c in commands if c.version == rollout.version}
    folded = refold(services.registry, head, policy, fallen, found, void)
    writes = list(folded.writes)
    if services.registry.ledger_entry(rollout.model, rollout.digest) is None:
        entry = LedgerEntry(rollout.version, rollout.reason)
        path = services.registry.ledger_path(rollout.model, rollout.digest)
        writes.append(Stored(path, entry).write(entry))
    return folded.head, writes


def _with_status(services: Services, head: ModelHead, key: str, status: Status | None) -> tuple[ModelHead, list[Write]]:
    """The write that gives a version its status (None: the one of a version that has no part in serving)."""
    found = services.registry.version_at(head.model, key)
    if found is None:
        return head, []
    new: ModelVersion = msgspec.structs.replace(found.value, status=status or settled_status(found.value))
    if new == found.value:
        return head, []
    unpublished = list(dict.fromkeys([*head.unpublished, key]))
    return msgspec.structs.replace(head, unpublished=unpublished), [found.write(new)]
