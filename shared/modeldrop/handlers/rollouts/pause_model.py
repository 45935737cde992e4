"""An operator pauses a model: nothing goes forward until somebody resumes it."""

from functools import partial

import msgspec

from modeldrop.domain.model_head import Paused
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.advance_rollout import with_status
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.records.registry import HistoryEntry
from modeldrop.wiring import Services


def pause_model(services: Services, model: str, *, by: str) -> Reply:
    """Pause; a canary that fails meanwhile is still taken back. Given twice, it is carried out once."""
    return carry_out(services, model, partial(_pause, services, model, by))


def _pause(services: Services, model: str, by: str) -> Reply:
    head = services.registry.head(model)
    if head.revision is None:
        return refused(f"there is no model {model}")
    if head.value.paused is not None:
        return accepted(f"it is paused already: {head.value.paused.why}")
    now = services.clock()
    slot = services.registry.rollout(model, head.value.rollout) if head.value.rollout else None
    new_head = msgspec.structs.replace(head.value, paused=Paused(by, f"paused by {by}", now))
    new_head, writes = with_status(services, new_head, slot.value.key, Status.PAUSED) if slot else (new_head, [])
    version = slot.value.version if slot else ""
    note = HistoryEntry(now, "paused", version, by, f"rollout {slot.value.id}" if slot else "no rollout is under way")
    services.registry.commit_about(head, new_head, writes, note)
    return accepted(f"rollout {slot.value.id} is paused" if slot else "nothing begins until it is resumed")
