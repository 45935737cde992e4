"""Hot swaps on the embedded cloud: one worker process, asked without a pause while versions take over and go back."""

import math
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from modeldrop.domain.serving_pointer import pointer_name
from tests.e2e.embedded_cloud import DEADLINE_SECONDS, Cloud, running, scorecard, until

MODEL = "fraud"
POLICY = "rollout: {strategy: hot_swap, bake_seconds: 1, min_requests: 20, keep_warm_seconds: 3600}\n"
CLIENTS = 4
AMOUNT = 2.0
F1 = {"v1": 0.5, "v2": 0.9}


class Load:
    """Clients that ask without a pause, and check every answer against the version it names."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self.versions = Counter[str]()
        self.last = ""
        self.problems: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)

    def wait_for(self, version: str) -> None:
        """Until that version answers; no request may fail on the way there."""
        until(lambda: self.last == version or self.problems, f"{version} answers")
        assert self.problems == []

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=DEADLINE_SECONDS, trust_env=False) as client:
            while not self._ending.is_set() and not self.problems:
                try:
                    answer = client.post(f"/v1/endpoints/{MODEL}:predict", json={"instances": [{"amount": AMOUNT}]})
                    self._check(answer)
                except Exception as error:
                    self.problems.append(repr(error))

    def _check(self, answer: httpx.Response) -> None:
        body: dict[str, Any] = answer.json()
        version = body.get("modelVersionId", "")
        if answer.status_code != 200 or not math.isclose(body["predictions"][0]["score"], score(version)):
            self.problems.append(f"{answer.status_code} {answer.text}")
        with self._lock:
            self.versions[version] += 1
            self.last = version


def score(version: str) -> float:
    """What that version answers."""
    return 1 / (1 + math.exp(1 - AMOUNT * F1[version]))


def workers(cloud: Cloud) -> list[int]:
    """Processes of the one worker, and of any other there may be."""
    found = []
    for child in psutil.Process(cloud.process.pid).children():
        with suppress(psutil.Error):
            if {"MODELDROP_SERVED_POINTER", "MODELDROP_SERVED_MODEL"} & child.environ().keys():
                found += [child.pid, *(one.pid for one in child.children(recursive=True))]
    return sorted(found)


def test_versions_take_over_and_go_back_in_one_process_and_no_request_fails(tmp_path: Path) -> None:
    with running(tmp_path / "data") as cloud:
        cloud.put(f"policies/{MODEL}.yaml", POLICY)
        cloud.drop_live(scorecard(MODEL, "v1", F1["v1"]))
        cloud.wait_until_settled(MODEL)
        before = workers(cloud)
        assert len(before) >= 2
        with Load(cloud.url) as load:
            load.wait_for("v1")
            cloud.drop(scorecard(MODEL, "v2", F1["v2"]))
            load.wait_for("v2")
            cloud.wait_for(MODEL, "v2", "live")
            assert cloud.get(f"/v1/models/{MODEL}")["endpoint"]["traffic"] == {"v2": 100}
            reply = cloud.client.post(f"/v1/models/{MODEL}:rollback", json={}).json()
            assert reply["status"] == "accepted", reply
            load.wait_for("v1")
            cloud.wait_for(MODEL, "v1", "live")
        assert load.problems == []
        assert load.versions.keys() == {"v1", "v2"}
        assert workers(cloud) == before
        (rollback, swap, _) = cloud.get(f"/v1/models/{MODEL}/rollouts")["rollouts"]
        assert (rollback["version"], swap["version"]) == ("v1", "v2")
        assert swap["measurements"][-1]["requests"] >= 20, "counted for the version, not for what carries it"
        assert {one["verdict"] for one in swap["measurements"]} <= {"pass", "inconclusive"}


def test_a_restart_comes_back_with_the_version_that_was_swapped_in(tmp_path: Path) -> None:
    with running(tmp_path / "data") as cloud:
        cloud.put(f"policies/{MODEL}.yaml", POLICY.replace("min_requests: 20", "min_requests: 0"))
        cloud.drop_live(scorecard(MODEL, "v1", F1["v1"]), scorecard(MODEL, "v2", F1["v2"]))
        assert (cloud.data / "bucket" / pointer_name(MODEL)).is_file()
    with running(tmp_path / "data") as cloud:
        until(lambda: cloud.answers(MODEL), "the endpoint answers")
        assert cloud.ask(MODEL, 5) == {"v2": 5}
