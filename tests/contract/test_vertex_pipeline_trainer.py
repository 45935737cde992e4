"""The Vertex AI pipeline trainer: Google's real clients, over the wire, against servers of our own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
import yaml

from modeldrop.adapters.gcp.pipeline_template import MOST_LEVELS, TEMPLATE_LIMIT_BYTES
from modeldrop.adapters.gcp.vertex_pipeline_trainer import VertexPipelineTrainer, connect
from modeldrop.domain.retraining.episode import Run
from modeldrop.domain.targets import VertexPipelineTarget
from modeldrop.errors import ConfigurationError, Refused, Unavailable
from modeldrop.settings import Settings
from tests.contract.trainer_system import BARE, EPISODE, OPENED, REQUEST, request, started_at_once
from tests.servers.storage import StorageServer
from tests.servers.vertex import Fault, VertexServer

TEMPLATE = "gs://models/pipelines/train.json"
REGISTRY = "https://us-central1-kfp.pkg.dev/test-project/pipelines/train/latest"
ROOT = "gs://models/pipeline-root"
PAGE = f"https://console.cloud.google.com/vertex-ai/locations/us-central1/pipelines/runs/{EPISODE}?project=test-project"
STRINGS = ("episode", "model", "version", "cause", "report", "window_start", "window_end")


def pipeline(**parameters: dict[str, Any]) -> dict[str, Any]:
    """A compiled pipeline of one task, with the parameters it declares."""
    return {
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.13.0",
        "pipelineInfo": {"name": "train"},
        "root": {
            "inputDefinitions": {"parameters": parameters},
            "dag": {"tasks": {"train": {"taskInfo": {"name": "train"}, "componentRef": {"name": "comp-train"}}}},
        },
        "components": {"comp-train": {"executorLabel": "exec-train"}},
        "deploymentSpec": {"executors": {"exec-train": {"container": {"image": "registry.example/train:1"}}}},
    }


def text() -> dict[str, Any]:
    return {"parameterType": "STRING"}


EVERYTHING = pipeline(
    **{name: text() for name in STRINGS},
    window={"parameterType": "STRUCT"},
    lineage={"parameterType": "STRUCT"},
    epochs={"parameterType": "NUMBER_INTEGER", "defaultValue": 3},
    depth={"parameterType": "NUMBER_INTEGER", "defaultValue": 5},
)


@pytest.fixture
def vertex() -> Iterator[VertexServer]:
    """An empty Vertex AI."""
    with VertexServer() as server:
        yield server


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """A Cloud Storage with the template that takes everything."""
    with StorageServer(buckets=["models"]) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        put(server, EVERYTHING)
        yield server


@pytest.fixture
def trainer(vertex: VertexServer, storage: StorageServer) -> Iterator[VertexPipelineTrainer]:
    """The trainer as the product builds it."""
    with closing(trainer_at(vertex)) as trainer:
        yield trainer


def put(storage: StorageServer, template: Any, name: str = "pipelines/train.json") -> None:
    data = template if isinstance(template, bytes) else json.dumps(template).encode()
    storage.put("models", name, data)


def trainer_at(vertex: VertexServer, *, call_seconds: float = 10.0, **target: Any) -> VertexPipelineTrainer:
    fields: dict[str, Any] = {"template": TEMPLATE, "root": ROOT} | target
    settings = Settings(backend="gcp", project="test-project", bucket="models", vertex_url=vertex.url)
    return connect(settings, VertexPipelineTarget(**fields), call_seconds=call_seconds)


def values(vertex: VertexServer) -> dict[str, Any]:
    """The parameters of the one job that was created."""
    [creation] = vertex.effects("pipelineJobs.create")
    found: dict[str, Any] = creation.body["runtimeConfig"]["parameterValues"]
    return found


# --- starting --------------------------------------------------------------------------------------------------


def test_a_job_is_started_whose_id_is_the_episode(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    assert trainer.start(REQUEST, again=None) == Run(id=EPISODE, url=PAGE, state="accepted")
    [creation] = vertex.effects("pipelineJobs.create")
    assert creation.resource == EPISODE
    assert creation.body["pipelineSpec"] == EVERYTHING
    assert creation.body["labels"] == {"modeldrop-episode": EPISODE, "modeldrop-model": "fraud"}
    assert creation.body["runtimeConfig"]["gcsOutputDirectory"] == ROOT
    assert creation.body.get("serviceAccount", "") == ""


def test_the_pipeline_gets_the_fields_that_it_declares(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    trainer.start(REQUEST, again=None)
    assert values(vertex) == {
        "episode": EPISODE,
        "model": "fraud",
        "version": "v3",
        "cause": "concept_drift",
        "report": REQUEST.report,
        "window_start": "2026-01-02T02:00:00Z",
        "window_end": "2026-01-02T03:00:00Z",
        "window": {"start": "2026-01-02T02:00:00Z", "end": "2026-01-02T03:00:00Z"},
        "lineage": REQUEST.lineage,
    }


def test_what_is_not_known_is_given_only_where_it_must_be(
    vertex: VertexServer, storage: StorageServer, trainer: VertexPipelineTrainer
) -> None:
    put(
        storage,
        pipeline(
            episode=text(),
            version=text(),
            report=text() | {"defaultValue": "none"},
            window_start=text() | {"isOptional": True},
            window={"parameterType": "STRUCT"},
            lineage=text(),
        ),
    )
    trainer.start(BARE, again=None)
    assert values(vertex) == {"episode": EPISODE, "version": "", "window": {}, "lineage": "{}"}


def test_a_parameter_of_another_type_is_not_ours(
    vertex: VertexServer, storage: StorageServer, trainer: VertexPipelineTrainer
) -> None:
    put(storage, pipeline(version={"parameterType": "NUMBER_INTEGER", "defaultValue": 3}, lineage=text()))
    trainer.start(REQUEST, again=None)
    assert {name: json.loads(value) for name, value in values(vertex).items()} == {"lineage": REQUEST.lineage}


def test_the_policys_parameters_go_along_and_win(vertex: VertexServer, storage: StorageServer) -> None:
    in_the_file = {"depth": 7, "epochs": 1, "cause": "file"}
    put(storage, {"pipelineSpec": EVERYTHING, "runtimeConfig": {"parameterValues": in_the_file}})
    account = "trainer@test-project.iam.gserviceaccount.com"
    with closing(trainer_at(vertex, parameters={"epochs": 20, "report": "none"}, service_account=account)) as trainer:
        trainer.start(REQUEST, again=None)
    given = values(vertex)
    assert (given["depth"], given["epochs"], given["report"], given["cause"]) == (7, 20, "none", "concept_drift")
    assert vertex.effects("pipelineJobs.create")[0].body["serviceAccount"] == account


def test_a_template_may_be_yaml(vertex: VertexServer, storage: StorageServer) -> None:
    put(storage, yaml.safe_dump(EVERYTHING).encode(), "train.yaml")
    with closing(trainer_at(vertex, template="gs://models/train.yaml")) as trainer:
        trainer.start(REQUEST, again=None)
    assert vertex.effects("pipelineJobs.create")[0].body["pipelineSpec"] == EVERYTHING


def test_a_template_in_a_registry_is_left_to_vertex(vertex: VertexServer) -> None:
    with closing(trainer_at(vertex, template=REGISTRY, parameters={"epochs": 20})) as trainer:
        trainer.start(REQUEST, again=None)
    body = vertex.effects("pipelineJobs.create")[0].body
    assert (body["templateUri"], body.get("pipelineSpec")) == (REGISTRY, None)
    assert values(vertex) == {"episode": EPISODE, "epochs": 20}


def test_a_template_as_large_as_allowed_goes_through(vertex: VertexServer, storage: StorageServer) -> None:
    room = TEMPLATE_LIMIT_BYTES - len(json.dumps(EVERYTHING | {"padding": ""}))
    put(storage, EVERYTHING | {"padding": "x" * room})
    with closing(trainer_at(vertex)) as trainer:
        assert trainer.start(REQUEST, again=None).id == EPISODE
        put(storage, EVERYTHING | {"padding": "x" * (room + 1)})
        with pytest.raises(Refused, match="more than"):
            trainer.start(request(episode="fraud-20260102030405-4"), again=None)


# --- once ------------------------------------------------------------------------------------------------------


def test_an_episode_asked_for_twice_is_one_job(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    first = trainer.start(REQUEST, again=None)
    vertex.move_job(EPISODE, "RUNNING")
    running = msgspec.structs.replace(first, state="running")
    assert trainer.start(REQUEST, again=None) == running
    assert trainer.start(REQUEST, again=OPENED) == running
    assert len(vertex.effects("pipelineJobs.create")) == 1


def test_an_episode_asked_for_at_once_is_one_job(vertex: VertexServer, storage: StorageServer) -> None:
    with closing(trainer_at(vertex)) as one, closing(trainer_at(vertex)) as other:
        runs = started_at_once(*[one, other] * 4)
    assert {run.id for run in runs} == {EPISODE}
    assert len(vertex.effects("pipelineJobs.create")) == 1


def test_a_job_whose_answer_was_lost_is_adopted(
    vertex: VertexServer, storage: StorageServer, trainer: VertexPipelineTrainer
) -> None:
    vertex.inject("pipelineJobs.create", Fault("drop", after_effect=True))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    storage.delete("models", "pipelines/train.json")  # whatever became of the template since
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(vertex.effects("pipelineJobs.create")) == 1


def test_a_job_that_was_never_made_is_made_when_asked_again(
    vertex: VertexServer, trainer: VertexPipelineTrainer
) -> None:
    vertex.inject("pipelineJobs.create", Fault("drop"))
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(vertex.effects("pipelineJobs.create")) == 1


def test_a_job_of_that_name_that_is_not_the_episodes_is_not_adopted(
    vertex: VertexServer, trainer: VertexPipelineTrainer
) -> None:
    trainer.start(REQUEST, again=None)
    vertex.state.pipeline_jobs[EPISODE]["labels"] = {"modeldrop-episode": "another"}
    for again in (None, OPENED):
        with pytest.raises(Refused, match="in the way"):
            trainer.start(REQUEST, again=again)


def test_a_job_deleted_between_conflict_and_look_leaves_it_open(
    vertex: VertexServer, trainer: VertexPipelineTrainer
) -> None:
    trainer.start(REQUEST, again=None)
    vertex.before("pipelineJobs.get", vertex.state.pipeline_jobs.clear)
    with pytest.raises(Unavailable, match="already exists"):
        trainer.start(REQUEST, again=None)


def test_the_longest_episode_has_a_label_all_the_same(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    longest = request(model="m" * 63, episode=f"{'m' * 63}-20260102030405-12345")
    assert trainer.start(longest, again=None).id == longest.episode
    assert trainer.start(longest, again=OPENED).id == longest.episode
    assert (
        vertex.effects("pipelineJobs.create")[0].body["labels"]["modeldrop-episode"].endswith("-20260102030405-12345")
    )


# --- following -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "error", "expected", "why"),
    [
        ("UNSPECIFIED", None, "accepted", ""),
        ("QUEUED", None, "accepted", ""),
        ("PENDING", None, "accepted", ""),
        ("RUNNING", None, "running", ""),
        ("PAUSED", None, "running", "it is paused"),
        ("CANCELLING", None, "running", "it is being cancelled"),
        (9, None, "running", "Vertex AI says state 9, which is not known here"),
        ("SUCCEEDED", None, "succeeded", ""),
        ("FAILED", None, "failed", "it failed"),
        ("FAILED", (9, "The task train failed."), "failed", "FAILED_PRECONDITION: The task train failed."),
        ("CANCELLED", None, "failed", "it was cancelled"),
        ("CANCELLED", (1, "Cancelled by a user."), "failed", "CANCELLED: Cancelled by a user."),
    ],
)
def test_how_a_job_stands(
    vertex: VertexServer,
    trainer: VertexPipelineTrainer,
    state: str | int,
    error: tuple[int, str] | None,
    expected: Any,
    why: str,
) -> None:
    run = trainer.start(REQUEST, again=None)
    vertex.move_job(EPISODE, state, error=error)
    assert trainer.observe(REQUEST, run) == Run(id=EPISODE, url=PAGE, state=expected, why=why)


def test_a_job_that_is_gone_has_failed(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    run = trainer.start(REQUEST, again=None)
    vertex.state.pipeline_jobs.clear()
    seen = trainer.observe(REQUEST, run)
    assert seen == Run(id=EPISODE, url=PAGE, state="failed", why="the pipeline job is not there any more")


def test_an_error_of_any_length_is_cut(vertex: VertexServer, trainer: VertexPipelineTrainer) -> None:
    run = trainer.start(REQUEST, again=None)
    vertex.move_job(EPISODE, "FAILED", error=(13, "x" * 10_000))
    seen = trainer.observe(REQUEST, run)
    assert seen is not None
    assert len(seen.why) == 500


# --- what goes wrong -------------------------------------------------------------------------------------------

LATER = ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "PERMISSION_DENIED", "DEADLINE_EXCEEDED"]
FAULTS = [*(Fault("status", status) for status in LATER), Fault("drop"), Fault("garble"), Fault("gateway")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_failure_that_may_pass_is_unavailable(
    vertex: VertexServer, trainer: VertexPipelineTrainer, fault: Fault
) -> None:
    vertex.inject("pipelineJobs.create", fault)
    with pytest.raises(Unavailable, match="Vertex AI"):
        trainer.start(REQUEST, again=None)
    run = trainer.start(REQUEST, again=OPENED)
    vertex.inject("pipelineJobs.get", fault)
    with pytest.raises(Unavailable, match="Vertex AI"):
        trainer.observe(REQUEST, run)


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"])
def test_what_vertex_will_never_do_is_refused(
    vertex: VertexServer, trainer: VertexPipelineTrainer, status: str
) -> None:
    vertex.inject("pipelineJobs.create", Fault("status", status))
    with pytest.raises(Refused, match="The service says no"):
        trainer.start(REQUEST, again=None)


def test_a_server_that_hangs_is_left_at_the_deadline(vertex: VertexServer, storage: StorageServer) -> None:
    with closing(trainer_at(vertex, call_seconds=0.3)) as trainer:
        vertex.inject("pipelineJobs.create", Fault("hang", after_effect=True))
        began = time.monotonic()
        with pytest.raises(Unavailable):
            trainer.start(REQUEST, again=None)
        assert time.monotonic() - began < 3
        assert vertex.hanging.is_set()
        assert trainer.start(REQUEST, again=OPENED).id == EPISODE
    assert len(vertex.effects("pipelineJobs.create")) == 1


def test_a_parameter_that_the_pipeline_does_not_declare_is_refused(
    vertex: VertexServer, storage: StorageServer
) -> None:
    with closing(trainer_at(vertex, parameters={"leaves": 7})) as trainer, pytest.raises(Refused, match="leaves"):
        trainer.start(REQUEST, again=None)


DEEP = "[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1)
BOMB = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nroot: [*b, *b, *b, *b]\n"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.json", b"", "no JSON"),
        ("a.json", b"[]", "no compiled pipeline"),
        ("a.json", b"{}", "no compiled pipeline"),
        ("a.json", b'{"pipelineSpec": 3}', "no compiled pipeline"),
        ("a.json", b'{"pipelineSpec": {"root": 3}}', "no compiled pipeline"),
        ("a.json", b'{"root": {"inputDefinitions": {"parameters": 3}}}', "no compiled pipeline"),
        (
            "a.json",
            json.dumps({"pipelineSpec": EVERYTHING, "runtimeConfig": {"parameterValues": 3}}).encode(),
            "no compiled pipeline",
        ),
        ("a.json", json.dumps(EVERYTHING | {"schemaVersion": "2.0.0"}).encode(), "compiled with KFP 2"),
        ("a.json", json.dumps(EVERYTHING | {"schemaVersion": None}).encode(), "compiled with KFP 2"),
        ("a.json", b'{"root": NaN}', "no JSON"),
        ("a.json", f'{{"root": {DEEP}}}'.encode(), "levels deep"),
        ("a.yaml", b"\xff", "no YAML"),
        ("a.yaml", b"root: [", "no YAML"),
        ("a.yaml", b"root: {}\n---\nplatforms: {}", "no YAML"),
        ("a.yaml", b"root: .nan", "no YAML"),
        ("a.yaml", b"root: 2026-01-01", "no YAML"),
        ("a.yaml", b"root: !!python/object/apply:os.getcwd []", "no YAML"),
        ("a.yaml", f"root: {DEEP}".encode(), "levels deep"),
        ("a.yml", BOMB.encode(), "aliases"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused(
    vertex: VertexServer, storage: StorageServer, name: str, data: bytes, says: str
) -> None:
    put(storage, data, name)
    with closing(trainer_at(vertex, template=f"gs://models/{name}")) as trainer, pytest.raises(Refused, match=says):
        trainer.start(REQUEST, again=None)
    assert vertex.state.effects == []


@pytest.mark.parametrize("template", ["gs://models/other.json", "gs://other/train.json", "gs://models/../a.json"])
def test_a_template_that_is_not_there_is_refused(vertex: VertexServer, storage: StorageServer, template: str) -> None:
    with closing(trainer_at(vertex, template=template)) as trainer, pytest.raises(Refused, match=template):
        trainer.start(REQUEST, again=None)


def test_a_template_that_cannot_be_read_now_is_unavailable(
    vertex: VertexServer, storage: StorageServer, trainer: VertexPipelineTrainer
) -> None:
    storage.fail_next(403, kind="stat")
    with pytest.raises(Unavailable):
        trainer.start(REQUEST, again=None)
    assert trainer.start(REQUEST, again=OPENED).id == EPISODE


# --- connecting ------------------------------------------------------------------------------------------------


def test_an_address_that_would_leak_or_no_project_is_no_configuration() -> None:
    target = VertexPipelineTarget(template=TEMPLATE, root=ROOT)
    for address in ("http://us-central1-aiplatform.googleapis.com", "http://10.0.0.1:8080", "127.0.0.1:8080"):
        with pytest.raises(ConfigurationError, match="MODELDROP_VERTEX_URL"):
            connect(Settings(backend="gcp", project="p", bucket="b", vertex_url=address), target)
    with pytest.raises(ConfigurationError, match="MODELDROP_PROJECT"):
        connect(Settings(backend="gcp", bucket="b", vertex_url="http://127.0.0.1:1"), target)


def test_no_heavy_import_comes_with_the_adapter() -> None:
    program = """
import sys
import modeldrop.adapters.gcp.vertex_pipeline_trainer
print([name for name in ("google.cloud.aiplatform", "numpy", "pandas", "vertexai") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr
