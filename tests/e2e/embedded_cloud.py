"""``modeldrop up`` as a user runs it: a real process, watched through files, HTTP and the process table."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.records.registry import Registry

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 40.0
GONE_SECONDS = 15.0
QUICK = "rollout: {strategy: canary, steps: [20, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n"


def until(holds: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Return once it holds; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def scorecard(model: str, version: str, f1: float = 0.5, **fields: object) -> dict[str, Any]:
    """Metadata of a package that can be served; ``fields`` replace or add."""
    day = int(version.removeprefix("v")) if version[1:].isdigit() else 1
    return {
        "model": model,
        "version": version,
        "runtime": "scorecard",
        "created_at": f"2026-01-{day:02d}T00:00:00Z",
        "metrics": {"f1": f1},
        "features": {"amount": {"type": "numeric"}},
        "parameters": {"intercept": -1.0, "coefficients": {"amount": f1}, "link": "logit", "threshold": 0.5},
    } | fields


@dataclass(frozen=True)
class Cloud:
    """A running embedded cloud, or one that has ended: its files stay."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    data: Path
    ready_line: str
    log: Path

    @property
    def url(self) -> str:
        """Its address."""
        return str(self.client.base_url).rstrip("/")

    def put(self, name: str, content: bytes | str) -> Path:
        """Copy a file into the bucket, as ``cp`` does."""
        path = self.data / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def drop(self, metadata: Mapping[str, Any]) -> None:
        """Put a package's metadata where its names say; first a policy that does not wait, where the model has none."""
        policy = f"policies/{metadata['model']}.yaml"
        if not (self.data / "bucket" / policy).exists():
            self.put(policy, QUICK)
        self.put(f"models/{metadata['model']}/{metadata['version']}/metadata.json", json.dumps(metadata))

    def drop_live(self, *packages: Mapping[str, Any]) -> None:
        """Drop one after the other, each once the one before is live."""
        for metadata in packages:
            self.drop(metadata)
            self.wait_for(metadata["model"], metadata["version"], "live")

    def get(self, path: str) -> dict[str, Any]:
        """A JSON answer of the API that must be 200."""
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def version(self, model: str, version: str) -> dict[str, Any] | None:
        """A version as the API tells it, or None."""
        response = self.client.get(f"/v1/models/{model}/versions/{version}")
        assert response.status_code in (200, 404), response.text
        return response.json() if response.status_code == 200 else None

    def status(self, model: str, version: str) -> str | None:
        """The version's status, None where there is none."""
        found = self.version(model, version)
        return found["status"] if found else None

    def wait_for(self, model: str, version: str, status: str) -> None:
        """Until the version has the status."""
        until(lambda: self.status(model, version) == status, f"{model} {version} is {status}")

    def ask(self, model: str, count: int = 1) -> Counter[str]:
        """Who answers that many requests; every one must be answered with a score."""
        versions = Counter[str]()
        for _ in range(count):
            response = self.client.post(f"/v1/endpoints/{model}:predict", json={"instances": [{"amount": 2.0}]})
            assert response.status_code == 200, response.text
            assert set(response.json()["predictions"][0]) == {"score", "decision"}
            versions[response.json()["modelVersionId"]] += 1
        return versions

    def answers(self, model: str) -> bool:
        """Whether the endpoint answers now."""
        response = self.client.post(f"/v1/endpoints/{model}:predict", json={"instances": [{"amount": 2.0}]})
        return response.status_code == 200

    def registry(self) -> Registry:
        """The registry's records, read beside the running cloud."""
        return Registry(SqliteDocuments(self.data / "documents.sqlite"))

    def wait_until_settled(self, model: str) -> None:
        """Until a tick has nothing left to do at the model."""
        registry = self.registry()
        until(lambda: registry.head(model).value.is_settled, f"{model} is settled")

    def rejection(self, folder: str) -> dict[str, Any]:
        """``rejection.json`` of a package's folder, once it is there."""
        path = self.data / "bucket" / folder / "rejection.json"
        until(path.is_file, f"{path.name} in {folder!a}")
        record: dict[str, Any] = json.loads(path.read_bytes())
        return record

    def family(self) -> list[psutil.Process]:
        """The process and everything it has started, directly or not."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def workers(self) -> Counter[tuple[str, str]]:
        """How many worker processes (not counting their own children) each version has."""
        found = Counter[tuple[str, str]]()
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                environment = child.environ()
                if "MODELDROP_SERVED_MODEL" in environment:
                    found[environment["MODELDROP_SERVED_MODEL"], environment["MODELDROP_SERVED_VERSION"]] += 1
        return found

    def end(self, number: signal.Signals) -> int:
        """Send the signal; its exit code, once it and all it has started are gone."""
        started = self.family()[1:]
        self.process.send_signal(number)
        code = self.process.wait(GONE_SECONDS)
        left = _kill_what_is_left(started)
        assert not left, f"left over: {left}"
        return code


def command(*arguments: str) -> list[str]:
    """``modeldrop`` with these arguments, in this interpreter's environment."""
    return [sys.executable, "-m", "modeldrop.cli", *arguments]


@contextmanager
def running(data: Path, *options: str, source: Path | None = None, **environment: str) -> Iterator[Cloud]:
    """A cloud on the folder, from its ready line on. It may end before the block does; at the end all of it is gone.

    ``source``: the checkout it runs from, where not this one. ``environment``: variables to add.
    """
    arguments = ["up", "--port", "0", "--data", str(data), "--tick-seconds", "0.2", *options]
    log = data.parent / f"{data.name}.log"
    variables = os.environ | ({"PYTHONPATH": str(source / "shared")} if source else {}) | environment
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=errors, env=variables, start_new_session=True
        )
    try:
        line = _ready_line(process, log)
        url = line.split(" ready at ")[1].split()[0]
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as client:
            yield Cloud(process, client, data, line, log)
    finally:
        _end(process)


def _ready_line(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().decode()  # ends with the process, or the test's own time limit
    assert " ready at " in line, f"{line!r}; {log.read_text(errors='replace')[-2_000:]}"
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    """In order if it can, by force if not; also what it has started."""
    started: list[psutil.Process] = []
    if process.poll() is None:
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GONE_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait()
    _kill_what_is_left(started)
    if process.stdout is not None:
        process.stdout.close()


def _kill_what_is_left(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended within seconds; they are killed then."""
    _, left = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return left
