"""A rollout as a state machine: every transition stands in one table, and ``plan`` says what comes next.

The machine never waits and never acts. ``plan`` looks at the rollout, at what was observed and at the clock and
answers with one of: Move (along the table), Act (an outside effect that belongs to the present phase), Wait.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from modeldrop.domain.endpoint import Endpoint, Operation
from modeldrop.domain.policy import RolloutPolicy


class Phase(StrEnum):
    """Where a rollout is."""

    UPLOADING = "uploading"
    DEPLOYING = "deploying"
    SHIFTING = "shifting"  # traffic is being set to the step's share
    BAKING = "baking"  # the step's share is being watched
    RETURNING = "returning"  # traffic goes back to the stable version
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Signal(StrEnum):
    """What was seen."""

    UPLOADED = "uploaded"
    DEPLOYED = "deployed"
    TRAFFIC_SET = "traffic_set"
    TRAFFIC_MOVED = "traffic_moved"  # by somebody else
    STEP_BAKED = "step_baked"
    LAST_STEP_BAKED = "last_step_baked"
    BROKEN = "broken"
    REFUSED = "refused"  # by the model server: nothing is under way there
    UNWANTED = "unwanted"  # another version is desired now
    RETURNED_BROKEN = "returned_broken"
    RETURNED_UNWANTED = "returned_unwanted"


TRANSITIONS: dict[tuple[Phase, Signal], Phase] = {
    (Phase.UPLOADING, Signal.UPLOADED): Phase.DEPLOYING,
    (Phase.UPLOADING, Signal.BROKEN): Phase.FAILED,
    (Phase.UPLOADING, Signal.REFUSED): Phase.FAILED,
    (Phase.UPLOADING, Signal.UNWANTED): Phase.SUPERSEDED,
    (Phase.DEPLOYING, Signal.DEPLOYED): Phase.SHIFTING,
    (Phase.DEPLOYING, Signal.BROKEN): Phase.FAILED,
    (Phase.DEPLOYING, Signal.REFUSED): Phase.FAILED,
    (Phase.DEPLOYING, Signal.UNWANTED): Phase.SUPERSEDED,
    (Phase.SHIFTING, Signal.TRAFFIC_SET): Phase.BAKING,
    (Phase.SHIFTING, Signal.BROKEN): Phase.RETURNING,
    (Phase.SHIFTING, Signal.REFUSED): Phase.RETURNING,
    (Phase.SHIFTING, Signal.UNWANTED): Phase.RETURNING,
    (Phase.BAKING, Signal.STEP_BAKED): Phase.SHIFTING,
    (Phase.BAKING, Signal.LAST_STEP_BAKED): Phase.LIVE,
    (Phase.BAKING, Signal.TRAFFIC_MOVED): Phase.SHIFTING,
    (Phase.BAKING, Signal.BROKEN): Phase.RETURNING,
    (Phase.BAKING, Signal.UNWANTED): Phase.RETURNING,
    (Phase.RETURNING, Signal.RETURNED_BROKEN): Phase.FAILED,
    (Phase.RETURNING, Signal.RETURNED_UNWANTED): Phase.SUPERSEDED,
}

FINAL = frozenset({Phase.LIVE, Phase.FAILED, Phase.SUPERSEDED})


class Entry(msgspec.Struct, frozen=True):
    """A line of a rollout's own history."""

    at: datetime
    phase: Phase
    percent: int  # the candidate's share of traffic from then on
    reason: str


class Rollout(msgspec.Struct, frozen=True):
    """One version's way to its endpoint. Its policy is fixed when it opens."""

    id: str
    model: str
    version: str
    key: str
    digest: str
    stable: str | None  # the version that serves meanwhile, and takes over again
    steps: list[int]
    bake_seconds: float
    deadline_seconds: float  # without any progress
    opened_at: datetime
    wanted_by: str = "gate"  # on whose word: the gate's, an approver's, an operator's
    wanted_why: str = ""
    phase: Phase = Phase.UPLOADING
    phase_since: datetime | None = None
    step: int = 0
    operation: str | None = None
    returning_for: Signal | None = None
    reason: str = ""
    trouble: str = ""  # why the last look at the model server failed; empty again after the next move
    entries: list[Entry] = []


class Seen(msgspec.Struct, frozen=True):
    """What was observed just now."""

    endpoint: Endpoint | None
    operation: Operation | None = None


class Move(msgspec.Struct, frozen=True):
    """Go along the table."""

    signal: Signal
    reason: str


class Upload(msgspec.Struct, frozen=True):
    """Make the version known to the model server."""


class Deploy(msgspec.Struct, frozen=True):
    """Put the version behind the endpoint."""


