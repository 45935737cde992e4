"""The embedded cloud end to end: packages copied into a folder become live, answering models, whatever interrupts."""

import base64
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.ports import BucketObject
from tests.e2e.embedded_cloud import QUICK, REPOSITORY, Cloud, command, running, scorecard, until

PUBLISH = "/v1/projects/any/topics/predictions:publish"
SLOW = "rollout: {strategy: canary, steps: [20, 100], bake_seconds: 1.5, min_requests: 0, keep_warm_seconds: 0}\n"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One for all tests that leave it as it is; each uses models of its own."""
    with running(tmp_path_factory.mktemp("shared") / "data") as started:
        yield started


def test_the_ready_line_names_an_address_of_this_machine_alone(cloud: Cloud) -> None:
    assert cloud.ready_line == f"modeldrop is ready at {cloud.url} (bucket: {cloud.data / 'bucket'})\n"
    assert cloud.get("/v1")["name"] == "modeldrop"
    cloud.drop_live(scorecard("alone", "v1"))
    listening = [
        connection.laddr.ip
        for process in cloud.family()
        for connection in process.net_connections(kind="all")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2, "the cloud's own server and a worker"
    assert set(listening) == {"127.0.0.1"}


def test_answers_do_not_wait_for_an_acknowledgement(cloud: Cloud) -> None:
    """Without TCP_NODELAY each answer takes 40 ms, but for the first few of a connection; with it about one."""
    seconds = [cloud.client.get("/").elapsed.total_seconds() for _ in range(60)]
    assert median(seconds) < 0.03


def test_a_first_version_goes_live_and_a_better_one_takes_over_step_by_step(cloud: Cloud) -> None:
    cloud.put("policies/fraud.yaml", SLOW)
    cloud.drop_live(scorecard("fraud", "v1"))
    assert cloud.ask("fraud", 10) == {"v1": 10}
    cloud.drop(scorecard("fraud", "v2", f1=0.7))
    canary = {"v1": 80, "v2": 20}
    until(lambda: _traffic(cloud, "fraud") == canary, "v2 has its share")
    splits = []
    while _traffic(cloud, "fraud") == canary:
        splits.append(cloud.ask("fraud", 10))
    assert splits[:-1], "the step lasted long enough to count"
    assert all(split == {"v1": 8, "v2": 2} for split in splits[:-1])  # the last ten may be of the next step
    cloud.wait_for("fraud", "v2", "live")
    assert cloud.ask("fraud", 10) == {"v2": 10}
    assert cloud.status("fraud", "v1") == "superseded"
    record = json.loads((cloud.data / "bucket/models/fraud/v2/deployment_info.json").read_bytes())
    assert record["verdict"] == "approved"
    until(lambda: cloud.workers()["fraud", "v1"] == 0, "v1 is taken off its endpoint")


def test_two_packages_dropped_at_once_end_with_the_better_one(cloud: Cloud) -> None:
    for metadata in (scorecard("twice", "v2", f1=0.8), scorecard("twice", "v1", f1=0.5)):
        cloud.drop(metadata)
    cloud.wait_for("twice", "v2", "live")
    cloud.wait_for("twice", "v1", "superseded")
    assert cloud.ask("twice", 5) == {"v2": 5}


def test_metadata_copied_slowly_are_not_read_half(cloud: Cloud) -> None:
    content = json.dumps(scorecard("slowly", "v1", padding="x" * 20_000)).encode()
    cloud.put("policies/slowly.yaml", QUICK)
    path = cloud.put("models/slowly/v1/metadata.json", b"")
    with path.open("wb") as file:
        for start in range(0, len(content), 500):
            file.write(content[start : start + 500])
            file.flush()
            time.sleep(0.02)  # no waiting for anything: this is how slow the copy is, about a second in all
    assert cloud.status("slowly", "v1") is None, "half a file would be a rejected version by now"
    cloud.wait_for("slowly", "v1", "live")


def test_a_rejected_file_may_be_replaced_and_an_approved_one_stays(cloud: Cloud) -> None:
    cloud.put("models/replaced/v1/metadata.json", "{")
    cloud.wait_for("replaced", "v1", "rejected")
    cloud.rejection("models/replaced/v1")
    cloud.drop_live(scorecard("replaced", "v1"))
    until(lambda: not (cloud.data / "bucket/models/replaced/v1/rejection.json").exists(), "no rejection any more")
    digest = _digest(cloud, "replaced", "v1")

    cloud.drop(scorecard("replaced", "v1", f1=0.9))
    reasons = cloud.rejection("models/replaced/v1")["reasons"]
    assert len(reasons) == 1
    assert "a version never changes" in reasons[0]
    assert _digest(cloud, "replaced", "v1") == digest
    assert cloud.ask("replaced") == {"v1": 1}


def test_our_own_records_are_no_uploads(cloud: Cloud) -> None:
    cloud.drop_live(scorecard("own", "v1"))
    cloud.wait_until_settled("own")
    info = cloud.data / "bucket/models/own/v1/deployment_info.json"
    until(lambda: _is_told(cloud, "models/own/v1/deployment_info.json"), "the record was told")
    before = _revisions(cloud, "own", "v1")
    names = [f"models/own/v1/{name}" for name in ("deployment_info.json", "model_comparison.json", "rejection.json")]
    for name in names:
        cloud.put(name, '{"model": "own", "version": "v9"}')
    until(lambda: all(_is_told(cloud, name) for name in names), "the changed records were told")
    cloud.put("verified/own/v9/metadata.json", json.dumps(scorecard("own", "v9")))
    cloud.drop_live(scorecard("own-witness", "v1"))
    assert _revisions(cloud, "own", "v1") == before
    assert json.loads(info.read_bytes())["version"] == "v9", "nothing was written again"
    assert not any(name.startswith("verified/") for name in _told(cloud))
    for name in (*names, "verified/own/v9/metadata.json"):
        event = {"message": {"attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": "b", "objectId": name}}}
        assert cloud.client.post("/functions/model_uploaded", json=event).json() == {"status": "ignored"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"messages": []}',
        b'{"messages": [{}]}',
        b'{"messages": [{"data": "*"}]}',
        '{"messages": [{"data": "é"}]}'.encode(),
        b'{"messages": [{"data": 1}]}',
        b'{"messages": [{"data": "e30=", "attributes": {"a": 1}}]}',
        b'{"messages": [{"data": "e30=", "attributes": {"googclient": ""}}]}',
        b'{"messages": [{"data": "e30="}, {"data": ""}]}',
        b'{"messages": [{"data": "e30=", "data": "e30="}]}',
        b'{"messages": ' + b"[" * 100_000,
        b'{"messages": [{"data": "\\ud800"}]}',
    ],
)
def test_a_bad_publish_is_a_problem_and_stores_nothing(cloud: Cloud, body: bytes) -> None:
    before = _last_message(cloud)
    answer = cloud.client.post(PUBLISH, content=body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["detail"]
    assert _last_message(cloud) == before


def test_messages_are_published_with_the_body_of_the_pubsub_rest_api(cloud: Cloud) -> None:
    message = {"data": base64.b64encode(b'{"type": "label"}').decode(), "attributes": {"a": "é"}, "orderingKey": ""}
    answer = cloud.client.post(PUBLISH, json={"messages": [message, {"attributes": {"only": "this"}}]})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["messageIds"]
    assert first != second
    assert _last_message(cloud) == int(second)
    too_large = base64.b64encode(b"x" * 10_000_000).decode()
    assert cloud.client.post(PUBLISH, json={"messages": [{"data": too_large}]}).status_code == 413


def test_what_is_not_there_is_a_problem(cloud: Cloud) -> None:
    message = {"messages": [{"data": "e30="}]}
    for method, path, status in (
        ("POST", "/v1/projects/any/topics/unknown:publish", 404),
        ("POST", "/v1/projects/any/topics/a%2Fb:publish", 404),
        ("POST", "/v1/projects/any/topics/x%00:publish", 404),
        ("GET", PUBLISH, 405),
        ("POST", "/functions/unknown", 404),
        ("POST", "/functions/predict", 404),
        ("POST", "/functions/%2e%2e", 404),
        ("POST", "/functions/", 404),
        ("POST", "/v1/endpoints/nobody:predict", 404),
        ("GET", "/v1/endpoints/nobody:predict", 405),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/nothing", 404),
    ):
        answer = cloud.client.request(method, path, json=message)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), (path, answer.text)
        assert answer.json()["status"] == status
    assert "model_uploaded" in cloud.client.post("/functions/unknown").json()["detail"]
    assert cloud.client.post("/functions/health_tick", json={}).json()["status"] == "ok"


def test_a_request_that_is_too_large_is_refused(cloud: Cloud) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(33):
            yield b" " * (1 << 20)

    declared = cloud.client.post("/functions/model_uploaded", content=b" " * (33 << 20))
    assert (declared.status_code, declared.headers["content-type"]) == (413, PROBLEM)
    undeclared = cloud.client.post("/functions/model_uploaded", content=pieces())
    assert (undeclared.status_code, undeclared.headers["content-type"]) == (413, PROBLEM)
    assert cloud.get("/v1")["name"] == "modeldrop"


def test_a_port_or_a_folder_in_use_is_said_in_one_line(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, reason in (
            (["--port", port, "--data", str(tmp_path / "other")], f"port {port} cannot be used"),
            (["--port", "0", "--data", str(cloud.data)], "is in use by another modeldrop up"),
            (["--port", "0", "--data", str(tmp_path / "file" / "below")], "cannot be the data folder"),
        ):
            run = subprocess.run(command("up", *arguments), capture_output=True, text=True, timeout=30, check=False)
            assert run.returncode == 2, run.stderr
            assert run.stdout == ""
            assert reason in run.stderr
            assert run.stderr.count("\n") == 1
    assert cloud.get("/v1")["name"] == "modeldrop"


def test_data_survive_a_restart_and_what_came_meanwhile_is_taken(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as cloud:
        cloud.drop_live(scorecard("kept", "v1"), scorecard("kept", "v2", f1=0.7))
        cloud.wait_until_settled("kept")
        until(lambda: _all_is_told(cloud), "all was told")
        before = cloud.get("/v1/models/kept")
        revisions, told = _revisions(cloud, "kept", "v2"), _told(cloud)
        assert cloud.end(signal.SIGINT) == 0
    assert "Traceback" not in cloud.log.read_text()
    cloud.drop(scorecard("meanwhile", "v1"))
    with running(data) as cloud:
        until(lambda: cloud.answers("kept"), "it answers again")
        assert cloud.ask("kept", 5) == {"v2": 5}
        cloud.wait_for("meanwhile", "v1", "live")
        assert cloud.get("/v1/models/kept") == before
        assert _revisions(cloud, "kept", "v2") == revisions, "nothing is registered again"
        assert {name: _told(cloud)[name] for name in told} == told
        assert cloud.workers() == {("kept", "v2"): 1, ("meanwhile", "v1"): 1}
        assert cloud.end(signal.SIGTERM) == 0
    assert "Traceback" not in cloud.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_interrupted_goes_on_to_its_end(tmp_path: Path, number: signal.Signals) -> None:
    """One model bakes and another one deploys when everything ends: nothing is left over, and both become live."""
    data = tmp_path / "data"
    with running(data) as cloud:
        cloud.drop_live(scorecard("baked", "v1"))
        cloud.put("policies/baked.yaml", SLOW)
        cloud.drop(scorecard("baked", "v2", f1=0.7))
        until(lambda: _phase(cloud, "baked") == "baking", "v2 bakes")
        cloud.drop(scorecard("deployed", "v1"))
        until(lambda: _phase(cloud, "deployed") == "deploying", "another model is being deployed")
        assert _phase(cloud, "baked") == "baking"
        assert cloud.end(number) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    with running(data) as cloud:
        cloud.wait_for("deployed", "v1", "live")
        cloud.wait_for("baked", "v2", "live")
        assert cloud.ask("deployed", 5) == {"v1": 5}
        assert cloud.ask("baked", 5) == {"v2": 5}
        assert _phases(cloud, "deployed") == ["uploading deploying shifting baking live"]
        assert _phases(cloud, "baked") == [
            "uploading deploying shifting baking shifting baking live",
            "uploading deploying shifting baking live",
        ]
        until(lambda: cloud.workers() == {("baked", "v2"): 1, ("deployed", "v1"): 1}, "one worker for each")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_it_as_well(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    process = subprocess.Popen(
        command("up", "--port", "0", "--data", str(data)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until((data / "in-use").exists, "it has begun to start")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode >= 0, "it ended in order, not by the signal itself"
    assert b"Traceback" not in errors
    with running(data) as cloud:  # the folder is free again
        assert cloud.get("/v1/models")["models"] == []


RECORDER = """
import base64, os
import functions_framework
from pathlib import Path

