"""The embedded cloud in a process of its own, as a user starts it, with packages to drop into it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from modeldrop.ports import ServedVersion
from tests.bench.cold_import import ROOT

START_SECONDS = 60.0
STOP_SECONDS = 30.0
PACKAGES = ROOT / "examples" / "flights" / "packages"
NO_BAKE = (
    "rollout: {strategy: canary, steps: [5, 20, 50, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n"
)


@dataclass(frozen=True)
class Cloud:
    """A running embedded cloud: a client of its address, and its data folder."""

    client: httpx.Client
    data: Path

    @property
    def bucket(self) -> Path:
        """The folder that is the bucket."""
        return self.data / "bucket"

    def drop_policy(self, model: str, policy: str) -> None:
        """Put the model's policy into the bucket."""
        folder = self.bucket / "policies"
        folder.mkdir(exist_ok=True)
        (folder / f"{model}.yaml").write_text(policy)

    def version(self, model: str, version: str) -> dict[str, Any]:
        """What the API says of a version; empty while there is none."""
        answer = self.client.get(f"/v1/models/{model}/versions/{version}")
        facts: dict[str, Any] = answer.json() if answer.is_success else {}
        return facts

    def answering(self, model: str, instance: dict[str, Any]) -> str | None:
        """The version that answers now; None if none does."""
        answer = self.client.post(f"/v1/endpoints/{model}:predict", json={"instances": [instance]})
        return answer.json()["modelVersionId"] if answer.is_success else None


def flights_metadata(model: str, version: str) -> bytes:
    """The metadata of an example package, under another model's name."""
    metadata = json.loads((PACKAGES / version / "metadata.json").read_bytes())
    return json.dumps(metadata | {"model": model}).encode()


def flight() -> dict[str, Any]:
    """One instance the example packages can score."""
    with (PACKAGES.parent / "rows.jsonl").open() as rows:
        instance: dict[str, Any] = json.loads(next(rows))["features"]
    return instance


def flights_version(folder: Path, model: str, version: str) -> ServedVersion:
    """The same package for a worker that is started by hand, its metadata in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    content = flights_metadata(model, version)
    (folder / "metadata.json").write_bytes(content)
    return ServedVersion(model, version, sha256(content).hexdigest(), "scorecard", folder.resolve().as_uri())


@contextmanager
def running_cloud(data: Path) -> Iterator[Cloud]:
    """``modeldrop up`` with its usual pace, until the block ends."""
    command = [sys.executable, "-m", "modeldrop.cli", "up", "--port", "0", "--data", str(data)]
    environment = os.environ | {"MODELDROP_LOG_LEVEL": "ERROR"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            with httpx.Client(base_url=_address(process), timeout=30, trust_env=False) as client:
                yield Cloud(client, data)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if ready else ""
    if " ready at " not in line:
        raise RuntimeError(f"modeldrop up did not start: {line!r}")
    return line.split(" ready at ")[1].split()[0]
