"""From the word, or the verdict, to traffic that is back at the stable version. The predecessor is warm.

By hand: ``POST :rollback`` sent, until the endpoint's first answer from the earlier version. By itself: from the
measurement that was one failure too many to the look that saw all traffic back, both as the rollout's record has them.
The reference is one change of traffic in the serving database alone.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from statistics import median

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from tests.bench.measuring import Aim, Note, Reference, Row, timed, until
from tests.bench.running_cloud import Cloud, flight, flights_metadata, running_cloud

MODELS = 5
WARM = "rollout: {steps: [50, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 3600}\n"
WATCHED = "rollout: {steps: [50, 100], bake_seconds: 5, min_requests: 10, keep_warm_seconds: 3600}\n"
BACK_WITHIN = Aim(1.0, "worst")


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    by_hand, by_itself = [], []
    with tempfile.TemporaryDirectory() as folder, running_cloud(Path(folder)) as cloud:
        for number in range(MODELS):
            by_hand.append(_by_hand(cloud, f"by-hand-{number}"))
            by_itself.append(_by_itself(cloud, f"by-itself-{number}"))
        reference = Reference(_one_change_seconds(cloud, "by-hand-0"), "one change of traffic")
    yield timed("rollback", "by hand: command sent → earlier version answers", by_hand, reference, BACK_WITHIN)
    yield timed("rollback", "by itself: failed verdict → traffic back", by_itself, reference, BACK_WITHIN)


def _by_hand(cloud: Cloud, model: str) -> float:
    cloud.drop_policy(model, WARM)
    for version in ("v1", "v2"):
        _make_live(cloud, model, version)
    begin = time.perf_counter()
    cloud.client.post(f"/v1/models/{model}:rollback", json={}).raise_for_status()
    return until(lambda: cloud.answering(model, flight()) == "v1", "v1 answers again") - begin


def _by_itself(cloud: Cloud, model: str) -> float:
    """The canary cannot score a flight without one of its features: every answer fails."""
    cloud.drop_policy(model, WATCHED)
    _make_live(cloud, model, "v1")
    _drop(cloud, model, "v2")
    instance = {name: value for name, value in flight().items() if name in {"departed_late", "hour", "distance"}}

    def is_back() -> bool:
        cloud.answering(model, instance)
        return cloud.version(model, "v2").get("status") == "rolled_back"

    until(is_back, "v2 is rolled back")
    rollout = cloud.client.get(f"/v1/models/{model}/rollouts").json()["rollouts"][0]
    verdict, back = rollout["measurements"][-1]["at"], rollout["entries"][-1]["at"]
    return (datetime.fromisoformat(back) - datetime.fromisoformat(verdict)).total_seconds()


def _make_live(cloud: Cloud, model: str, version: str) -> None:
    _drop(cloud, model, version)
    until(lambda: cloud.version(model, version).get("status") == "live", f"{model} {version} is live")


def _drop(cloud: Cloud, model: str, version: str) -> None:
    target = cloud.bucket / "models" / model / version / "metadata.json"
    target.parent.mkdir(parents=True)
    target.write_bytes(flights_metadata(model, version))


def _one_change_seconds(cloud: Cloud, model: str) -> float:
    seconds = []
    with closing(ProcessModelServer(cloud.data / "serving.sqlite")) as server:
        for _ in range(9):
            endpoint = server.observe(model)
            assert endpoint is not None
            begin = time.perf_counter()
            server.set_traffic(model, endpoint.traffic, endpoint.etag)
            seconds.append(time.perf_counter() - begin)
    return median(seconds)