@functions_framework.http
def prediction_logged(request):
    message = request.get_json()["message"]
    with (Path(os.environ["MODELDROP_DATA"]) / "received").open("ab") as file:
        file.write(base64.b64decode(message["data"]) + b"\\n")
    return "ok"
"""


@pytest.mark.emulator("firestore")
@pytest.mark.emulator("pubsub")
def test_on_the_official_emulators(tmp_path: Path) -> None:
    """Registry in Firestore, topics in Pub/Sub, which pushes to our function; a restart reads the bucket again."""
    data, source = tmp_path / "data", _checkout_with(tmp_path / "checkout", "prediction_logged", RECORDER)
    for start in (1, 2):
        with running(data, "--emulators", source=source) as cloud:
            assert "in the emulators and end with them" in cloud.ready_line
            if start == 1:
                cloud.drop_live(scorecard("emulated", "v1"), scorecard("emulated", "v2", f1=0.7))
            cloud.wait_for("emulated", "v2", "live")
            assert cloud.ask("emulated", 5) == {"v2": 5}
            cloud.client.post(PUBLISH, json=_messages(b"%d" % start)).raise_for_status()
            until(lambda: _lines(data / "received")[start - 1 :] == [b"%d" % start], "the message was pushed")  # noqa: B023
            assert (
                cloud.client.post(PUBLISH.replace("predictions", "unknown"), json=_messages(b"{}")).status_code == 404
            )
            java = [process for process in cloud.family() if process.name() == "java"]
            assert len(java) == 2
            assert cloud.end(signal.SIGINT if start == 1 else signal.SIGKILL) == (0 if start == 1 else -signal.SIGKILL)
    assert not (data / "documents.sqlite").exists()
    assert not (data / "topics.sqlite").exists()


def test_missing_emulators_are_named_with_the_remedy(tmp_path: Path) -> None:
    arguments = command("up", "--port", "0", "--data", str(tmp_path / "data"), "--emulators")
    environment = {"PATH": "", "HOME": str(tmp_path), "CLOUDSDK_ROOT_DIR": str(tmp_path)}
    run = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "firestore emulator: " in run.stderr
    assert "install" in run.stderr
    assert run.stderr.count("\n") == 1


def _checkout_with(folder: Path, function: str, main: str) -> Path:
    """A copy of this checkout's product with one more function."""
    for name in ("shared", "functions"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "functions" / function).mkdir(exist_ok=True)
    (folder / "functions" / function / "main.py").write_text(main)
    return folder


