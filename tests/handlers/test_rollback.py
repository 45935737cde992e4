"""Rolling back by hand: what falls, who takes over, how fast, and what is refused."""

import threading
from pathlib import Path

import pytest

from modeldrop.domain.rollout import Cause, Kind
from modeldrop.domain.versions import Status
from modeldrop.errors import Conflict
from modeldrop.handlers.rollouts.operators_word import Reply
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.promote_version import promote_version
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.handlers.rollouts.roll_back import roll_back
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted

WARM = "rollout: {steps: [10, 100], bake_seconds: 60, keep_warm_seconds: 3600, min_requests: 0}\n"
COLD = WARM.replace("3600", "0")


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """v1 has served before v2, which is live; v1 is still warm."""
    control = Control(tmp_path)
    control.policy(WARM)
    for number in (1, 2):
        go_live(control, f"v{number}", 0.6 + number / 10, day=number)
    assert control.deployed == ["v1", "v2"]
    return control


def go_live(control: Control, version: str, f1: float, day: int) -> None:
    control.drop(version, f1, day)
    control.tell_version(version)
    control.minutes(3)
    assert control.version(version).status is Status.LIVE


def begin_canary(control: Control, version: str, f1: float) -> None:
    """Declared now: what was declared before a command does not undo it."""
    control.clock.forward(1)
    control.drop(version, f1, day=0, created_at=control.clock.now.isoformat())
    control.tell_version(version)
    control.serve()
    control.tick()
    assert control.traffic[version] == 10


def back(control: Control, to: str | None = None) -> Reply:
    return roll_back(control.services, MODEL, to=to, by="ada", why="it looks odd")


def told(control: Control) -> list[tuple[str, str, str]]:
    return [(news.kind, news.version, news.what) for news in control.news if news.kind != "promoted"]


def test_with_a_warm_predecessor_it_is_one_update_of_traffic(control: Control) -> None:
    services, server = counted(control, "model_server")
    reply = roll_back(services, MODEL, to=None, by="ada")
    assert reply.status == "accepted"
    assert control.traffic == {"v1": 100}, "in the one call"
    assert server.calls["set_traffic"] == 1
    assert (server.calls["deploy"], server.calls["upload"]) == (0, 0)
    assert control.head.production is not None
    assert control.head.production.version == "v1"
    assert (control.rollout.kind, control.rollout.version) == (Kind.ROLLBACK, "v1")
    assert control.version("v1").status is Status.LIVE
    fallen = control.version("v2")
    assert (fallen.status, fallen.fallen) == (Status.ROLLED_BACK, "rolled back by ada")
    assert control.services.registry.ledger_entry(MODEL, fallen.digest) is not None
    control.minutes(2)
    assert control.deployed == ["v1"], "what fell is not kept warm"
    assert told(control) == [("rolled_back", "v2", "rolled back"), ("rolled_back", "v1", "live again")]
    served = control.services.registry.served_at(MODEL, control.clock.now)
    assert served is not None
    assert (served.version, served.by) == ("v1", "ada")


