"""Random lives of a model: whatever happens in whatever order, what is desired serves in the end."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.promote_version import promote_version
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.handlers.rollouts.roll_back import roll_back
from tests.handlers.control import MODEL, Control

FIELDS = "bake_seconds: 60, keep_warm_seconds: 120, deadline_seconds: 900, min_requests: 10"
POLICIES = {
    "pause": f"rollout: {{steps: [20, 100], {FIELDS}}}\n",
    "repair": f"rollout: {{strategy: blue_green, out_of_band: repair, {FIELDS}}}\n",
}
PACKAGES = {"a": (0.7, 1), "b": (0.8, 2), "c": (0.75, 3), "d": (0.9, 4)}
VERSION = st.sampled_from(sorted(PACKAGES))
HAPPENING = st.tuples(
    st.sampled_from(
        [
            "drop", "drop", "drop", "tick", "good", "good", "bad", "fail", "pause", "resume", "back", "back to",
            "promote", "approve", "edit", "vanish", "vanish all", "wait",
        ]
    ),
    VERSION,
)  # fmt: skip


def traffic_arrives(control: Control, error_share: float) -> None:
    for version in control.deployed:
        share = control.traffic.get(version, 0)
        control.answered(version, 10 * share, int(10 * share * error_share))


def edit(control: Control, version: str) -> None:
    """Somebody gives one version half of what the others have, or all."""
    if version in control.deployed:
        others = [other for other in control.deployed if other != version]
        control.edit_traffic(**({version: 50, others[0]: 50} if others else {version: 100}))


def happen(control: Control, what: str, version: str) -> None:
    """One thing that users, machines or operators do."""
    services = control.services
    if what == "drop":
        control.drop(version, *PACKAGES[version])
        control.tell_version(version)
    elif what in {"good", "bad"}:
        traffic_arrives(control, 0.0 if what == "good" else 0.6)
    elif what == "fail":
        control.fail_deployments("no quota")
    elif what == "pause":
        assert pause_model(services, MODEL, by="ada").reason
    elif what == "resume":
        assert resume_model(services, MODEL, by="ada").reason
    elif what in {"back", "back to"}:
        assert roll_back(services, MODEL, to=version if what == "back to" else None, by="ada").reason
    elif what == "promote":
        assert promote_version(services, MODEL, version, force=True, by="ada").reason
    elif what == "approve":
        assert approve_version(services, MODEL, version, by="ada").reason
    elif what == "edit":
        edit(control, version)
    elif what == "vanish":
        control.lose(version)
    elif what == "vanish all":
        control.lose(*PACKAGES, endpoint=True)
    elif what == "wait":
        control.clock.forward(300)


def look(control: Control, *, whole: bool) -> None:
    report = control.tick()
    assert report.errors == {}
    assert not whole or sum(control.traffic.values()) in {0, 100}


def calm(control: Control) -> None:
    """Good traffic, working machines, and an operator who lets things go on, or back where that does not help."""
    quiet = 0
    for turn in range(90):
        control.serve()
        traffic_arrives(control, 0.0)
        control.clock.forward(60)
        look(control, whole=False)
        halted = control.head.rollout is not None and control.rollout.held is not None
        if halted and turn % 2:
            roll_back(control.services, MODEL, to=None, by="ada")
        if control.head.paused or halted:
            resume_model(control.services, MODEL, by="ada")
        quiet = quiet + 1 if control.head.is_settled and control.head.paused is None else 0
        if quiet == 3:
            break
    look(control, whole=True)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@settings(max_examples=30, deadline=None)
@given(happenings=st.lists(HAPPENING, min_size=3, max_size=14))
def test_in_the_end_what_is_desired_serves(policy: str, happenings: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        control.policy(POLICIES[policy])
        assert control.traffic == {}
        lost = False
        for what, version in happenings:
            happen(control, what, version)
            lost = lost or what.startswith("vanish")
            control.serve()
            look(control, whole=not lost)
            control.clock.forward(30)
        calm(control)
        head = control.head
        assert head.rollout is None, control.rollout
        assert head.paused is None
        if head.desired is not None:
            assert control.traffic == {head.desired: 100}
            assert head.production is not None
            assert head.production.version == head.desired
            assert control.version(head.desired).status == "live"
        told = [slot.path for slot in control.services.registry.outbox(limit=200)]
        assert len(told) < 8 * (len(happenings) + 4), "news are changes, not noise"