def _messages(data: bytes) -> dict[str, Any]:
    return {"messages": [{"data": base64.b64encode(data).decode()}]}


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _phase(cloud: Cloud, model: str) -> str | None:
    answer = cloud.client.get(f"/v1/models/{model}/rollouts")
    return answer.json()["rollouts"][0]["phase"] if answer.status_code == 200 and answer.json()["rollouts"] else None


def _phases(cloud: Cloud, model: str) -> list[str]:
    """What each rollout went through, the newest first."""
    rollouts = cloud.get(f"/v1/models/{model}/rollouts")["rollouts"]
    return [" ".join(entry["phase"] for entry in rollout["entries"]) for rollout in rollouts]


def _traffic(cloud: Cloud, model: str) -> dict[str, int]:
    traffic: dict[str, int] = cloud.get(f"/v1/models/{model}")["endpoint"]["traffic"]
    return traffic


def _told(cloud: Cloud) -> dict[str, int]:
    """Generations of files that were delivered and acknowledged."""
    with sqlite3.connect(cloud.data / "uploads.sqlite") as connection:
        return dict(connection.execute("SELECT name, generation FROM told"))


def _is_told(cloud: Cloud, name: str) -> bool:
    live = FolderBucket(cloud.data / "bucket").stat(name)
    return live is not None and _told(cloud).get(name) == live.generation


def _all_is_told(cloud: Cloud) -> bool:
    told = _told(cloud)
    return all(told.get(found.name) == found.generation for found in _uploads(cloud))


def _uploads(cloud: Cloud) -> list[BucketObject]:
    """Every file of the bucket that may be told; those under ``verified/`` never are."""
    files = FolderBucket(cloud.data / "bucket").list("", limit=1_000)
    return [found for found in files if not found.name.startswith("verified/")]


def _revisions(cloud: Cloud, model: str, version: str) -> tuple[str | None, str | None]:
    found = cloud.registry().version(model, version)
    assert found is not None
    return cloud.registry().head(model).revision, found.revision


def _digest(cloud: Cloud, model: str, version: str) -> str:
    found = cloud.version(model, version)
    assert found is not None
    return str(found["digest"])


def _last_message(cloud: Cloud) -> int:
    with sqlite3.connect(cloud.data / "topics.sqlite") as connection:
        row: Any = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    return row[0] if row else 0
