"""What somebody else changes behind the endpoint: noticed, told once, never fought in silence."""

from pathlib import Path

import pytest

from modeldrop.domain.rollout import Kind
from modeldrop.domain.versions import Status
from modeldrop.errors import Conflict
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.handlers.rollouts.roll_back import roll_back
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted

POLICY = "rollout: {steps: [10, 100], bake_seconds: 60, keep_warm_seconds: 3600, min_requests: 10}\n"
REPAIR = POLICY.replace("min_requests", "out_of_band: repair, min_requests")
GOOD, BAD = (1000, 0), (100, 50)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """v2 is live, and v1 warm."""
    return settled(Control(tmp_path), POLICY)


def settled(control: Control, policy: str) -> Control:
    control.policy(policy)
    control.make_live("v1", 0.7, day=1)
    control.drop("v2", 0.8, day=2)
    control.tell_version("v2")
    control.minutes(4, v1=GOOD, v2=(100, 0))
    assert control.version("v2").status is Status.LIVE
    return control


def begin_canary(control: Control) -> None:
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    control.serve()
    control.tick()
    assert control.traffic == {"v2": 90, "v3": 10}


def resume(control: Control) -> str:
    return resume_model(control.services, MODEL, by="ada").status


def troubles(control: Control) -> list[tuple[str, str]]:
    return [(news.version, news.what) for news in control.news if news.kind == "unhealthy"]


def test_traffic_edited_while_settled_is_told_once_and_put_back_when_it_is_resumed(control: Control) -> None:
    control.edit_traffic(v1=40, v2=60)
    control.minutes(5, v1=GOOD, v2=GOOD)
    assert control.head.paused is not None
    assert (control.head.paused.out_of_band, control.head.paused.by) == (True, "modeldrop")
    assert control.traffic == {"v1": 40, "v2": 60}
    assert troubles(control) == [("v2", "paused")]
    assert resume(control) == "accepted"
    assert control.traffic == {"v2": 100}
    assert control.rollout.kind is Kind.REPAIR
    assert control.version("v2").status is Status.LIVE
    assert troubles(control) == [("v2", "paused"), ("v2", "put back")]
    control.minutes(3, v2=GOOD)
    assert control.head.paused is None
    assert control.head.production is not None
    assert control.head.previous is not None
    assert (control.head.production.version, control.head.previous.version) == ("v2", "v1")


def test_all_traffic_moved_away_is_two_facts_each_told_once(control: Control) -> None:
    control.edit_traffic(v1=100)
    control.minutes(5, v1=GOOD)
    assert sorted(troubles(control)) == [("v2", "paused"), ("v2", "unhealthy")]
    assert control.services.registry.health(MODEL).value.why == "it has no traffic"


def test_a_policy_that_repairs_puts_it_back_by_itself(tmp_path: Path) -> None:
    control = settled(Control(tmp_path), REPAIR)
    control.edit_traffic(v1=40, v2=60)
    control.minutes(2, v1=GOOD, v2=GOOD)
    assert control.traffic == {"v2": 100}
    assert control.head.paused is None
    assert troubles(control) == [("v2", "put back")]


@pytest.mark.parametrize("endpoint", [False, True])
def test_a_deployment_that_was_deleted_is_deployed_again_when_it_is_resumed(control: Control, endpoint: bool) -> None:
    control.lose("v1", "v2", endpoint=endpoint)
    control.minutes(4)
    assert control.head.paused is not None
    assert ("gone" if endpoint else "not deployed") in control.head.paused.why
    assert control.deployed == []
    assert control.services.registry.health(MODEL).value.status == "unhealthy"
    assert resume(control) == "accepted"
    control.minutes(3)
    assert control.traffic == {"v2": 100}
    assert control.version("v2").status is Status.LIVE
    assert control.services.registry.health(MODEL).value.status == "healthy"
    assert sorted(troubles(control)) == [
        ("v2", "healthy again"),
        ("v2", "paused"),
        ("v2", "put back"),
        ("v2", "unhealthy"),
    ]


@pytest.mark.parametrize("endpoint", [False, True])
def test_a_deployment_that_was_deleted_is_deployed_again_by_policy(tmp_path: Path, endpoint: bool) -> None:
    control = settled(Control(tmp_path), REPAIR)
    control.lose("v1", "v2", endpoint=endpoint)
    control.minutes(4)
    assert control.traffic == {"v2": 100}
    assert control.head.rollout is None


