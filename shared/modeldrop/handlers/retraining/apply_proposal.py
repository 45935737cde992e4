"""A proposal is approved and applied: it becomes a version, and that version the champion.

intend   the approval is committed with the model's head, while production is the version the proposal is about
act      the package is put into the bucket, byte for byte the same however often
observe  it is registered as any upload is
intend   it is made the champion, by the approver's word, in the one commit that calls the proposal applied

From there on it rolls out like every version. Each step may be repeated: after a crash ``resume_proposals`` goes on.
The gate alone would not let the version pass, since its metrics are those of the old one: a person has decided.
"""

import hashlib
import logging
from functools import partial

import msgspec

from modeldrop.domain.gate import beyond_force
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, PermanentError, TransientError
from modeldrop.handlers.packages.register_package import follow_up, register_package
from modeldrop.handlers.retraining.propose_threshold import why_none
from modeldrop.handlers.retraining.threshold_package import (
    new_metadata,
    package_location,
    put_package,
    read_checked_metadata,
)
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.handlers.rollouts.promote_version import command_for, impossible, uploader
from modeldrop.handlers.rollouts.refold import refold
from modeldrop.records.proposals import APPLIED, APPROVED, OUTDATED, PROPOSED, ProposalRecord, Proposals, Status, end_of
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_ATTEMPTS = 20

Slot = Stored[ProposalRecord]


def approve_proposal(services: Services, model: str, name: str, *, by: str) -> Reply:
    """Approve the proposal and apply it. Given twice, or by two at once, it is carried out once.

    Where it cannot be applied at once the next tick does it. Raises Conflict after too many lost races.
    """
    return carry_out(services, model, partial(_approve, services, model, name, by))


def resume_proposals(services: Services, model: str) -> str | None:
    """Finish what a crash left, and end what waits for a word that would come too late.

    Says the name of the proposal it ended. Raises Unavailable if something does not answer, Conflict after too many
    lost races.
    """
    for _ in range(_ATTEMPTS):
        try:
            slot = _open(services, model)
            if slot is None or not _resume(services, slot):
                return None
        except Conflict as error:
            log.info("%s: lost a race: %s", model, error)
            continue
        follow_up(services, model)
        return slot.value.name
    raise Conflict(f"{model}: lost {_ATTEMPTS} races to apply a proposal")


def _open(services: Services, model: str) -> Slot | None:
    records = Proposals(services.documents)
    name = records.open(model).value.name
    return None if name is None else records.find(model, name)


def _resume(services: Services, slot: Slot) -> bool:
    """Whether it ended."""
    if slot.value.status == APPROVED:
        _apply(services, slot)
        return True
    if slot.value.status != PROPOSED:
        return False
    head = services.registry.head(slot.value.model)
    other = _other_production(head.value, slot.value)
    if other is not None:
        _end(services, slot, OUTDATED, other)
    return other is not None


def _approve(services: Services, model: str, name: str, by: str) -> Reply:
    slot = Proposals(services.documents).find(model, name)
    if slot is None:
        return refused(f"{model} has no version {name}, and no proposal")
    if slot.value.status == PROPOSED:
        objection = _intend(services, slot, by)
        if objection is not None:
            return objection
        slot = Proposals(services.documents).find(model, name)
        assert slot is not None
    if slot.value.status == APPLIED:
        return accepted(f"{slot.value.approved_by} has approved it already")
    if slot.value.status != APPROVED:
        return refused(f"{name} is {slot.value.status}: {slot.value.why}")
    try:
        return _apply(services, slot)
    except Conflict:
        raise
    except TransientError as error:
        log.warning("%s %s is left to the next tick: %s", model, name, error)
        return accepted(f"approved by {slot.value.approved_by}; the next tick applies it: {error}")


def _intend(services: Services, slot: Slot, by: str) -> Reply | None:
    """Commit the approval; or the reply that says why not."""
    record, head = slot.value, services.registry.head(slot.value.model)
    other = _other_production(head.value, record)
    if other is None and services.registry.version(record.model, record.name) is not None:
        other = f"another package of the name {record.name} was dropped"
    if other is not None:
        return _outdated(services, slot, other)
    if head.value.desired != record.version:
        return refused(f"{head.value.desired} is about to take the place of {record.version}")
    version = _known(services, record.model, record.version)
    gate = services.registry.policy(record.model).value.policy.gate
    objection = why_none(version, gate)
    if objection is None and gate.approval == "manual" and by == uploader(version):
        objection = f"{by} made the package of {record.version}: somebody else must approve it"
    if objection is not None:
        return refused(objection)
    now = services.clock()
    approved = msgspec.structs.replace(record, status=APPROVED, approved_by=by, approved_at=now)
    note = HistoryEntry(now, "proposal approved", record.version, by, record.text[:1000])
    services.registry.commit_about(head, head.value, [slot.write(approved)], note)
    return None


