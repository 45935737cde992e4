"""Stories of one model: a state that is prepared, one stimulus (an upload told, a command, or time alone), its end.

Each policy is quick: two steps that bake for 40 s, measured at every tick, and a predecessor that stays warm for 60 s.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from modeldrop.domain.rollout import Phase
from modeldrop.domain.versions import Status
from modeldrop.handlers.rollouts.approve_version import approve_version
from modeldrop.handlers.rollouts.operators_word import Reply
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.handlers.rollouts.promote_version import promote_version
from modeldrop.handlers.rollouts.resume_model import resume_model
from modeldrop.handlers.rollouts.roll_back import roll_back
from modeldrop.wiring import Services
from tests.crash.play import Play
from tests.handlers.control import MODEL, metadata

POLICY = """\
gate: {approval: none}
rollout: {steps: [50, 100], bake_seconds: 40, min_requests: 100, failure_limit: 0, keep_warm_seconds: 60,
          out_of_band: pause}
health: {interval_seconds: 40, window_seconds: 60}
"""
REPAIR = POLICY.replace("out_of_band: pause", "out_of_band: repair")
APPROVAL = POLICY.replace("approval: none", "approval: manual")
HOT_SWAP = POLICY.replace("rollout: {steps: [50, 100],", "rollout: {strategy: hot_swap,")
WARM_FOR_LONG = POLICY.replace("keep_warm_seconds: 60", "keep_warm_seconds: 300")

Stimulus = Callable[[Play, Services], object]


@dataclass(frozen=True)
class Scenario:
    """A story. Without ``stimulus`` only ticks happen.

    ``sick`` and ``broken``: versions whose answers are errors, and whose deployments fail, from the stimulus on.
    """

    name: str
    prepare: Callable[[Play], None]
    stimulus: Stimulus | None = None
    policy: str = POLICY
    sick: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


def told(version: str) -> Stimulus:
    """The event of a package's metadata."""
    return lambda play, services: play.tell_version(version, services)


def command(give: Callable[[Services], Reply]) -> Stimulus:
    """An operator's command."""
    return lambda _, services: give(services)


def _policy_known(play: Play) -> None:
    assert play.tell(f"policies/{MODEL}.yaml") == "in force"


def _one_live(play: Play) -> None:
    _policy_known(play)
    _make_live(play, "v1", 0.7, 1)


def _make_live(play: Play, version: str, f1: float, day: int) -> None:
    play.drop(version, f1, day)
    play.tell_version(version)
    play.settle(play.services)
    assert play.traffic == {version: 100}


def _better_one_dropped(play: Play) -> None:
    _one_live(play)
    play.drop("v2", 0.8, 2)


def _canary(play: Play) -> None:
    """v2 has half of v1's traffic."""
    _better_one_dropped(play)
    play.tell_version("v2")
    play.step(play.services)
    assert play.traffic == {"v1": 50, "v2": 50}
    assert play.services.registry.rollouts(MODEL)[0].phase is Phase.BAKING


def _warm_predecessor(play: Play) -> None:
    """v2 is live, and v1 still deployed."""
    _better_one_dropped(play)
    play.tell_version("v2")
    while play.version("v2").status is not Status.LIVE:
        play.step(play.services)
    assert (play.traffic, play.deployed) == ({"v2": 100}, ["v1", "v2"])


def _cold_predecessor(play: Play) -> None:
    _one_live(play)
    _make_live(play, "v2", 0.8, 2)
    assert play.deployed == ["v2"]


def _first_to_be_swapped_in(play: Play) -> None:
    """v1 has a deployment of its own; from now on there is to be one for all."""
    play.policy(POLICY)
    _one_live(play)
    play.policy(HOT_SWAP)
    _policy_known(play)
    play.drop("v2", 0.8, 2)


def _newer_dropped_during_canary(play: Play) -> None:
    _canary(play)
    play.drop("v3", 0.9, 3)


def _paused_canary(play: Play) -> None:
    _canary(play)
    assert pause_model(play.services, MODEL, by="ada").status == "accepted"
    play.step(play.services)


def _paused_for_an_edit(play: Play) -> None:
    _warm_predecessor(play)
    _edit_traffic(play, {"v1": 50, "v2": 50})
    play.step(play.services)
    assert play.head.paused is not None


def _edit_traffic(play: Play, split: dict[str, int]) -> None:
    """Somebody else does."""
    endpoint = play.machines.observe(MODEL)
    assert endpoint is not None
    play.machines.set_traffic(MODEL, split, endpoint.etag)


def _edited(prepare: Callable[[Play], None], split: dict[str, int], play: Play) -> None:
    prepare(play)
    _edit_traffic(play, split)


def _live_deployment_gone(play: Play) -> None:
    """Somebody took the live version off the endpoint; the warm predecessor was given the traffic."""
    _warm_predecessor(play)
    _edit_traffic(play, {"v1": 100})
    assert play.machines.undeploy(MODEL, "v2") is not None


def _stable_version_down(play: Play) -> None:
    """During a canary the stable version's worker dies, and nothing starts it again."""
    _canary(play)
    play.take_down("v1")


