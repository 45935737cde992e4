"""Predictions a second through the embedded endpoint, and from its worker directly; informs only.

Clients, router and worker share the machine's cores, as they do wherever the embedded cloud runs.
"""

import http.client
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from modeldrop.adapters.local.serving_table import ServingTableReader
from modeldrop.localcloud.serving_process import PREDICT_ROUTE
from tests.bench.measuring import Note, Reference, Row, rate, until
from tests.bench.running_cloud import NO_BAKE, Cloud, flight, flights_metadata, running_cloud

MODEL = "flights"
CLIENTS = 4
ROUNDS = 3
ROUND_SECONDS = 1.5


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder, running_cloud(Path(folder)) as cloud:
        _make_live(cloud)
        endpoint = (cloud.client.base_url.port or 0, f"/v1/endpoints/{MODEL}:predict")
        worker = (_worker_port(cloud.data), PREDICT_ROUTE)
        for instances in (1, 100):
            body = json.dumps({"instances": [flight()] * instances}).encode()
            seen: dict[tuple[int, str], list[float]] = {endpoint: [], worker: []}
            for _ in range(ROUNDS):
                for address, rates in seen.items():
                    rates.append(_requests_a_second(*address, body) * instances)
            what = f"through the endpoint, {instances} a request, {CLIENTS} clients"
            reference = Reference(median(seen[worker]), "worker itself")
            yield Row("predictions", what, median(seen[endpoint]), "/s", None, reference)


def _make_live(cloud: Cloud) -> None:
    cloud.drop_policy(MODEL, NO_BAKE)
    target = cloud.bucket / "models" / MODEL / "v1" / "metadata.json"
    target.parent.mkdir(parents=True)
    target.write_bytes(flights_metadata(MODEL, "v1"))
    until(lambda: cloud.version(MODEL, "v1").get("status") == "live", "v1 is live")


def _worker_port(data: Path) -> int:
    with closing(ServingTableReader(data / "serving.sqlite")) as reader:
        (deployment,) = reader.read()[MODEL]
    assert deployment.port is not None
    return deployment.port


def _requests_a_second(port: int, path: str, body: bytes) -> float:
    """Of several clients that each keep their connection and ask one after the other."""
    rates: list[float] = []
    threads = [threading.Thread(target=lambda: rates.append(_one_client(port, path, body))) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rates) == CLIENTS, "a client failed"
    return sum(rates)


def _one_client(port: int, path: str, body: bytes) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:

        def ask() -> None:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == http.client.OK, content

        return rate(ask, ROUND_SECONDS)
