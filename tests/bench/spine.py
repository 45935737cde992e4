"""The main job: from a file copied into the bucket to the decision, and to the endpoint's answer with that version.

For each of several models a first version, then a better one through four canary steps, bake time 0, the usual tick
of one second. The reference is what cannot be saved: a worker process of that version, started by hand, until it is
healthy.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from modeldrop.localcloud.serving_process import start_worker
from tests.bench.cold_import import ROOT
from tests.bench.measuring import Aim, Note, Reference, Row, timed, until
from tests.bench.running_cloud import (
    NO_BAKE,
    Cloud,
    flight,
    flights_metadata,
    flights_version,
    running_cloud,
)

MODELS = 7
TICK_SECONDS = 1.0  # the default of modeldrop up
DECIDED_WITHIN = Aim(1.0, "worst")
LIVE_WITHIN = Aim(3.0, "worst")
VERSIONS = {"v1": "first version", "v2": "better version, 4 canary steps"}


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    decided: dict[str, list[float]] = {version: [] for version in VERSIONS}
    live: dict[str, list[float]] = {version: [] for version in VERSIONS}
    workers: list[float] = []
    with tempfile.TemporaryDirectory() as folder, running_cloud(Path(folder) / "data") as cloud:
        tick = time.perf_counter()
        for number in range(MODELS):
            model = f"flights-{number}"
            cloud.drop_policy(model, NO_BAKE)
            workers.append(worker_start_seconds(Path(folder) / "by-hand", model))
            for version in VERSIONS:
                _await_phase(tick, number)
                begin, decided_at, tick = _drop(cloud, model, version)
                decided[version].append(decided_at - begin)
                live[version].append(tick - begin)
    reference = Reference(sorted(workers)[len(workers) // 2], "worker start")
    for version, title in VERSIONS.items():
        yield timed("spine", f"{title}: copied → decided", decided[version], reference, DECIDED_WITHIN)
        yield timed("spine", f"{title}: copied → live", live[version], reference, LIVE_WITHIN)


def worker_start_seconds(folder: Path, model: str) -> float:
    """A worker process as the embedded cloud starts it, until its health answer is 200."""
    served = flights_version(folder / model, model, "v1")
    with (folder / f"{model}.log").open("ab") as log:
        begin = time.perf_counter()
        with closing(start_worker(served, ROOT / "functions" / "predict" / "main.py", log)) as worker:
            return until(lambda: (worker.health() or (0, ""))[0] == 200, "a worker is healthy") - begin


def _await_phase(tick: float, number: int) -> None:
    """Each model begins at another moment between two ticks, as users do.

    Versions go live with a tick. Begun right then, every drop would meet the next tick at the same moment of its way,
    and the median would be that of one lucky or unlucky phase.
    """
    phase = (time.perf_counter() - tick) % TICK_SECONDS
    time.sleep((number / MODELS * TICK_SECONDS - phase) % TICK_SECONDS)


def _drop(cloud: Cloud, model: str, version: str) -> tuple[float, float, float]:
    """When the file was copied, when the API shows the decision, and when the version is live there and answers."""
    folder = cloud.bucket / "models" / model / version
    folder.mkdir(parents=True)
    content, instance = flights_metadata(model, version), flight()
    begin = time.perf_counter()
    _copy(content, folder / "metadata.json")
    decided = until(
        lambda: cloud.version(model, version).get("decision") is not None, f"{model} {version} has a decision"
    )
    live = until(
        lambda: cloud.version(model, version)["status"] == "live" and cloud.answering(model, instance) == version,
        f"{model} {version} is live and answers",
    )
    return begin, decided, live


def _copy(content: bytes, target: Path) -> None:
    """As ``cp`` does it: the file is there, then its bytes are."""
    with target.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
