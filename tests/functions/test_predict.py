"""functions/predict: the container contract, through the real framework; once in a real process over real HTTP."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import functions_framework
import httpx
import pytest
from flask.testing import FlaskClient

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.errors import InvalidInput, Unavailable
from modeldrop.handlers.predictions.answer_predictions import BODY_LIMIT_BYTES, predict_each
from modeldrop.ports import Bucket
from modeldrop.serving.served_version import NotServing, ServedVersion
from modeldrop.settings import SERVING_VARIABLES, ServingSettings

SOURCE = Path(__file__).parents[2] / "functions" / "predict" / "main.py"
METADATA: dict[str, Any] = {
    "model": "flights",
    "version": "v7",
    "runtime": "scorecard",
    "features": {"dep_delay": {"type": "numeric"}, "carrier": {"type": "categorical"}},
    "parameters": {"coefficients": {"dep_delay": 0.5, "carrier": {"UA": 1.0}}, "link": "identity", "threshold": 2.0},
}
GOOD = {"dep_delay": 4, "carrier": "UA"}
ANSWER = {"score": 3.0, "decision": True}


def package(folder: Path, metadata: object = None) -> dict[str, str]:
    """Writes a package (bytes as they are, else as JSON) and returns the variables that name it."""
    content = METADATA if metadata is None else metadata
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_bytes(data)
    return {
        "AIP_STORAGE_URI": folder.as_uri(),
        "MODELDROP_SERVED_MODEL": "flights",
        "MODELDROP_SERVED_VERSION": "v7",
        "MODELDROP_SERVED_DIGEST": hashlib.sha256(data).hexdigest(),
    }


def client_of(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The function as the framework mounts it, in an environment of these serving variables only."""
    for name in SERVING_VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = functions_framework.create_app(target="predict", source=str(SOURCE))
    client: FlaskClient = app.test_client()
    return client


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
    assert answer.json.keys() == {"error"}


# --- what cannot be served -------------------------------------------------------------------------------------


def test_without_configuration_every_route_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of({"AIP_STORAGE_URI": "file:///nowhere"}, monkeypatch)
    for answer in (client.get("/health"), client.post("/predict", json={"instances": [GOOD]})):
        assert answer.status_code == 503
        assert "MODELDROP_SERVED_MODEL, MODELDROP_SERVED_VERSION, MODELDROP_SERVED_DIGEST" in answer.json["error"]


UNSERVABLE = {
    "not JSON": (b"{", "truncated"),
    "not an object": (b"[]", "must be an object"),
    "NaN": (b'{"a": NaN}', "malformed"),
    "another runtime": (METADATA | {"runtime": "onnx"}, "runtime 'onnx' is not supported by this image"),
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

    served = ServedVersion(lambda: settings, open_artifacts)

    def first_call(_: int) -> object:
        all_here.wait()
        return served.runtime()

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

    served = ServedVersion(lambda: settings, open_artifacts)
    assert served.runtime() == NotServing("storage is out of reach", final=False)
    assert served.runtime() == NotServing("ValueError while loading", final=False)
    assert not isinstance(served.runtime(), NotServing)
    assert served.runtime() is served.runtime()
    assert outcomes == []


def test_callers_who_waited_for_a_failing_attempt_share_its_outcome(tmp_path: Path) -> None:
    settings, started, may_fail, attempts = settings_of(tmp_path), threading.Event(), threading.Event(), []

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        attempts.append(uri)
        started.set()
        may_fail.wait(10)
        raise Unavailable("storage is out of reach")

    served = ServedVersion(lambda: settings, open_artifacts)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(served.runtime)
        assert started.wait(10)
        others = [threads.submit(served.runtime) for _ in range(4)]
        wait_until_queued(len(others))
        may_fail.set()
        outcomes = [call.result(10) for call in [first, *others]]
    assert set(outcomes) == {NotServing("storage is out of reach", final=False)}
    assert len(attempts) == 1


def wait_until_queued(count: int) -> None:
    """Until so many threads stand at the lock, that is: have noted which attempt they wait for."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        frames = [frame for frame in sys._current_frames().values() if frame.f_code is ServedVersion.runtime.__code__]
        if sum("attempts_before" in frame.f_locals for frame in frames) == count:
            return
    pytest.fail("the callers did not arrive")


def test_a_final_failure_is_kept(tmp_path: Path) -> None:
    settings, opened = settings_of(tmp_path), []
    (tmp_path / "metadata.json").unlink()

    def open_artifacts(uri: str) -> tuple[Bucket, str]:
        opened.append(uri)
        return FolderBucket(tmp_path), ""

    served = ServedVersion(lambda: settings, open_artifacts)
    first = served.runtime()
    assert isinstance(first, NotServing)
    assert first.final
    assert served.runtime() is first
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
        (b'{"instances": [' + b"1," * 10_000 + b"1]}", "10,001 elements, more than 10,000"),
        (b'{"instances": []}' + b" " * BODY_LIMIT_BYTES, "more than the 1,500,000 allowed"),
    ],
    ids=["empty", "list", "no instances", "object", "NaN", "bomb", "many", "large"],
)
def test_a_request_wrong_as_a_whole(client: FlaskClient, body: bytes, reason: str) -> None:
    answer = client.post("/predict", data=body)
    assert answer.status_code == 400
    assert reason in answer.json["error"]


def test_ten_thousand_instances(client: FlaskClient) -> None:
    answer = client.post("/predict", json={"instances": [GOOD] * 10_000})
    assert answer.json == {"predictions": [ANSWER] * 10_000}


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


@contextmanager
def process(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """functions-framework's own command serving the function; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "functions_framework", "--target", "predict", "--source", str(SOURCE)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    inherited = {name: value for name, value in os.environ.items() if name not in SERVING_VARIABLES.values()}
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=inherited | dict(environment), stdout=output, stderr=output)
    try:
        wait_until_listening(server, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def wait_until_listening(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"not listening after a minute: {log.read_text()}")


def test_a_real_process_over_http(tmp_path: Path) -> None:
    environment = package(tmp_path / "package")
    with process(environment, tmp_path / "log") as address, httpx.Client(base_url=address, timeout=30) as http:
        health = http.get("/health")
        assert (health.status_code, health.json()["version"]) == (200, "v7")
        assert http.post("/predict", json={"instances": [GOOD, {}]}).json()["predictions"][0] == ANSWER
        assert http.post("/predict", content=iter([b'{"instances"', b": []}"])).json() == {"predictions": []}

        large = http.post("/predict", content=b" " * 3_000_000)
        assert (large.status_code, "1,500,000" in large.json()["error"]) == (400, True)
        assert http.post("/predict", content=iter([b" " * 100_000] * 20)).status_code == 400

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: http.post("/predict", json={"instances": [GOOD]}).json(), range(64)))
        assert answers == [{"predictions": [ANSWER]}] * 64