class SetTraffic(msgspec.Struct, frozen=True):
    """Set the split, guarded by the etag that was observed."""

    split: dict[str, int]
    etag: str


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do until something outside changes or time passes."""

    reason: str


Act = Upload | Deploy | SetTraffic
Plan = Move | Act | Wait


def open_rollout(
    id: str,  # noqa: A002 - the field's name
    version: tuple[str, str, str, str],
    stable: str | None,
    policy: RolloutPolicy,
    now: datetime,
) -> Rollout:
    """A new rollout of ``version`` = (model, version, key, digest).

    Without a stable version there is nothing to compare with and nobody else to answer: one step, 100 %.
    """
    last = [100] if policy.steps[-1] != 100 else []
    steps = [*policy.steps, *last] if stable and policy.strategy == "canary" else [100]
    model, name, key, digest = version
    return Rollout(
        id=id,
        model=model,
        version=name,
        key=key,
        digest=digest,
        stable=stable,
        steps=steps,
        bake_seconds=policy.bake_seconds,
        deadline_seconds=policy.deadline_seconds,
        opened_at=now,
        phase_since=now,
        entries=[Entry(now, Phase.UPLOADING, 0, "opened")],
    )


def plan(rollout: Rollout, seen: Seen, wanted: bool, now: datetime) -> Plan:
    """What to do next. ``wanted``: whether the rollout's version is (still) the desired champion."""
    if rollout.phase is Phase.RETURNING:
        return _plan_return(rollout, seen)
    if not wanted:
        return Move(Signal.UNWANTED, "another version is the desired champion now")
    if seen.operation is not None and seen.operation.error:
        return Move(Signal.BROKEN, f"{rollout.phase.value} failed: {seen.operation.error}")
    step = {
        Phase.UPLOADING: _plan_upload,
        Phase.DEPLOYING: _plan_deployment,
        Phase.SHIFTING: _plan_shift,
        Phase.BAKING: _plan_bake,
    }[rollout.phase](rollout, seen, now)
    if isinstance(step, Move) or not _is_overdue(rollout, now):
        return step
    trouble = f" (last trouble: {rollout.trouble})" if rollout.trouble else ""
    return Move(Signal.BROKEN, f"no progress for {rollout.deadline_seconds:g} s while {rollout.phase.value}{trouble}")


def move(rollout: Rollout, signal: Signal, reason: str, now: datetime) -> Rollout:
    """The rollout after a transition; KeyError if the table does not have it."""
    phase = TRANSITIONS[rollout.phase, signal]
    step = rollout.step + (signal is Signal.STEP_BAKED)
    returning_for = rollout.returning_for
    if phase is Phase.RETURNING:
        returning_for = Signal.RETURNED_UNWANTED if signal is Signal.UNWANTED else Signal.RETURNED_BROKEN
    closed_for = rollout.reason if rollout.phase is Phase.RETURNING else reason
    return msgspec.structs.replace(
        rollout,
        phase=phase,
        phase_since=now,
        step=step,
        operation=None,
        trouble="",
        returning_for=returning_for,
        reason=closed_for,
        entries=[*rollout.entries, Entry(now, phase, _percent_after(rollout, phase, step), reason)],
    )


def split_of(rollout: Rollout) -> dict[str, int]:
    """The traffic the present step asks for, in percent; sums to 100."""
    if rollout.phase is Phase.RETURNING:
        return {rollout.stable: 100} if rollout.stable else {}
    share = rollout.steps[rollout.step]
    rest = {rollout.stable: 100 - share} if rollout.stable and share < 100 else {}
    return {rollout.version: share} | rest


def _percent_after(rollout: Rollout, phase: Phase, step: int) -> int:
    """The candidate's share once ``phase`` is reached."""
    if phase is Phase.SHIFTING:
        return rollout.steps[step - 1] if step else 0
    return rollout.steps[step] if phase in {Phase.BAKING, Phase.LIVE} else 0


def _is_overdue(rollout: Rollout, now: datetime) -> bool:
    """Progress that was made while nobody looked counts first, and a split nobody tried to set is not overdue."""
    assert rollout.phase_since is not None
    untried = rollout.phase is Phase.SHIFTING and not rollout.trouble
    return not untried and now >= rollout.phase_since + timedelta(seconds=rollout.deadline_seconds)


def _is_deployed(version: str | None, endpoint: Endpoint | None) -> bool:
    return endpoint is not None and any(d.version == version for d in endpoint.deployed)


def _plan_upload(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if seen.operation is not None and not seen.operation.done:
        return Wait("the upload is under way")
    return Upload()


def _plan_deployment(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if _is_deployed(rollout.version, seen.endpoint):
        return Move(Signal.DEPLOYED, "deployed and able to answer")
    if seen.operation is not None and not seen.operation.done:
        return Wait("the deployment is under way")
    return Deploy()


def _plan_shift(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if seen.endpoint is None or not _is_deployed(rollout.version, seen.endpoint):
        return Move(Signal.BROKEN, "the deployment is gone")
    split = split_of(rollout)
    if seen.endpoint.traffic == split:
        return Move(Signal.TRAFFIC_SET, f"{rollout.version} has {split[rollout.version]} % of traffic")
    return SetTraffic(split, seen.endpoint.etag)


def _plan_bake(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if not _is_deployed(rollout.version, seen.endpoint):
        return Move(Signal.BROKEN, "the deployment is gone")
    assert seen.endpoint is not None and rollout.phase_since is not None
    if seen.endpoint.traffic != split_of(rollout):
        return Move(Signal.TRAFFIC_MOVED, f"traffic was changed by somebody else to {seen.endpoint.traffic}")
    if now < rollout.phase_since + timedelta(seconds=rollout.bake_seconds):
        return Wait("the step bakes")
    if rollout.step + 1 < len(rollout.steps):
        return Move(Signal.STEP_BAKED, f"{rollout.bake_seconds:g} s at {rollout.steps[rollout.step]} %")
    return Move(Signal.LAST_STEP_BAKED, f"{rollout.bake_seconds:g} s at 100 %")


def _plan_return(rollout: Rollout, seen: Seen) -> Plan:
    assert rollout.returning_for is not None
    if not rollout.stable or not _is_deployed(rollout.stable, seen.endpoint):
        return Move(rollout.returning_for, "there is no stable version to return to: traffic is left as it is")
    assert seen.endpoint is not None
    split = split_of(rollout)
    if seen.endpoint.traffic == split:
        return Move(rollout.returning_for, f"{rollout.stable} has all traffic again")
    return SetTraffic(split, seen.endpoint.etag)
