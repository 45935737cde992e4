"""``modeldrop demo``: the main job, played on a real embedded cloud with real flights, step by step.

Every step states what must hold and is checked from outside: by the API, by the answers of the endpoint, by the
files in the bucket. The first that does not hold ends the demo with 1.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from modeldrop.errors import ConfigurationError, ModeldropError
from modeldrop.localcloud.cloud import functions_folder
from modeldrop.localcloud.dropping import drop_package

START_SECONDS = 30.0
STEP_SECONDS = 30.0
ROWS_AT_ONCE = 20
POLICY = """\
rollout: {strategy: canary, steps: [20, 50, 100], bake_seconds: 1, min_requests: 20}
"""


class StepFailed(ModeldropError):
    """Something the demo promises did not come true."""


def play() -> None:
    """The whole story. Raises StepFailed at the first step that does not hold."""
    examples = functions_folder().parent / "examples" / "flights"
    if not examples.is_dir():
        raise ConfigurationError("examples/flights was not found: run the demo in a checkout of modeldrop")
    with tempfile.TemporaryDirectory(prefix="modeldrop-demo-") as folder, _cloud(Path(folder)) as url:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            _Story(client, Path(folder) / "bucket", examples).tell()
        if os.environ.get("KEEP") == "1":
            _keep(url)


class _Story:
    """The steps, each told and checked."""

    def __init__(self, client: httpx.Client, bucket: Path, examples: Path) -> None:
        self._client = client
        self._bucket = bucket
        self._packages = examples / "packages"
        lines = (examples / "rows.jsonl").read_text().splitlines()
        self._rows: Iterator[dict[str, Any]] = cycle([json.loads(line) for line in lines])

    def tell(self) -> None:
        self._policy()
        self._first_version()
        self._better_version()
        self._worse_version()
        self._broken_package()
        self._failing_version()
        _say("\nEvery step held.")

    def _policy(self) -> None:
        _headline("A policy: 20 %, 50 %, 100 %, one second each (yours would say minutes)")
        policies = self._bucket / "policies"
        policies.mkdir()
        (policies / "flights.yaml").write_text(POLICY)
        _say("  policies/flights.yaml copied into the bucket")

    def _first_version(self) -> None:
        _headline("v1 is dropped: a delay model of New York flights, trained on January 2013")
        seconds = self._drop_until("v1", "live")
        _say(f"  live after {seconds:.1f} s; there was nothing to compare it with: {self._rule('v1')}")
        answers, versions = self._ask(ROWS_AT_ONCE)
        _hold(set(versions) == {"v1"}, f"all {ROWS_AT_ONCE} answers come from v1", versions)
        late = sum(answer["decision"] for answer in answers)
        _say(f"  asked about {ROWS_AT_ONCE} real flights, it expects {late} of them more than 15 minutes late")

    def _better_version(self) -> None:
        _headline("v2 is dropped: it knows the minutes of departure delay, the carrier and the route")
        drop_package(self._packages / "v2", self._bucket)
        shares: list[int] = []
        asked: Counter[str] = Counter()
        deadline = time.monotonic() + STEP_SECONDS
        while self._status("v2") != "live":
            _hold(time.monotonic() < deadline, f"v2 is live within {STEP_SECONDS:g} s", self._status("v2"))
            share = self._model()["endpoint"]["traffic"].get("v2", 0)
            _, versions = self._ask(ROWS_AT_ONCE)
            asked += versions
            if share not in shares[-1:]:
                shares.append(share)
                _say(f"  v2 has {share:3d} % of traffic")
        _hold({20, 50} <= set(shares), "v2 took over through 20 % and 50 %", shares)
        _hold(asked["v1"] > 0 and asked["v2"] > 0, "both versions answered meanwhile", dict(asked))
        _say(f"  live: {self._why('v2')}")
        _say(f"  while it took over, v1 answered {asked['v1']} flights and v2 {asked['v2']}; none was lost")

    def _worse_version(self) -> None:
        _headline("v3 is dropped: a careless run, two days of data, the features that matter left out")
        self._drop_until("v3", "rejected")
        _say(f"  rejected: {self._why('v3')}")
        record = json.loads((self._bucket / "models/flights/v3/rejection.json").read_text())
        _hold(record["rule"] == "no_improvement", "rejection.json beside it says why", record["rule"])
        _, versions = self._ask(ROWS_AT_ONCE)
        _hold(set(versions) == {"v2"}, "v2 goes on serving alone", versions)

    def _broken_package(self) -> None:
        _headline("v4 is dropped: somebody edited its metadata by hand")
        folder = self._bucket / "models/flights/v4"
        folder.mkdir()
        metadata = json.loads((self._packages / "v2/metadata.json").read_text())
        metadata |= {
            "version": "4",
            "created_at": "yesterday",
            "metrics": {"f1": "good"},
            "parameters": {"intercept": 1},
        }
        (folder / "metadata.json").write_text(json.dumps(metadata))
        self._wait("v4", "rejected")
        reasons = self._decision("v4")["reasons"]
        for reason in reasons:
            _say(f"  rejected: {reason}")
        _hold(len(reasons) == 4, "all four mistakes are named at once", reasons)

    def _failing_version(self) -> None:
        _headline("v5 is dropped: fine in training, but it needs a feature that live flights do not have")
        content = self._failing_metadata()
        self._put("v5", content)
        counts: Counter[str] = Counter()
        deadline = time.monotonic() + STEP_SECONDS
        while self._status("v5") != "rolled_back":
            _hold(time.monotonic() < deadline, f"v5 is rolled back within {STEP_SECONDS:g} s", self._status("v5"))
            counts += self._count_failures(ROWS_AT_ONCE)
        _say(f"  while it was a canary, {counts['v5 failed']} of its {counts['v5']} answers failed, none of v2's")
        _hold(counts["v5"] == counts["v5 failed"] > 0, "every answer of v5 failed", dict(counts))
        _hold(counts["v2 failed"] == 0, "v2 answered all the while", dict(counts))
        why = self._client.get("/v1/models/flights/versions/v5").json()["fallen"]
        _say(f"  rolled back by itself: {why}")
        _hold(self._model()["endpoint"]["traffic"] == {"v2": 100}, "v2 has all traffic again", self._model())
        _, versions = self._ask(ROWS_AT_ONCE)
        _hold(set(versions) == {"v2"}, "v2 answers alone", versions)
        self._put("v6", content)
        self._wait("v6", "rejected")
        _say(f"  the same bytes come again as v6: {self._why('v6')}")

    def _failing_metadata(self) -> bytes:
        metadata = json.loads((self._packages / "v2/metadata.json").read_text())
        del metadata["model"], metadata["version"]  # the folder names it
        metadata["created_at"] = "2026-02-01T09:00:00Z"
        metadata["metrics"] = {name: min(1.0, value + 0.05) for name, value in metadata["metrics"].items()}
        metadata["features"]["wind_gust"] = {"type": "numeric"}
        metadata["parameters"]["coefficients"]["wind_gust"] = 0.02
        return json.dumps(metadata).encode()

    def _put(self, version: str, content: bytes) -> None:
        folder = self._bucket / "models/flights" / version
        folder.mkdir()
        (folder / "metadata.json").write_bytes(content)

    def _count_failures(self, count: int) -> Counter[str]:
        """Ask about ``count`` flights; answers by version, and how many of them failed."""
        counts: Counter[str] = Counter()
        for _ in range(count):
            body = {"instances": [next(self._rows)["features"]]}
            response = self._client.post("/v1/endpoints/flights:predict", json=body)
            _hold(response.is_success, "the endpoint answers", response.text)
            version = response.json()["modelVersionId"]
            counts[version] += 1
            counts[f"{version} failed"] += "error" in response.json()["predictions"][0]
        return counts

    def _drop_until(self, version: str, status: str) -> float:
        started = time.monotonic()
        drop_package(self._packages / version, self._bucket)
        self._wait(version, status)
        return time.monotonic() - started

    def _wait(self, version: str, status: str) -> None:
        _until(lambda: self._status(version) == status, f"{version} is {status} within {STEP_SECONDS:g} s")

    def _status(self, version: str) -> str | None:
        answer = self._client.get(f"/v1/models/flights/versions/{version}")
        return answer.json()["status"] if answer.is_success else None

    def _model(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._client.get("/v1/models/flights").raise_for_status().json()
        return answer

    def _decision(self, version: str) -> dict[str, Any]:
        path = f"/v1/models/flights/versions/{version}/explain"
        answer: dict[str, Any] = self._client.get(path).raise_for_status().json()
        return answer

    def _why(self, version: str) -> str:
        return "; ".join(self._decision(version)["reasons"])

    def _rule(self, version: str) -> str:
        return str(self._decision(version)["rule"])

    def _ask(self, count: int) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Ask about ``count`` flights, one a request; their answers, and how many each version gave."""
        answers, versions = [], Counter[str]()
        for _ in range(count):
            body = {"instances": [next(self._rows)["features"]]}
            response = self._client.post("/v1/endpoints/flights:predict", json=body)
            _hold(response.is_success, "the endpoint answers", response.text)
            (prediction,) = response.json()["predictions"]
            _hold("error" not in prediction, "every flight gets a score", prediction)
            answers.append(prediction)
            versions[response.json()["modelVersionId"]] += 1
        return answers, versions


