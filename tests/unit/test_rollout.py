"""The rollout's state machine: how it opens, its table, what a measurement or an operator's word changes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.analysis import Limits, Verdict
from modeldrop.domain.policy import RolloutPolicy
from modeldrop.domain.rollout import (
    FINAL,
    MOST_MEASUREMENTS,
    TRANSITIONS,
    Cause,
    Kind,
    Phase,
    Signal,
    afresh,
    interval_seconds,
    move,
    open_at_once,
    split_at,
    split_of,
    with_measurement,
)
from tests.unit.rollout_states import NOW, POLICY, after, at, at_once, held, measured, opened


def test_every_transition_leads_to_a_phase_that_ends() -> None:
    """From every phase some path of the table leads to a final one; final phases lead nowhere."""
    assert not [phase for phase, _ in TRANSITIONS if phase in FINAL]
    ends = set(FINAL)
    while more := {phase for (phase, _), to in TRANSITIONS.items() if to in ends} - ends:
        ends |= more
    assert ends == set(Phase)


@pytest.mark.parametrize("phase", sorted(set(Phase) - FINAL - {Phase.RETURNING}))
@pytest.mark.parametrize("signal", [Signal.BROKEN, Signal.UNWANTED, Signal.RECALLED])
def test_every_active_phase_can_break_become_unwanted_and_be_recalled(phase: Phase, signal: Signal) -> None:
    assert (phase, signal) in TRANSITIONS


def test_a_transition_the_table_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        move(at(Phase.UPLOADING), Signal.LAST_STEP_BAKED, "", NOW)


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        (POLICY, [5, 50, 100]),
        (RolloutPolicy(steps=[5, 100]), [5, 100]),
        (RolloutPolicy(), [5, 20, 50, 100]),
        (RolloutPolicy(strategy="blue_green"), [0, 100]),
        (RolloutPolicy(strategy="all_at_once"), [100]),
        (RolloutPolicy(strategy="hot_swap"), [100]),
    ],
)
def test_steps_follow_the_strategy_and_end_at_100(policy: RolloutPolicy, steps: list[int]) -> None:
    assert opened(policy=policy).steps == steps
    assert opened(None, policy).steps == [100], "nobody to compare with, and nobody else to answer"


def test_the_policy_is_fixed_when_it_opens() -> None:
    policy = RolloutPolicy(
        min_requests=7,
        max_error_rate=0.5,
        max_p95_ms=9,
        failure_limit=1,
        error_limit=2,
        inconclusive_limit=3,
        approve_steps=[5],
        out_of_band="repair",
    )
    rollout = opened(policy=policy)
    assert rollout.limits == Limits(7, 0.5, 9)
    assert (rollout.failure_limit, rollout.error_limit, rollout.inconclusive_limit) == (1, 2, 3)
    assert (rollout.approve_steps, rollout.repairs) == ([5], True)
    assert opened(None, policy).approve_steps == [], "a first version has no step at 5 %"


@pytest.mark.parametrize(("deployed", "phase"), [(True, Phase.SHIFTING), (False, Phase.UPLOADING)])
@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.REPAIR])
def test_what_has_proved_itself_takes_over_at_once(kind: Kind, deployed: bool, phase: Phase) -> None:
    policy = RolloutPolicy(bake_seconds=600, approve_steps=[100])
    rollout = open_at_once(opened(policy=policy), kind, deployed)
    assert (rollout.phase, rollout.steps, rollout.bake_seconds) == (phase, [100], 0)
    assert (rollout.stable, rollout.approve_steps, rollout.takes_over) == (None, [], True)
    assert split_of(rollout) == {"v2": 100}


def test_a_move_begins_anew_and_leaves_a_line_in_the_history() -> None:
    worn = at(
        Phase.BAKING,
        failures=2,
        errors=3,
        inconclusives=4,
        approved_by="ada",
        held=held(Cause.APPROVAL),
        operation="op",
        trouble="no answer",
    )
    moved = move(worn, Signal.STEP_BAKED, "good", after(60))
    assert (moved.phase, moved.step, moved.phase_since, moved.reason) == (Phase.SHIFTING, 1, after(60), "good")
    assert (moved.failures, moved.errors, moved.inconclusives) == (0, 0, 0)
    assert (moved.approved_by, moved.held, moved.operation, moved.trouble) == (None, None, None, "")
    line = moved.entries[-1]
    assert (line.at, line.phase, line.percent, line.reason) == (after(60), Phase.SHIFTING, 5, "good")


def test_why_it_goes_back_is_why_it_ends() -> None:
    broken = move(at(Phase.BAKING), Signal.BROKEN, "too many errors", NOW)
    assert broken.returning_for is Signal.RETURNED_BROKEN
    ended = move(broken, Signal.RETURNED_BROKEN, "v1 has all traffic again", NOW)
    assert (ended.phase, ended.reason) == (Phase.ROLLED_BACK, "too many errors")
    recalled = move(at(Phase.BAKING), Signal.RECALLED, "ada said so", NOW)
    assert recalled.returning_for is Signal.RETURNED_BROKEN
    unwanted = move(at(Phase.BAKING), Signal.UNWANTED, "v3 is better", NOW)
    assert unwanted.returning_for is Signal.RETURNED_UNWANTED


def test_it_takes_over_what_somebody_else_moved_until_its_split_is_set() -> None:
    moved = move(at(Phase.BAKING), Signal.TRAFFIC_MOVED, "somebody else", NOW)
    assert moved.takes_over
    assert not move(moved, Signal.TRAFFIC_SET, "", NOW).takes_over
    resumed = afresh(at(Phase.SHIFTING), NOW, takes_over=True)
    assert move(resumed, Signal.LOST, "", NOW).takes_over


def test_errors_count_in_a_row_failures_all_inconclusive_ones_once_it_has_baked() -> None:
    rollout = at(Phase.BAKING)
    verdicts = [Verdict.FAIL, Verdict.ERROR, Verdict.ERROR, Verdict.PASS, Verdict.FAIL, Verdict.ERROR]
    for number, verdict in enumerate(verdicts):
        rollout = with_measurement(rollout, measured(verdict, number))
    assert (rollout.failures, rollout.errors) == (2, 1)
    for seconds in (59, 59.9, 60, 61):
        rollout = with_measurement(rollout, measured(Verdict.INCONCLUSIVE, seconds))
    assert (rollout.inconclusives, rollout.errors) == (2, 0)


def test_only_the_latest_measurements_are_kept_and_only_those_of_the_phase_count() -> None:
    rollout = at(Phase.BAKING)
    for seconds in range(MOST_MEASUREMENTS + 5):
        rollout = with_measurement(rollout, measured(Verdict.PASS, seconds))
    assert len(rollout.measurements) == MOST_MEASUREMENTS
    assert rollout.last_measurement == rollout.measurements[-1]
    assert msgspec.structs.replace(rollout, phase_since=after(1000)).last_measurement is None


def test_let_go_on_it_begins_its_step_anew() -> None:
    worn = at(Phase.DEPLOYING, failures=3, errors=5, inconclusives=7, operation="op")
    resumed = afresh(worn, after(90), takes_over=False)
    assert (resumed.phase_since, resumed.failures, resumed.errors, resumed.inconclusives) == (after(90), 0, 0, 0)
    assert (resumed.operation, resumed.takes_over) == ("op", False), "what is under way goes on"
    stuck = msgspec.structs.replace(worn, held=held(Cause.NOTHING_HEALTHY))
    assert afresh(stuck, NOW, takes_over=False).operation is None, "what was held is tried again"
    assert afresh(stuck, NOW, takes_over=False).held is None
    assert afresh(at_once(Kind.REPAIR, Phase.SHIFTING), NOW, takes_over=False).takes_over


@pytest.mark.parametrize(("bake_seconds", "interval"), [(0, 0.5), (5, 0.5), (60, 6), (600, 60), (86_400, 60)])
def test_a_tenth_of_the_bake_time_between_measurements(bake_seconds: float, interval: float) -> None:
    assert interval_seconds(bake_seconds) == interval


@given(
    policy=st.builds(
        RolloutPolicy,
        strategy=st.sampled_from(["canary", "blue_green", "all_at_once"]),
        steps=st.lists(st.integers(1, 100), min_size=1, max_size=12, unique=True).map(sorted),
    ),
    stable=st.sampled_from(["v1", None]),
    returning=st.booleans(),
)
def test_every_split_of_every_policy_sums_to_100(policy: RolloutPolicy, stable: str | None, returning: bool) -> None:
    rollout = opened(stable, policy)
    assert rollout.steps[-1] == 100
    for step in range(len(rollout.steps)):
        split = split_at(rollout, step)
        assert sum(split.values()) == 100
        assert all(0 < percent <= 100 for percent in split.values())
        assert split.get("v2", 0) == rollout.steps[step]
    assert split_at(rollout, -1) == ({stable: 100} if stable else {})
    back = msgspec.structs.replace(rollout, phase=Phase.RETURNING)
    assert split_of(back) == ({stable: 100} if stable else {})
