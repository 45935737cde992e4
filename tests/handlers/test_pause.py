"""Pausing and resuming at every point: nothing goes forward, nothing is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from modeldrop.domain.rollout import Phase
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.promote_version import promote_version
from modeldrop.handlers.rollouts.resume_model import resume_model
from tests.handlers.control import MODEL, Control

POLICY = "rollout: {steps: [10, 100], bake_seconds: 60, keep_warm_seconds: 600, min_requests: 10}\n"
GOOD, BAD = (1000, 0), (100, 50)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """v1 is live."""
    control = Control(tmp_path)
    control.policy(POLICY)
    control.make_live("v1", 0.7, day=1)
    return control


def pause(control: Control) -> str:
    return pause_model(control.services, MODEL, by="ada").status


def resume(control: Control) -> str:
    return resume_model(control.services, MODEL, by="ada").status


def deploying(control: Control) -> None:
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")


def canary(control: Control) -> None:
    deploying(control)
    control.serve()
    control.tick()


def last_step(control: Control) -> None:
    canary(control)
    control.minutes(1, v1=GOOD, v2=(100, 0))


@pytest.mark.parametrize(
    ("reach", "phase", "traffic"),
    [
        (deploying, Phase.DEPLOYING, {"v1": 100}),
        (canary, Phase.BAKING, {"v1": 90, "v2": 10}),
        (last_step, Phase.BAKING, {"v2": 100}),
    ],
)
def test_nothing_goes_forward_until_it_is_resumed(
    control: Control, reach: Callable[[Control], None], phase: Phase, traffic: dict[str, int]
) -> None:
    reach(control)
    assert (control.rollout.phase, control.traffic) == (phase, traffic)
    assert pause(control) == "accepted"
    assert control.version("v2").status is Status.PAUSED
    control.minutes(200, v1=GOOD, v2=(100, 0))
    assert (control.rollout.phase, control.traffic) == (phase, traffic), "no deadline runs while it is paused"
    assert resume(control) == "accepted"
    assert control.version("v2").status in {Status.CANARY, Status.DEPLOYING}
    control.serve()
    control.tick()
    assert control.rollout.phase is Phase.BAKING, "its step begins anew"
    control.minutes(3, v1=GOOD, v2=(100, 0))
    assert control.traffic == {"v2": 100}
    assert control.version("v2").status is Status.LIVE


def test_given_twice_it_is_carried_out_once(control: Control) -> None:
    canary(control)
    assert pause(control) == "accepted"
    assert pause(control) == "accepted"
    assert resume(control) == "accepted"
    assert resume(control) == "refused"
    noted = [entry.what for _, entry in control.services.registry.history(MODEL)]
    assert (noted.count("paused"), noted.count("resumed")) == (1, 1)


def test_what_is_not_there_or_not_paused(control: Control) -> None:
    assert pause_model(control.services, "nobody", by="ada").status == "refused"
    assert resume_model(control.services, "nobody", by="ada").status == "refused"
    assert resume(control) == "refused"


def test_a_settled_model_that_is_paused_begins_nothing_new(control: Control) -> None:
    pause(control)
    deploying(control)
    control.minutes(3, v1=GOOD)
    assert control.head.rollout is None
    assert control.version("v2").status is Status.APPROVED
    resume(control)
    assert control.head.rollout is not None
    control.minutes(4, v1=GOOD, v2=(100, 0))
    assert control.traffic == {"v2": 100}


def test_a_canary_that_fails_while_paused_is_taken_back_and_the_pause_stays(control: Control) -> None:
    canary(control)
    pause(control)
    control.minutes(3, v1=GOOD, v2=BAD)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.ROLLED_BACK
    assert control.head.paused is not None
    assert control.deployed == ["v1", "v2"], "nothing is tidied up either"
    resume(control)
    control.minutes(2, v1=GOOD)
    assert control.deployed == ["v1"]


def test_a_newer_version_waits_until_it_is_resumed(control: Control) -> None:
    canary(control)
    pause(control)
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    control.minutes(2, v1=GOOD, v2=(100, 0))
    assert control.traffic == {"v1": 90, "v2": 10}
    assert "resumes it" in promote_version(control.services, MODEL, "v1", force=True, by="ada").reason
    resume(control)
    control.minutes(3, v1=GOOD)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.SUPERSEDED


def test_a_canary_that_is_superseded_gives_its_traffic_back_although_it_is_paused_meanwhile(control: Control) -> None:
    canary(control)
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    pause(control)
    control.minutes(2, v1=GOOD)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.SUPERSEDED


def test_traffic_edited_while_paused_pauses_again_and_only_the_second_resume_puts_it_back(control: Control) -> None:
    canary(control)
    pause(control)
    control.edit_traffic(v1=50, v2=50)
    control.minutes(2, v1=GOOD, v2=BAD)
    assert control.traffic == {"v1": 50, "v2": 50}, "not ours, and not touched"
    resume(control)
    assert control.head.paused is not None
    assert control.head.paused.out_of_band
    assert [news.what for news in control.news if news.version == "v2"] == ["paused"]
    resume(control)
    assert control.traffic == {"v1": 90, "v2": 10}
