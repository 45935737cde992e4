"""Whatever happens in whatever order, the stored fold is the one that a fold from scratch comes to."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.champion import command_step, step
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.versions import Command, Standing
from modeldrop.handlers.rollouts.promote_version import promote_version
from tests.handlers.control import FAST, MODEL, Control

# name: (f1, day of declaration); several share a day, and two a score
PACKAGES = {
    "a": (0.70, 1),
    "b": (0.80, 2),
    "c": (0.80, 2),
    "d": (0.75, 3),
    "e": (0.90, 4),
    "f": (0.60, 5),
    "g": (0.95, 2),
}
VERSION = st.sampled_from(sorted(PACKAGES))
HAPPENING = st.one_of(
    st.tuples(st.just("drop"), VERSION),
    st.tuples(st.just("promote"), VERSION),
    st.tuples(st.just("withdraw"), VERSION),
    st.tuples(st.just("fail"), VERSION),
    st.tuples(st.just("settle"), VERSION),
    st.tuples(st.just("broken"), VERSION),
    st.tuples(st.just("policy"), VERSION),
)


def happen(control: Control, what: str, version: str) -> None:
    """One thing that users, machines or operators do."""
    if what == "drop":
        control.drop(version, *PACKAGES[version])
        control.tell_version(version)
    elif what == "broken":
        control.drop(version, *PACKAGES[version], runtime="abacus")
        control.tell_version(version)
    elif what == "promote":
        promote_version(control.services, MODEL, version, force=True, by="ada")
    elif what == "withdraw":
        control.put(f"models/{MODEL}/{version}/validation_report.json", b'{"passed": false}')
        control.tell(f"models/{MODEL}/{version}/validation_report.json")
    elif what == "fail":
        control.fail_deployments("no quota")
        control.tick()
    elif what == "policy":
        control.policy(FAST + f"gate: {{floors: {{f1: {PACKAGES[version][0]}}}}}\n")
    else:
        control.settle()
    control.clock.forward(1)


def assert_fold_agrees(control: Control) -> None:
    """Every standing, and the head's, is what folding all entries from the first one gives."""
    standing, last = Standing(), ""
    for slot in control.services.registry.entries_after(MODEL, "0"):
        entry = slot.value
        if isinstance(entry, Command):
            standing = command_step(entry, standing).standing
        else:
            gate = entry.decision.gate if entry.decision and entry.decision.gate else GatePolicy()
            standing, judged = step(entry, standing, gate, entry.decision.policy if entry.decision else None)
            assert judged.decision == entry.decision, entry.version
        assert entry.standing == standing, entry.key
        last = entry.key
    head = control.head
    assert (head.last_key, head.last_standing) == (last, standing)
    assert head.desired == (standing.champion.version if standing.champion else None)


@settings(max_examples=150, deadline=None)
@given(st.lists(HAPPENING, min_size=3, max_size=16))
def test_the_stored_fold_is_the_fold_from_scratch(happenings: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        control.policy(FAST)
        for what, version in happenings:
            happen(control, what, version)
            assert_fold_agrees(control)
        control.settle()
        assert_fold_agrees(control)
        if control.head.desired is not None:
            assert control.traffic == {control.head.desired: 100}