def test_traffic_edited_during_a_canary_pauses_it_and_is_put_back_when_it_is_resumed(control: Control) -> None:
    begin_canary(control)
    control.edit_traffic(v2=50, v3=50)
    control.minutes(5, v2=GOOD, v3=BAD)
    assert control.traffic == {"v2": 50, "v3": 50}, "not even a failing candidate is touched"
    assert troubles(control) == [("v3", "paused")]
    assert control.version("v3").status is Status.PAUSED
    resume(control)
    assert control.traffic == {"v2": 90, "v3": 10}
    control.minutes(4, v2=GOOD, v3=(100, 0))
    assert control.version("v3").status in {Status.LIVE, Status.ROLLED_BACK}


def test_traffic_edited_during_a_canary_is_put_back_by_policy(tmp_path: Path) -> None:
    control = settled(Control(tmp_path), REPAIR)
    begin_canary(control)
    control.edit_traffic(v2=50, v3=50)
    control.tick()
    assert control.traffic == {"v2": 90, "v3": 10}
    assert control.head.paused is None


def test_a_canary_whose_deployment_is_deleted_falls_and_production_goes_on(control: Control) -> None:
    begin_canary(control)
    control.edit_traffic(v2=100)
    control.lose("v3")
    control.minutes(3, v2=GOOD)
    assert control.traffic == {"v2": 100}
    assert control.version("v3").status is Status.ROLLED_BACK
    assert control.head.paused is None


def test_the_stable_version_deleted_during_a_canary_does_not_blame_the_canary(control: Control) -> None:
    begin_canary(control)
    control.edit_traffic(v3=100)
    control.lose("v1", "v2")
    control.minutes(2, v3=GOOD)
    assert control.head.paused is not None
    resume(control)
    control.minutes(3, v3=GOOD)
    assert control.version("v3").fallen is None
    assert control.traffic == {"v3": 100}
    holds = [entry for _, entry in control.services.registry.history(MODEL) if entry.what == "halted"]
    assert len(holds) <= 1, "told once, not at every pass"


def test_the_endpoint_deleted_and_a_newer_version_dropped_meanwhile(control: Control) -> None:
    """There is nobody left to compare with or to take from: the newer one takes over at once."""
    control.lose("v1", "v2", endpoint=True)
    control.minutes(1)
    assert control.head.paused is not None
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    control.minutes(1)
    resume(control)
    control.minutes(4)
    assert control.version("v3").fallen is None
    assert control.traffic == {"v3": 100}


def test_a_repair_that_a_newer_version_interrupts_leaves_production_in_production(tmp_path: Path) -> None:
    control = settled(Control(tmp_path), REPAIR)
    control.lose("v1", "v2")
    control.tick()
    assert control.rollout.kind is Kind.REPAIR
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert control.head.production is not None
    assert control.head.production.version == "v2"
    assert control.version("v2").status is Status.LIVE
    control.minutes(4)
    assert control.traffic == {"v3": 100}


def test_a_rollback_sets_traffic_whoever_changed_it(control: Control) -> None:
    control.edit_traffic(v1=40, v2=60)
    control.tick()
    assert control.head.paused is not None
    assert roll_back(control.services, MODEL, to=None, by="ada").status == "accepted"
    assert control.traffic == {"v1": 100}
    assert control.head.paused is None


def test_a_repair_of_what_cannot_be_deployed_is_halted_once(tmp_path: Path) -> None:
    control = settled(Control(tmp_path), REPAIR)
    control.lose("v1", "v2")
    control.tick()  # notices it
    control.tick()  # begins to deploy it again
    control.fail_deployments("no quota")
    for _ in range(5):
        control.clock.forward(60)
        control.tick()
    assert [what for _, what in troubles(control)].count("halted") == 1
    assert resume(control) == "accepted"
    control.minutes(3)
    assert control.traffic == {"v2": 100}


def test_two_ticks_that_notice_it_at_once_tell_it_once(control: Control) -> None:
    """The slower one read the model before the faster one paused it."""
    control.edit_traffic(v1=40, v2=60)
    slow, server = counted(control, "model_server")
    observe = server.observe

    def observe_late(model: str) -> object:
        endpoint = observe(model)
        control.tick()
        return endpoint

    server.__dict__["observe"] = observe_late
    from modeldrop.handlers.rollouts.check_health import check_health

    with pytest.raises(Conflict):
        check_health(slow, MODEL)
    assert troubles(control) == [("v2", "paused")]


def test_a_candidate_that_is_left_alone_takes_all_traffic_when_it_is_resumed(control: Control) -> None:
    begin_canary(control)
    control.lose("v1", "v2")
    control.minutes(2, v3=GOOD)
    assert control.head.paused is not None
    assert control.traffic == {"v3": 10}
    assert resume(control) == "accepted"
    assert control.traffic == {"v3": 100}
    control.minutes(2, v3=GOOD)
    assert control.version("v3").status is Status.LIVE
