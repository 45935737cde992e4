"""The main job on the gcp backend, from outside: real functions over HTTP, real Google clients, crashes and all."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256

import httpx
import pytest

from tests.e2e.gcp_cloud import BUCKET, OURS, QUICK, WRAPPINGS, FunctionInstance, GcpCloud, binary, gcp_cloud, until
from tests.servers.vertex import Fault, Plan

pytestmark = pytest.mark.emulator("firestore")

STEPS = {"v1": 100}, {"v1": 95, "v2": 5}, {"v1": 80, "v2": 20}, {"v1": 50, "v2": 50}, {"v2": 100}


@pytest.fixture(scope="module")
def cloud(firestore_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcpCloud]:
    """One cloud for all tests; each has models of its own."""
    with gcp_cloud(firestore_host, tmp_path_factory.mktemp("functions")) as running:
        yield running


# --- the main job ----------------------------------------------------------------------------------------------


def test_a_better_version_takes_over_step_by_step_and_a_worse_one_is_rejected(cloud: GcpCloud) -> None:
    cloud.policy("flights")
    for version in ("v1", "v2", "v3"):
        cloud.drop("flights", version)
        cloud.settle("flights")

    assert cloud.statuses("flights") == {"v1": "superseded", "v2": "live", "v3": "rejected"}
    assert cloud.splits("flights") == [*STEPS]
    assert cloud.behind_endpoint("flights") == {"v2": 100}
    assert cloud.uploads("flights") == ["v1", "v2"]
    assert cloud.deployments("flights") == ["v1", "v2"]

    model = cloud.ask("/v1/models/flights")
    assert model["endpoint"] == {"traffic": {"v2": 100}}
    assert model["aliases"] == {"production": "v2", "previous": "v1", "latest": "v3"}
    rollouts = cloud.ask("/v1/models/flights/rollouts")["rollouts"]
    assert {(r["version"], r["phase"], r["stable"]) for r in rollouts} == {("v1", "live", None), ("v2", "live", "v1")}
    _assert_records_tell_the_same(cloud, "flights")


def _assert_records_tell_the_same(cloud: GcpCloud, model: str) -> None:
    """What lies beside the metadata is what the API says."""
    rejection = cloud.record(model, "v3", "rejection.json")
    assert rejection is not None
    assert (rejection["verdict"], rejection["rule"]) == ("rejected", "no_improvement")
    assert "0.8245 of v2" in rejection["reasons"][0]
    for version, status in cloud.statuses(model).items():
        said = cloud.ask(f"/v1/models/{model}/versions/{version}/explain")
        records = {name: cloud.record(model, version, name) for name in OURS}
        there = {name: record for name, record in records.items() if record}
        expected = {"rejection.json"} if status == "rejected" else {"deployment_info.json", "model_comparison.json"}
        assert there.keys() == expected
        for record in there.values():
            assert record["status"] == status
            assert {name: record[name] for name in ("verdict", "rule", "reasons")} == {
                name: said[name] for name in ("verdict", "rule", "reasons")
            }


def test_what_we_write_ourselves_never_triggers(cloud: GcpCloud) -> None:
    model = "flights-own-files"
    cloud.policy(model)
    for version in ("v1", "v3"):
        cloud.drop(model, version)
        cloud.settle(model)
    ours = [n for n in cloud.storage.objects(BUCKET) if n.startswith(f"verified/{model}/") or _is_ours(n, model)]
    assert len(ours) == 5  # two verified copies, v1's two records, v3's one
    before = cloud.registry.head(model)
    for name in ours:
        cloud.eventarc.deliver([(name, 1)])
    cloud.settle(model)
    for name in ours:
        answers = cloud.eventarc.answers_for(name)
        assert len(answers) >= 2 * len(WRAPPINGS)
        assert set(answers) == {"ignored"}
    assert cloud.registry.head(model) == before
    for name in (f"models/{model}/v1/metadata.json", f"models/{model}/v1/reference.csv"):
        assert len(cloud.eventarc.answers_for(name)) == len(WRAPPINGS)
        assert not {"ignored", "quarantined"} & set(cloud.eventarc.answers_for(name))


def _is_ours(name: str, model: str) -> bool:
    return name.startswith(f"models/{model}/") and name.rpartition("/")[2] in OURS


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
        cloud.policy(model, "rollout: {bake_seconds: 0, keep_warm_seconds: 0, deadline_seconds: 0.5}\n")
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


# --- several at once -------------------------------------------------------------------------------------------


def test_two_instances_shuffled_duplicates_end_where_the_ordered_ones_do(cloud: GcpCloud) -> None:
    ordered, shuffled = "flights-ordered", "flights-shuffled"
    for model in (ordered, shuffled):
        cloud.policy(model)
    cloud.await_delivery()
    for version in ("v1", "v2", "v3"):
        cloud.drop(ordered, version)
        cloud.settle(ordered)
    cloud.eventarc.hold()
    for version in ("v3", "v1", "v2"):
        cloud.drop(shuffled, version)
    cloud.eventarc.release(shuffled=True)
    cloud.settle(shuffled)

    assert cloud.statuses(shuffled) == {"v1": "superseded", "v2": "live", "v3": "rejected"}
    assert _decided(cloud, shuffled) == _decided(cloud, ordered)
    assert cloud.behind_endpoint(shuffled) == cloud.behind_endpoint(ordered) == {"v2": 100}
    for done in (cloud.uploads(shuffled), cloud.deployments(shuffled)):
        assert max(Counter(done).values()) == 1
        assert "v2" in done
    assert all(sum(split.values()) == 100 for split in cloud.splits(shuffled))


def _decided(cloud: GcpCloud, model: str) -> list[object]:
    """All versions in the registry with what was decided of them, but what tells two models or two moments apart."""
    head = cloud.registry.head(model).value
    champion = head.production.version if head.production else None
    assert head.is_settled
    return [
        (champion, v.version, v.key, v.status, v.decision, v.standing, v.problems, v.fallen, v.late)
        for v in cloud.registry.versions(model)
    ]


# --- bad input -------------------------------------------------------------------------------------------------

GOOD = {"runtime": "scorecard", "parameters": {"intercept": 1.0, "coefficients": {"hour": 0.1}}}
MANY_MISTAKES = {
    "model": "../../etc",
    "version": "v%2f1\x07",
    "runtime": 7,
    "created_at": "yesterday",
    "metrics": {"f1": "good", "auc": [1]},
    "features": {"hour": {"type": "colour"}},
    "deployment_ready": "yes",
}
HOSTILE: dict[str, tuple[bytes, set[str]]] = {
    "empty": (b"", {"$"}),
    "not-json": (b"{not json", {"$"}),
    "not-an-object": (b"[]", {"$"}),
    "not-utf8": (b'{"runtime": "\xff\xfe"}', {"$"}),
    "large": (b'{"pad": "' + b"x" * (1 << 20) + b'"}', {"$"}),
    "nan": (json.dumps(GOOD | {"metrics": {"f1": float("nan")}}).encode(), {"$"}),
    "infinite": (json.dumps(GOOD | {"metrics": {"f1": 1}}).replace('"f1": 1', '"f1": 1e999').encode(), {"$"}),
    "digits": (b'{"runtime": "scorecard", "metrics": {"f1": ' + b"9" * 5000 + b"}}", {"$"}),
    "surrogate": (rb'{"runtime": "scorecard", "labels": {"x": "\ud800"}}', {"$"}),
    "bomb": (b"[" * 100_000, {"$"}),
    "deep-object": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {"$"}),
    "runtime": (json.dumps(GOOD | {"runtime": "oracle"}).encode(), {"runtime"}),
    "unpinned": (b'{"runtime": "container", "image": "repo/image:latest"}', {"image"}),
    "mistakes": (
        json.dumps(MANY_MISTAKES).encode(),
        {*MANY_MISTAKES} - {"metrics", "features"} | {"metrics.f1", "metrics.auc", "features.hour.type"},
    ),
}
HOSTILE_NAMES: dict[str, bool] = {
    "models/{}/../metadata.json": False,  # no bucket of ours has such an object: there is no "beside it"
    "models/../{}/metadata.json": False,
    "models/{}//metadata.json": False,
    "models/{}/%2e%2e%2fetc/metadata.json": True,
    "models/{}%2f/v1/metadata.json": True,
    "models/{}/v1\x01\x1b[31m/metadata.json": True,
    "models/{}/v1\u202e/metadata.json": True,
    "models/{}/-v1/metadata.json": True,
}
"""Names of metadata, and whether ``rejection.json`` can be put beside it."""


def test_bad_metadata_is_rejected_with_all_its_mistakes_and_nothing_else_is_affected(cloud: GcpCloud) -> None:
    model = "flights-hostile"
    cloud.policy(model)
    for version, (data, _) in HOSTILE.items():
        cloud.put(f"models/{model}/{version}/metadata.json", data)
    cloud.drop(model, "v1")
    cloud.settle(model)

    assert cloud.statuses(model) == {"v1": "live"} | dict.fromkeys(HOSTILE, "rejected")
    assert cloud.behind_endpoint(model) == {"v1": 100}
    for version, (_, fields) in HOSTILE.items():
        assert cloud.eventarc.answers_for(f"models/{model}/{version}/metadata.json") == ["rejected"] * len(WRAPPINGS)
        record = cloud.record(model, version, "rejection.json") or {}
        assert {problem["field"] for problem in record["problems"]} == fields, version
        assert record["rule"] == "invalid_package"
        said = cloud.ask(f"/v1/models/{model}/versions/{version}/explain")
        assert said["reasons"] == record["reasons"]
        assert len(said["reasons"]) == len(fields)


def test_bad_names_are_quarantined_and_nothing_else_is_affected(cloud: GcpCloud) -> None:
    model = "flights-named"
    names = {name.format(model): beside for name, beside in HOSTILE_NAMES.items()}
    for name in names:
        cloud.put(name, json.dumps(GOOD).encode())
    cloud.policy(model)
    cloud.drop(model, "v1")
    cloud.settle(model)

    objects = cloud.storage.objects(BUCKET)
    for name, beside in names.items():
        assert cloud.eventarc.answers_for(name) == ["quarantined"] * len(WRAPPINGS)
        found = cloud.registry.quarantined(sha256(name.encode()).hexdigest())
        assert found is not None
        assert found.value.problems
        assert (name.removesuffix("metadata.json") + "rejection.json" in objects) == beside, name
    assert cloud.statuses(model) == {"v1": "live"}


def test_what_is_no_event_is_quarantined_and_acknowledged(cloud: GcpCloud) -> None:
    headers, good = binary(BUCKET, "models/nothing/v1/metadata.json", 1)
    bodies = [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"bucket": NaN}', b"x" * (600 << 10), good[:-1]]
    bodies.append(json.dumps({"bucket": BUCKET, "name": "n" * 2000}).encode())
    for body in bodies:
        answer = cloud.eventarc.call(cloud.uploaders[0].url, (headers, body))
        assert (answer.status_code, answer.json()) == (200, {"status": "quarantined"})
        found = cloud.registry.quarantined(sha256(body).hexdigest())
        assert found is not None
        assert found.value.problems
    strange = binary("somebody-elses", "models/nothing/v1/metadata.json", 1)
    deleted = ({**headers, "ce-type": "google.cloud.storage.object.v1.deleted"}, good)
    for request, said in ((strange, "ignored"), (deleted, "ignored"), ((headers, good), "nothing there")):
        answer = cloud.eventarc.call(cloud.uploaders[0].url, request)
        assert (answer.status_code, answer.json()) == (200, {"status": said})


def test_no_function_met_what_it_did_not_expect(cloud: GcpCloud) -> None:
    """Last, over all that happened above: an event not acknowledged was worth another try, never a bug."""
    assert [error for error in cloud.unhandled_errors() if not error.startswith("modeldrop.errors.")] == []
