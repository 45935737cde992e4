"""An operator lets a paused model, or a rollout that is held, go on."""

from functools import partial

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.rollout import Kind, Phase, Rollout, afresh, left_alone
from modeldrop.domain.rollout_plan import is_deployed
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.advance_rollout import with_status
from modeldrop.handlers.rollouts.open_rollout import open_repair
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.ports import Write
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


def resume_model(services: Services, model: str, *, by: str) -> Reply:
    """Go on. The step under way begins anew; what somebody else changed behind the endpoint is put back.

    Where the stable version is gone, and the candidate alone is there, the candidate gets all traffic.
    """
    return carry_out(services, model, partial(_resume, services, model, by))


def _resume(services: Services, model: str, by: str) -> Reply:
    head = services.registry.head(model)
    if head.revision is None:
        return refused(f"there is no model {model}")
    slot = services.registry.rollout(model, head.value.rollout) if head.value.rollout else None
    if slot is None:
        return _resume_settled(services, head, by)
    if head.value.paused is None and slot.value.held is None:
        return refused(f"{model} is not paused")
    taken_over = head.value.paused is not None and head.value.paused.out_of_band
    rollout = afresh(slot.value, services.clock(), takes_over=taken_over)
    endpoint = services.model_server.observe(model)
    if rollout.stable and is_deployed(rollout.version, endpoint) and not is_deployed(rollout.stable, endpoint):
        rollout = left_alone(rollout)
    new_head = msgspec.structs.replace(head.value, paused=None)
    new_head, writes = _with_former_status(services, new_head, rollout)
    why = slot.value.held.why if slot.value.held else _why(head.value)
    note = HistoryEntry(services.clock(), "resumed", rollout.version, by, why[:1000])
    services.registry.commit_about(head, new_head, [slot.write(rollout), *writes], note)
    return accepted(f"rollout {rollout.id} goes on")


def _resume_settled(services: Services, head: Stored[ModelHead], by: str) -> Reply:
    if head.value.paused is None:
        return refused(f"{head.value.model} is not paused")
    production = head.value.production
    if head.value.paused.out_of_band and production is not None and head.value.desired_key == production.key:
        open_repair(services, head, f"resumed by {by}: {head.value.paused.why}")
        return accepted(f"{production.version} is put back")
    note = HistoryEntry(services.clock(), "resumed", "", by, _why(head.value)[:1000])
    services.registry.commit_about(head, msgspec.structs.replace(head.value, paused=None), [], note)
    return accepted("it goes on")


def _with_former_status(services: Services, head: ModelHead, rollout: Rollout) -> tuple[ModelHead, list[Write]]:
    if rollout.kind is Kind.REPAIR:
        return with_status(services, head, rollout.key, Status.LIVE)
    has_traffic = rollout.phase is Phase.BAKING and rollout.stable is not None
    return with_status(services, head, rollout.key, Status.CANARY if has_traffic else Status.DEPLOYING)


def _why(head: ModelHead) -> str:
    return head.paused.why if head.paused else ""
