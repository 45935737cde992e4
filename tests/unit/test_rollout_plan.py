"""What a rollout does next, at every phase (state in, state out; no clock, no I/O)."""

from typing import Any

import msgspec
import pytest

from modeldrop.domain.analysis import Verdict
from modeldrop.domain.policy import RolloutPolicy
from modeldrop.domain.rollout import TRANSITIONS, Cause, Kind, Phase, Rollout, Signal, afresh, move, split_of
from modeldrop.domain.rollout_plan import (
    Deploy,
    Hold,
    Measure,
    Move,
    Pause,
    Seen,
    SetTraffic,
    Upload,
    Wait,
    Wish,
    plan,
)
from tests.unit.rollout_states import (
    DONE,
    FAILED,
    NOW,
    RUNNING,
    after,
    at,
    at_once,
    endpoint,
    held,
    measured,
    opened,
)

CANARY = Seen(endpoint(v1=95, v2=5))
PAUSED = Wish(paused="paused by ada")
TOUCHED = Wish(paused="somebody else changed it", watches=False)


def baking(**changes: Any) -> Rollout:
    """At 5 %, measured good at 60 s, when its bake time ended."""
    return at(Phase.BAKING, **({"measurements": [measured(Verdict.PASS, 60)]} | changes))


def assert_moves(rollout: Rollout, seen: Seen, signal: Signal, *, wish: Wish | None = None, seconds: float = 0) -> Move:
    step = plan(rollout, seen, wish or Wish(), after(seconds))
    assert isinstance(step, Move), step
    assert step.signal is signal
    assert (rollout.phase, signal) in TRANSITIONS
    return step


@pytest.mark.parametrize(
    ("rollout", "seen", "expected"),
    [
        (at(Phase.UPLOADING), Seen(None), Upload()),
        (at(Phase.UPLOADING, operation="op"), Seen(None, RUNNING), Wait("the upload is under way")),
        (at(Phase.UPLOADING, operation="op"), Seen(None, DONE), Upload()),
        (at(Phase.DEPLOYING), Seen(None), Deploy()),
        (at(Phase.DEPLOYING, operation="op"), Seen(endpoint(v1=100), RUNNING), Wait("the deployment is under way")),
        (at(Phase.DEPLOYING, operation="lost"), Seen(endpoint(v1=100), None), Deploy()),
        (at(Phase.SHIFTING), Seen(endpoint(v1=100, v2=0)), SetTraffic({"v2": 5, "v1": 95}, "etag")),
        (at(Phase.SHIFTING, step=1), CANARY, SetTraffic({"v2": 50, "v1": 50}, "etag")),
        (at(Phase.SHIFTING, stable=None), Seen(endpoint(v2=0)), SetTraffic({"v2": 100}, "etag")),
        (at(Phase.BAKING), CANARY, Wait("the step bakes")),
        (at(Phase.RETURNING, returning_for=Signal.RETURNED_BROKEN), CANARY, SetTraffic({"v1": 100}, "etag")),
    ],
)
def test_what_is_done_in_a_phase(rollout: Rollout, seen: Seen, expected: object) -> None:
    assert plan(rollout, seen, Wish(), NOW) == expected


BACK = {"returning_for": Signal.RETURNED_BROKEN}


@pytest.mark.parametrize(
    ("rollout", "seen", "later", "signal"),
    [
        (at(Phase.UPLOADING, operation="op"), Seen(None, FAILED), 0, Signal.BROKEN),
        (at(Phase.DEPLOYING), Seen(endpoint(v1=100, v2=0)), 0, Signal.DEPLOYED),
        (at(Phase.DEPLOYING, operation="op"), Seen(endpoint(v1=100), FAILED), 0, Signal.BROKEN),
        (at(Phase.DEPLOYING), Seen(endpoint(v1=100)), 3600, Signal.BROKEN),
        (at(Phase.SHIFTING), CANARY, 0, Signal.TRAFFIC_SET),
        (at(Phase.SHIFTING), Seen(endpoint(v1=100)), 0, Signal.LOST),
        (at(Phase.SHIFTING), Seen(None), 0, Signal.LOST),
        (at(Phase.SHIFTING, step=1), Seen(endpoint(v1=100)), 0, Signal.BROKEN),
        (baking(), CANARY, 60, Signal.STEP_BAKED),
        (baking(step=2), Seen(endpoint(v1=0, v2=100)), 60, Signal.LAST_STEP_BAKED),
        (at(Phase.BAKING), Seen(endpoint(v1=100)), 0, Signal.BROKEN),
        (at(Phase.BAKING), Seen(None), 0, Signal.BROKEN),
        (at(Phase.RETURNING, **BACK), Seen(endpoint(v1=100, v2=0)), 0, Signal.RETURNED_BROKEN),
        (at(Phase.RETURNING, returning_for=Signal.RETURNED_UNWANTED), Seen(None), 0, Signal.RETURNED_UNWANTED),
    ],
)
def test_when_a_phase_is_over(rollout: Rollout, seen: Seen, later: int, signal: Signal) -> None:
    step = assert_moves(rollout, seen, signal, seconds=later)
    move(rollout, step.signal, step.reason, NOW)  # the table has it


