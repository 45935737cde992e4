"""A rollout as a state machine: its record, and every transition in one table. What comes next: ``rollout_plan``."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from modeldrop.domain.analysis import Limits, Measurement, Verdict, limits_of
from modeldrop.domain.policy import RolloutPolicy

MOST_MEASUREMENTS = 50
LONGEST_INTERVAL_SECONDS, SHORTEST_INTERVAL_SECONDS = 60.0, 0.5


class Phase(StrEnum):
    """Where a rollout is."""

    UPLOADING = "uploading"
    DEPLOYING = "deploying"
    SHIFTING = "shifting"  # traffic is being set to the step's share
    BAKING = "baking"  # the step's share is being watched
    RETURNING = "returning"  # traffic goes back to the stable version
    LIVE = "live"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


class Kind(StrEnum):
    """What a rollout is for."""

    ROLLOUT = "rollout"  # a new champion
    ROLLBACK = "rollback"  # an earlier version takes over again, at once
    REPAIR = "repair"  # what serves is put back to where it was


class Cause(StrEnum):
    """What a rollout that is held waits for somebody for. Its step does not end; all else goes on."""

    APPROVAL = "approval"
    INCONCLUSIVE = "inconclusive"
    UNMEASURABLE = "unmeasurable"
    NOTHING_HEALTHY = "nothing_healthy"  # going back would leave nothing that answers


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
    RECALLED = "recalled"  # rolled back by somebody's word
    LOST = "lost"  # the deployment is gone before it had traffic
    RETURNED_BROKEN = "returned_broken"
    RETURNED_UNWANTED = "returned_unwanted"


TRANSITIONS: dict[tuple[Phase, Signal], Phase] = {
    (Phase.UPLOADING, Signal.UPLOADED): Phase.DEPLOYING,
    (Phase.UPLOADING, Signal.BROKEN): Phase.FAILED,
    (Phase.UPLOADING, Signal.REFUSED): Phase.FAILED,
    (Phase.UPLOADING, Signal.UNWANTED): Phase.SUPERSEDED,
    (Phase.UPLOADING, Signal.RECALLED): Phase.ROLLED_BACK,
    (Phase.DEPLOYING, Signal.DEPLOYED): Phase.SHIFTING,
    (Phase.DEPLOYING, Signal.BROKEN): Phase.FAILED,
    (Phase.DEPLOYING, Signal.REFUSED): Phase.FAILED,
    (Phase.DEPLOYING, Signal.UNWANTED): Phase.SUPERSEDED,
    (Phase.DEPLOYING, Signal.RECALLED): Phase.ROLLED_BACK,
    (Phase.SHIFTING, Signal.TRAFFIC_SET): Phase.BAKING,
    (Phase.SHIFTING, Signal.LOST): Phase.DEPLOYING,
    (Phase.SHIFTING, Signal.BROKEN): Phase.RETURNING,
    (Phase.SHIFTING, Signal.REFUSED): Phase.RETURNING,
    (Phase.SHIFTING, Signal.UNWANTED): Phase.RETURNING,
    (Phase.SHIFTING, Signal.RECALLED): Phase.RETURNING,
    (Phase.BAKING, Signal.STEP_BAKED): Phase.SHIFTING,
    (Phase.BAKING, Signal.LAST_STEP_BAKED): Phase.LIVE,
    (Phase.BAKING, Signal.TRAFFIC_MOVED): Phase.SHIFTING,
    (Phase.BAKING, Signal.BROKEN): Phase.RETURNING,
    (Phase.BAKING, Signal.UNWANTED): Phase.RETURNING,
    (Phase.BAKING, Signal.RECALLED): Phase.RETURNING,
    (Phase.RETURNING, Signal.RETURNED_BROKEN): Phase.ROLLED_BACK,
    (Phase.RETURNING, Signal.RETURNED_UNWANTED): Phase.SUPERSEDED,
}

FINAL = frozenset({Phase.LIVE, Phase.FAILED, Phase.ROLLED_BACK, Phase.SUPERSEDED})


class Entry(msgspec.Struct, frozen=True):
    """A line of a rollout's own history."""

    at: datetime
    phase: Phase
    percent: int  # the candidate's share of traffic from then on
    reason: str


