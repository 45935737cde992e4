"""functions/predict: the container contract, through the real framework; once in a real process over real HTTP."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.errors import InvalidInput, Unavailable
from modeldrop.handlers.serving.answering import predict_each
from modeldrop.handlers.serving.limits import BODY_LIMIT_BYTES
from modeldrop.ports import Bucket
from modeldrop.serving.served_version import NotServing, PinnedVersion
from modeldrop.settings import ServingSettings
from modeldrop.wiring import connect_llm
from tests.functions.predict_system import ANSWER, GOOD, METADATA, SOURCE, client_of, package, process


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    return client_of(package(tmp_path / "a folder ü" / "v7"), monkeypatch)


# --- health and routes -----------------------------------------------------------------------------------------


def test_health_names_what_is_served(client: FlaskClient) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "model": "flights", "version": "v7"})
    assert answer.content_type == "application/json"
    assert client.head("/health").status_code == 200


def test_routes_are_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = {"AIP_HEALTH_ROUTE": "/v1/live", "AIP_PREDICT_ROUTE": "/v1/models/flights:predict"}
    client = client_of(package(tmp_path) | routes, monkeypatch)
    assert client.get("/v1/live").status_code == 200
    assert client.post("/v1/models/flights:predict", json={"instances": [GOOD]}).json == {"predictions": [ANSWER]}
    assert client.get("/health").status_code == 404


def test_one_route_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(package(tmp_path) | {"AIP_HEALTH_ROUTE": "/x", "AIP_PREDICT_ROUTE": "/x"}, monkeypatch)
    assert client.get("/x").status_code == 200
    assert client.post("/x", json={"instances": []}).json == {"predictions": []}
    assert client.put("/x").headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/health", 405, "GET, HEAD"),
        ("GET", "/predict", 405, "POST"),
        ("PUT", "/predict", 405, "POST"),
        ("GET", "/", 404, None),
        ("POST", "/predict/", 404, None),
        ("POST", "/predict/../health", 404, None),
    ],
)
def test_other_routes_and_methods(client: FlaskClient, method: str, path: str, status: int, allow: str | None) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.headers.get("Allow") == allow
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["detail"]


# --- what cannot be served -------------------------------------------------------------------------------------


def test_without_configuration_every_route_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of({"AIP_STORAGE_URI": "file:///nowhere"}, monkeypatch)
    for answer in (client.get("/health"), client.post("/predict", json={"instances": [GOOD]})):
        assert answer.status_code == 503
        assert "MODELDROP_SERVED_MODEL, MODELDROP_SERVED_VERSION, MODELDROP_SERVED_DIGEST" in answer.json["detail"]


UNSERVABLE = {
    "not JSON": (b"{", "truncated"),
    "not an object": (b"[]", "must be an object"),
    "NaN": (b'{"a": NaN}', "malformed"),
    "another runtime": (METADATA | {"runtime": "container"}, "runtime 'container' is not supported by this image"),
    "no runtime": ({"parameters": {}}, "runtime None is not supported by this image"),
    "a runtime of a wrong type": (METADATA | {"runtime": ["scorecard"]}, "is not supported by this image"),
    "no parameters": ({"runtime": "scorecard"}, "parameters: must be an object, not null"),
    "features of a wrong type": (METADATA | {"features": []}, "features: must be an object"),
    "unknown types": (
        METADATA | {"features": {"dep_delay": {"type": "int"}, "carrier": "text"}},
        "features.carrier.type",
    ),
    "too large": (b" " * (1024 * 1024 + 1), "metadata.json"),
}


@pytest.mark.parametrize(("metadata", "reason"), UNSERVABLE.values(), ids=UNSERVABLE.keys())
def test_unservable_packages(metadata: object, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(package(tmp_path, metadata), monkeypatch)
    health = client.get("/health")
    assert (health.status_code, health.json["status"]) == (503, "unavailable")
    assert reason in health.json["error"]
    assert client.post("/predict", json={"instances": [GOOD]}).status_code == 503


def test_changed_metadata_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = package(tmp_path)
    package(tmp_path, METADATA | {"labels": {"changed": "yes"}})
    health = client_of(environment, monkeypatch).get("/health")
    assert health.status_code == 503
    assert f"not {environment['MODELDROP_SERVED_DIGEST']}: the metadata changed" in health.json["error"]


def test_a_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = package(tmp_path) | {"AIP_STORAGE_URI": (tmp_path / "gone").as_uri()}
    health = client_of(environment, monkeypatch).get("/health")
    assert health.status_code == 503
    assert "gone/metadata.json does not exist" in health.json["error"]
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("uri", ["ftp://host/folder", "file://host/folder", "relative", "gs://"])
def test_an_address_nothing_can_be_read_from(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    health = client_of(package(tmp_path) | {"AIP_STORAGE_URI": uri}, monkeypatch).get("/health")
    assert health.status_code == 503
    assert uri in health.json["error"]


# --- loading ---------------------------------------------------------------------------------------------------


def settings_of(folder: Path) -> ServingSettings:
    environment = package(folder)
    return ServingSettings(folder.as_uri(), "flights", "v7", environment["MODELDROP_SERVED_DIGEST"])


def test_many_first_callers_load_once(tmp_path: Path) -> None:
    settings, opened, all_here = settings_of(tmp_path), [], threading.Barrier(8)

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        opened.append(uri)
        return FolderBucket(tmp_path), ""

    served = PinnedVersion(settings, open_artifacts, connect_llm)

    def first_call(_: int) -> object:
        all_here.wait()
        return served.now()

    with ThreadPoolExecutor(8) as threads:
        runtimes = list(threads.map(first_call, range(8)))
    assert all(runtime is runtimes[0] for runtime in runtimes)
    assert opened == [settings.storage_uri]


def test_a_passing_failure_is_tried_again_by_the_next_caller(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    outcomes: list[Exception | None] = [Unavailable("storage is out of reach"), ValueError("unforeseen"), None]

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        if outcome := outcomes.pop(0):
            raise outcome
        return FolderBucket(tmp_path), ""

    served = PinnedVersion(settings, open_artifacts, connect_llm)
    assert served.now() == NotServing("storage is out of reach", final=False)
    assert served.now() == NotServing("ValueError while loading", final=False)
    assert not isinstance(served.now(), NotServing)
    assert served.now() is served.now()
    assert outcomes == []


def test_callers_who_waited_for_a_failing_attempt_share_its_outcome(tmp_path: Path) -> None:
    settings, started, may_fail, attempts = settings_of(tmp_path), threading.Event(), threading.Event(), []

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        attempts.append(uri)
        started.set()
        may_fail.wait(10)
        raise Unavailable("storage is out of reach")

    served = PinnedVersion(settings, open_artifacts, connect_llm)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(served.now)
        assert started.wait(10)
        others = [threads.submit(served.now) for _ in range(4)]
        wait_until_queued(len(others))
        may_fail.set()
        outcomes = [call.result(10) for call in [first, *others]]
    assert set(outcomes) == {NotServing("storage is out of reach", final=False)}
    assert len(attempts) == 1


def wait_until_queued(count: int) -> None:
    """Until so many threads stand at the lock, that is: have noted which attempt they wait for."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        frames = [frame for frame in sys._current_frames().values() if frame.f_code is PinnedVersion.now.__code__]
        if sum("attempts_before" in frame.f_locals for frame in frames) == count:
            return
    pytest.fail("the callers did not arrive")


