"""The deployer in a process of its own, with the real gcloud, against the server of tests/servers/deployments.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.deployments import Deployments

ROOT = Path(__file__).parents[2]
PROJECT, REGION = "my-project", "europe-west1"
IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/modeldrop/predict@sha256:{'0' * 64}"
ANSWERS = {
    "model_uploaded": {"status": "ignored"},
    "prediction_logged": {"status": "taken"},
    "health_tick": {"status": "ok"},
    "api": {"ticks": []},
}


def command(*arguments: str) -> list[str]:
    """A deployment whose smoke tests do not wait."""
    place = [f"--project={PROJECT}", f"--region={REGION}"]
    smoke = ["--smoke-pause-seconds=0", "--smoke-attempts=2"]
    return [sys.executable, "infra/deploy/deploy.py", *place, *smoke, *arguments]


def deploy(cloud: Deployments, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What came of a deployment; ``folder`` is gcloud's own."""
    return subprocess.run(
        command(*arguments),
        env=cloud.environment(folder),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def begin(cloud: Deployments, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A deployment that goes on; a group of its own, so that a test can do to it what a terminal does."""
    return subprocess.Popen(
        command(*arguments),
        env=cloud.environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        process_group=0,
    )


def uploaded(body: bytes) -> tuple[dict[str, Any], bytes]:
    """What an object is to be, and its content, of a small upload by gcloud, whose line ends are its own."""
    boundary = body.split(b"\n", 1)[0]
    about, content = body.removeprefix(boundary).split(boundary)[:2]
    return json.loads(about.split(b"\n\n", 1)[1]), content.split(b"\n\n", 1)[1].removesuffix(b"\n")
