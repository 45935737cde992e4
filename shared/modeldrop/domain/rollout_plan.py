"""What a rollout does next: ``plan`` says, from the rollout, what was observed, what is wished, and the clock.

The plan never waits and never acts. It answers with one of: Move (along the table), Act (an outside effect that belongs
to the present phase), Measure, Hold and Pause (somebody's word is needed), Wait.
"""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.analysis import Measurement, Verdict
from modeldrop.domain.endpoint import Endpoint, Operation
from modeldrop.domain.rollout import Cause, Kind, Phase, Rollout, Signal, interval_seconds, split_at, split_of


class Seen(msgspec.Struct, frozen=True):
    """What was observed just now."""

    endpoint: Endpoint | None
    operation: Operation | None = None


class Wish(msgspec.Struct, frozen=True):
    """What is asked of the rollout at present."""

    wanted: bool = True  # its version is (still) the desired champion
    recalled: str | None = None  # who rolled it back, and why
    paused: str | None = None  # why nothing may be changed
    watches: bool = True  # whether a failing candidate is taken back although the model is paused


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


class Measure(msgspec.Struct, frozen=True):
    """Measure how candidate and stable version answered since then, and plan again."""

    since: datetime


class Hold(msgspec.Struct, frozen=True):
    """The rollout goes no further by itself."""

    cause: Cause
    why: str


