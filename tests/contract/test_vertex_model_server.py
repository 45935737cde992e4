"""What only the Vertex AI adapter can meet: lost answers, races, foreign resources, operations that end badly."""

# ruff: noqa: F401, F811 - a fixture is imported by its name, and asked for by it

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier

import msgspec
import pytest

from modeldrop.adapters.gcp.vertex_ids import deployed_id, endpoint_id, model_id
from modeldrop.adapters.gcp.vertex_model_server import connect
from modeldrop.errors import ConfigurationError, Conflict, NotFound, Refused, Unavailable
from modeldrop.ports import Operation
from tests.contract.model_server_system import bring_up, carry_out, finished, listed, observed, until
from tests.contract.vertex_system import IMAGE, fraud, vertex_adapter, vertex_server, vertex_settings
from tests.servers.vertex import Fault, Plan, VertexServer

V1, V2 = fraud("v1"), fraud("v2")
EFFECTS = ("models.upload", "endpoints.create", "endpoints.deployModel", "endpoints.undeployModel")


def after_one_unavailable(server: VertexServer, call: str, fault: Fault, ask: Callable[[], Operation | None]) -> None:
    """Inject the fault, see the call answer Unavailable, and carry it out all the same."""
    server.inject(call, fault)
    with pytest.raises(Unavailable):
        ask()
    carry_out(vertex_adapter(server), ask)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "UNAVAILABLE"),
        Fault("status", "RESOURCE_EXHAUSTED"),
        Fault("status", "INTERNAL", after_effect=True),
        Fault("status", "UNAUTHENTICATED"),
        Fault("drop"),
        Fault("drop", after_effect=True),
        Fault("garble", after_effect=True),
        Fault("gateway", after_effect=True),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{'after' if fault.after_effect else 'before'}",
)
def test_a_lost_answer_is_unavailable_and_asking_again_adopts(vertex_server: VertexServer, fault: Fault) -> None:
    server = vertex_adapter(vertex_server)
    after_one_unavailable(vertex_server, "models.upload", fault, partial(server.upload, V1))
    # The endpoint comes first; with an answer that was lost after the effect, it is already there.
    after_one_unavailable(vertex_server, "endpoints.create", fault, partial(server.deploy, V1))
    carry_out(server, partial(server.upload, V2))
    after_one_unavailable(vertex_server, "endpoints.deployModel", fault, partial(server.deploy, V2))
    assert listed(server).keys() == {"v1", "v2"}

    before = observed(server)
    vertex_server.inject("endpoints.patch", fault)
    with pytest.raises(Unavailable):
        server.set_traffic("fraud", {"v2": 100}, before.etag)
    now = observed(server)
    if fault.after_effect:
        assert now.traffic == {"v2": 100}
        with pytest.raises(Conflict):
            server.set_traffic("fraud", {"v2": 100}, before.etag)
    else:
        assert now == before
        server.set_traffic("fraud", {"v2": 100}, before.etag)
    assert observed(server).traffic == {"v2": 100}

    after_one_unavailable(vertex_server, "endpoints.undeployModel", fault, partial(server.undeploy, "fraud", "v1"))
    assert listed(server).keys() == {"v2"}
    counts = {call: len(vertex_server.effects(call)) for call in (*EFFECTS, "endpoints.patch")}
    assert counts == {
        "models.upload": 2,
        "endpoints.create": 1,
        "endpoints.deployModel": 2,
        "endpoints.undeployModel": 1,
        "endpoints.patch": 1,
    }


