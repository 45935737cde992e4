"""Random lives of a model that changes between hot swaps and deployments: what is desired serves in the end."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.serving_pointer import pointer_name
from tests.handlers.control import MODEL, Control
from tests.handlers.test_random_lives import FIELDS, VERSION, calm, happen, look

STRATEGIES = ("hot_swap", "canary", "blue_green")
HAPPENING = st.tuples(
    st.sampled_from(
        [
            "drop", "drop", "drop", "tick", "good", "good", "bad", "fail", "pause", "resume", "back", "back to",
            "promote", "edit", "vanish", "wait", "spoil", *STRATEGIES, "hot_swap",
        ]
    ),
    VERSION,
)  # fmt: skip


def set_strategy(control: Control, strategy: str, out_of_band: str) -> None:
    """From the next rollout on."""
    steps = "steps: [20, 100], " if strategy == "canary" else ""
    control.policy(f"rollout: {{strategy: {strategy}, {steps}out_of_band: {out_of_band}, {FIELDS}}}\n")
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"


def happen_here(control: Control, what: str, version: str, out_of_band: str) -> None:
    """What happens to any model, and what only to one whose versions share a deployment."""
    if what in STRATEGIES:
        set_strategy(control, what, out_of_band)
    elif what == "edit":
        if version in control.deployed:
            control.edit_traffic(**{version: 100})
    elif what == "vanish":
        control.lose(version, CARRIER)
    elif what == "spoil":
        (control.data / "bucket" / pointer_name(MODEL)).unlink(missing_ok=True)
    else:
        happen(control, what, version)


@pytest.mark.parametrize("out_of_band", ["pause", "repair"])
@settings(max_examples=30, deadline=None)
@given(happenings=st.lists(HAPPENING, min_size=3, max_size=14))
def test_in_the_end_what_is_desired_serves(out_of_band: str, happenings: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        control = Control(Path(folder))
        set_strategy(control, "hot_swap", out_of_band)
        assert control.traffic == {}
        lost = False
        for what, version in happenings:
            happen_here(control, what, version, out_of_band)
            lost = lost or what in {"vanish", "spoil"}
            control.serve()
            look(control, whole=not lost)
            control.clock.forward(30)
        calm(control)
        head = control.head
        assert (head.rollout, head.paused) == (None, None)
        if head.desired is not None:
            assert control.traffic == {head.desired: 100}
            assert head.production is not None
            assert head.production.version == head.desired
            assert control.version(head.desired).status == "live"
        kept = {serving.version for serving in (head.production, head.previous) if serving}
        assert set(control.deployed) - control.traffic.keys() <= kept, "what nobody needs is tidied up"