def test_a_final_failure_is_kept(tmp_path: Path) -> None:
    settings, opened = settings_of(tmp_path), []
    (tmp_path / "metadata.json").unlink()

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        opened.append(uri)
        return FolderBucket(tmp_path), ""

    served = PinnedVersion(settings, open_artifacts, connect_llm)
    first = served.now()
    assert isinstance(first, NotServing)
    assert first.final
    assert served.now() is first
    assert len(opened) == 1


# --- predictions -----------------------------------------------------------------------------------------------


def test_predictions_in_order_and_bad_instances_in_their_place(client: FlaskClient) -> None:
    body = (
        b'{"instances": [%b, {"dep_delay": null}, %b, 7, {"dep_delay": 1e999}, {"carrier": "x", "carrier": "y"}, %b]}'
    )
    answer = client.post("/predict", data=body % ((json.dumps(GOOD).encode(),) * 3))
    assert answer.status_code == 200
    one, missing, two, number, infinite, twice, three = answer.json["predictions"]
    assert one == two == three == ANSWER
    assert missing == {"error": "feature 'dep_delay' must be a number, not null; feature 'carrier' is missing"}
    assert number == {"error": "an instance must be an object of features, not a number"}
    assert "out of range" in infinite["error"]
    assert "'carrier' twice" in twice["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "'instances' is missing"),
        (b'{"instances": {}}', "Expected `array`"),
        (b'{"instances": [NaN]}', "malformed"),
        (b'{"instances": ' + b"[" * 100_000, "nested"),
        (b'{"instances": [' + b"1," * 1_000 + b"1]}", "1,001 elements, more than 1,000"),
    ],
    ids=["empty", "list", "no instances", "object", "NaN", "bomb", "many"],
)
def test_a_request_wrong_as_a_whole(client: FlaskClient, body: bytes, reason: str) -> None:
    answer = client.post("/predict", data=body)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert reason in answer.json["detail"]
    assert reason in answer.json["errors"][0]["message"]


