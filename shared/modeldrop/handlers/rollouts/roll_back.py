"""Roll back: what serves, or is on its way to, falls, and an earlier version serves again at once."""

from functools import partial

import msgspec

from modeldrop.domain.gate import beyond_force
from modeldrop.domain.model_head import ModelHead, Recalled, Serving
from modeldrop.domain.news import News
from modeldrop.domain.rollout import Kind, Rollout
from modeldrop.domain.versions import ModelVersion
from modeldrop.handlers.rollouts.advance_rollout import fallen_version, ledger_writes, without_fallen
from modeldrop.handlers.rollouts.operators_word import Reply, accepted, carry_out, refused
from modeldrop.handlers.rollouts.promote_version import command_for, impossible
from modeldrop.records.outbox import dispatch
from modeldrop.records.registry import HistoryEntry
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for: ``to`` serves again (None: the version before), if ``falling`` is what falls (None: any)."""

    to: str | None
    by: str
    why: str = ""
    falling: str | None = None


def roll_back(
    services: Services, model: str, *, to: str | None, by: str, why: str = "", falling: str | None = None
) -> Reply:
    """Serve ``to`` again (None: the version before). Given twice, it is carried out once.

    Whoever has seen a certain version fail names it as ``falling``: another one that took over since does not fall.

    A rollout under way is taken back and its version falls; else the version in production does. Its content goes to
    the ledger. The command stands in the order of versions like any other: what is declared later must beat ``to``.
    """
    return carry_out(services, model, partial(_roll_back, services, model, Wanted(to, by, why, falling)))


def _roll_back(services: Services, model: str, wanted: Wanted) -> Reply:
    head = services.registry.head(model)
    if head.revision is None:
        return refused(f"there is no model {model}")
    slot = services.registry.rollout(model, head.value.rollout) if head.value.rollout else None
    falling = _falling(services, head.value, slot)
    if wanted.falling is not None and (falling is None or falling.value.version != wanted.falling):
        return refused(f"{wanted.falling} is not what would be rolled back any more")
    under_way = _under_way(head.value, slot, falling, wanted.to)
    if under_way is not None or falling is None:
        return under_way or refused("nothing serves, and nothing is on its way")
    target = wanted.to or _before(head.value, falling.value)
    found = services.registry.version(model, target) if target else None
    objection = _objection(services, found, target, falling.value)
    if objection is not None or found is None:
        return refused(objection or f"{model} has no version {target}")
    _commit(services, head, falling, found.value, wanted)
    return accepted(f"{falling.value.version} is rolled back; {target} serves again")


def _falling(services: Services, head: ModelHead, slot: Stored[Rollout] | None) -> Stored[ModelVersion] | None:
    """Whom it is rolled back from; None if that has fallen already."""
    production = head.production
    key = slot.value.key if slot else production.key if production else None
    found = services.registry.version_at(head.model, key) if key else None
    # One that fell before and was brought back by force is the desired champion: it can fall again.
    fell_already = found is not None and found.value.fallen and head.desired_key != found.value.key
    return None if fell_already else found


def _under_way(
    head: ModelHead, slot: Stored[Rollout] | None, falling: Stored[ModelVersion] | None, to: str | None
) -> Reply | None:
    """The command may have come twice: what there is to say if it is being carried out already, or has been."""
    back = head.desired
    if slot is None and to is not None and head.production is not None and to == back == head.production.version:
        return accepted(f"{to} serves already")
    if slot is None and to is None and head.production is not None and head.went_back_to == head.production.key:
        return accepted(f"{head.production.version} serves again already: to go further back, say to which version")
    rolling_back = slot is not None and slot.value.kind is Kind.ROLLBACK
    if back is None or (falling is not None and not rolling_back):
        return None
    if to in (None, back):
        held = slot.value.held if slot else None
        return accepted(f"{back} is on its way back already" + (f", and held: {held.why}" if held else ""))
    return refused(f"a rollback to {back} is under way: promote {to} instead")


def _before(head: ModelHead, falling: ModelVersion) -> str | None:
    """Production where a rollout is under way, else who served before it."""
    for serving in (head.production, head.previous):
        if serving is not None and serving.key != falling.key and not serving.fallen:
            return serving.version
    return None


def _objection(
    services: Services, found: Stored[ModelVersion] | None, target: str | None, falling: ModelVersion
) -> str | None:
    """Why ``target`` cannot take over."""
    if target is None:
        return f"there is no earlier version to go back to from {falling.version}"
    if target == falling.version:
        return f"{target} is what would be rolled back"
    if found is None:
        return f"{falling.model} has no version {target}"
    if found.value.fallen:
        return f"{target} has fallen itself: {found.value.fallen}"
    wrong = impossible(found.value)
    if wrong is None and not found.value.content_is_final:
        wrong = f"{target} never passed the gate: promote it instead, by force if need be"
    gate = services.registry.policy(falling.model).value.policy.gate
    return wrong or "; ".join(beyond_force(found.value, gate)) or None


def _commit(
    services: Services, head: Stored[ModelHead], falling: Stored[ModelVersion], target: ModelVersion, wanted: Wanted
) -> None:
    now, by, why = services.clock(), wanted.by, wanted.why
    reason = f"rolled back by {by}" + (f": {why}" if why else "")
    fallen = fallen_version(msgspec.structs.replace(falling.value, fallen=None), reason[:1000], rolled_back=True)
    command = command_for(target, head.value, now, by=by, forced=True)
    folded = without_fallen(services, head.value, falling, fallen, command)
    new_head = _recalling(folded.head, falling.value, target, reason)
    note = HistoryEntry(
        now, "rolled back", falling.value.version, by, f"to {target.version}: {why or 'by hand'}"[:1000]
    )
    news = dispatch(head.value.model, News("rolled_back", falling.value.version, "rolled back", reason), now)
    writes = [*folded.writes, *ledger_writes(services, falling.value, reason)]
    services.registry.commit_about(head, new_head, writes, note, [news])


def _recalling(head: ModelHead, falling: ModelVersion, target: ModelVersion, reason: str) -> ModelHead:
    """A pause does not keep a rollback; whatever falls is no place to return to."""

    def marked(serving: Serving | None) -> Serving | None:
        falls = serving is not None and serving.key == falling.key
        return msgspec.structs.replace(serving, fallen=True) if serving is not None and falls else serving

    return msgspec.structs.replace(
        head,
        paused=None,
        production=marked(head.production),
        previous=marked(head.previous),
        went_back_to=target.key,
        recalled=Recalled(falling.key, reason) if head.rollout else None,
        back_to=None if head.production is not None and head.production.key == target.key else target.key,
    )
