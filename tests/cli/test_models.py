"""Commands about models against a running cloud: one model, lists, what is watched, and reports as JSON."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from tests.e2e.embedded_cloud import Cloud, command, running, scorecard
from tests.servers.json_api import Answered, Fault, JsonApi

KEYS = '{"team": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyLWJ5dGVz"}'


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Fraud, whose v2 serves after v1."""
    with running(tmp_path_factory.mktemp("models") / "data") as started:
        started.drop_live(scorecard("fraud", "v1"), scorecard("fraud", "v2", 0.9))
        started.wait_until_settled("fraud")
        yield started


def run(cloud: Cloud, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--url", cloud.url, *arguments])


def printed(cloud: Cloud, *arguments: str) -> dict[str, object]:
    shown = run(cloud, *arguments, "--json")
    assert (shown.exit_code, shown.stderr) == (0, "")
    found: dict[str, object] = json.loads(shown.stdout)
    return found


def test_one_model(cloud: Cloud) -> None:
    shown = run(cloud, "status", "fraud")
    assert shown.exit_code == 0
    rows = dict(line.replace("│", " ").split(maxsplit=1) for line in shown.stdout.splitlines() if "━" not in line)
    assert rows["production"].strip() == "v2" and rows["previous"].strip() == "v1"
    assert rows["traffic"].strip() == "v2 100 %"
    assert printed(cloud, "status", "fraud") == cloud.get("/v1/models/fraud")
    nobody = run(cloud, "status", "nobody")
    assert (nobody.exit_code, nobody.stdout) == (1, "")


def test_rollouts_one_and_all(cloud: Cloud) -> None:
    rollouts = cloud.get("/v1/models/fraud/rollouts")["rollouts"]
    latest = run(cloud, "rollouts", "fraud").stdout
    assert f"{rollouts[0]['id']}: live" in latest and "ago" in latest
    first = run(cloud, "rollouts", "fraud", rollouts[1]["id"])
    assert first.exit_code == 0 and f"{rollouts[1]['id']}: live" in first.stdout
    every = run(cloud, "rollouts", "fraud", "--all").stdout
    assert all(one["id"] in every for one in rollouts)
    limited = run(cloud, "rollouts", "fraud", "--limit", "1")
    assert rollouts[0]["id"] in limited.stdout and rollouts[1]["id"] not in limited.stdout
    assert limited.stderr == "there are more: --all shows them\n"
    assert printed(cloud, "rollouts", "fraud", rollouts[1]["id"])["version"] == "v1"


def test_times_are_for_people_and_exact_for_programs(cloud: Cloud) -> None:
    shown = run(cloud, "versions", "fraud").stdout
    assert re.search(r"v2 .* \d+ d ago", shown)
    assert "2026-01-02T00:00:00" in json.dumps(printed(cloud, "versions", "fraud"))
    assert re.search(r"promoted|live", run(cloud, "history", "fraud").stdout)


def test_a_table_that_is_watched_shows_what_changes(cloud: Cloud) -> None:
    ours, theirs = pty.openpty()
    words = command("status", "fraud", "--watch", "--url", cloud.url)
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        read_until(ours, "v2 100 %")
        assert run(cloud, "pause", "fraud").exit_code == 0
        read_until(ours, "local operator")
        process.send_signal(signal.SIGINT)
        assert read_until_end(ours).endswith("\x1b[?25h")
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        run(cloud, "resume", "fraud")
        os.close(ours)


def test_what_is_watched_stays_while_nobody_answers() -> None:
    row: dict[str, object] = dict.fromkeys(("production", "endpoint", "rollout", "paused", "health", "drift"))
    with JsonApi(lambda asked: Answered(200, {"models": [row | {"model": "fraud"}], "next": None})) as api:
        api.inject(None, Fault("drop"))
        ours, theirs = pty.openpty()
        words = command("status", "--watch", "--url", api.url)
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        try:
            read_until(ours, "no answer: ")
            assert "fraud" in read_until(ours, "fraud"), "it looks again"
            process.send_signal(signal.SIGINT)
            read_until_end(ours)
            assert process.wait(30) == 130
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def test_what_cannot_be_watched(cloud: Cloud) -> None:
    for arguments, said in (((), "needs a terminal"), (("--json",), "exclude each other")):
        shown = run(cloud, "status", "--watch", *arguments)
        assert (shown.exit_code, said in shown.stderr) == (2, True)


def test_packages_reported_as_json(cloud: Cloud, tmp_path: Path) -> None:
    archive, keys, folder = tmp_path / "fraud.tar.gz", tmp_path / "keys.json", tmp_path / "package"
    packed = printed(cloud, "package", "fraud", "v2", "-o", str(archive), "--data", str(cloud.data))
    assert packed["files"] == 2 and archive.is_file()
    assert printed(cloud, "verify", str(archive)) == {"ok": True, "signature": "not signed"}
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(scorecard("fraud", "v3")))
    keys.write_text(KEYS)
    signed = printed(cloud, "sign", str(folder), "--key-id", "team", "--keys", str(keys))
    assert signed == {"files": 1, "key_id": "team"}
    (folder / "metadata.json").write_text("{}")
    broken = run(cloud, "verify", str(folder), "--json")
    assert broken.exit_code == 1
    assert len(json.loads(broken.stdout)["problems"]) == len(broken.stderr.splitlines()) > 0


def test_a_backup_beside_the_command_line_s_own_variables(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELDROP_BACKEND", "local")
    monkeypatch.setenv("MODELDROP_AUTH", "none")
    monkeypatch.setenv("MODELDROP_DATA", str(cloud.data))
    monkeypatch.setenv("MODELDROP_URL", cloud.url)
    monkeypatch.setenv("MODELDROP_TIMEOUT", "5")
    shown = CliRunner().invoke(app, ["backup", str(tmp_path / "saved"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["unsettled"] == []
    monkeypatch.setenv("MODELDROP_COLOUR", "red")
    assert CliRunner().invoke(app, ["backup", str(tmp_path / "other")]).exit_code == 2


def read_until(descriptor: int, text: str, seconds: float = 30.0) -> str:
    """What the screen gets until the text is there."""
    shown, deadline = "", time.monotonic() + seconds
    while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"not within {seconds:g} s: {text!r} in {shown!r}"
        shown += os.read(descriptor, 65_536).decode(errors="replace")
    return shown


def read_until_end(descriptor: int) -> str:
    shown = ""
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # how a terminal without a user ends
            return shown.rstrip("\r\n ")
        shown += piece.decode(errors="replace")