def test_too_large(client: FlaskClient) -> None:
    answer = client.post("/predict", data=b'{"instances": []}' + b" " * BODY_LIMIT_BYTES)
    assert (answer.status_code, answer.json["detail"]) == (413, "a request may have 1,500,000 bytes")


def test_a_thousand_instances(client: FlaskClient) -> None:
    answer = client.post("/predict", json={"instances": [GOOD] * 1_000})
    assert answer.json == {"predictions": [ANSWER] * 1_000}


def test_the_answer_names_the_version_that_made_it(client: FlaskClient) -> None:
    headers = client.post("/predict", json={"instances": [GOOD]}).headers
    assert (headers["X-Modeldrop-Model"], headers["X-Modeldrop-Version"]) == ("flights", "v7")
    assert "X-Modeldrop-Prediction-Id" not in headers  # nobody is told of it


def test_reload_of_a_pinned_version_changes_nothing(client: FlaskClient) -> None:
    first = {"status": "ok", "model": "flights", "version": "v7", "changed": False}
    assert client.post("/reload").json == first
    assert client.get("/reload").status_code == 405


class _Fragile:
    """A runtime with a defect: it raises for odd numbers, and forgets zeros."""

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        answers = []
        for instance in instances:
            if isinstance(instance, int) and instance % 2:
                raise RuntimeError("secret detail")
            if instance != 0:
                answers.append({"score": instance})
        return answers


def test_a_defect_of_the_runtime_harms_one_instance_only(caplog: pytest.LogCaptureFixture) -> None:
    wrong = InvalidInput([])
    answers = predict_each(_Fragile(), [2, 3, wrong, 0, 4])
    assert answers == [
        {"score": 2},
        {"error": "RuntimeError in the runtime"},
        {"error": str(wrong)},
        {"error": "ValueError in the runtime"},
        {"score": 4},
    ]
    assert "secret detail" in caplog.text


# --- a real process --------------------------------------------------------------------------------------------


def test_the_import_is_cheap() -> None:
    """What our function loads beyond a bare function of the same framework (which brings a small google.cloud part)."""
    code = (
        "import functions_framework, sys\n"
        "before = set(sys.modules)\n"
        f"functions_framework.create_app(target='predict', source={str(SOURCE)!r})\n"
        "heavy = ('google', 'grpc', 'numpy', 'pandas', 'scipy', 'sklearn', 'sqlglot', 'pydantic')\n"
        "print([name for name in set(sys.modules) - before if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_real_process_over_http(tmp_path: Path) -> None:
    environment = package(tmp_path / "package")
    with process(environment, tmp_path / "log") as address, httpx.Client(base_url=address, timeout=30) as http:
        health = http.get("/health")
        assert (health.status_code, health.json()["version"]) == (200, "v7")
        assert http.post("/predict", json={"instances": [GOOD, {}]}).json()["predictions"][0] == ANSWER
        assert http.post("/predict", content=iter([b'{"instances"', b": []}"])).json() == {"predictions": []}

        large = http.post("/predict", content=b" " * 20_000_000)
        assert (large.status_code, "1,500,000" in large.json()["detail"]) == (413, True)
        assert http.post("/predict", content=iter([b" " * 100_000] * 200)).status_code == 413

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: http.post("/predict", json={"instances": [GOOD]}).json(), range(64)))
        assert answers == [{"predictions": [ANSWER]}] * 64