class Held(msgspec.Struct, frozen=True):
    """Why a rollout waits for somebody."""

    cause: Cause
    why: str
    at: datetime


class Rollout(msgspec.Struct, frozen=True):
    """One version's way to its endpoint. Its policy is fixed when it opens."""

    id: str
    model: str
    version: str
    key: str
    digest: str
    stable: str | None  # the version that serves meanwhile, and takes over again
    steps: list[int]  # shares of traffic in percent; at 0 only its containers are judged
    bake_seconds: float
    deadline_seconds: float  # without any progress
    opened_at: datetime
    kind: Kind = Kind.ROLLOUT
    limits: Limits = Limits()
    failure_limit: int = 2
    error_limit: int = 4
    inconclusive_limit: int = 6
    approve_steps: list[int] = []
    repairs: bool = False  # puts back what somebody else changed, instead of pausing
    follows: bool = False  # hot swap: its containers follow a pointer, and are those of the version before
    wanted_by: str = "gate"  # on whose word: the gate's, an approver's, an operator's
    wanted_why: str = ""
    phase: Phase = Phase.UPLOADING
    phase_since: datetime | None = None
    step: int = 0
    operation: str | None = None
    returning_for: Signal | None = None
    reason: str = ""
    trouble: str = ""  # why the last look at the model server failed; empty again after the next move
    takes_over: bool = False  # sets its split whatever the split is now
    failures: int = 0  # measurements of this step
    errors: int = 0  # … the last ones, in a row
    inconclusives: int = 0  # … after the bake time
    approved_by: str | None = None  # who let this step pass
    held: Held | None = None
    measurements: list[Measurement] = []  # the latest, the newest last
    entries: list[Entry] = []

    @property
    def baked_at(self) -> datetime:
        """When the present step's bake time ends."""
        assert self.phase_since is not None
        return self.phase_since + timedelta(seconds=self.bake_seconds)

    @property
    def last_measurement(self) -> Measurement | None:
        """Of the present phase."""
        last = self.measurements[-1] if self.measurements else None
        return last if last and self.phase_since is not None and last.at >= self.phase_since else None


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
    model, name, key, digest = version
    return Rollout(
        id=id,
        model=model,
        version=name,
        key=key,
        digest=digest,
        stable=stable,
        steps=_steps(policy) if stable else [100],
        bake_seconds=policy.bake_seconds,
        deadline_seconds=policy.deadline_seconds,
        opened_at=now,
        limits=limits_of(policy),
        failure_limit=policy.failure_limit,
        error_limit=policy.error_limit,
        inconclusive_limit=policy.inconclusive_limit,
        approve_steps=policy.approve_steps if stable else [],
        repairs=policy.out_of_band == "repair",
        follows=policy.strategy == "hot_swap",
        phase_since=now,
        entries=[Entry(now, Phase.UPLOADING, 0, "opened")],
    )


def open_at_once(rollout: Rollout, kind: Kind, deployed: bool) -> Rollout:
    """The same as one update of traffic, for a version that has proved itself before."""
    phase = Phase.SHIFTING if deployed else Phase.UPLOADING
    return msgspec.structs.replace(
        rollout,
        kind=kind,
        steps=[100],
        bake_seconds=0.0,
        stable=None,
        approve_steps=[],
        takes_over=True,
        phase=phase,
        entries=[Entry(rollout.opened_at, phase, 0, f"{kind.value} opened")],
    )


def _steps(policy: RolloutPolicy) -> list[int]:
    if policy.strategy == "blue_green":
        return [0, 100]  # beside the stable version until its containers have proved to answer, then all at once
    if policy.strategy in {"all_at_once", "hot_swap"}:
        return [100]
    return [*policy.steps, *([100] if policy.steps[-1] != 100 else [])]


