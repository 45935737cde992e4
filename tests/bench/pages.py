"""Pages of the dashboard, answers of the API and the metrics, over 200 models of 50 versions each.

One model comes there the whole way: versions, rollouts, predictions, reports, health. The others are copies of it,
document by document, each with an endpoint of its own. The API runs as a process of its own; one client asks it page
after page. What has to be read is counted in this process, over the same registry.
"""

import io
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import msgspec

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.handlers.health_tick import health_tick
from modeldrop.handlers.packages.register_package import register_package
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.http.messages import Asked
from modeldrop.ports import Create, DocumentStore, Operation, ServedVersion, Write
from modeldrop.records.collections import DECISIONS, SAMPLES, below
from modeldrop.settings import Settings
from modeldrop.web.application import answer
from modeldrop.wiring import Services
from tests.bench.cold_import import ROOT
from tests.bench.counting import CountingDocuments, Counts
from tests.bench.filled_registry import FilledRegistry
from tests.bench.measuring import Aim, Note, Reference, Row

MODELS, VERSIONS = 200, 50
FIRST = "model-000"
ROLLOUTS = 3
WINDOWS, ROWS = 12, 400
ROUNDS = 60
MOST_SECONDS = 0.1
MOST_READS = 500
NOTHING_READ = "/v1"
PATHS = {
    "dashboard, the models": "/",
    "dashboard, a model": f"/models/{FIRST}",
    "dashboard, drift of a model": f"/models/{FIRST}/drift",
    "API, 50 models": "/v1/models",
    "API, 50 versions": f"/v1/models/{FIRST}/versions",
}
METRICS = "/metrics"


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _one_model(folder)
        with closing(SqliteDocuments(folder / "documents.sqlite")) as documents:
            _copy(documents, folder)
            with _served(folder) as client:
                reference = Reference(median(_seconds(client, NOTHING_READ)), "an answer without reads")
                for what, path in PATHS.items():
                    seconds = _seconds(client, path)
                    p95 = quantiles(seconds, n=20)[-1]
                    yield Row("pages", f"{what}: p95", p95, "s", max(seconds), reference, Aim(MOST_SECONDS, "measured"))
                    reads = _documents_read(folder, documents, path)
                    yield Row("pages", "… documents read", reads, "", aim=Aim(MOST_READS, "measured"))
                seconds = _seconds(client, METRICS, rounds=10)
                yield Row("pages", f"metrics of {MODELS} models: median", median(seconds), "s", max(seconds), reference)
                yield Row("pages", "… documents read", _documents_read(folder, documents, METRICS), "")


# --- asking --------------------------------------------------------------------------------------------------------


def _seconds(client: httpx.Client, path: str, rounds: int = ROUNDS) -> list[float]:
    seconds = []
    for _ in range(rounds + 2):
        begin = time.perf_counter()
        response = client.get(path)
        seconds.append(time.perf_counter() - begin)
        assert response.status_code == 200, response.text
    return seconds[2:]  # the first make what is made on first use


def _documents_read(folder: Path, documents: DocumentStore, path: str) -> float:
    counts: Counts = defaultdict(float)
    services = Services(_settings(folder))
    services.__dict__["documents"] = CountingDocuments(documents, counts)
    headers = {"Host": "127.0.0.1"}
    reply = answer(services, Asked("GET", path, {}, headers, io.BytesIO(), "127.0.0.1", "127.0.0.1"))
    assert reply.status == 200, reply.body
    return counts["documents read"]