def test_a_step_at_0_percent_is_reached_without_an_update_of_traffic() -> None:
    rollout = msgspec.structs.replace(opened(policy=RolloutPolicy(strategy="blue_green")), phase=Phase.SHIFTING)
    assert_moves(rollout, Seen(endpoint(v1=100, v2=0)), Signal.TRAFFIC_SET)


def test_what_was_reached_while_nobody_looked_counts_although_the_deadline_is_over() -> None:
    late = 86_400
    assert_moves(baking(measurements=[measured(Verdict.PASS, late)]), CANARY, Signal.STEP_BAKED, seconds=late)
    assert plan(at(Phase.BAKING), CANARY, Wish(), after(late)) == Measure(NOW)
    ready = Seen(endpoint(v1=100, v2=0))
    assert isinstance(plan(at(Phase.SHIFTING), ready, Wish(), after(late)), SetTraffic)
    broken = assert_moves(at(Phase.SHIFTING, trouble="no answer"), ready, Signal.BROKEN, seconds=late)
    assert "no answer" in broken.reason


def test_the_deadline_comes_after_the_bake_time() -> None:
    """Of a step that bakes an hour with a deadline of half an hour; last seen failing, but within its limit."""
    last = measured(Verdict.FAIL, 3600 + 1799)
    rollout = at(Phase.BAKING, bake_seconds=3600, deadline_seconds=1800, measurements=[last])
    assert isinstance(plan(rollout, CANARY, Wish(), after(3600 + 1799)), Wait)
    broken = assert_moves(rollout, CANARY, Signal.BROKEN, seconds=3600 + 1800)
    assert "no progress for 1800 s" in broken.reason


@pytest.mark.parametrize(
    ("verdict", "cause"), [(Verdict.ERROR, Cause.UNMEASURABLE), (Verdict.INCONCLUSIVE, Cause.INCONCLUSIVE)]
)
def test_what_cannot_be_told_by_the_deadline_is_held_and_not_taken_back(verdict: Verdict, cause: Cause) -> None:
    """Nobody ticked for long, and the first measurement since says nothing: that is nobody's fault."""
    late = 86_400
    rollout = at(Phase.BAKING, measurements=[measured(verdict, late)], errors=1, inconclusives=1)
    step = plan(rollout, CANARY, Wish(), after(late))
    assert isinstance(step, Hold)
    assert step.cause is cause


# --- measurements ----------------------------------------------------------------------------------------------


def test_a_measurement_is_due_every_interval_and_once_the_step_has_baked() -> None:
    rollout = at(Phase.BAKING)  # bakes 60 s, measured every 6 s
    assert isinstance(plan(rollout, CANARY, Wish(), after(5.9)), Wait)
    assert plan(rollout, CANARY, Wish(), after(6)) == Measure(NOW)
    seen_at_6 = msgspec.structs.replace(rollout, measurements=[measured(Verdict.PASS, 6)])
    assert isinstance(plan(seen_at_6, CANARY, Wish(), after(11.9)), Wait)
    assert plan(seen_at_6, CANARY, Wish(), after(12)) == Measure(NOW)
    seen_at_59 = msgspec.structs.replace(rollout, measurements=[measured(Verdict.PASS, 59)])
    assert plan(seen_at_59, CANARY, Wish(), after(60)) == Measure(NOW), "no step ends on what was seen before"


def test_a_measurement_of_the_step_before_does_not_count() -> None:
    rollout = baking(phase_since=after(100), step=1)
    assert isinstance(plan(rollout, Seen(endpoint(v1=50, v2=50)), Wish(), after(105)), Wait)
    assert plan(rollout, Seen(endpoint(v1=50, v2=50)), Wish(), after(106)) == Measure(after(100))


