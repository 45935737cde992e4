"""``modeldrop audit`` against a running embedded cloud: what was asked there, and that nothing was done to it since."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.e2e.embedded_cloud import Cloud, command, running, scorecard


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("audit") / "data") as started:
        started.drop_live(scorecard("fraud", "v1"))
        yield started


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=60)


def test_what_was_asked_stands_there(cloud: Cloud, tmp_path: Path) -> None:
    assert run("pause", "fraud", "--url", cloud.url).returncode == 0
    assert run("rollback", "fraud", "--to", "v9", "--url", cloud.url).returncode == 1
    foreign = cloud.client.post("/v1/models/fraud:resume", json={}, headers={"Origin": "https://evil.example"})
    rebound = httpx.get(f"{cloud.url}/v1/models", headers={"Host": "evil.example"}, trust_env=False)
    assert (foreign.status_code, rebound.status_code) == (403, 421)

    listed = run("audit", "--url", cloud.url, "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    entries = json.loads(listed.stdout)["entries"]
    found = [(entry["caller"], entry["call"], entry["outcome"]) for entry in reversed(entries)]
    assert found[:4] == [
        ("local operator", "POST /v1/models/fraud:pause", "asked"),
        ("local operator", "POST /v1/models/fraud:pause", "accepted"),
        ("local operator", "POST /v1/models/fraud:rollback", "asked"),
        ("local operator", "POST /v1/models/fraud:rollback", "refused"),
    ]
    assert found[4] == ("", "POST /v1/models/fraud:resume", "refused")
    table = run("audit", "--url", cloud.url, "--limit", "1")
    assert ("POST /v1/models/fraud:" in table.stdout, "--all" in table.stderr) == (True, True)

    anchor = f"{entries[-1]['number']}:{entries[-1]['hash']}"
    verified = run("audit", "verify", "--data", str(cloud.data), "--anchor", anchor)
    assert (verified.returncode, f"audit trail: {len(entries)} entries" in verified.stdout) == (0, True)
    copy = tmp_path / "copy"
    copy.mkdir()
    old, new = (sqlite3.connect(folder / "documents.sqlite") for folder in (cloud.data, copy))
    with closing(old), closing(new), new:
        old.backup(new)
        new.execute("DELETE FROM documents WHERE collection = 'audit' AND id = '000000000003'")
    broken = run("audit", "verify", "--data", str(copy))
    assert (broken.returncode, "the audit trail is broken at entry 3" in broken.stderr) == (1, True)
