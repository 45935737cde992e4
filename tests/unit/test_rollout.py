"""The rollout's state machine: its table, and the plan at every phase (state in, state out; no clock, no I/O)."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.endpoint import DeployedVersion, Endpoint, Operation
from modeldrop.domain.policy import RolloutPolicy
from modeldrop.domain.rollout import (
    FINAL,
    TRANSITIONS,
    Deploy,
    Move,
    Phase,
    Rollout,
    Seen,
    SetTraffic,
    Signal,
    Upload,
    Wait,
    move,
    open_rollout,
    plan,
    split_of,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = RolloutPolicy(steps=[5, 50], bake_seconds=60, deadline_seconds=3600)


def opened(stable: str | None = "v1", policy: RolloutPolicy = POLICY) -> Rollout:
    return open_rollout("000001-v2", ("fraud", "v2", "key2", "d" * 64), stable, policy, NOW)


def at(phase: Phase, **changes: object) -> Rollout:
    return msgspec.structs.replace(opened(), phase=phase, **changes)


def endpoint(**traffic: int) -> Endpoint:
    return Endpoint("fraud", "etag", tuple(DeployedVersion(v, f"1{i}", p) for i, (v, p) in enumerate(traffic.items())))


def test_every_transition_leads_to_a_phase_that_ends() -> None:
    """From every phase some path of the table leads to a final one; final phases lead nowhere."""
    assert not [phase for phase, _ in TRANSITIONS if phase in FINAL]
    ends = set(FINAL)
    while more := {phase for (phase, _), to in TRANSITIONS.items() if to in ends} - ends:
        ends |= more
    assert ends == set(Phase)


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL - {Phase.RETURNING}))
def test_every_active_phase_can_break_and_can_become_unwanted(phase: Phase) -> None:
    assert (phase, Signal.BROKEN) in TRANSITIONS
    assert (phase, Signal.UNWANTED) in TRANSITIONS


def test_a_transition_the_table_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        move(at(Phase.UPLOADING), Signal.LAST_STEP_BAKED, "", NOW)


def test_steps_end_at_100_and_are_skipped_without_a_stable_version() -> None:
    assert opened().steps == [5, 50, 100]
    assert opened(stable=None).steps == [100]
    assert opened(policy=RolloutPolicy(strategy="all_at_once")).steps == [100]
    assert opened(policy=RolloutPolicy(strategy="blue_green")).steps == [100]


RUNNING = Operation("op", done=False)
DONE = Operation("op", done=True)
FAILED = Operation("op", done=True, error="no quota")


@pytest.mark.parametrize(
    ("rollout", "seen", "expected"),
    [
        (at(Phase.UPLOADING), Seen(None), Upload),
        (at(Phase.UPLOADING, operation="op"), Seen(None, RUNNING), Wait),
        (at(Phase.UPLOADING, operation="op"), Seen(None, DONE), Upload),
        (at(Phase.DEPLOYING), Seen(None), Deploy),
        (at(Phase.DEPLOYING, operation="op"), Seen(endpoint(v1=100), RUNNING), Wait),
        (at(Phase.DEPLOYING, operation="lost"), Seen(endpoint(v1=100), None), Deploy),
        (at(Phase.SHIFTING), Seen(endpoint(v1=100, v2=0)), SetTraffic({"v2": 5, "v1": 95}, "etag")),
        (at(Phase.BAKING, phase_since=NOW), Seen(endpoint(v1=95, v2=5)), Wait),
        (at(Phase.RETURNING, returning_for=Signal.RETURNED_BROKEN), Seen(endpoint(v1=95, v2=5)), SetTraffic),
    ],
)
def test_what_is_done_in_a_phase(rollout: Rollout, seen: Seen, expected: object) -> None:
    step = plan(rollout, seen, wanted=True, now=NOW)
    assert step == expected if not isinstance(expected, type) else isinstance(step, expected)


@pytest.mark.parametrize(
    ("rollout", "seen", "later", "signal"),
    [
        (at(Phase.UPLOADING, operation="op"), Seen(None, FAILED), 0, Signal.BROKEN),
        (at(Phase.DEPLOYING), Seen(endpoint(v1=100, v2=0)), 0, Signal.DEPLOYED),
        (at(Phase.DEPLOYING, operation="op"), Seen(endpoint(v1=100), FAILED), 0, Signal.BROKEN),
        (at(Phase.DEPLOYING), Seen(endpoint(v1=100)), 3600, Signal.BROKEN),
        (at(Phase.SHIFTING), Seen(endpoint(v1=95, v2=5)), 0, Signal.TRAFFIC_SET),
        (at(Phase.SHIFTING), Seen(endpoint(v1=100)), 0, Signal.BROKEN),
        (at(Phase.BAKING, phase_since=NOW), Seen(endpoint(v1=95, v2=5)), 60, Signal.STEP_BAKED),
        (at(Phase.BAKING, phase_since=NOW, step=2), Seen(endpoint(v1=0, v2=100)), 60, Signal.LAST_STEP_BAKED),
        (at(Phase.BAKING, phase_since=NOW), Seen(endpoint(v1=50, v2=50)), 60, Signal.TRAFFIC_MOVED),
        (at(Phase.BAKING, phase_since=NOW), Seen(None), 0, Signal.BROKEN),
        (
            at(Phase.RETURNING, returning_for=Signal.RETURNED_BROKEN),
            Seen(endpoint(v1=100, v2=0)),
            0,
            Signal.RETURNED_BROKEN,
        ),
        (at(Phase.RETURNING, returning_for=Signal.RETURNED_UNWANTED), Seen(None), 0, Signal.RETURNED_UNWANTED),
    ],
)
def test_when_a_phase_is_over(rollout: Rollout, seen: Seen, later: int, signal: Signal) -> None:
    step = plan(rollout, seen, wanted=True, now=NOW + timedelta(seconds=later))
    assert isinstance(step, Move)
    assert step.signal is signal
    move(rollout, step.signal, step.reason, NOW)  # the table has it


def test_what_was_reached_while_nobody_looked_counts_although_the_deadline_is_over() -> None:
    late = NOW + timedelta(days=1)
    baked = plan(at(Phase.BAKING, phase_since=NOW), Seen(endpoint(v1=95, v2=5)), wanted=True, now=late)
    assert isinstance(baked, Move)
    assert baked.signal is Signal.STEP_BAKED
    shift = plan(at(Phase.SHIFTING, phase_since=NOW), Seen(endpoint(v1=100, v2=0)), wanted=True, now=late)
    assert isinstance(shift, SetTraffic)
    troubled = at(Phase.SHIFTING, phase_since=NOW, trouble="no answer")
    broken = plan(troubled, Seen(endpoint(v1=100, v2=0)), wanted=True, now=late)
    assert isinstance(broken, Move)
    assert "no answer" in broken.reason


def test_an_unwanted_canary_gives_its_traffic_back_before_it_closes() -> None:
    canary = at(Phase.BAKING, phase_since=NOW)
    step = plan(canary, Seen(endpoint(v1=95, v2=5)), wanted=False, now=NOW)
    assert isinstance(step, Move)
    returning = move(canary, step.signal, step.reason, NOW)
    assert (returning.phase, split_of(returning)) == (Phase.RETURNING, {"v1": 100})
    back = plan(returning, Seen(endpoint(v1=100, v2=0)), wanted=False, now=NOW)
    assert isinstance(back, Move)
    assert move(returning, back.signal, back.reason, NOW).phase is Phase.SUPERSEDED


@given(
    steps=st.lists(st.integers(1, 100), min_size=1, max_size=10, unique=True).map(sorted),
    failures=st.lists(st.sampled_from(["none", "operation", "vanish", "unwanted"]), max_size=30),
    stable=st.sampled_from(["v1", None]),
)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_it_ends_and_every_split_sums_to_100(
    steps: list[int], failures: list[str], stable: str | None
) -> None:
    """Play the machine against a simple world that may fail at any pass."""
    rollout = opened(stable, RolloutPolicy(steps=steps, bake_seconds=1, deadline_seconds=500))
    deployed, traffic, now = {stable} - {None}, ({stable: 100} if stable else {}), NOW
    for turn in range(600):
        if rollout.phase in FINAL:
            break
        now += timedelta(seconds=1)
        trouble = failures[turn] if turn < len(failures) else "none"
        if trouble == "vanish":
            deployed, traffic = deployed - {"v2"}, ({stable: 100} if stable in deployed else {})
        seen = Seen(
            endpoint(**{v: traffic.get(v, 0) for v in sorted(deployed)}), FAILED if trouble == "operation" else None
        )
        step = plan(rollout, seen, wanted=trouble != "unwanted", now=now)
        if isinstance(step, Move):
            rollout = move(rollout, step.signal, step.reason, now)
        elif isinstance(step, Upload):
            rollout = move(rollout, Signal.UPLOADED, "", now)
        elif isinstance(step, Deploy):
            deployed = deployed | {"v2"}
        elif isinstance(step, SetTraffic):
            assert sum(step.split.values()) == 100
            assert set(step.split) <= deployed
            traffic = dict(step.split)
    assert rollout.phase in FINAL
    if rollout.phase is Phase.LIVE:
        assert traffic == {"v2": 100}
    elif stable:
        assert traffic == {stable: 100}
