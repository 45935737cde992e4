"""The gcp backend when processes die, and when Vertex AI fails, forgets or is late."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import httpx
import pytest

from tests.e2e.eventarc import binary
from tests.e2e.function_process import FunctionInstance, until
from tests.e2e.gcp_cloud import BUCKET, QUICK, STEPS, GcpCloud, cloud
from tests.servers.vertex import Fault, Plan

pytestmark = pytest.mark.emulator("firestore")


# --- a process dies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "effect_happened"),
    [
        ("models.upload", True),
        ("endpoints.deployModel", False),
        ("endpoints.deployModel", True),
        ("endpoints.patch", True),
        ("endpoints.undeployModel", True),
    ],
)
def test_killed_while_vertex_is_asked(cloud: GcpCloud, call: str, effect_happened: bool) -> None:
    model = f"flights-killed-at-{call.partition('.')[2].lower()}-{'after' if effect_happened else 'before'}"
    _v1_is_live(cloud, model)
    cloud.eventarc.hold()
    cloud.drop(model, "v2")
    cloud.vertex.hanging.clear()
    cloud.vertex.inject(call, Fault("hang", after_effect=effect_happened))
    with _redelivering(cloud, cloud.uploaders[0], f"models/{model}/v2/metadata.json"):
        until(cloud.vertex.hanging.is_set, f"{call} hangs")
        cloud.uploaders[0].kill()
    cloud.uploaders[0].start()
    cloud.settle(model)  # by ticks alone
    _assert_v2_took_over(cloud, model)
    cloud.uploaders[0].await_ready()
    cloud.eventarc.release()
    cloud.settle(model)
    _assert_v2_took_over(cloud, model)


@pytest.mark.parametrize("write", ["verified metadata", "deployment_info.json", "model_comparison.json"])
def test_killed_while_it_writes_to_the_bucket(cloud: GcpCloud, write: str) -> None:
    model = f"flights-killed-at-{write.partition('_')[0].partition(' ')[0]}"
    _v1_is_live(cloud, model)
    cloud.eventarc.hold()
    cloud.drop(model, "v2")
    before = ["verified metadata", "deployment_info.json", "model_comparison.json"].index(write)
    killed = threading.Event()

    def kill() -> None:
        cloud.uploaders[0].kill()
        killed.set()

    cloud.storage.before_next("upload", lambda: None, times=before)
    cloud.storage.before_next("upload", kill)
    with _redelivering(cloud, cloud.uploaders[0], f"models/{model}/v2/metadata.json"):
        until(killed.is_set, f"{write} is being written")
    registered = "v2" in cloud.statuses(model)
    assert registered == (write != "verified metadata")
    cloud.uploaders[0].start()
    cloud.uploaders[0].await_ready()
    cloud.eventarc.release()
    cloud.settle(model)
    _assert_v2_took_over(cloud, model)


def _v1_is_live(cloud: GcpCloud, model: str, policy: str = QUICK) -> None:
    cloud.policy(model, policy)
    cloud.drop(model, "v1")
    cloud.settle(model)
    assert cloud.behind_endpoint(model) == {"v1": 100}


@contextmanager
def _redelivering(cloud: GcpCloud, instance: FunctionInstance, name: str) -> Iterator[None]:
    """One event goes to one instance again and again, until that is gone."""
    gone = threading.Event()

    def deliver() -> None:
        try:
            while not gone.is_set():
                cloud.eventarc.call(instance.url, binary(BUCKET, name, 1))
        except httpx.TransportError:
            gone.set()

    thread = threading.Thread(target=deliver)
    thread.start()
    try:
        yield
        until(gone.is_set, "the caller notices that the instance is gone")
    finally:
        gone.set()
        thread.join()


def _assert_v2_took_over(cloud: GcpCloud, model: str) -> None:
    """As if nothing had happened: nothing done twice, nothing left behind."""
    assert cloud.statuses(model) == {"v1": "superseded", "v2": "live"}
    assert cloud.splits(model) == [*STEPS]
    assert cloud.behind_endpoint(model) == {"v2": 100}
    assert cloud.uploads(model) == ["v1", "v2"]
    assert cloud.deployments(model) == ["v1", "v2"]
    assert [_status(cloud, model, version) for version in ("v1", "v2")] == ["superseded", "live"]


def _status(cloud: GcpCloud, model: str, version: str) -> object:
    """What ``deployment_info.json`` says."""
    record = cloud.record(model, version, "deployment_info.json")
    return record and record["status"]


# --- Vertex AI has a bad day -----------------------------------------------------------------------------------


def test_whatever_vertex_answers_on_the_way_the_rollout_goes_on(cloud: GcpCloud) -> None:
    model = "flights-bad-day"
    met = _script(
        cloud,
        {
            "endpoints.create": [Fault("status", "UNAVAILABLE"), Fault("drop", after_effect=True)],
            "endpoints.get": [Fault("drop"), Fault("status", "RESOURCE_EXHAUSTED")],
            "models.get": [Fault("status", "UNAVAILABLE"), Fault("gateway")],
            "operations.get": [Fault("status", "INTERNAL"), Fault("drop")],
        },
    )
    cloud.policy(model)
    cloud.drop(model, "v1")
    cloud.settle(model)
    met_again = _script(
        cloud,
        {
            "models.upload": [Fault("status", "RESOURCE_EXHAUSTED"), Fault("drop"), Fault("drop", after_effect=True)],
            "endpoints.deployModel": [Fault("status", "UNAVAILABLE"), Fault("garble", after_effect=True)],
            "endpoints.patch": [Fault("status", "ABORTED"), Fault("drop", after_effect=True)],
            "endpoints.undeployModel": [Fault("status", "UNAVAILABLE"), Fault("drop", after_effect=True)],
        },
    )
    cloud.drop(model, "v2")
    cloud.settle(model)
    assert met == dict.fromkeys(met, 0)
    assert met_again == dict.fromkeys(met_again, 0)
    _assert_v2_took_over(cloud, model)


def _script(cloud: GcpCloud, faults: Mapping[str, Sequence[Fault]]) -> dict[str, int]:
    """Let the next calls go wrong; tells how many of the faults of each call are still to come."""
    left = {call: len(kinds) for call, kinds in faults.items()}

    def met(call: str) -> None:
        left[call] -= 1

    for call, kinds in faults.items():
        cloud.vertex.inject(call, *kinds)
        for _ in kinds:
            cloud.vertex.before(call, partial(met, call))
    return left


def test_operations_that_vertex_forgets_are_asked_for_again_where_nothing_came_of_them(cloud: GcpCloud) -> None:
    model = "flights-forgotten"
    _v1_is_live(cloud, model)
    cloud.vertex.plan("models.upload", Plan(vanishes=True))
    cloud.vertex.plan("endpoints.deployModel", Plan(vanishes=True, effect=False), Plan(vanishes=True))
    cloud.drop(model, "v2")
    cloud.settle(model)
    assert cloud.statuses(model) == {"v1": "superseded", "v2": "live"}
    assert cloud.splits(model) == [*STEPS]
    assert cloud.behind_endpoint(model) == {"v2": 100}
    assert cloud.uploads(model) == ["v1", "v2"]
    assert cloud.deployments(model) == ["v1", "v2", "v2"]


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        ("models.upload", Plan(error=(13, "The image cannot be pulled."))),
        ("endpoints.deployModel", Plan(error=(9, "Model server never became ready."))),
        ("endpoints.deployModel", Fault("status", "INVALID_ARGUMENT", "No such machine.")),
    ],
)
def test_a_version_that_cannot_be_deployed_fails_alone(cloud: GcpCloud, call: str, trouble: Plan | Fault) -> None:
    reason = trouble.error[1] if isinstance(trouble, Plan) and trouble.error else trouble.message
    model, other = (f"{name}-{call.partition('.')[2].lower()}-{len(reason)}" for name in ("flights", "others"))
    _v1_is_live(cloud, model)
    cloud.eventarc.hold()
    cloud.drop(model, "v2")
    if isinstance(trouble, Plan):
        cloud.vertex.plan(call, trouble)
    else:
        cloud.vertex.inject(call, trouble)
    # One at a time: of two that ask at once, the other one might not be refused, and v2 would rightly go live.
    cloud.eventarc.call(cloud.uploaders[0].url, binary(BUCKET, f"models/{model}/v2/metadata.json", 1))
    cloud.settle(model)
    assert cloud.statuses(model) == {"v1": "live", "v2": "failed"}
    cloud.eventarc.release()
    cloud.policy(other)
    cloud.drop(other, "v1")
    cloud.drop(model, "v3")  # worse than v2, but v2 is no yardstick any more; worse than v1, too
    cloud.settle(model, other)

    assert cloud.statuses(model) == {"v1": "live", "v2": "failed", "v3": "rejected"}
    assert cloud.splits(model) == [{"v1": 100}]
    assert cloud.behind_endpoint(model) == {"v1": 100}
    assert cloud.behind_endpoint(other) == {"v1": 100}
    fallen = cloud.ask(f"/v1/models/{model}/versions/v2")["fallen"]
    assert reason in fallen
    assert (cloud.record(model, "v2", "deployment_info.json") or {})["fallen"] == fallen
    rejection = cloud.record(model, "v3", "rejection.json") or {}
    assert {compared["version"] for compared in rejection["compared_with"]} == {"v1"}

    cloud.drop(model, "v4", source="v2", created_at="2026-01-26T09:00:00Z")
    cloud.settle(model)
    assert cloud.statuses(model) == {"v1": "superseded", "v2": "failed", "v3": "rejected", "v4": "live"}
    assert cloud.behind_endpoint(model) == {"v4": 100}


# --- nothing is left behind ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["its deadline passes", "it is withdrawn"])
def test_a_deployment_that_lands_after_its_rollout_ended_is_taken_off_again(cloud: GcpCloud, cause: str) -> None:
    model = f"flights-until-{cause.replace(' ', '-')}"
    _v1_is_live(cloud, model)
    cloud.vertex.plan("endpoints.deployModel", Plan(polls=80))
    if cause == "its deadline passes":
        cloud.policy(
            model, "rollout: {bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0, deadline_seconds: 0.5}\n"
        )
    cloud.drop(model, "v2")
    cloud.await_delivery()
    until(lambda: cloud.tick() and cloud.deployments(model) == ["v1", "v2"], "v2 is being deployed")
    if cause == "it is withdrawn":
        cloud.put(f"models/{model}/v2/validation_report.json", b'{"passed": false}')
        cloud.await_delivery()
    until(lambda: cloud.tick() and cloud.statuses(model)["v2"] in ("failed", "rejected"), "v2 is out")
    assert cloud.behind_endpoint(model) == {"v1": 100}
    cloud.finish_operations(model)
    assert cloud.behind_endpoint(model) == {"v1": 100, "v2": 0}
    cloud.settle(model)
    assert cloud.behind_endpoint(model) == {"v1": 100}