def _older_dropped_late(play: Play) -> None:
    """v2 has been live for long when v1 arrives."""
    _policy_known(play)
    play.clock.forward(-7_200)
    _make_live(play, "v2", 0.8, 2)
    play.clock.forward(7_200)
    play.step(play.services)
    play.drop("v1", 0.9, 1)


def _worse_dropped(play: Play) -> None:
    _one_live(play)
    play.drop("v2", 0.6, 2)


def _mended(play: Play) -> None:
    """Its runtime is none; then the same name comes with one that is."""
    _policy_known(play)
    play.drop("v1", 0.7, 1, runtime="abacus")
    assert play.tell_version("v1") == "rejected"
    play.step(play.services)
    play.drop("v1", 0.7, 1)


def _other_content_dropped(play: Play) -> None:
    _one_live(play)
    play.drop("v1", 0.99, 1)


def _bad_name_dropped(play: Play) -> None:
    _one_live(play)
    play.put("models/Fraud_Model/v1/metadata.json", json.dumps(metadata("v1", 0.7, 1)).encode())


def _artifacts_dropped(play: Play) -> None:
    """The runtime needs a file beside the metadata; both are copied before anything is registered."""
    _one_live(play)
    play.drop("v2", 0.8, 2, runtime="onnx")
    play.put(f"models/{MODEL}/v2/model.onnx", b"weights" * 1_000)


def _artifacts_waited_for(play: Play) -> None:
    """The metadata came first; the file has come since, and nobody was told."""
    _one_live(play)
    play.drop("v2", 0.8, 2, runtime="onnx")
    assert play.tell_version("v2") == "received"
    play.put(f"models/{MODEL}/v2/model.onnx", b"weights" * 1_000)


def _worse_registered(play: Play) -> None:
    _worse_dropped(play)
    play.tell_version("v2")
    play.step(play.services)


def _first_dropped(play: Play) -> None:
    play.drop("v1", 0.7, 1)


def _awaiting_approval(play: Play) -> None:
    _policy_known(play)
    play.drop("v1", 0.7, 1)
    assert play.tell_version("v1") == "awaiting_approval"
    play.step(play.services)


_back = command(lambda services: roll_back(services, MODEL, to=None, by="ada", why="complaints"))
_pause = command(lambda services: pause_model(services, MODEL, by="ada"))
_resume = command(lambda services: resume_model(services, MODEL, by="ada"))
_promote = command(lambda services: promote_version(services, MODEL, "v2", force=True, by="ada"))
_approve = command(lambda services: approve_version(services, MODEL, "v1", by="ada"))
_HALF = {"v1": 50, "v2": 50}
_NINETY = {"v1": 90, "v2": 10}

SCENARIOS = (
    Scenario("first version", _first_dropped, told("v1")),
    Scenario("better version", _better_one_dropped, told("v2")),
    Scenario("candidate fails its analysis", _better_one_dropped, told("v2"), sick=frozenset({"v2"})),
    Scenario("deployment fails", _better_one_dropped, told("v2"), broken=frozenset({"v2"})),
    Scenario("newer version supersedes a canary", _newer_dropped_during_canary, told("v3")),
    Scenario("rollback to a warm version", _warm_predecessor, _back, WARM_FOR_LONG),
    Scenario("rollback to a cold version", _cold_predecessor, _back),
    Scenario("rollback of a canary", _canary, _back),
    Scenario("pause", _canary, _pause),
    Scenario("resume", _paused_canary, _resume),
    Scenario("resume after an edit", _paused_for_an_edit, _resume, WARM_FOR_LONG),
    Scenario("promote by force", _worse_registered, _promote),
    Scenario("approve", _awaiting_approval, _approve, APPROVAL),
    Scenario("traffic of the live version edited", partial(_edited, _warm_predecessor, _HALF), policy=REPAIR),
    Scenario("traffic of a canary edited", partial(_edited, _canary, _NINETY), policy=REPAIR),
    Scenario("traffic edited, policy pause", partial(_edited, _warm_predecessor, _HALF), policy=WARM_FOR_LONG),
    Scenario("live deployment gone", _live_deployment_gone, policy=REPAIR),
    Scenario("fails on watch", _warm_predecessor, policy=WARM_FOR_LONG, sick=frozenset({"v2"})),
    Scenario("nothing healthy to go back to", _stable_version_down, sick=frozenset({"v2"})),
    Scenario("late upload", _older_dropped_late, told("v1")),
    Scenario("duplicate upload", _one_live, told("v1")),
    Scenario("rejected upload", _worse_dropped, told("v2")),
    Scenario("package mended", _mended, told("v1"), policy=APPROVAL),
    Scenario("other content refused", _other_content_dropped, told("v1")),
    Scenario("name refused", _bad_name_dropped, lambda play, s: play.tell("models/Fraud_Model/v1/metadata.json", s)),
    Scenario("package with artifacts", _artifacts_dropped, told("v2")),
    Scenario("artifacts waited for", _artifacts_waited_for),
    Scenario("hot swap", _better_one_dropped, told("v2"), HOT_SWAP),
    Scenario("hot swap that fails its analysis", _better_one_dropped, told("v2"), HOT_SWAP, sick=frozenset({"v2"})),
    Scenario("first hot swap", _first_to_be_swapped_in, told("v2"), HOT_SWAP),
    Scenario("hot swap rolled back to a cold version", _cold_predecessor, _back, HOT_SWAP),
)