def move(rollout: Rollout, signal: Signal, reason: str, now: datetime) -> Rollout:
    """The rollout after a transition; KeyError if the table does not have it."""
    phase = TRANSITIONS[rollout.phase, signal]
    step = rollout.step + (signal is Signal.STEP_BAKED)
    returning_for = rollout.returning_for
    if phase is Phase.RETURNING:
        returning_for = Signal.RETURNED_UNWANTED if signal is Signal.UNWANTED else Signal.RETURNED_BROKEN
    taking_over = {Signal.TRAFFIC_MOVED: True, Signal.TRAFFIC_SET: False}
    closed_for = rollout.reason if rollout.phase is Phase.RETURNING else reason
    return msgspec.structs.replace(
        rollout,
        phase=phase,
        phase_since=now,
        step=step,
        operation=None,
        trouble="",
        takes_over=taking_over.get(signal, rollout.takes_over),
        failures=0,
        errors=0,
        inconclusives=0,
        approved_by=None,
        held=None,
        returning_for=returning_for,
        reason=closed_for,
        entries=[*rollout.entries, Entry(now, phase, _percent_after(rollout, phase, step), reason)],
    )


def with_measurement(rollout: Rollout, measurement: Measurement) -> Rollout:
    """The rollout that knows what was measured; too little to tell by counts only once the step has baked."""
    verdict = measurement.verdict
    baked = measurement.at >= rollout.baked_at
    return msgspec.structs.replace(
        rollout,
        failures=rollout.failures + (verdict is Verdict.FAIL),
        errors=rollout.errors + 1 if verdict is Verdict.ERROR else 0,
        inconclusives=rollout.inconclusives + (baked and verdict is Verdict.INCONCLUSIVE),
        measurements=[*rollout.measurements, measurement][-MOST_MEASUREMENTS:],
    )


def afresh(rollout: Rollout, now: datetime, *, takes_over: bool) -> Rollout:
    """The rollout after somebody let it go on: its step begins anew, and what held it counts no more.

    ``takes_over``: whether it sets its split although somebody else changed it.
    """
    return msgspec.structs.replace(
        rollout,
        phase_since=now,
        takes_over=takes_over or rollout.takes_over,
        failures=0,
        errors=0,
        inconclusives=0,
        held=None,
        operation=None if rollout.held else rollout.operation,  # what was held is tried again
    )


def left_alone(rollout: Rollout) -> Rollout:
    """The rollout after its stable version is gone: nobody to compare with, and nobody else to answer."""
    return msgspec.structs.replace(rollout, stable=None, steps=[100], step=0, approve_steps=[], takes_over=True)


def interval_seconds(bake_seconds: float) -> float:
    """Time between two measurements of a step: a tenth of its bake time, between half a second and a minute."""
    return min(LONGEST_INTERVAL_SECONDS, max(SHORTEST_INTERVAL_SECONDS, bake_seconds / 10))


def split_of(rollout: Rollout) -> dict[str, int]:
    """The traffic the present step asks for, in percent; sums to 100."""
    if rollout.phase is Phase.RETURNING:
        return {rollout.stable: 100} if rollout.stable else {}
    return split_at(rollout, rollout.step)


def split_at(rollout: Rollout, step: int) -> dict[str, int]:
    """The traffic at a step; before the first one it is all the stable version's."""
    share = rollout.steps[step] if step >= 0 else 0
    split = {rollout.version: share} | ({rollout.stable: 100 - share} if rollout.stable else {})
    return {version: percent for version, percent in split.items() if percent}


def _percent_after(rollout: Rollout, phase: Phase, step: int) -> int:
    """The candidate's share once ``phase`` is reached."""
    if phase is Phase.SHIFTING:
        return rollout.steps[step - 1] if step else 0
    return rollout.steps[step] if phase in {Phase.BAKING, Phase.LIVE} else 0