class Pause(msgspec.Struct, frozen=True):
    """Somebody else changed what is behind the endpoint: nothing is touched until an operator says so."""

    why: str


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do until something outside changes or time passes."""

    reason: str


Act = Upload | Deploy | SetTraffic
Plan = Move | Act | Measure | Hold | Pause | Wait

_NOT_BAD = {Verdict.ERROR: Cause.UNMEASURABLE, Verdict.INCONCLUSIVE: Cause.INCONCLUSIVE}
"""What nobody is rolled back for, and why it is held instead."""


def plan(rollout: Rollout, seen: Seen, wish: Wish, now: datetime) -> Plan:
    """What to do next."""
    return _told_once(rollout, _plan(rollout, seen, wish, now))


def _plan(rollout: Rollout, seen: Seen, wish: Wish, now: datetime) -> Plan:
    if rollout.phase is Phase.RETURNING:
        return _plan_return(rollout, seen)
    if wish.recalled is not None:
        return Move(Signal.RECALLED, wish.recalled)
    if wish.paused is not None:
        return _plan_paused(rollout, seen, wish, now)
    if not wish.wanted and (rollout.kind is not Kind.ROLLBACK or rollout.held):
        return Move(Signal.UNWANTED, "another version is the desired champion now")
    step = _plan_phase(rollout, seen, now)
    if not isinstance(step, Wait | Upload | Deploy | SetTraffic) or rollout.held or not _is_overdue(rollout, now):
        return step
    return _overdue(rollout, seen.endpoint)


def _overdue(rollout: Rollout, endpoint: Endpoint | None) -> Plan:
    last = rollout.last_measurement
    if rollout.phase is Phase.BAKING and last is not None and last.verdict in _NOT_BAD:
        return Hold(_NOT_BAD[last.verdict], f"no progress for {rollout.deadline_seconds:g} s: {last.why}")
    trouble = f" (last trouble: {rollout.trouble})" if rollout.trouble else ""
    reason = f"no progress for {rollout.deadline_seconds:g} s while {rollout.phase.value}{trouble}"
    return broken(rollout, endpoint, Signal.BROKEN, reason)


def broken(rollout: Rollout, endpoint: Endpoint | None, signal: Signal, reason: str) -> Move | Hold:
    """What follows when the rollout cannot go on: back, unless that would leave nothing that answers."""
    if rollout.kind is not Kind.ROLLOUT:
        return Hold(Cause.NOTHING_HEALTHY, f"{rollout.kind.value} of {rollout.version}: {reason}")
    serves = endpoint is not None and endpoint.traffic.get(rollout.version, 0) > 0
    if serves and not _stable_answers(rollout, endpoint):
        return Hold(Cause.NOTHING_HEALTHY, f"{reason}; no other version could take over")
    return Move(signal, reason)


def _told_once(rollout: Rollout, step: Plan) -> Plan:
    """A rollout that is held for this already just waits."""
    if isinstance(step, Hold) and rollout.held is not None and rollout.held.cause is step.cause:
        return Wait(rollout.held.why)
    return step


def is_deployed(version: str | None, endpoint: Endpoint | None) -> bool:
    """Whether the version is behind the endpoint, able to answer."""
    return endpoint is not None and any(d.version == version for d in endpoint.deployed)


def _plan_phase(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if seen.operation is not None and seen.operation.error:
        if rollout.held:
            return Wait(rollout.held.why)
        reason = f"{rollout.phase.value} failed: {seen.operation.error}"
        return broken(rollout, seen.endpoint, Signal.BROKEN, reason)
    if rollout.phase is Phase.UPLOADING:
        return _plan_upload(rollout, seen)
    if rollout.phase is Phase.DEPLOYING:
        return _plan_deployment(rollout, seen)
    if rollout.phase is Phase.SHIFTING:
        return _plan_shift(rollout, seen)
    return _plan_bake(rollout, seen, now)


def _plan_paused(rollout: Rollout, seen: Seen, wish: Wish, now: datetime) -> Plan:
    """Nothing goes forward. A candidate that fails is taken back all the same, unless its traffic is not ours."""
    paused = Wait(f"paused: {wish.paused}")
    if rollout.phase is not Phase.BAKING or not wish.watches or seen.endpoint is None:
        return paused
    if seen.endpoint.traffic != split_of(rollout):
        return paused
    step = _failed_analysis(rollout, seen, now) or _due_measurement(rollout, now)
    return step or paused


def _is_overdue(rollout: Rollout, now: datetime) -> bool:
    """Progress that was made while nobody looked counts first, and a split nobody tried to set is not overdue."""
    untried = rollout.phase is Phase.SHIFTING and not rollout.trouble
    wait = rollout.bake_seconds if rollout.phase is Phase.BAKING else 0.0
    assert rollout.phase_since is not None
    return not untried and now >= rollout.phase_since + timedelta(seconds=rollout.deadline_seconds + wait)


def _stable_answers(rollout: Rollout, endpoint: Endpoint | None) -> bool:
    last = rollout.last_measurement
    down = last is not None and last.stable_answering is False
    return rollout.stable is not None and is_deployed(rollout.stable, endpoint) and not down


def _plan_upload(rollout: Rollout, seen: Seen) -> Plan:
    if rollout.held:
        return Wait(rollout.held.why)
    if seen.operation is not None and not seen.operation.done:
        return Wait("the upload is under way")
    return Upload()


def _plan_deployment(rollout: Rollout, seen: Seen) -> Plan:
    if is_deployed(rollout.version, seen.endpoint):
        return Move(Signal.DEPLOYED, "deployed and able to answer")
    if rollout.held:
        return Wait(rollout.held.why)
    if seen.operation is not None and not seen.operation.done:
        return Wait("the deployment is under way")
    return Deploy()


def _plan_shift(rollout: Rollout, seen: Seen) -> Plan:
    if seen.endpoint is None or not is_deployed(rollout.version, seen.endpoint):
        if rollout.step == 0:
            # It had no traffic yet: an instance that slept may have tidied it away.
            return Move(Signal.LOST, "the deployment is gone before it had traffic: once more")
        return broken(rollout, seen.endpoint, Signal.BROKEN, "the deployment is gone")
    split = split_of(rollout)
    if seen.endpoint.traffic == split:
        return Move(Signal.TRAFFIC_SET, f"{rollout.version} has {split.get(rollout.version, 0)} % of traffic")
    before = split_at(rollout, rollout.step - 1)
    ours = rollout.takes_over or rollout.repairs or not rollout.stable
    if not ours and seen.endpoint.traffic != before:
        return Pause(f"traffic was changed by somebody else to {seen.endpoint.traffic}; it was {before}")
    if rollout.stable in split and not is_deployed(rollout.stable, seen.endpoint):
        return broken(rollout, seen.endpoint, Signal.BROKEN, f"{rollout.stable} is not deployed any more")
    return SetTraffic(split, seen.endpoint.etag)


def _plan_bake(rollout: Rollout, seen: Seen, now: datetime) -> Plan:
    if seen.endpoint is None or not is_deployed(rollout.version, seen.endpoint):
        return _plan_gone(rollout, seen.endpoint)
    if seen.endpoint.traffic != split_of(rollout):
        moved = f"traffic was changed by somebody else to {seen.endpoint.traffic}; it was {split_of(rollout)}"
        return Move(Signal.TRAFFIC_MOVED, moved) if rollout.repairs or rollout.takes_over else Pause(moved)
    if rollout.kind is not Kind.ROLLOUT:
        return Move(Signal.LAST_STEP_BAKED, f"{rollout.version} has all traffic")
    return _failed_analysis(rollout, seen, now) or _plan_analysis(rollout, now)


def _plan_analysis(rollout: Rollout, now: datetime) -> Plan:
    """What was measured since the step has baked ends it, although the next measurement may be due by now."""
    last = rollout.last_measurement
    if last is None or last.at < rollout.baked_at:
        return _due_measurement(rollout, now) or Wait("the step bakes")
    end = _told_once(rollout, _end_of_step(rollout, last))
    return (_due_measurement(rollout, now) if isinstance(end, Wait) else None) or end


def _plan_gone(rollout: Rollout, endpoint: Endpoint | None) -> Plan:
    """What had traffic is not deployed any more: a version that has proved itself is deployed once more."""
    if rollout.kind is Kind.ROLLOUT:
        return broken(rollout, endpoint, Signal.BROKEN, "the deployment is gone")
    return Move(Signal.TRAFFIC_MOVED, "the deployment is gone: once more")


def _failed_analysis(rollout: Rollout, seen: Seen, now: datetime) -> Plan | None:
    if rollout.failures <= rollout.failure_limit:
        return None
    last = rollout.last_measurement
    why = last.why if last else ""
    reason = f"the analysis failed {rollout.failures} times at {rollout.steps[rollout.step]} %: {why}"
    step = _told_once(rollout, broken(rollout, seen.endpoint, Signal.BROKEN, reason))
    # One that is halted is measured on: it goes back once there is somebody who answers.
    return (_due_measurement(rollout, now) if isinstance(step, Wait) else None) or step


def _due_measurement(rollout: Rollout, now: datetime) -> Measure | None:
    assert rollout.phase_since is not None
    last = rollout.last_measurement
    interval = timedelta(seconds=interval_seconds(rollout.bake_seconds))
    if now >= (last.at if last else rollout.phase_since) + interval:
        return Measure(rollout.phase_since)
    not_since_baked = last is None or last.at < rollout.baked_at
    return Measure(rollout.phase_since) if now >= rollout.baked_at and not_since_baked else None


def _end_of_step(rollout: Rollout, last: Measurement) -> Plan:
    """The bake time is over, and ``last`` was measured after it."""
    share = rollout.steps[rollout.step]
    passed = last.verdict is Verdict.PASS
    if not passed and (rollout.approved_by is None or last.verdict is Verdict.FAIL):
        return _not_passed(rollout, last.verdict, last.why)
    if share in rollout.approve_steps and rollout.approved_by is None:
        return Hold(Cause.APPROVAL, f"somebody's approval is needed after {share} %")
    said = f"let pass by {rollout.approved_by}" if rollout.approved_by else last.why
    signal = Signal.STEP_BAKED if rollout.step + 1 < len(rollout.steps) else Signal.LAST_STEP_BAKED
    return Move(signal, f"{rollout.bake_seconds:g} s at {share} %: {said}")


def _not_passed(rollout: Rollout, verdict: Verdict, why: str) -> Plan:
    if rollout.held:
        return Wait(rollout.held.why)
    if rollout.errors > rollout.error_limit:
        return Hold(Cause.UNMEASURABLE, f"it could not be measured {rollout.errors} times in a row: {why}")
    if rollout.inconclusives > rollout.inconclusive_limit:
        return Hold(Cause.INCONCLUSIVE, f"too little to tell by, {rollout.inconclusives} times: {why}")
    return Wait(f"{verdict.value}: {why}")


def _plan_return(rollout: Rollout, seen: Seen) -> Plan:
    assert rollout.returning_for is not None
    if not rollout.stable or not is_deployed(rollout.stable, seen.endpoint):
        return Move(rollout.returning_for, "there is no stable version to return to: traffic is left as it is")
    assert seen.endpoint is not None
    split = split_of(rollout)
    last = rollout.measurements[-1] if rollout.measurements else None
    if rollout.returning_for is Signal.RETURNED_UNWANTED and last is not None and last.stable_answering is False:
        # Nobody said that the candidate is bad: its traffic is not given to one that does not answer.
        if last.verdict is Verdict.FAIL:
            return Move(rollout.returning_for, f"{rollout.stable} does not answer: traffic is left as it is")
        split = {rollout.version: 100}
    if seen.endpoint.traffic == split:
        return Move(rollout.returning_for, f"{next(iter(split))} has all traffic now")
    if not is_deployed(next(iter(split)), seen.endpoint):
        return Move(rollout.returning_for, f"{next(iter(split))} is not deployed any more: traffic is left as it is")
    return SetTraffic(split, seen.endpoint.etag)