def test_it_fails_with_more_failures_than_the_limit() -> None:
    failing = [measured(Verdict.FAIL, 6)]
    assert isinstance(plan(baking(measurements=failing, failures=2), CANARY, Wish(), after(7)), Wait)
    broken = assert_moves(baking(measurements=failing, failures=3), CANARY, Signal.BROKEN, seconds=7)
    assert broken.reason == "the analysis failed 3 times at 5 %: it was fail"


@pytest.mark.parametrize(
    ("verdict", "counter", "limit", "cause"),
    [
        (Verdict.ERROR, "errors", 4, Cause.UNMEASURABLE),
        (Verdict.INCONCLUSIVE, "inconclusives", 6, Cause.INCONCLUSIVE),
    ],
)
def test_it_is_held_with_more_than_the_limit(verdict: Verdict, counter: str, limit: int, cause: Cause) -> None:
    rollout = baking(measurements=[measured(verdict, 60)])
    at_limit = msgspec.structs.replace(rollout, **{counter: limit})
    assert isinstance(plan(at_limit, CANARY, Wish(), after(60)), Wait)
    beyond = msgspec.structs.replace(rollout, **{counter: limit + 1})
    step = plan(beyond, CANARY, Wish(), after(60))
    assert isinstance(step, Hold)
    assert step.cause is cause
    early = msgspec.structs.replace(beyond, measurements=[measured(verdict, 30)])
    assert isinstance(plan(early, CANARY, Wish(), after(31)), Wait), "before the bake time is over there is time left"


@pytest.mark.parametrize("cause", [Cause.INCONCLUSIVE, Cause.UNMEASURABLE])
def test_a_step_that_is_held_goes_on_by_itself_once_it_passes(cause: Cause) -> None:
    """It is measured on, is told of once, waits without a deadline, and fails if it fails."""
    rollout = baking(held=held(cause), measurements=[measured(Verdict.INCONCLUSIVE, 60)], inconclusives=9, errors=9)
    assert plan(rollout, CANARY, Wish(), after(60)) == Wait(f"held: {cause.value}")
    assert isinstance(plan(rollout, CANARY, Wish(), after(86_400)), Measure)
    late = msgspec.structs.replace(rollout, measurements=[measured(Verdict.ERROR, 86_400)])
    assert isinstance(plan(late, CANARY, Wish(), after(86_400)), Wait)
    passed = msgspec.structs.replace(rollout, measurements=[measured(Verdict.PASS, 86_400)])
    step = assert_moves(passed, CANARY, Signal.STEP_BAKED, seconds=86_400)
    assert move(passed, step.signal, step.reason, NOW).held is None
    assert_moves(msgspec.structs.replace(passed, failures=3), CANARY, Signal.BROKEN, seconds=86_400)


# --- approvals -------------------------------------------------------------------------------------------------


def test_a_step_that_needs_somebodys_word_waits_for_it() -> None:
    rollout = baking(approve_steps=[5])
    step = plan(rollout, CANARY, Wish(), after(60))
    assert isinstance(step, Hold)
    assert step.cause is Cause.APPROVAL
    waiting = msgspec.structs.replace(rollout, held=held(Cause.APPROVAL))
    assert isinstance(plan(waiting, CANARY, Wish(), after(60)), Wait)
    approved = assert_moves(msgspec.structs.replace(rollout, approved_by="ada"), CANARY, Signal.STEP_BAKED, seconds=60)
    assert "ada" in approved.reason
    assert_moves(msgspec.structs.replace(rollout, approve_steps=[50]), CANARY, Signal.STEP_BAKED, seconds=60)


def test_no_approval_before_the_step_has_baked_and_passed() -> None:
    rollout = baking(approve_steps=[5], measurements=[measured(Verdict.PASS, 30)])
    assert isinstance(plan(rollout, CANARY, Wish(), after(31)), Wait)
    failing = msgspec.structs.replace(rollout, measurements=[measured(Verdict.FAIL, 60)], failures=1)
    assert isinstance(plan(failing, CANARY, Wish(), after(60)), Wait)


def test_a_step_held_for_too_little_traffic_still_needs_its_approval_once_it_passes() -> None:
    rollout = baking(approve_steps=[5], held=held(Cause.INCONCLUSIVE))
    step = plan(rollout, CANARY, Wish(), after(60))
    assert isinstance(step, Hold)
    assert step.cause is Cause.APPROVAL


def test_approval_stands_in_for_measurements_that_say_nothing_and_never_for_one_that_failed() -> None:
    for verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR):
        rollout = baking(approved_by="ada", measurements=[measured(verdict, 60)], inconclusives=7)
        assert_moves(rollout, CANARY, Signal.STEP_BAKED, seconds=60)
    failing = baking(approved_by="ada", measurements=[measured(Verdict.FAIL, 60)], failures=1)
    assert isinstance(plan(failing, CANARY, Wish(), after(60)), Wait)