def _apply(services: Services, slot: Slot) -> Reply:
    """Everything that follows from the approval; what can never be done ends the proposal."""
    try:
        trouble = _overtaken(services.registry.head(slot.value.model).value, slot.value)
        trouble = trouble or _put_and_register(services, slot.value)
        return _promote(services, slot) if trouble is None else _outdated(services, slot, trouble)
    except PermanentError as error:
        log.exception("%s %s cannot be applied", slot.value.model, slot.value.name)
        return _outdated(services, slot, str(error))


def _put_and_register(services: Services, record: ProposalRecord) -> str | None:
    """The package as a registered version; or what is in its place."""
    assert record.approved_at is not None
    location = package_location(record.model, record.name)
    version = _known(services, record.model, record.version)
    if version.digest != record.digest:
        return f"{record.version} has other content now"
    old, threshold = read_checked_metadata(services.bucket, version), record.proposal.threshold
    content = new_metadata(old, location, record.version, threshold, record.approved_at)
    if not put_package(services.bucket, location, content, version):
        return f"another package of the name {record.name} lies in the bucket"
    register_package(services, location)
    if _known(services, record.model, record.name).digest != hashlib.sha256(content).hexdigest():
        return f"another package of the name {record.name} is registered"
    return None


def _promote(services: Services, slot: Slot) -> Reply:
    """Make the version the champion, and the proposal applied, in one commit."""
    record, head = slot.value, services.registry.head(slot.value.model)
    version, policy = _known(services, record.model, record.name), services.registry.policy(record.model).value
    assert record.approved_by is not None
    reply = accepted(f"approved by {record.approved_by}: {record.name} is the desired champion")
    if version.rolled_out or version.fallen or head.value.desired == version.version:  # the gate let it pass by itself
        _end(services, slot, APPLIED, "the gate let it pass")
        return reply
    trouble = (
        _overtaken(head.value, record) or impossible(version) or "; ".join(beyond_force(version, policy.policy.gate))
    )
    if trouble:
        return _outdated(services, slot, trouble)
    now, opened = services.clock(), Proposals(services.documents).open(record.model)
    command = command_for(version, head.value, now, by=record.approved_by, forced=True)
    folded = refold(services.registry, head.value, policy, command, None)
    why = f"threshold {record.threshold} → {record.proposal.threshold}: the proposal was approved, the gate not asked"
    note = HistoryEntry(now, "promoted", record.name, record.approved_by, why)
    ended = end_of(slot, opened, APPLIED, "", now)
    services.registry.commit_about(head, folded.head, [*folded.writes, *ended], note)
    paused = "; the model is paused: it begins when somebody resumes it" if head.value.paused else ""
    return accepted(reply.reason + paused)


def _known(services: Services, model: str, version: str) -> ModelVersion:
    found = services.registry.version(model, version)
    if found is None:
        raise Conflict(f"{model} {version} is not registered, or just being registered anew")
    return found.value


def _overtaken(head: ModelHead, record: ProposalRecord) -> str | None:
    """What serves, or is to serve, in place of the version the proposal is about; None: nothing does."""
    if head.desired == record.name:
        return None
    other = _other_production(head, record)
    if other is None and head.desired != record.version:
        return f"{head.desired} is about to take the place of {record.version}"
    return other


def _other_production(head: ModelHead, record: ProposalRecord) -> str | None:
    if head.production is not None and head.production.version == record.version:
        return None
    serving = head.production.version if head.production else "nothing"
    return f"it is about {record.version}, and {serving} is in production"


def _outdated(services: Services, slot: Slot, why: str) -> Reply:
    _end(services, slot, OUTDATED, why)
    return refused(f"{slot.value.name} is outdated: {why}")


def _end(services: Services, slot: Slot, status: Status, why: str) -> None:
    records = Proposals(services.documents)
    records.commit(end_of(slot, records.open(slot.value.model), status, why, services.clock()))
