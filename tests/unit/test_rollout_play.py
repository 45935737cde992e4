"""The plan against random worlds: it never raises, stays in its table, ends, and every split sums to 100."""

from collections.abc import Mapping

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.analysis import Measurement, Verdict
from modeldrop.domain.endpoint import Operation
from modeldrop.domain.policy import RolloutPolicy
from modeldrop.domain.rollout import (
    FINAL,
    TRANSITIONS,
    Cause,
    Held,
    Kind,
    Phase,
    Rollout,
    Signal,
    move,
    split_of,
    with_measurement,
)
from modeldrop.domain.rollout_plan import (
    Deploy,
    Hold,
    Measure,
    Move,
    Plan,
    Seen,
    SetTraffic,
    Upload,
    Wait,
    Wish,
    plan,
)
from tests.unit.rollout_states import FAILED, NOW, after, at_once, endpoint, measured, opened

STEPS = st.lists(st.integers(1, 100), min_size=1, max_size=10, unique=True).map(sorted)
POLICIES = st.builds(
    RolloutPolicy,
    strategy=st.sampled_from(["canary", "blue_green", "all_at_once"]),
    steps=STEPS,
    bake_seconds=st.sampled_from([0.0, 1.0, 60.0]),
    deadline_seconds=st.sampled_from([1.0, 500.0]),
    approve_steps=st.lists(st.integers(1, 100), max_size=3),
    out_of_band=st.sampled_from(["pause", "repair"]),
)
TRAFFIC = st.one_of(
    st.none(),
    st.just({}),
    st.sampled_from([{"v1": 100}, {"v1": 0, "v2": 0}, {"v2": 100}, {"v1": 100, "v2": 0}, {"v3": 100}]),
    st.integers(0, 100).map(lambda percent: {"v1": 100 - percent, "v2": percent}),
)
HELD = st.one_of(st.none(), st.builds(Held, st.sampled_from(list(Cause)), st.just("because"), st.just(NOW)))
OPERATIONS = st.sampled_from([None, Operation("op", done=False), Operation("op", done=True), FAILED])
WISHES = st.builds(
    Wish,
    wanted=st.booleans(),
    recalled=st.sampled_from([None, "ada"]),
    paused=st.sampled_from([None, "bob"]),
    watches=st.booleans(),
)


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    """One in any phase and step, with any counters, of any kind."""
    kind = draw(st.sampled_from(list(Kind)))
    phase = draw(st.sampled_from(sorted(set(Phase) - FINAL)))
    if kind is Kind.ROLLOUT:
        rollout = msgspec.structs.replace(opened(draw(st.sampled_from(["v1", None])), draw(POLICIES)), phase=phase)
    else:
        rollout = at_once(kind, phase)
    seconds = draw(st.integers(0, 200))
    return msgspec.structs.replace(
        rollout,
        step=draw(st.integers(0, len(rollout.steps) - 1)),
        failures=draw(st.integers(0, 4)),
        errors=draw(st.integers(0, 6)),
        inconclusives=draw(st.integers(0, 8)),
        measurements=[measured(v, seconds) for v in draw(st.lists(st.sampled_from(list(Verdict)), max_size=1))],
        held=draw(HELD),
        approved_by=draw(st.sampled_from([None, "ada"])),
        takes_over=draw(st.booleans()),
        trouble=draw(st.sampled_from(["", "no answer"])),
        returning_for=Signal.RETURNED_BROKEN if phase is Phase.RETURNING else None,
    )


@given(rollouts(), TRAFFIC, OPERATIONS, WISHES, st.integers(0, 5_000))
@settings(max_examples=500, deadline=None)
def test_it_never_raises_and_never_leaves_its_table(
    rollout: Rollout, traffic: Mapping[str, int] | None, operation: Operation | None, wish: Wish, seconds: int
) -> None:
    seen = Seen(None if traffic is None else endpoint(**traffic), operation)
    step = plan(rollout, seen, wish, after(seconds))
    deployed = set(traffic or {})
    if isinstance(step, Move):
        assert (rollout.phase, step.signal) in TRANSITIONS
        split = split_of(move(rollout, step.signal, step.reason, after(seconds)))
        assert sum(split.values()) in {0, 100}
    elif isinstance(step, SetTraffic):
        assert sum(step.split.values()) == 100
        assert set(step.split) <= deployed
        assert step.split != traffic
    elif isinstance(step, Hold):
        assert rollout.held is None or rollout.held.cause is not step.cause, "told again and again"
    if wish.paused and not wish.recalled and rollout.phase is not Phase.RETURNING:
        assert not isinstance(step, Upload | Deploy | SetTraffic)
        assert not isinstance(step, Move) or step.signal is Signal.BROKEN
        assert wish.watches or isinstance(step, Wait)


class World:
    """A model server that does at once what it is asked for, and may lose things by itself."""

    def __init__(self, stable: str | None) -> None:
        self.stable = stable
        self.deployed = {stable} - {None}
        self.traffic = {stable: 100} if stable else {}

    def lose_candidate(self) -> None:
        self.deployed = self.deployed - {"v2"}
        self.traffic = {self.stable: 100} if self.stable else {}

    def seen(self, operation: Operation | None) -> Seen:
        return Seen(endpoint(**{v: self.traffic.get(v, 0) for v in sorted(self.deployed)}), operation)

    def act(self, step: Plan) -> None:
        if isinstance(step, Deploy):
            self.deployed = self.deployed | {"v2"}
        elif isinstance(step, SetTraffic):
            assert sum(step.split.values()) == 100
            assert set(step.split) <= self.deployed
            self.traffic = dict(step.split)


@given(
    steps=STEPS,
    strategy=st.sampled_from(["canary", "blue_green", "all_at_once"]),
    failures=st.lists(st.sampled_from(["none", "operation", "vanish", "unwanted", "fail", "error"]), max_size=40),
    stable=st.sampled_from(["v1", None]),
)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_it_ends_or_is_halted_and_every_split_sums_to_100(
    steps: list[int], strategy: str, failures: list[str], stable: str | None
) -> None:
    """Play the machine against a simple world that may fail at any pass."""
    policy = RolloutPolicy(strategy=strategy, steps=steps, bake_seconds=1, deadline_seconds=500)
    rollout, world = opened(stable, policy), World(stable)
    verdicts = {"fail": Verdict.FAIL, "error": Verdict.ERROR}
    for turn in range(600):
        if rollout.phase in FINAL or rollout.held:
            break
        now = after(turn + 1)
        trouble = failures[turn] if turn < len(failures) else "none"
        if trouble == "vanish":
            world.lose_candidate()
        seen = world.seen(FAILED if trouble == "operation" else None)
        step = plan(rollout, seen, Wish(wanted=trouble != "unwanted"), now)
        if isinstance(step, Move):
            rollout = move(rollout, step.signal, step.reason, now)
        elif isinstance(step, Upload):
            rollout = move(rollout, Signal.UPLOADED, "", now)
        elif isinstance(step, Measure):
            verdict = verdicts.get(trouble, Verdict.PASS)
            rollout = with_measurement(rollout, Measurement(now, step.since, 0, verdict, trouble))
        elif isinstance(step, Hold):
            rollout = msgspec.structs.replace(rollout, held=Held(step.cause, step.why, now))
        world.act(step)
    assert rollout.phase in FINAL or rollout.held
    if rollout.phase is Phase.LIVE:
        assert world.traffic == {"v2": 100}
    elif rollout.held:
        assert sum(world.traffic.values()) == 100
        assert rollout.held.cause is not Cause.NOTHING_HEALTHY or stable is None
    elif stable:
        assert world.traffic == {stable: 100}