# --- paused, unwanted, recalled --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rollout", "seen"),
    [
        (at(Phase.UPLOADING), Seen(None)),
        (at(Phase.DEPLOYING), Seen(endpoint(v1=100, v2=0))),
        (at(Phase.DEPLOYING, operation="op"), Seen(endpoint(v1=100), FAILED)),
        (at(Phase.SHIFTING), Seen(endpoint(v1=100, v2=0))),
        (at(Phase.SHIFTING), CANARY),
        (at(Phase.SHIFTING), Seen(None)),
        (baking(), CANARY),
        (baking(), Seen(endpoint(v1=50, v2=50))),
        (baking(failures=3), Seen(endpoint(v1=50, v2=50))),
        (baking(), Seen(None)),
    ],
)
@pytest.mark.parametrize("wish", [PAUSED, TOUCHED, Wish(wanted=False, paused="by ada")])
def test_paused_nothing_goes_forward_and_no_deadline_runs(rollout: Rollout, seen: Seen, wish: Wish) -> None:
    assert isinstance(plan(rollout, seen, wish, after(60)), Wait)
    late = plan(rollout, seen, wish, after(86_400))
    assert isinstance(late, Wait | Measure)


def test_paused_a_failing_candidate_is_taken_back_all_the_same() -> None:
    assert plan(at(Phase.BAKING), CANARY, PAUSED, after(6)) == Measure(NOW)
    assert_moves(baking(failures=3), CANARY, Signal.BROKEN, wish=PAUSED, seconds=60)
    returning = at(Phase.RETURNING, **BACK)
    assert isinstance(plan(returning, CANARY, PAUSED, NOW), SetTraffic), "what has begun to go back is brought back"


def test_what_somebody_else_changed_is_not_touched_at_all() -> None:
    assert isinstance(plan(at(Phase.BAKING), CANARY, TOUCHED, after(6)), Wait)
    assert isinstance(plan(baking(failures=3), CANARY, TOUCHED, after(60)), Wait)


def test_a_recall_goes_before_a_pause() -> None:
    for wish in (Wish(recalled="ada"), Wish(recalled="ada", paused="bob"), Wish(recalled="ada", wanted=False)):
        for phase in (Phase.UPLOADING, Phase.DEPLOYING, Phase.SHIFTING, Phase.BAKING):
            step = assert_moves(at(phase), CANARY, Signal.RECALLED, wish=wish)
            assert step.reason == "ada"


def test_an_unwanted_canary_gives_its_traffic_back_before_it_closes() -> None:
    canary = at(Phase.BAKING)
    step = assert_moves(canary, CANARY, Signal.UNWANTED, wish=Wish(wanted=False))
    returning = move(canary, step.signal, step.reason, NOW)
    assert (returning.phase, split_of(returning)) == (Phase.RETURNING, {"v1": 100})
    back = plan(returning, Seen(endpoint(v1=100, v2=0)), Wish(wanted=False), NOW)
    assert isinstance(back, Move)
    assert move(returning, back.signal, back.reason, NOW).phase is Phase.SUPERSEDED


def test_a_newer_version_supersedes_what_is_held_but_not_a_rollback_under_way() -> None:
    unwanted = Wish(wanted=False)
    for cause in Cause:
        assert_moves(baking(held=held(cause)), CANARY, Signal.UNWANTED, wish=unwanted)
    going_back = at_once(Kind.ROLLBACK, Phase.SHIFTING)
    assert isinstance(plan(going_back, Seen(endpoint(v1=100, v2=0)), unwanted, NOW), SetTraffic)
    stuck = msgspec.structs.replace(going_back, held=held(Cause.NOTHING_HEALTHY))
    assert_moves(stuck, Seen(endpoint(v1=100, v2=0)), Signal.UNWANTED, wish=unwanted)
    repair = at_once(Kind.REPAIR, Phase.SHIFTING)
    assert_moves(repair, Seen(endpoint(v1=100, v2=0)), Signal.UNWANTED, wish=unwanted)


# --- out of band -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [baking(), at(Phase.SHIFTING, step=1), at(Phase.SHIFTING)])
def test_a_split_somebody_else_set_pauses(rollout: Rollout) -> None:
    edited = Seen(endpoint(v1=70, v2=30))
    step = plan(rollout, edited, Wish(), after(60))
    assert isinstance(step, Pause)
    assert "{'v1': 70, 'v2': 30}" in step.why


