"""Hot swaps through the control plane: one deployment, and a pointer that says which version it answers with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.rollout import Cause, Kind, Phase
from modeldrop.domain.serving_pointer import ServingPointer, pointer_name, read_pointer
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.handlers.rollouts.roll_back import roll_back
from tests.handlers.control import FAST, MODEL, Control
from tests.servers.gemini import GeminiServer

HOT = "rollout: {strategy: hot_swap, bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n"
WARM = HOT.replace("keep_warm_seconds: 0", "keep_warm_seconds: 3600")
WATCHED = """\
rollout: {strategy: hot_swap, bake_seconds: 120, min_requests: 50, keep_warm_seconds: 3600, failure_limit: 1}
"""
LLM = {"runtime": "gemini", "selected_model": "gemini-2.5-flash"}


def controlled(folder: Path, policy: str) -> Control:
    control = Control(folder)
    set_policy(control, policy)
    return control


def set_policy(control: Control, policy: str) -> None:
    control.policy(policy)
    assert control.tell(f"policies/{MODEL}.yaml") == "in force"


def pointer(control: Control) -> ServingPointer:
    return read_pointer((control.data / "bucket" / pointer_name(MODEL)).read_bytes(), MODEL)


def machines(control: Control) -> dict[str, str]:
    """Deployments by what the machines take for their versions."""
    return {one.served.version: one.operation for one in control._wanted()}


def drop(control: Control, version: str, f1: float, **changes: object) -> None:
    """Declared now: what was declared before a command does not undo it."""
    control.clock.forward(1)
    control.drop(version, f1, 0, **{"created_at": control.clock.now.isoformat()} | changes)
    control.tell_version(version)


def go_live(control: Control, version: str, f1: float, **changes: object) -> None:
    drop(control, version, f1, **changes)
    control.settle_until_live(version)


def back(control: Control) -> None:
    reply = roll_back(control.services, MODEL, to=None, by="ada", why="it looks odd")
    assert reply.status == "accepted"


def test_one_deployment_for_all_versions(tmp_path: Path) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    before = machines(control)
    assert before.keys() == {CARRIER}
    assert (control.traffic, pointer(control).version) == ({"v1": 100}, "v1")
    for number in range(2, 5):
        go_live(control, f"v{number}", 0.7 + number / 100)
        assert (control.traffic, pointer(control).version) == ({f"v{number}": 100}, f"v{number}")
    control.settle()
    assert machines(control) == before
    assert (control.deployed, pointer(control).warm) == (["v4"], ())
    served = control.version("v4")
    assert pointer(control).digest == served.digest
    folder = control.data / "bucket" / pointer(control).folder
    assert json.loads((folder / "metadata.json").read_bytes())["version"] == "v4"


def test_back_is_one_write_and_nothing_is_deployed(tmp_path: Path) -> None:
    control = controlled(tmp_path, WARM)
    go_live(control, "v1", 0.7)
    go_live(control, "v2", 0.8)
    before = machines(control)
    assert (control.traffic, control.deployed) == ({"v2": 100}, ["v1", "v2"])
    back(control)
    assert (control.traffic, pointer(control).version) == ({"v1": 100}, "v1")
    control.settle()
    assert (control.version("v1").status, control.version("v2").status) == (Status.LIVE, Status.ROLLED_BACK)
    assert (machines(control), control.deployed) == (before, ["v1"])


def test_back_to_a_version_that_is_cold(tmp_path: Path) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    go_live(control, "v2", 0.8)
    control.settle()
    before = machines(control)
    assert control.deployed == ["v2"]
    back(control)
    control.settle()
    assert (control.traffic, control.deployed, machines(control)) == ({"v1": 100}, ["v1"], before)


def test_one_that_fails_while_it_is_watched_goes_back(tmp_path: Path) -> None:
    control = controlled(tmp_path, WATCHED)
    drop(control, "v1", 0.7)
    control.minutes(5, v1=(100, 0))
    drop(control, "v2", 0.8)
    control.minutes(1)
    assert control.traffic == {"v2": 100}
    before = machines(control)
    control.minutes(3, v2=(100, 90))
    assert (control.traffic, pointer(control).version) == ({"v1": 100}, "v1")
    assert control.version("v2").status is Status.ROLLED_BACK
    assert "requests failed" in control.rollout.reason
    assert machines(control) == before


def test_the_workers_of_the_one_deployment_are_those_of_the_version_it_answers_with(tmp_path: Path) -> None:
    control = controlled(tmp_path, WATCHED)
    drop(control, "v1", 0.7)
    control.minutes(5, v1=(100, 0))
    measured = control.rollout.measurements[-1]
    assert [signal.verdict for signal in measured.signals if signal.name == "containers"] == ["pass"]
    drop(control, "v2", 0.8)
    control.worker_dies(CARRIER)
    control.clock.forward(60)
    control.tick()
    control.clock.forward(60)
    control.tick()
    assert "containers do not answer" in control.rollout.measurements[-1].why


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def test_one_that_does_not_pass_its_self_check_never_takes_over(tmp_path: Path, gemini: GeminiServer) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    before = (tmp_path / "bucket" / pointer_name(MODEL)).read_bytes()
    drop(control, "v2", 0.8, **LLM | {"selected_model": "gemini-9.9-flash"})
    control.settle()
    assert control.rollout.phase is Phase.FAILED
    assert "v2 does not pass its self-check" in control.rollout.reason
    assert control.version("v2").status is Status.FAILED
    assert (control.traffic, control.version("v1").status) == ({"v1": 100}, Status.LIVE)
    assert (tmp_path / "bucket" / pointer_name(MODEL)).read_bytes() == before
    assert gemini.asked[-1].call == "countTokens"


def test_one_that_passes_takes_over_whatever_ran_before(tmp_path: Path, gemini: GeminiServer) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    before = machines(control)
    go_live(control, "v2", 0.8, **LLM)
    control.settle()
    assert (control.traffic, machines(control)) == ({"v2": 100}, before)
    assert [asked.call for asked in gemini.asked] == ["countTokens"]


def test_a_check_that_could_not_be_made_is_made_again(
    tmp_path: Path, gemini: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    monkeypatch.delenv("GOOGLE_API_KEY")
    drop(control, "v2", 0.8, **LLM)
    control.tick()
    assert "v2 cannot be checked here" in control.rollout.trouble
    assert (control.rollout.phase, control.traffic) == (Phase.DEPLOYING, {"v1": 100})
    monkeypatch.setenv("GOOGLE_API_KEY", gemini.environment["GOOGLE_API_KEY"])
    control.settle()
    assert control.traffic == {"v2": 100}


def test_what_is_more_than_metadata_is_refused_with_the_reason(tmp_path: Path) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    control.put(f"models/{MODEL}/v2/model.onnx", b"weights")
    drop(control, "v2", 0.8, runtime="onnx")
    control.settle()
    assert (control.version("v2").status, control.traffic) == (Status.FAILED, {"v1": 100})
    assert "only versions that are metadata alone (gemini, scorecard)" in control.rollout.reason
    assert "this one is onnx" in control.rollout.reason


def test_a_model_that_comes_to_hot_swaps_and_leaves_them(tmp_path: Path) -> None:
    control = controlled(tmp_path, FAST)
    go_live(control, "v1", 0.70)
    control.settle()
    assert machines(control).keys() == {"v1"}
    set_policy(control, HOT)
    go_live(control, "v2", 0.72)
    control.settle()
    assert (machines(control).keys(), control.traffic, control.deployed) == ({CARRIER}, {"v2": 100}, ["v2"])
    carrier = machines(control)
    go_live(control, "v3", 0.74)
    control.settle()
    assert (machines(control), control.traffic) == (carrier, {"v3": 100})
    set_policy(control, FAST)
    go_live(control, "v4", 0.76)
    control.settle()
    assert (machines(control).keys(), control.traffic, control.deployed) == ({"v4"}, {"v4": 100}, ["v4"])
    set_policy(control, HOT)
    go_live(control, "v5", 0.78)
    control.settle()
    assert (machines(control).keys(), control.traffic, control.deployed) == ({CARRIER}, {"v5": 100}, ["v5"])
    assert pointer(control).known.keys() == {"v5"}


def test_back_across_the_change_of_strategy(tmp_path: Path) -> None:
    """v1 has a deployment of its own, v2 and v3 are carried; then v4 has one of its own, and a part of traffic."""
    control = controlled(tmp_path, WARM.replace("hot_swap", "canary"))
    go_live(control, "v1", 0.70)
    set_policy(control, WARM)
    go_live(control, "v2", 0.72)
    assert (machines(control).keys(), control.deployed) == ({"v1", CARRIER}, ["v1", "v2"])
    back(control)
    assert control.traffic == {"v1": 100}
    control.settle()
    assert machines(control).keys() == {"v1"}
    go_live(control, "v3", 0.74)
    assert (control.traffic, pointer(control).version) == ({"v3": 100}, "v3")
    set_policy(control, "rollout: {steps: [10, 100], bake_seconds: 600, min_requests: 0, keep_warm_seconds: 3600}\n")
    control.clock.forward(1)
    drop(control, "v4", 0.76)
    control.minutes(2)
    assert control.traffic == {"v3": 90, "v4": 10}
    back(control)
    assert (control.traffic, pointer(control).version) == ({"v3": 100}, "v3")


def test_a_newer_version_takes_over_while_the_one_before_is_on_its_way(tmp_path: Path) -> None:
    """Nothing serves yet, and the carrier is just being deployed: it comes up with the newer one."""
    control = controlled(tmp_path, HOT)
    drop(control, "v1", 0.7)
    before = machines(control)
    assert before.keys() == {CARRIER}
    drop(control, "v2", 0.8)
    assert pointer(control).version == "v2"
    control.settle()
    assert (machines(control), control.traffic, control.deployed) == (before, {"v2": 100}, ["v2"])


def test_a_pause_in_the_middle_of_a_swap(tmp_path: Path) -> None:
    control = controlled(tmp_path, WATCHED)
    drop(control, "v1", 0.7)
    control.minutes(5, v1=(100, 0))
    drop(control, "v2", 0.8)
    pause_model(control.services, MODEL, by="ada")
    control.minutes(10, v2=(100, 0))
    assert control.version("v2").status is Status.PAUSED
    resume_model(control.services, MODEL, by="ada")
    control.minutes(5, v2=(100, 0))
    assert control.version("v2").status is Status.LIVE


@pytest.mark.parametrize("said", [b"not a pointer", None, b"x" * 100_000], ids=["garbage", "gone", "too large"])
def test_a_pointer_somebody_else_has_spoiled_is_told_and_mended(tmp_path: Path, said: bytes | None) -> None:
    control = controlled(tmp_path, WARM)
    go_live(control, "v1", 0.7)
    go_live(control, "v2", 0.8)
    control.settle()
    path = control.data / "bucket" / pointer_name(MODEL)
    if said is None:
        path.unlink()
    else:
        path.write_bytes(said)
    control.minutes(2)
    assert control.head.paused is not None
    assert "v2 is not deployed any more" in control.head.paused.why
    resume_model(control.services, MODEL, by="ada")
    control.settle()
    assert (control.traffic, pointer(control).version) == ({"v2": 100}, "v2")
    assert control.rollout.kind is Kind.REPAIR


def test_a_pointer_somebody_else_has_moved_is_told_and_put_back(tmp_path: Path) -> None:
    control = controlled(tmp_path, WARM.replace("}", ", out_of_band: repair}"))
    go_live(control, "v1", 0.7)
    go_live(control, "v2", 0.8)
    path = control.data / "bucket" / pointer_name(MODEL)
    moved = json.loads(path.read_bytes())
    moved |= moved["warm"][0] | {"warm": []}
    path.write_bytes(json.dumps(moved).encode())
    assert control.traffic == {"v1": 100}
    control.minutes(2)
    assert (control.traffic, pointer(control).version) == ({"v2": 100}, "v2")


def test_a_carrier_somebody_took_away_is_deployed_once_more(tmp_path: Path) -> None:
    control = controlled(tmp_path, WARM.replace("}", ", out_of_band: repair}"))
    go_live(control, "v1", 0.7)
    control.lose(CARRIER)
    assert control.deployed == []
    control.minutes(3)
    assert (control.traffic, machines(control).keys()) == ({"v1": 100}, {CARRIER})


def test_going_back_is_held_where_nothing_answers(tmp_path: Path) -> None:
    """The first version, and the deployment fails: there is nothing to go back to."""
    control = controlled(tmp_path, HOT)
    drop(control, "v1", 0.7)
    control.fail_deployments("no quota")
    control.minutes(1)
    assert (control.version("v1").status, control.traffic) == (Status.FAILED, {})
    assert "no quota" in control.rollout.reason
    assert control.rollout.held is None or control.rollout.held.cause is Cause.NOTHING_HEALTHY


def test_back_to_what_cannot_be_swapped_deploys_it_by_itself(tmp_path: Path) -> None:
    control = controlled(tmp_path, FAST)
    control.put(f"models/{MODEL}/v1/model.onnx", b"weights")
    go_live(control, "v1", 0.7, runtime="onnx")
    set_policy(control, HOT)
    go_live(control, "v2", 0.8)
    control.settle()
    assert machines(control).keys() == {CARRIER}
    back(control)
    control.settle()
    assert (machines(control).keys(), control.traffic) == ({"v1"}, {"v1": 100})


def test_a_carrier_nobody_needs_goes_although_its_pointer_is_gone(tmp_path: Path) -> None:
    control = controlled(tmp_path, HOT)
    go_live(control, "v1", 0.7)
    set_policy(control, WARM.replace("hot_swap", "all_at_once"))
    go_live(control, "v2", 0.8)
    (tmp_path / "bucket" / pointer_name(MODEL)).unlink()
    assert control.deployed == ["v2", CARRIER]
    control.minutes(3)
    assert (machines(control).keys(), control.traffic) == ({"v2"}, {"v2": 100})
    assert control.head.paused is None
