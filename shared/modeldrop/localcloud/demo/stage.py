"""Where the demo plays: an embedded cloud in a process of its own, and what every step is told and checked with."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from modeldrop.errors import ModeldropError
from modeldrop.localcloud.dropping import drop_package

START_SECONDS = 30.0
STEP_SECONDS = 30.0
LINES_SHOWN = 20  # of each log, where a step fails


class StepFailed(ModeldropError):
    """Something the demo promises did not come true."""


class Stage:
    """The cloud as its users see it: the API, the endpoint, the bucket; and the packages that are dropped."""

    def __init__(self, client: httpx.Client, bucket: Path, examples: Path) -> None:
        self.client = client
        self.bucket = bucket
        self.packages = examples / "packages"

    def drop_until(self, version: str, status: str) -> float:
        """Drop a package as it is in the examples; the seconds until it has that status."""
        started = time.monotonic()
        drop_package(self.packages / version, self.bucket)
        self.wait(version, status)
        return time.monotonic() - started

    def put(self, version: str, content: bytes) -> None:
        """Drop metadata alone."""
        folder = self.bucket / "models/flights" / version
        folder.mkdir()
        (folder / "metadata.json").write_bytes(content)

    def wait(self, version: str, status: str) -> None:
        """Until the version has that status."""
        until(lambda: self.status(version) == status, f"{version} is {status} within {STEP_SECONDS:g} s")

    def status(self, version: str) -> str | None:
        """None: the version is not known."""
        answer = self.client.get(f"/v1/models/flights/versions/{version}")
        return answer.json()["status"] if answer.is_success else None

    def model(self) -> dict[str, Any]:
        """The model's row in the API."""
        return self.get("/v1/models/flights")

    def get(self, path: str) -> dict[str, Any]:
        """What the API answers."""
        answer: dict[str, Any] = self.client.get(path).raise_for_status().json()
        return answer

    def decision(self, version: str) -> dict[str, Any]:
        """Why the gate decided as it did."""
        return self.get(f"/v1/models/flights/versions/{version}/explain")

    def why(self, version: str) -> str:
        """The same in words."""
        return "; ".join(self.decision(version)["reasons"])

    def ask(self, flights: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        """Ask about flights, in one request; the answers, and the version that gave them."""
        response = self.client.post("/v1/endpoints/flights:predict", json={"instances": flights})
        hold(response.is_success, "the endpoint answers", response.text)
        answer = response.json()
        return answer["predictions"], answer["modelVersionId"]

    def ask_singly(self, flights: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str]]:
        """The same, one flight a request; how many answers each version gave. None may fail."""
        answers, versions = [], Counter[str]()
        for flight in flights:
            (prediction,), version = self.ask([flight])
            hold("error" not in prediction, "every flight gets a score", prediction)
            answers.append(prediction)
            versions[version] += 1
        return answers, versions


@contextmanager
def cloud(data: Path, secrets: dict[str, str]) -> Iterator[str]:
    """``modeldrop up`` in a process of its own, as a user starts it; yields its address.

    What it and its workers write is shown, the last lines of each, if the block ends with an error.
    """
    command = [sys.executable, "-m", "modeldrop.cli", "up", "--port", "0", "--data", str(data), "--tick-seconds", "0.5"]
    environment = os.environ | {"MODELDROP_LOG_LEVEL": os.environ.get("MODELDROP_LOG_LEVEL", "WARNING")} | secrets
    log = data / "cloud.log"
    try:
        with log.open("w") as errors, _process(command, environment, errors) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " ready at " not in line:
                raise StepFailed(f"modeldrop up did not start: {line or 'see above'}")
            yield line.split(" ready at ")[1].split()[0]
    except Exception:
        for path in [log, *sorted((data / "logs").glob("*.log"))]:
            _show_end(path)
        raise


@contextmanager
def _process(command: list[str], environment: dict[str, str], errors: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Runs until the block ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=errors, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _show_end(log: Path) -> None:
    """The last lines of a log, if it has any."""
    lines = log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
    if lines:
        say("\n".join([f"\n-- the end of {log.name}", *lines]))


def keep(url: str) -> None:
    """Leave it up until Ctrl-C."""
    say(f"\nKEEP=1: still up at {url} until Ctrl-C (API: {url}/v1/models)")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("")


def until(holds: Callable[[], bool], claim: str) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + STEP_SECONDS
    while not holds():
        hold(time.monotonic() < deadline, claim, "not yet")
        time.sleep(0.05)


def hold(holds: bool, claim: str, seen: object) -> None:
    """A claim of the demo: it holds, or the demo ends here."""
    if not holds:
        raise StepFailed(f"this did not hold: {claim} (seen: {seen})")


def headline(text: str) -> None:
    """A step begins."""
    say(f"\n== {text}")


def say(text: str) -> None:
    """A line for whoever watches."""
    print(text, flush=True)