def test_a_split_somebody_else_set_is_put_back_where_the_policy_or_an_operator_says_so() -> None:
    edited = Seen(endpoint(v1=70, v2=30))
    for rollout in (baking(repairs=True), afresh(baking(), NOW, takes_over=True)):
        assert_moves(rollout, edited, Signal.TRAFFIC_MOVED, seconds=60)
    for rollout in (at(Phase.SHIFTING, repairs=True), afresh(at(Phase.SHIFTING), NOW, takes_over=True)):
        assert plan(rollout, edited, Wish(), NOW) == SetTraffic({"v2": 5, "v1": 95}, "etag")


@pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.REPAIR])
def test_what_goes_back_sets_its_split_whatever_there_is(kind: Kind) -> None:
    shifting = at_once(kind, Phase.SHIFTING)
    for traffic in ({"v1": 100, "v2": 0}, {"v1": 30, "v3": 70, "v2": 0}, {"v2": 0}):
        assert plan(shifting, Seen(endpoint(**traffic)), Wish(), NOW) == SetTraffic({"v2": 100}, "etag")
    assert_moves(shifting, Seen(endpoint(v1=100)), Signal.LOST)
    assert_moves(at_once(kind, Phase.BAKING), Seen(endpoint(v2=100)), Signal.LAST_STEP_BAKED)
    assert_moves(at_once(kind, Phase.BAKING), Seen(endpoint(v1=100)), Signal.TRAFFIC_MOVED)
    assert_moves(at_once(kind, Phase.BAKING), Seen(None), Signal.TRAFFIC_MOVED)


# --- halts -----------------------------------------------------------------------------------------------------

FAILING = {"failures": 3, "measurements": [measured(Verdict.FAIL, 6)]}
LAST_STEP = {"steps": [100], **FAILING}


@pytest.mark.parametrize(
    ("rollout", "seen"),
    [
        (at(Phase.BAKING, stable=None, **LAST_STEP), Seen(endpoint(v2=100))),
        (at(Phase.BAKING, **LAST_STEP), Seen(endpoint(v2=100))),
        (
            at(Phase.BAKING, failures=3, measurements=[measured(Verdict.FAIL, 6, stable_answering=False)]),
            CANARY,
        ),
        (at(Phase.SHIFTING, step=1, takes_over=True), Seen(endpoint(v2=100))),
        (at(Phase.SHIFTING, step=1, repairs=True), Seen(endpoint(v2=100))),
        (at_once(Kind.ROLLBACK, Phase.UPLOADING), Seen(endpoint(v1=100), FAILED)),
        (at_once(Kind.REPAIR, Phase.DEPLOYING), Seen(endpoint(v1=100), FAILED)),
    ],
)
def test_it_is_halted_where_nothing_healthy_would_be_left_and_told_once(rollout: Rollout, seen: Seen) -> None:
    step = plan(rollout, seen, Wish(), after(6))
    assert isinstance(step, Hold)
    assert step.cause is Cause.NOTHING_HEALTHY
    halted = msgspec.structs.replace(rollout, held=held(Cause.NOTHING_HEALTHY))
    assert isinstance(plan(halted, seen, Wish(), after(6)), Wait)
    assert isinstance(plan(halted, seen, Wish(), after(86_400)), Wait | Measure)


def test_one_that_is_halted_goes_back_by_itself_once_the_stable_version_answers_again() -> None:
    rollout = at(Phase.BAKING, held=held(Cause.NOTHING_HEALTHY), **LAST_STEP)
    assert_moves(rollout, Seen(endpoint(v1=0, v2=100)), Signal.BROKEN, seconds=6)


def test_a_candidate_without_traffic_falls_whatever_else_answers() -> None:
    """Nothing is taken from anybody: there is no traffic to return."""
    blue = msgspec.structs.replace(opened(policy=RolloutPolicy(strategy="blue_green")), phase=Phase.BAKING, **FAILING)
    assert_moves(blue, Seen(endpoint(v1=100, v2=0)), Signal.BROKEN, seconds=6)
    alone = at(Phase.DEPLOYING, stable=None, operation="op")
    assert_moves(alone, Seen(None, FAILED), Signal.BROKEN)


def test_what_goes_back_where_the_stable_version_is_gone_leaves_traffic_as_it_is() -> None:
    for seen in (Seen(None), Seen(endpoint(v2=100))):
        step = assert_moves(at(Phase.RETURNING, **BACK), seen, Signal.RETURNED_BROKEN)
        assert "no stable version" in step.reason