def test_reads_without_an_answer_are_unavailable(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    reads: dict[str, Callable[[], object]] = {
        "endpoints.get": lambda: server.observe("fraud"),
        "models.get": lambda: server.upload(V1),
        "operations.get": lambda: server.operation("projects/test-project/locations/us-central1/operations/1"),
    }
    for call, read in reads.items():
        for fault in (Fault("drop"), Fault("garble"), Fault("gateway"), Fault("status", "DEADLINE_EXCEEDED")):
            vertex_server.inject(call, fault)
            with pytest.raises(Unavailable):
                read()
        read()


def test_a_call_that_hangs_is_given_up_in_time(vertex_server: VertexServer) -> None:
    patient, hasty = vertex_adapter(vertex_server), vertex_adapter(vertex_server, call_seconds=0.5)
    bring_up(patient, V1)
    carry_out(patient, partial(patient.upload, V2))
    vertex_server.inject("endpoints.deployModel", Fault("hang", after_effect=True))
    vertex_server.inject("operations.get", Fault("hang"))
    asked_at = time.monotonic()
    with pytest.raises(Unavailable):
        hasty.deploy(V2)
    with pytest.raises(Unavailable):
        hasty.operation("projects/test-project/locations/us-central1/operations/1")
    assert time.monotonic() - asked_at < 15, "the server would have kept us for as long as it lives"
    carry_out(patient, partial(patient.deploy, V2))
    assert listed(patient).keys() == {"v1", "v2"}
    assert len(vertex_server.effects("endpoints.deployModel")) == 2


def test_nobody_listening_is_unavailable() -> None:
    with VertexServer() as server:
        adapter = vertex_adapter(server)
    with pytest.raises(Unavailable):
        adapter.observe("fraud")


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        ("ABORTED", "The etag is old.", Conflict),
        ("ALREADY_EXISTS", "It exists.", Conflict),
        ("FAILED_PRECONDITION", "Specified etag `1` does not match server etag `2`", Conflict),
        ("FAILED_PRECONDITION", "There are other operations running on the Endpoint.", Conflict),
        ("FAILED_PRECONDITION", "The model's region has no such machines.", Refused),
        ("INVALID_ARGUMENT", "No such machine type.", Refused),
        ("PERMISSION_DENIED", "Not you.", Unavailable),
        ("NOT_FOUND", "No such model.", NotFound),
        ("UNAUTHENTICATED", "Who are you?", Unavailable),
        ("RESOURCE_EXHAUSTED", "Too many.", Unavailable),
        ("INTERNAL", "Oh.", Unavailable),
        ("UNAVAILABLE", "Later.", Unavailable),
        ("DEADLINE_EXCEEDED", "Slow.", Unavailable),
    ],
)
def test_what_vertex_says_becomes_an_error_of_ours(
    vertex_server: VertexServer,
    status: str,
    message: str,
    expected: type[Exception],
) -> None:
    server = vertex_adapter(vertex_server)
    carry_out(server, partial(server.upload, V1))
    vertex_server.inject("endpoints.create", Fault("status", status, message))
    with pytest.raises(expected, match="Vertex AI says" if status != "UNAUTHENTICATED" else "credentials"):
        server.deploy(V1)


@pytest.mark.parametrize("status", ["ABORTED", "FAILED_PRECONDITION"])
def test_somebody_else_sets_traffic_between_our_read_and_our_write(vertex_server: VertexServer, status: str) -> None:
    vertex_server.state.etag_mismatch = status
    ours, theirs = vertex_adapter(vertex_server), vertex_adapter(vertex_server)
    before = bring_up(ours, V1, V2)
    vertex_server.before("endpoints.patch", lambda: theirs.set_traffic("fraud", {"v1": 100}, before.etag))
    with pytest.raises(Conflict):
        ours.set_traffic("fraud", {"v2": 100}, before.etag)
    assert observed(ours).traffic == {"v1": 100}


def test_somebody_else_is_faster(vertex_server: VertexServer) -> None:
    ours, theirs = vertex_adapter(vertex_server), vertex_adapter(vertex_server)
    vertex_server.before("models.upload", lambda: carry_out(theirs, lambda: theirs.upload(V1)))
    assert ours.upload(V1) is None
    vertex_server.before("endpoints.create", lambda: carry_out(theirs, lambda: theirs.deploy(V1)))
    with pytest.raises(Conflict):
        ours.deploy(V1)
    assert ours.deploy(V1) is None
    vertex_server.before("endpoints.undeployModel", lambda: carry_out(theirs, lambda: theirs.undeploy("fraud", "v1")))
    assert ours.undeploy("fraud", "v1") is None
    assert listed(ours) == {}
    assert [len(vertex_server.effects(call)) for call in EFFECTS] == [1, 1, 1, 1]


def test_traffic_given_just_before_an_undeploy_saves_the_version(vertex_server: VertexServer) -> None:
    ours, theirs = vertex_adapter(vertex_server), vertex_adapter(vertex_server)
    before = bring_up(ours, V1)
    vertex_server.before("endpoints.undeployModel", lambda: theirs.set_traffic("fraud", {"v1": 100}, before.etag))
    with pytest.raises(Refused):
        ours.undeploy("fraud", "v1")
    assert observed(ours).traffic == {"v1": 100}


