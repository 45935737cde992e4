"""An approver lets a version pass that the gate, or a step of its rollout, holds for somebody's word.

The name may be a proposal's: then that is approved, and becomes the version of its name.
"""

from functools import partial

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.rollout import Cause
from modeldrop.domain.versions import Grant, ModelVersion, Status
from modeldrop.handlers.retraining.apply_proposal import approve_proposal
from modeldrop.handlers.rollouts.advance_rollout import with_status
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.handlers.rollouts.promote_version import uploader
from modeldrop.handlers.rollouts.refold import refold
from modeldrop.records.proposals import APPLIED, APPROVED, PROPOSED, ProposalRecord, Proposals
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

_STEP_CAUSES = frozenset({Cause.APPROVAL, Cause.INCONCLUSIVE, Cause.UNMEASURABLE})


def approve_version(services: Services, model: str, version: str, *, by: str) -> Reply:
    """Approve ``version``; it is judged again at its place in the order. Given twice, it is carried out once."""
    slot = Proposals(services.documents).find(model, version)
    proposal = slot.value if slot else None
    if proposal is not None and proposal.status in (PROPOSED, APPROVED):
        return approve_proposal(services, model, version, by=by)
    return carry_out(services, model, partial(_approve, services, model, version, by=by, proposal=proposal))


def _approve(services: Services, model: str, version: str, *, by: str, proposal: ProposalRecord | None) -> Reply:
    head = services.registry.head(model)
    found = services.registry.version(model, version)
    if found is None:
        ended = f"{version} is {proposal.status}: {proposal.why}" if proposal else None
        return refused(ended or f"{model} has no version {version}")
    done = _approve_step(services, head, found.value, by) or _approved_before(found.value, proposal)
    if done is not None:
        return done
    if found.value.status is not Status.AWAITING_APPROVAL:
        return refused(f"{version} does not wait for approval: it is {found.value.status}")
    if by == uploader(found.value):
        return refused(f"{by} made the package: somebody else must approve it")
    now = services.clock()
    approved = msgspec.structs.replace(found.value, approval=Grant(by, now))
    folded = refold(services.registry, head.value, services.registry.policy(model).value, approved, found)
    note = HistoryEntry(now, "approved by hand", version, by, f"content {found.value.digest}")
    services.registry.commit_about(head, folded.head, folded.writes, note)
    return accepted(f"approved by {by}")


def _approved_before(version: ModelVersion, proposal: ProposalRecord | None) -> Reply | None:
    """By whom the version, or the proposal it came of, was approved; None if by nobody."""
    if version.approval is not None:
        return accepted(f"{version.approval.by} has approved it already")
    if proposal is not None and proposal.status == APPLIED and version.status is not Status.AWAITING_APPROVAL:
        return accepted(f"{proposal.approved_by} has approved it already")
    return None


def _approve_step(services: Services, head: Stored[ModelHead], version: ModelVersion, by: str) -> Reply | None:
    """Let the step pass that the version's rollout is held at; None if it is not held for that."""
    slot = services.registry.rollout(head.value.model, head.value.rollout) if head.value.rollout else None
    if slot is None or slot.value.key != version.key:
        return None
    if slot.value.approved_by is not None:
        return accepted(f"{slot.value.approved_by} has approved this step already")
    if slot.value.held is None:
        return None
    rollout, held = slot.value, slot.value.held
    if held.cause not in _STEP_CAUSES:
        return refused(f"{version.version} is halted ({held.why}): resume, roll back, or drop a better version")
    percent = rollout.steps[rollout.step]
    if percent in rollout.approve_steps and by == uploader(version):
        return refused(f"{by} made the package: somebody else must approve it")
    status = Status.PAUSED if head.value.paused else Status.CANARY
    new_head, writes = with_status(services, head.value, rollout.key, status)
    writes.append(slot.write(msgspec.structs.replace(rollout, approved_by=by, held=None)))
    note = HistoryEntry(services.clock(), "step approved", version.version, by, f"{percent} %: {held.why}"[:1000])
    services.registry.commit_about(head, new_head, writes, note)
    return accepted(f"the step at {percent} % is approved by {by}")
