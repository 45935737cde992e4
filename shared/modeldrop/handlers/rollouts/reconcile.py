"""The reconciler: bring the endpoint one or more moves closer to the desired champion, and never wait.

Called after every decision and by every tick. Each pass reads everything anew, asks the pure plan, and either
commits one transition or performs the one outside effect that belongs to the committed phase. A crash between the
two is made good by the next pass: effects have deterministic ids and adopt what is there.
"""

import logging
from contextlib import suppress

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.rollout import FINAL, Kind, Phase, Rollout, Signal
from modeldrop.domain.rollout_plan import (
    Act,
    Deploy,
    Hold,
    Measure,
    Move,
    Pause,
    Seen,
    SetTraffic,
    Wait,
    Wish,
    broken,
    plan,
)
from modeldrop.domain.serving_pointer import why_not_followed
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, Refused, Unavailable
from modeldrop.handlers.packages.read_package import served_version
from modeldrop.handlers.rollouts.advance_rollout import advance
from modeldrop.handlers.rollouts.halt_rollout import hold, pause_out_of_band
from modeldrop.handlers.rollouts.measure_step import measure_step
from modeldrop.handlers.rollouts.open_rollout import open_desired
from modeldrop.handlers.rollouts.tidy_endpoint import tidy_endpoint
from modeldrop.ports import Operation
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_MOST_PASSES = 300  # a hundred steps of shift, observe, bake: more is a loop, and left to the next tick
_MOST_CONFLICTS = 10


def reconcile(services: Services, model: str) -> int:
    """Passes made until there was nothing to do but wait. Raises Unavailable where the model server cannot answer."""
    conflicts = 0
    for passes in range(_MOST_PASSES):
        try:
            if not _pass(services, model):
                return passes
        except Conflict as error:  # somebody else moved the same model on: look again
            conflicts += 1
            log.info("%s: lost a race: %s", model, error)
            if conflicts == _MOST_CONFLICTS:
                return passes
    return _MOST_PASSES


def _pass(services: Services, model: str) -> bool:
    """One move; False if there is nothing to do now."""
    head = services.registry.head(model)
    if head.value.rollout is not None:
        return _continue_rollout(services, head)
    if head.value.paused is not None:
        return False
    production = head.value.production.version if head.value.production else None
    if head.value.desired is not None and head.value.desired != production:
        return open_desired(services, head)
    return head.value.untidy and tidy_endpoint(services, head)


def _continue_rollout(services: Services, head: Stored[ModelHead]) -> bool:
    assert head.value.rollout is not None
    slot = services.registry.rollout(head.value.model, head.value.rollout)
    if slot is None:
        raise Conflict(f"rollout {head.value.rollout} is not there any more")
    if slot.value.phase in FINAL:
        raise Conflict(f"rollout {slot.value.id} has ended since the head was read")
    try:
        return _move_or_act(services, head, slot)
    except (Unavailable, Refused) as error:
        _note_trouble(services, slot, str(error))
        raise


def _move_or_act(services: Services, head: Stored[ModelHead], slot: Stored[Rollout]) -> bool:
    rollout = slot.value
    operation = services.model_server.operation(rollout.operation) if rollout.operation else None
    seen = Seen(services.model_server.observe(rollout.model), operation)
    step = plan(rollout, seen, _wish(head.value, rollout), services.clock())
    if isinstance(step, Wait):
        return False
    try:
        return _carry_out(services, head, slot, seen, step)
    except Refused as error:
        if rollout.phase is Phase.RETURNING or rollout.held:
            raise  # there is nothing to fall back to: tried again by every tick, and shown as trouble
        refused = broken(rollout, seen.endpoint, Signal.REFUSED, f"{rollout.phase.value} was refused: {error}")
        return _carry_out(services, head, slot, seen, refused)


def _carry_out(
    services: Services,
    head: Stored[ModelHead],
    slot: Stored[Rollout],
    seen: Seen,
    step: Move | Act | Measure | Hold | Pause,
) -> bool:
    """False if nothing more can be done now."""
    if isinstance(step, Move):
        advance(services, head, slot, step)
    elif isinstance(step, Measure):
        measure_step(services, slot, seen.endpoint, step.since)
    elif isinstance(step, Hold):
        hold(services, head, slot, step)
    elif isinstance(step, Pause):
        pause_out_of_band(services, head, slot, step.why)
    else:
        return _act(services, head, slot, step)
    return True


def _wish(head: ModelHead, rollout: Rollout) -> Wish:
    """What the model's head asks of its rollout."""
    recalled = head.recalled.why if head.recalled and head.recalled.key == rollout.key else None
    return Wish(
        wanted=head.desired_key == rollout.key,
        recalled=recalled,
        paused=head.paused.why if head.paused else None,
        watches=head.paused is None or not head.paused.out_of_band,
    )


def _note_trouble(services: Services, slot: Stored[Rollout], trouble: str) -> None:
    """Let the API say why nothing moves; once for the same trouble, and never in the way of anything else."""
    if slot.value.trouble != trouble:
        with suppress(Conflict):
            services.registry.commit([slot.write(msgspec.structs.replace(slot.value, trouble=trouble))])


def _act(services: Services, head: Stored[ModelHead], slot: Stored[Rollout], act: Act) -> bool:
    """Perform the phase's effect; its operation's name is kept for later passes to poll."""
    if isinstance(act, SetTraffic):
        services.model_server.set_traffic(slot.value.model, act.split, act.etag)
        return True
    version = services.registry.version_at(slot.value.model, slot.value.key)
    if version is None:
        raise Refused("the version is not in the registry any more")
    try:
        operation = _upload_or_deploy(services, slot.value, version.value, act)
    except Conflict as error:  # it is under way already, asked for by somebody whose answer was lost
        log.info("%s: %s", slot.value.id, error)
        return False
    if operation is None:
        if isinstance(act, Deploy):
            return False  # it is there, but not to be seen yet
        advance(services, head, slot, Move(Signal.UPLOADED, "the model server knows the version"))
        return True
    services.registry.commit([slot.write(msgspec.structs.replace(slot.value, operation=operation.name))])
    return operation.done


def _upload_or_deploy(services: Services, rollout: Rollout, version: ModelVersion, act: Act) -> Operation | None:
    served = served_version(services.bucket, version, follows=_follows(rollout, version))
    if isinstance(act, Deploy):
        return services.model_server.deploy(served)
    return services.model_server.upload(served)


def _follows(rollout: Rollout, version: ModelVersion) -> bool:
    """Whether it is to be hot-swapped. A version that has served before must come back, also one that cannot be."""
    assert version.metadata is not None
    proved = rollout.kind is not Kind.ROLLOUT
    return rollout.follows and not (proved and why_not_followed(version.metadata.runtime, version.metadata.image))