def test_a_version_with_traffic_is_refused_without_asking(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    server.set_traffic("fraud", {"v1": 100}, bring_up(server, V1).etag)
    vertex_server.inject("endpoints.undeployModel", Fault("drop"))  # so that asking would be Unavailable
    with pytest.raises(Refused):
        server.undeploy("fraud", "v1")


def test_many_at_once_have_each_effect_once(vertex_server: VertexServer) -> None:
    together = Barrier(4)

    def live_a_life() -> None:
        server = vertex_adapter(vertex_server)
        together.wait()
        bring_up(server, V1)

    with ThreadPoolExecutor(4) as pool:
        for racer in [pool.submit(live_a_life) for _ in range(4)]:
            racer.result()
    assert [len(vertex_server.effects(call)) for call in EFFECTS] == [1, 1, 1, 0]


def test_one_endpoint_takes_one_version_after_the_other(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    endpoint = bring_up(server, V1)
    server.set_traffic("fraud", {"v1": 100}, endpoint.etag)
    third = fraud("v3")
    for version in (V2, third):
        carry_out(server, partial(server.upload, version))
    assert server.deploy(third) is not None
    with pytest.raises(Conflict):
        server.deploy(V2)
    carry_out(server, partial(server.deploy, V2))
    seen = observed(server).deployed
    assert [(d.version, d.traffic_percent) for d in seen] == [("v1", 100), ("v2", 0), ("v3", 0)]


def test_an_operation_that_vanished_is_none_and_the_endpoint_tells_what_happened(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    carry_out(server, partial(server.upload, V2))
    vertex_server.plan("endpoints.deployModel", Plan(vanishes=True, effect=False), Plan(vanishes=True))
    for expected in ({"v1"}, {"v1", "v2"}):
        operation = server.deploy(V2)
        assert operation is not None
        until(lambda name=operation.name: server.operation(name) is None or None, "it is forgotten")  # type: ignore[misc]
        assert listed(server).keys() == expected
    assert server.deploy(V2) is None


@pytest.mark.parametrize(
    ("code", "expected"), [(13, "INTERNAL: no machines left"), (8, "RESOURCE_EXHAUSTED: no m"), (99, "code 99: no m")]
)
def test_an_operation_that_fails_says_why_and_may_be_asked_for_again(
    vertex_server: VertexServer,
    code: int,
    expected: str,
) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    vertex_server.plan("models.upload", Plan(polls=0, error=(code, "no machines left")))
    operation = server.upload(V2)
    assert operation is not None
    assert not operation.done
    assert str(finished(server, operation).error).startswith(expected)
    bring_up(server, V2)
    assert listed(server).keys() == {"v1", "v2"}


def test_what_is_not_ours_is_not_adopted(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    vertex_server.state.models[model_id(V1)]["labels"]["modeldrop-digest"] = "0" * 63
    with pytest.raises(Refused, match="in the way"):
        server.upload(V1)
    vertex_server.state.endpoints[endpoint_id("fraud")]["labels"] = {}
    refused: list[Callable[[], object]] = [
        lambda: server.observe("fraud"),
        lambda: server.deploy(V1),
        lambda: server.undeploy("fraud", "v1"),
        lambda: server.set_traffic("fraud", {"v1": 100}, ""),
    ]
    for call in refused:
        with pytest.raises(Refused, match="in the way"):
            call()


def test_a_deployment_by_hand_is_no_version_of_ours(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    endpoint = vertex_server.state.endpoints[endpoint_id("fraud")]
    endpoint["deployedModels"].append(
        {"id": "7", "model": "projects/1/locations/x/models/by-hand", "displayName": "v7"}
    )
    endpoint["deployedModels"][0]["model"] += "@1"  # a name may carry the model's version on Vertex AI
    assert listed(server).keys() == {"v1"}
    assert server.deploy(V1) is None
    endpoint["trafficSplit"] = {"7": 30, deployed_id(V1): 70}
    with pytest.raises(Refused, match="30 %"):
        server.observe("fraud")


def test_what_is_asked_of_vertex(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    own_image = msgspec.structs.replace(V2, image="europe-docker.pkg.dev/p/r/own@sha256:" + "1" * 64)
    bring_up(server, V1, own_image)
    first, second = vertex_server.effects("models.upload")
    model = first.body["model"]
    assert model["artifactUri"] == V1.artifact_uri
    assert model["containerSpec"] == {
        "imageUri": IMAGE,
        "ports": [{"containerPort": 8080}],
        "healthRoute": "/health",
        "predictRoute": "/predict",
        "env": [
            {"name": "MODELDROP_SERVED_MODEL", "value": "fraud"},
            {"name": "MODELDROP_SERVED_VERSION", "value": "v1"},
            {"name": "MODELDROP_SERVED_DIGEST", "value": V1.digest},
        ],
    }
    assert V1.digest in model["versionDescription"]
    assert second.body["model"]["containerSpec"]["imageUri"] == own_image.image
    deploy = vertex_server.effects("endpoints.deployModel")[0].body
    assert not deploy.get("trafficSplit")
    assert deploy["deployedModel"]["serviceAccount"] == "serving@test-project.iam.gserviceaccount.com"
    assert deploy["deployedModel"]["dedicatedResources"]["machineSpec"] == {"machineType": "n1-standard-2"}


def test_a_container_that_a_package_brings_runs_as_nobody_of_ours(vertex_server: VertexServer) -> None:
    """Vertex AI's own account reads the artifacts of the version, and nothing else."""
    own_image = msgspec.structs.replace(V2, image="europe-docker.pkg.dev/p/r/own@sha256:" + "1" * 64)
    bring_up(vertex_adapter(vertex_server), V1, own_image)
    accounts = [
        one.body["deployedModel"].get("serviceAccount", "") for one in vertex_server.effects("endpoints.deployModel")
    ]
    assert accounts == ["serving@test-project.iam.gserviceaccount.com", ""]


def test_a_container_that_calls_gemini_is_told_to_ask_vertex(vertex_server: VertexServer) -> None:
    bring_up(vertex_adapter(vertex_server), msgspec.structs.replace(V1, runtime="gemini"))
    (upload,) = vertex_server.effects("models.upload")
    told = {one["name"]: one["value"] for one in upload.body["model"]["containerSpec"]["env"]}
    assert {name: told[name] for name in told if name.startswith("GOOGLE_")} == {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_CLOUD_PROJECT": "test-project",
        "GOOGLE_CLOUD_LOCATION": vertex_settings(vertex_server.url).region,
    }


def test_what_vertex_could_never_serve_is_refused_before_it_is_asked(vertex_server: VertexServer) -> None:
    without_image = connect(replace(vertex_settings(vertex_server.url), predict_image=None))
    with pytest.raises(Refused, match="MODELDROP_PREDICT_IMAGE"):
        without_image.upload(V1)
    with pytest.raises(Refused, match="gs://"):
        vertex_adapter(vertex_server).upload(msgspec.structs.replace(V1, artifact_uri="file:///somewhere"))
    assert vertex_server.state.effects == []


def test_a_version_that_was_not_uploaded_cannot_be_deployed(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    bring_up(server, V1)
    with pytest.raises(NotFound):
        server.deploy(V2)


def test_an_operation_unknown_to_vertex_is_none(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    for parent in ("", "endpoints/e/", "models/m/"):
        assert server.operation(f"projects/test-project/locations/us-central1/{parent}operations/1") is None
    for name in ("", "operations/1", "projects/p/locations/l/../operations/1"):
        assert server.operation(name) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://us-central1-aiplatform.googleapis.com",
        "http://10.0.0.1:8080",
        "http://localhost.example.com",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "http://user:password@127.0.0.1",
        "http://127.0.0.1/path",
        "http://127.0.0.1?x=1",
        "http://",
    ],
)
def test_an_address_that_would_leak_or_cannot_be_is_no_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError):
        connect(vertex_settings(url))


def test_without_project_or_credentials_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MODELDROP_PROJECT"):
        connect(replace(vertex_settings("http://127.0.0.1:1"), project=None))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="credentials"):
        connect(replace(vertex_settings(""), vertex_url=None))


def test_credentials_that_cannot_get_a_token_are_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    user = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "token"}
    (tmp_path / "user.json").write_text(json.dumps(user))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "user.json"))
    with VertexServer() as nobody:
        proxy = nobody.url.removeprefix("http://")
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")  # nothing listens there: no request leaves this machine
    settings = replace(vertex_settings(""), vertex_url=None)
    with pytest.raises(Unavailable):
        connect(settings).observe("fraud")


def test_no_heavy_import_comes_with_the_adapter(vertex_server: VertexServer) -> None:
    program = """
import sys
from modeldrop.adapters.gcp.vertex_model_server import connect
from modeldrop.settings import Settings
server = connect(Settings(backend="gcp", project="test-project", bucket="models", vertex_url=sys.argv[1]))
assert server.observe("fraud") is None
print([name for name in ("google.cloud.aiplatform", "numpy", "pandas", "vertexai") if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, vertex_server.url], capture_output=True, text=True, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr


def brought_up(server: VertexServer, *models: str) -> None:
    """Endpoints of these models, as the adapter makes them, each with all traffic on a version of ours."""
    adapter = vertex_adapter(server)
    for model in models:
        version = msgspec.structs.replace(V1, model=model)
        adapter.set_traffic(model, {"v1": 100}, bring_up(adapter, version).etag)


def copied(server: VertexServer, models: list[str]) -> None:
    """More endpoints, each what ``fraud`` has but for its names."""
    original = server.state.endpoints[endpoint_id("fraud")]
    for model in models:
        name = original["name"].replace(endpoint_id("fraud"), endpoint_id(model))
        server.state.endpoints[endpoint_id(model)] = original | {
            "name": name,
            "labels": {"modeldrop-model": model},
            "deployedModels": [],
            "trafficSplit": {},
        }


def test_many_are_read_in_pages_and_only_ours(vertex_server: VertexServer) -> None:
    server = vertex_adapter(vertex_server)
    brought_up(vertex_server, "fraud", "churn")
    models = [f"m{number}" for number in range(198)]
    copied(vertex_server, models)
    foreign = vertex_server.state.endpoints[endpoint_id("m0")]
    vertex_server.state.endpoints["somebody-elses"] = foreign | {"labels": {}}
    vertex_server.state.endpoints["in-our-name"] = foreign | {"name": "projects/1/locations/x/endpoints/in-our-name"}
    assert server.observe_many(["nobody", "churn", "fraud", *models]).keys() == {"churn", "fraud", *models}
    assert vertex_server.state.pages_read == [100, 100, 1]
    vertex_server.state.pages_read.clear()
    assert server.observe_many(["churn"]) == {"churn": server.observe("churn")}
    assert vertex_server.state.pages_read == [100], "what is found needs no further page"


def test_one_that_cannot_be_seen_does_not_hide_the_others(
    vertex_server: VertexServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = vertex_adapter(vertex_server)
    brought_up(vertex_server, "fraud", "churn", "spam")
    vertex_server.state.endpoints[endpoint_id("churn")]["labels"] = {"modeldrop-model": "other"}
    by_hand = {"id": "7", "model": "projects/1/locations/x/models/by-hand", "displayName": "v7"}
    spam = vertex_server.state.endpoints[endpoint_id("spam")]
    spam["deployedModels"].append(by_hand)
    spam["trafficSplit"] = {"7": 100}
    assert server.observe_many(["fraud", "churn", "spam"]) == {"fraud": server.observe("fraud")}
    assert [record.getMessage()[:40] for record in caplog.records] == [
        "the endpoint of churn cannot be seen: en",
        "the endpoint of spam cannot be seen: 100",
    ]


@pytest.mark.parametrize("fault", [Fault("drop"), Fault("garble"), Fault("gateway"), Fault("status", "UNAVAILABLE")])
def test_a_page_that_does_not_come_is_unavailable(vertex_server: VertexServer, fault: Fault) -> None:
    server = vertex_adapter(vertex_server)
    brought_up(vertex_server, "fraud")
    copied(vertex_server, [f"m{number}" for number in range(100)])
    vertex_server.before("endpoints.list", lambda: None)
    vertex_server.before("endpoints.list", lambda: vertex_server.inject("endpoints.list", fault))
    with pytest.raises(Unavailable):
        server.observe_many(["m99"])
    assert vertex_server.state.pages_read == [100], "it was the second page"
    assert server.observe_many(["m99"]).keys() == {"m99"}