@contextmanager
def _cloud(data: Path) -> Iterator[str]:
    """``modeldrop up`` in a process of its own, as a user starts it; yields its address."""
    command = [sys.executable, "-m", "modeldrop.cli", "up", "--port", "0", "--data", str(data), "--tick-seconds", "0.5"]
    environment = os.environ | {"MODELDROP_LOG_LEVEL": os.environ.get("MODELDROP_LOG_LEVEL", "ERROR")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if " ready at " not in line:
                raise StepFailed(f"modeldrop up did not start: {line or 'see above'}")
            yield line.split(" ready at ")[1].split()[0]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _keep(url: str) -> None:
    _say(f"\nKEEP=1: still up at {url} until Ctrl-C (API: {url}/v1/models)")
    try:
        signal.pause()
    except KeyboardInterrupt:
        _say("")


def _until(holds: Callable[[], bool], claim: str) -> None:
    deadline = time.monotonic() + STEP_SECONDS
    while not holds():
        _hold(time.monotonic() < deadline, claim, "not yet")
        time.sleep(0.05)


def _hold(holds: bool, claim: str, seen: object) -> None:
    if not holds:
        raise StepFailed(f"this did not hold: {claim} (seen: {seen})")


def _headline(text: str) -> None:
    _say(f"\n== {text}")


def _say(text: str) -> None:
    print(text, flush=True)