@contextmanager
def _served(folder: Path) -> Iterator[httpx.Client]:
    """A client of ``functions/api`` in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = ROOT / "functions" / "api" / "main.py"
    command = [sys.executable, "-m", "tests.bench.serve_function", "api", str(source), str(port)]
    environment = {
        "PATH": "",
        "PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}",
        "MODELDROP_BACKEND": "local",
        "MODELDROP_DATA": str(folder),
        "MODELDROP_AUTH": "none",
        "MODELDROP_LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _await(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()


def _await(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            client.get(NOTHING_READ)
            return
        except httpx.TransportError:
            assert process.poll() is None, "the function ended"
            time.sleep(0.05)
    raise AssertionError("the function does not answer")


# --- filling -------------------------------------------------------------------------------------------------------


def _settings(folder: Path) -> Settings:
    return Settings("local", data=folder, auth="none")


def _one_model(folder: Path) -> None:
    """Versions, some rollouts, predictions in many windows with their labels, reports on them, health."""
    services = Services(_settings(folder))
    with closing(FilledRegistry(folder, services.documents, VERSIONS, FIRST)) as registry:
        for _ in range(ROLLOUTS):
            register_package(registry.services, registry.drop(better=True))  # type: ignore[arg-type]
            registry.settle()
    version = services.registry.head(FIRST).value.production
    assert version is not None
    rows = [json.loads(line) for line in (ROOT / "examples/flights/rows.jsonl").read_bytes().splitlines()]
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    with closing(PredictionIntake(services, linger_seconds=0.0)) as intake:
        for number in range(WINDOWS):
            start = last - timedelta(hours=WINDOWS - 1 - number)
            intake.take_now(
                _predictions(version.version, start, list(islice(cycle(rows), number * 50, number * 50 + ROWS)))
            )
    for number in range(WINDOWS):
        start = last - timedelta(hours=WINDOWS - 1 - number)
        report_drift(services, FIRST, version=version.version, window=start)
        report_quality(services, FIRST, version=version.version, window=start)
    health_tick(services)


def _predictions(version: str, start: datetime, rows: list[dict[str, Any]]) -> bytes:
    """An array of predictions and labels of one window."""
    events = list[dict[str, Any]]()
    for number, row in enumerate(rows):
        name, moment = f"{start.isoformat()}-{number}", (start + timedelta(seconds=number)).isoformat()
        about = {"model": FIRST, "prediction_id": name}
        told = {"version": version, "timestamp": moment, "features": row["features"], "prediction": number % 10 / 10}
        events += [about | told, about | {"type": "label", "label": row["label"], "predicted_at": moment}]
    return json.dumps(events).encode()


def _copy(documents: DocumentStore, folder: Path) -> None:
    """The same model again under other names, each with an endpoint."""
    originals = [one for one in [documents.get(f"models/{FIRST}"), documents.get(f"policies/{FIRST}")] if one]
    originals += below(documents, f"models/{FIRST}", {**SAMPLES, **DECISIONS})
    served = _served_version(documents)
    with closing(ProcessModelServer(folder / "serving.sqlite")) as server:
        for number in range(1, MODELS):
            name = f"model-{number:03d}"
            writes: list[Write] = [Create(_renamed(one.path, name), _of(one.data, name)) for one in originals]
            for begin in range(0, len(writes), 400):
                documents.commit(writes[begin : begin + 400])
            _deploy(server, msgspec.structs.replace(served, model=name))


def _served_version(documents: DocumentStore) -> ServedVersion:
    head = documents.get(f"models/{FIRST}")
    assert head is not None
    return ServedVersion(FIRST, head.data["production"]["version"], "0" * 64, "scorecard", "file:///nowhere")


def _deploy(server: ProcessModelServer, served: ServedVersion) -> None:
    server.upload(served)
    operation = server.deploy(served)
    assert isinstance(operation, Operation)
    server.report_answering(operation.name, 9)  # nobody is asked for a prediction here
    endpoint = server.observe(served.model)
    assert endpoint is not None
    server.set_traffic(served.model, {served.version: 100}, endpoint.etag)


def _renamed(path: str, name: str) -> str:
    return path.replace(f"/{FIRST}", f"/{name}", 1)


def _of(data: dict[str, Any], name: str) -> dict[str, Any]:
    return data | ({"model": name} if "model" in data else {})
