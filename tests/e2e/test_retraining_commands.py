"""Retraining by hand on the embedded cloud: a real command, a signed request at a real target, and what people see."""

import hashlib
import hmac
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from tests.e2e.embedded_cloud import QUICK, Cloud, command, running, scorecard, until
from tests.servers.receiver import Receiver, Reply

MODEL = "fraud"
SECRET = "a secret of the target"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Cloud]:
    """v1 serves; who trains and who is told are at the receiver."""
    target = f"{{type: webhook, url: '{receiver.url}/train', secret: 'env:MODELDROP_SECRET_TRAIN'}}"
    channel = f"{{type: webhook, url: '{receiver.url}/tell', on: [retraining]}}"
    data = tmp_path_factory.mktemp("retraining") / "data"
    with running(data, MODELDROP_SECRET_TRAIN=SECRET) as started:
        started.put(f"policies/{MODEL}.yaml", f"{QUICK}retrain: {{target: {target}}}\nnotify: [{channel}]\n")
        started.drop_live(scorecard(MODEL, "v1"))
        yield started


@pytest.fixture(scope="module")
def asked(cloud: Cloud, receiver: Receiver) -> str:
    """The episode that a command opened, once its run is started; the target fails at first."""
    receiver.then(Reply(503))
    run = _run("retrain", MODEL, "--why", "new labels", "--url", cloud.url)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"accepted: {MODEL}-")
    episode = run.stdout.split()[1]
    until(lambda: _episode(cloud)["status"] == "running", "the run is started")
    return episode


def test_the_target_gets_a_signed_request_with_the_episode_as_its_key(
    cloud: Cloud, receiver: Receiver, asked: str
) -> None:
    requests = [request for request in receiver.received if request.path == "/train"]
    assert [request.headers["idempotency-key"] for request in requests] == [asked] * len(requests)
    assert len(requests) == 2 or receiver.received[0].path == "/tell"  # whoever came first got the 503
    signature = hmac.new(SECRET.encode(), requests[-1].body, hashlib.sha256).hexdigest()
    assert requests[-1].headers["x-modeldrop-signature"] == f"sha256={signature}"
    assert requests[-1].json()["episode"] == asked
    assert SECRET not in cloud.log.read_text()


def test_people_see_the_episode_and_cannot_open_another(cloud: Cloud, asked: str) -> None:
    shown = _run("retraining", MODEL, "--url", cloud.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{MODEL}: {asked} is open" in shown.stdout
    row = next(line for line in shown.stdout.splitlines() if line.startswith(asked))
    assert [part in row for part in ("manual", "running", "new labels")] == [True] * 3
    printed = json.loads(_run("retraining", MODEL, "--url", cloud.url, "--json").stdout)
    assert [episode["id"] for episode in printed["episodes"]] == [asked]
    again = _run("retrain", MODEL, "--url", cloud.url)
    assert (again.returncode, again.stdout) == (1, f"refused: the episode {asked} is open\n")


def test_people_see_who_was_told(cloud: Cloud, receiver: Receiver, asked: str) -> None:
    def told() -> list[str]:
        rows = cloud.get(f"/v1/models/{MODEL}/deliveries")["deliveries"]
        return [row["what"] for row in rows if any(one["status"] == "delivered" for one in row["deliveries"])]

    until(lambda: "retraining asked for" in told(), "it is told")
    shown = _run("deliveries", MODEL, "--url", cloud.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    row = next(line for line in shown.stdout.splitlines() if "v1: retraining asked for" in line)
    assert "webhook 127.0.0.1" in row and "delivered" in row
    (request,) = [r for r in receiver.received if r.path == "/tell" and r.json()["what"] == "retraining asked for"][-1:]
    assert request.json()["link"] == f"{cloud.url}/v1/models/{MODEL}"
    printed = json.loads(_run("deliveries", MODEL, "--url", cloud.url, "--json").stdout)
    assert printed.keys() >= {"deliveries", "waiting", "next"}


def test_ticks_come_at_their_pace_and_one_that_does_not_is_said(cloud: Cloud) -> None:
    until(lambda: len(cloud.get("/v1/ticks")["ticks"]) >= 3, "every tick came")
    assert {tick["tick"]: (tick["interval_seconds"], tick["stale"]) for tick in cloud.get("/v1/ticks")["ticks"]} == {
        "health_tick": (0.2, False),
        "outbox_tick": (0.2, False),
        "retrain_tick": (0.2, False),
    }
    assert _run("status", "--url", cloud.url).stderr == ""
    long_ago = datetime.now(UTC) - timedelta(days=1)
    gone = Heartbeat("other_tick", long_ago, 1.0, "ok", 1, 0, 60.0)
    Heartbeats(SqliteDocuments(cloud.data / "documents.sqlite")).beat(gone)
    shown = _run("status", "--url", cloud.url)
    assert (shown.returncode, MODEL in shown.stdout) == (0, True)
    assert shown.stderr == "warning: other_tick has not come for a while: does its scheduler run?\n"
    assert _run("status", "--url", cloud.url, "--json").stderr == ""


def _episode(cloud: Cloud) -> dict[str, str]:
    episode: dict[str, str] = cloud.get(f"/v1/models/{MODEL}/retraining")["episodes"][0]
    return episode


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELDROP_")}
    environment |= {"COLUMNS": "240"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False, env=environment)