def test_with_a_cold_predecessor_it_is_deployed_first_and_the_fallen_one_answers_meanwhile(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(COLD)
    go_live(control, "v1", 0.7, day=1)
    go_live(control, "v2", 0.8, day=2)
    control.minutes(2)
    assert control.deployed == ["v2"]
    assert back(control).status == "accepted"
    assert control.traffic == {"v2": 100}
    assert "already" in back(control).reason
    assert back(control, to="v1").status == "accepted"
    control.minutes(2)
    assert control.traffic == {"v1": 100}
    control.minutes(2)
    assert control.deployed == ["v1"]


def test_during_a_canary_the_canary_falls_and_production_goes_on(control: Control) -> None:
    begin_canary(control, "v3", 0.9)
    rollouts = control.head.rollouts
    assert back(control).status == "accepted"
    assert control.traffic == {"v2": 100}
    assert control.version("v3").status is Status.ROLLED_BACK
    assert control.version("v2").status is Status.LIVE
    assert control.head.rollouts == rollouts, "nobody had to be rolled out for it"
    control.minutes(3)
    assert told(control) == [("rolled_back", "v3", "rolled back")], "told once"
    assert control.deployed == ["v1", "v2"]


def test_a_bare_rollback_given_twice_goes_back_once(control: Control) -> None:
    """Also where the version before could take over as well: whoever wants that says so."""
    begin_canary(control, "v3", 0.9)
    assert back(control).status == "accepted"
    again = back(control)
    assert (again.status, "v2 serves again already" in again.reason) == ("accepted", True)
    control.minutes(3)
    assert control.traffic == {"v2": 100}
    assert control.version("v2").fallen is None
    assert back(control, to="v1").status == "accepted"
    assert control.traffic == {"v1": 100}
    assert back(control, to="v1").reason == "v1 serves already"
    rolled_back = [entry for _, entry in control.services.registry.history(MODEL) if entry.what == "rolled back"]
    assert [entry.version for entry in rolled_back] == ["v2", "v3"]


def test_after_something_new_was_rolled_out_a_bare_rollback_means_that(control: Control) -> None:
    begin_canary(control, "v3", 0.9)
    back(control)
    begin_canary(control, "v4", 0.95)
    assert back(control).status == "accepted"
    assert control.version("v4").status is Status.ROLLED_BACK
    assert control.traffic == {"v2": 100}


def test_twice_at_once_from_many_instances(control: Control) -> None:
    gate = threading.Barrier(4)
    replies: list[Reply] = []

    def instance() -> None:
        services = control.another_instance()
        gate.wait()
        while True:
            try:
                replies.append(roll_back(services, MODEL, to=None, by="ada"))
                return
            except Conflict:
                continue

    threads = [threading.Thread(target=instance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {"accepted"}
    control.minutes(3)
    assert control.traffic == {"v1": 100}
    assert control.version("v1").fallen is None
    assert told(control) == [("rolled_back", "v2", "rolled back"), ("rolled_back", "v1", "live again")]


def test_to_an_explicit_earlier_version_while_a_canary_runs(control: Control) -> None:
    begin_canary(control, "v3", 0.9)
    assert back(control, to="v1").status == "accepted"
    assert control.traffic == {"v1": 100}
    assert control.version("v3").status is Status.ROLLED_BACK
    assert control.version("v2").status is Status.SUPERSEDED, "it did not fall: it was only left"
    control.minutes(2)
    assert control.traffic == {"v1": 100}


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("v3", "what would be rolled back"),
        ("v9", "no version v9"),
        ("worse", "never passed the gate"),
        ("fallen", "has fallen itself"),
        ("broken", "no valid package"),
    ],
)
def test_who_cannot_take_over(control: Control, to: str, why: str) -> None:
    control.drop("worse", 0.1, day=3)
    control.tell_version("worse")
    control.drop("broken", 0.1, day=3, runtime="abacus")
    control.tell_version("broken")
    begin_canary(control, "fallen", 0.85)
    back(control)
    begin_canary(control, "v3", 0.9)
    before = control.head
    reply = back(control, to=to)
    assert (reply.status, why in reply.reason) == ("refused", True), reply.reason
    assert control.head == before, "nothing was changed"


def test_where_there_is_nobody_to_go_back_to(tmp_path: Path) -> None:
    control = Control(tmp_path)
    assert back(control).reason == f"there is no model {MODEL}"
    control.policy(WARM)
    go_live(control, "v1", 0.7, day=1)
    reply = back(control)
    assert (reply.status, "no earlier version" in reply.reason) == ("refused", True)
    assert control.traffic == {"v1": 100}


def test_a_version_that_waits_for_approval_cannot_be_rolled_back_to(control: Control) -> None:
    control.policy(WARM + "gate: {approval: manual}\n")
    control.drop("v3", 0.9, day=3)
    assert control.tell_version("v3") == "awaiting_approval"
    assert back(control, to="v3").status == "refused"


def test_while_another_rollback_is_under_way(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(COLD)
    for number in (1, 2, 3):
        go_live(control, f"v{number}", 0.6 + number / 10, day=number)
    control.minutes(2)
    assert back(control, to="v1").status == "accepted"
    reply = back(control, to="v2")
    assert (reply.status, "promote v2 instead" in reply.reason) == ("refused", True)
    promote_version(control.services, MODEL, "v2", force=True, by="ada")
    control.minutes(6)
    assert control.traffic == {"v2": 100}


def test_a_pause_does_not_keep_a_rollback(control: Control) -> None:
    pause_model(control.services, MODEL, by="bob")
    assert back(control).status == "accepted"
    assert control.traffic == {"v1": 100}
    assert control.head.paused is None
    begin_canary(control, "v3", 0.9)
    pause_model(control.services, MODEL, by="bob")
    back(control)
    assert control.traffic == {"v1": 100}
    assert control.version("v3").status is Status.ROLLED_BACK


def test_what_was_declared_in_the_future_does_not_keep_a_rollback_nor_a_promotion(control: Control) -> None:
    """Clocks differ: a version may be declared up to a day ahead. Commands come after it all the same."""
    ahead = (control.clock.now.timestamp() + 20_000 - 1_767_225_600) / 86_400
    go_live(control, "v3", 0.9, day=ahead)  # type: ignore[arg-type]
    assert back(control).status == "accepted"
    assert control.traffic == {"v2": 100}
    assert promote_version(control.services, MODEL, "v1", force=True, by="ada").status == "accepted"
    control.minutes(4)
    assert control.traffic == {"v1": 100}
    assert promote_version(control.services, MODEL, "v3", force=True, by="ada").status == "accepted"
    control.minutes(4)
    assert control.traffic == {"v3": 100}
    assert promote_version(control.services, MODEL, "v2", force=True, by="ada").status == "accepted"
    control.minutes(4)
    assert control.traffic == {"v2": 100}


def test_a_better_version_declared_later_takes_over_after_a_rollback(control: Control) -> None:
    back(control)
    control.clock.forward(60)
    control.drop("v3", 0.9, day=0, created_at=control.clock.now.isoformat())
    assert control.tell_version("v3") == "approved"
    control.minutes(4)
    assert control.traffic == {"v3": 100}


def test_a_rollback_whose_target_cannot_be_deployed_is_halted_and_a_newer_version_takes_over(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(COLD)
    go_live(control, "v1", 0.7, day=1)
    go_live(control, "v2", 0.8, day=2)
    control.minutes(2)
    back(control)
    control.fail_deployments("no quota")
    for _ in range(3):
        control.tick()
        control.clock.forward(60)
    assert control.rollout.held is not None
    assert control.rollout.held.cause is Cause.NOTHING_HEALTHY
    assert control.traffic == {"v2": 100}, "what is there answers on"
    assert [what for _, _, what in told(control)] == ["rolled back", "halted"]
    control.drop("v3", 0.9, day=0, created_at=control.clock.now.isoformat())
    control.tell_version("v3")
    control.minutes(4)
    assert control.traffic == {"v3": 100}
    assert control.version("v3").status is Status.LIVE


def test_a_halted_rollback_is_tried_again_when_it_is_resumed(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(COLD)
    go_live(control, "v1", 0.7, day=1)
    go_live(control, "v2", 0.8, day=2)
    control.minutes(2)
    back(control)
    control.fail_deployments("no quota")
    control.tick()
    assert resume_model(control.services, MODEL, by="ada").status == "accepted"
    control.minutes(2)
    assert control.traffic == {"v1": 100}


def test_a_rollback_during_every_phase_of_a_first_deployment(control: Control) -> None:
    control.drop("v3", 0.9, day=3)
    control.tell_version("v3")
    assert control.rollout.phase == "deploying"
    assert back(control).status == "accepted"
    assert control.version("v3").status is Status.ROLLED_BACK
    assert control.traffic == {"v2": 100}
    control.minutes(3)
    assert control.deployed == ["v1", "v2"], "what comes up late is taken off again"


def test_who_saw_a_version_fail_cannot_roll_back_another_that_took_over_since(control: Control) -> None:
    """A zombie: it looked at v2, slept, and wakes up when v3 serves."""
    go_live(control, "v3", 0.9, day=3)
    reply = roll_back(control.services, MODEL, to="v1", by="modeldrop", falling="v2")
    assert reply.status == "refused"
    assert control.traffic == {"v3": 100}


def test_what_fell_and_was_brought_back_by_force_can_be_rolled_back_again(control: Control) -> None:
    assert back(control).status == "accepted"
    control.minutes(2)
    assert promote_version(control.services, MODEL, "v2", force=True, by="ada").status == "accepted"
    control.minutes(3)
    assert control.traffic == {"v2": 100}
    reply = back(control, to="v1")
    assert (reply.status, "already" in reply.reason) == ("accepted", False)
    control.minutes(2)
    assert control.traffic == {"v1": 100}
    assert control.version("v2").status is Status.ROLLED_BACK
