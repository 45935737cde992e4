"""The reconciler: bring the endpoint one or more moves closer to the desired champion, and never wait.

Called after every decision and by every tick. Each pass reads everything anew, asks the pure plan, and either
commits one transition or performs the one outside effect that belongs to the committed phase. A crash between the
two is made good by the next pass: effects have deterministic ids and adopt what is there.
"""

import logging
from contextlib import suppress

import msgspec

from modeldrop.domain.model_head import ModelHead, Retired, version_to_retire
from modeldrop.domain.rollout import (
    FINAL,
    Act,
    Deploy,
    Move,
    Phase,
    Rollout,
    Seen,
    SetTraffic,
    Signal,
    Wait,
    open_rollout,
    plan,
)
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.errors import Conflict, Refused, Unavailable
from modeldrop.handlers.advance_rollout import advance
from modeldrop.handlers.read_package import served_version
from modeldrop.ports import Endpoint, Operation
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
    production = head.value.production.version if head.value.production else None
    if head.value.desired is not None and head.value.desired != production:
        return _open(services, head)
    return head.value.untidy and _retire(services, head)


def _open(services: Services, head: Stored[ModelHead]) -> bool:
    assert head.value.desired is not None and head.value.desired_key is not None
    model = head.value.model
    version = services.registry.version_at(model, head.value.desired_key)
    if version is None:
        raise Conflict(f"{model} {head.value.desired} is just being registered anew")
    number = head.value.rollouts + 1
    policy = services.registry.policy(model).value.policy.rollout
    rollout = open_rollout(
        f"{number:06d}-{head.value.desired}",
        (model, version.value.version, version.value.key, version.value.digest),
        _stable(head.value, services.model_server.observe(model)),
        policy,
        services.clock(),
    )
    by, why = _by_whose_word(head.value, version.value)
    rollout = msgspec.structs.replace(rollout, wanted_by=by, wanted_why=why)
    new_head = msgspec.structs.replace(
        head.value,
        rollout=rollout.id,
        rollouts=number,
        keep_warm_seconds=policy.keep_warm_seconds,
        unpublished=list(dict.fromkeys([*head.value.unpublished, version.value.key])),
    )
    services.registry.commit_about(
        head,
        new_head,
        [
            Stored(services.registry.rollout_path(model, rollout.id), rollout).write(rollout),
            version.write(msgspec.structs.replace(version.value, status=Status.DEPLOYING, rolled_out=True)),
        ],
    )
    return True


def _by_whose_word(head: ModelHead, version: ModelVersion) -> tuple[str, str]:
    """Who made the version champion, and why. What the gate says of it tells why, unless it was not asked."""
    champion, decision = head.last_standing.champion, version.decision
    by = champion.by if champion else "gate"
    if decision is None or decision.verdict != "approved":
        return by, f"promoted by {by}; the gate had it {decision.verdict if decision else 'unjudged'}"
    return by, "; ".join(decision.reasons)[:1000]


def _stable(head: ModelHead, endpoint: Endpoint | None) -> str | None:
    """Who serves meanwhile: production; where nothing ever went live, whoever has all the traffic."""
    traffic = endpoint.traffic if endpoint else {}
    if head.production is not None:
        return head.production.version
    return next((version for version, percent in traffic.items() if percent == 100 and version != head.desired), None)


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
    step = plan(rollout, seen, wanted=head.value.desired_key == rollout.key, now=services.clock())
    if isinstance(step, Wait):
        return False
    if isinstance(step, Move):
        advance(services, head, slot, step)
        return True
    try:
        return _act(services, head, slot, step)
    except Refused as error:
        if rollout.phase is Phase.RETURNING:
            raise  # there is nothing to fall back to: tried again by every tick, and shown as trouble
        advance(services, head, slot, Move(Signal.REFUSED, f"{rollout.phase.value} was refused: {error}"))
        return True


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
        operation = _upload_or_deploy(services, version.value, act)
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


def _upload_or_deploy(services: Services, version: ModelVersion, act: Act) -> Operation | None:
    served = served_version(services.bucket, version)
    if isinstance(act, Deploy):
        return services.model_server.deploy(served)
    return services.model_server.upload(served)


def _retire(services: Services, head: Stored[ModelHead]) -> bool:
    """Take deployments off the endpoint that nobody needs any more, one at a time."""
    retiring = head.value.retiring
    if retiring is not None:
        operation = services.model_server.operation(retiring.operation)
        if operation is not None and not operation.done:
            return False
        services.registry.commit_about(head, msgspec.structs.replace(head.value, retiring=None))
        return True
    endpoint = services.model_server.observe(head.value.model)
    version = version_to_retire(head.value, endpoint, services.clock()) if endpoint else None
    if endpoint is None or version is None:
        warm = endpoint is not None and len(endpoint.deployed) > 1
        if not warm and (head.value.untidy_until is None or services.clock() >= head.value.untidy_until):
            services.registry.commit_about(head, msgspec.structs.replace(head.value, untidy=False))
        return False
    try:
        operation = services.model_server.undeploy(head.value.model, version)
    except Refused as error:
        log.warning("%s %s cannot be taken off its endpoint: %s", head.value.model, version, error)
        return False
    if operation is None:
        return False
    retired = Retired(version, operation.name)
    services.registry.commit_about(head, msgspec.structs.replace(head.value, retiring=retired))
    return operation.done
