"""One tick of retraining over a thousand models that serve, each with two windows of predictions that are over.

The models are copies, document by document, of one that came there the whole way. The first tick makes all reports;
later ones find that nothing has come since.
"""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.domain.model_head import Serving
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.handlers.retrain_tick import retrain_tick
from modeldrop.ports import Create, DocumentStore, Write
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.bench.counting import CountingDocuments, Counts
from tests.bench.logged_events import MODEL, VERSION, arrays, registered, window
from tests.bench.measuring import Aim, Note, Row

MODELS = 1_000
EVENTS = 1_000
TICKS = 5
MOST_SECONDS = 5.0
MOST_READS = 12  # as Firestore bills them: each document of a list is one
COLLECTIONS = ("versions", "names", "windows", "health")


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings("local", data=Path(folder))
        _one_model(settings)
        with closing(SqliteDocuments(Path(folder) / "documents.sqlite")) as documents:
            _copy(documents)
            counts: Counts = defaultdict(float)
            services = Services(settings)
            services.__dict__["documents"] = CountingDocuments(documents, counts)
            first = _tick(services)
            yield Row("retraining", f"{MODELS:,} models, the tick that makes all reports", first, "s")
            yield Row("retraining", "… documents read a model", counts["documents read"] / MODELS, "")
            counts.clear()
            seconds = [_tick(services) for _ in range(TICKS)]
            what = f"{MODELS:,} models, a tick when nothing has come since"
            yield Row("retraining", what, median(seconds), "s", max(seconds), aim=Aim(MOST_SECONDS, "worst"))
            reads = counts["documents read"] / MODELS / TICKS
            yield Row("retraining", "… documents read a model", reads, "", aim=Aim(MOST_READS, "measured"))
            written = counts["documents written"] / TICKS
            yield Row("retraining", "… documents written, the heartbeat", written, "")
    yield Note("retraining", f"load average {os.getloadavg()[0]:.1f}")


def _tick(services: Services) -> float:
    begin = time.perf_counter()
    report = retrain_tick(services)
    took = time.perf_counter() - begin
    assert (report.status, report.models, report.not_reached) == ("ok", MODELS + 1, 0), report
    return took


def _one_model(settings: Settings) -> None:
    """Registered, in production, and with two windows."""
    services = registered(settings)
    with closing(PredictionIntake(services, linger_seconds=0.0)) as intake:
        for hours in (1, 2):
            for message in arrays(hours * EVENTS, EVENTS, window() - timedelta(hours=hours)):
                intake.take_now(message)
    head = services.registry.head(MODEL)
    version = services.registry.version(MODEL, VERSION)
    assert version is not None
    serving = Serving(VERSION, version.value.key, window() - timedelta(days=1))
    live = msgspec.structs.replace(head.value, production=serving, desired=VERSION, rollouts=1, rollout=None)
    services.registry.commit_about(head, live)


def _copy(documents: DocumentStore) -> None:
    """The same again under a thousand other names."""
    found = [documents.get(f"models/{MODEL}")]
    for collection in COLLECTIONS:
        listed = documents.list(f"models/{MODEL}/{collection}")
        found += listed
        for one in listed if collection == "windows" else ():
            found += documents.list(f"{one.path}/shards", limit=1_000)
    originals = [(one.path, one.data) for one in found if one is not None]
    for number in range(MODELS):
        name = f"bench-{number:04d}"
        writes: list[Write] = [Create(_renamed(path, name), _of(data, name)) for path, data in originals]
        documents.commit(writes)


def _renamed(path: str, name: str) -> str:
    return path.replace(f"models/{MODEL}", f"models/{name}", 1)


def _of(data: dict[str, Any], name: str) -> dict[str, Any]:
    return data | ({"model": name} if "model" in data else {})
