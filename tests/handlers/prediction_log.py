"""Prediction events, instances that take them, and stores in between that fail when they are told to."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from modeldrop.domain.sampling.payload import SampledPrediction, read_prediction
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.errors import Unavailable
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.ports import DocumentStore, Write
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control

WINDOW = datetime(2026, 3, 1, 10, tzinfo=UTC)
NOW = WINDOW + timedelta(minutes=59)
DECLARED = {name: {"type": kind} for name, kind in {"amount": "numeric", "country": "categorical"}.items()}
SCORECARD = {"intercept": 0.0, "coefficients": {"amount": 0.5}}


def prediction(number: int, version: str = "v1", **changes: Any) -> dict[str, Any]:
    """The ``number``-th prediction of the window."""
    return {
        "type": "prediction",
        "model": MODEL,
        "version": version,
        "prediction_id": f"order-{number}",
        "timestamp": (WINDOW + timedelta(milliseconds=number % 3_500_000)).isoformat(),
        "features": {"amount": number / 4, "country": ("DE", "FR", "PL")[number % 3]},
        "prediction": round(1 / (number + 1), 6),
        "latency_ms": 5 + number % 7,
    } | changes


def label(number: int, **changes: Any) -> dict[str, Any]:
    """The label of that prediction."""
    stated = prediction(number)
    event = {"type": "label", "model": MODEL, "prediction_id": stated["prediction_id"], "label": number % 2 == 0}
    return event | {"predicted_at": stated["timestamp"]} | changes


def message(*events: dict[str, Any]) -> bytes:
    """An array of events."""
    return json.dumps(events).encode()


def in_arrays(events: Sequence[dict[str, Any]], size: int) -> list[bytes]:
    """All of them, in arrays of that size."""
    return [message(*events[first : first + size]) for first in range(0, len(events), size)]


@contextmanager
def instance(services: Services, linger_seconds: float = 0.0) -> Iterator[PredictionIntake]:
    """An instance of the function."""
    intake = PredictionIntake(services, linger_seconds)
    try:
        yield intake
    finally:
        intake.close()


def register(control: Control, *versions: str, features: dict[str, Any] | None = None) -> None:
    """Have versions registered; a ``features`` of {} declares none."""
    for day, version in enumerate(versions, 1):
        control.drop(version, 0.5 + day / 100, day, features=DECLARED if features is None else features)
        control.tell_version(version)
        assert control.version(version).metadata is not None


def sample_of(services: Services, version: str = "v1", start: datetime = WINDOW) -> WindowSample:
    """The sample of a window there is."""
    found = Windows(services.documents).sample(MODEL, version, start)
    assert found is not None, f"no window of {version} at {start}"
    return found


def sampled(services: Services, version: str = "v1", start: datetime = WINDOW) -> list[SampledPrediction]:
    """The predictions in it, by their time."""
    rows = sample_of(services, version, start).rows
    return sorted((read_prediction(row) for row in rows), key=lambda kept: kept.event_time_ms)


def as_bytes(*samples: WindowSample | None) -> bytes:
    """Equal samples are equal bytes."""
    return msgspec.msgpack.encode(samples)


def stored_paths(data: Path) -> list[str]:
    """Every document of the local store."""
    with closing(sqlite3.connect(data / "documents.sqlite")) as connection:
        rows = connection.execute("SELECT collection || '/' || id FROM documents ORDER BY 1").fetchall()
    return [path for (path,) in rows]


class Between:
    """A ports.DocumentStore in front of the real one; ``before`` and ``after`` see every commit and may raise."""

    def __init__(self, real: DocumentStore) -> None:
        self.before: Callable[[Sequence[Write]], None] = lambda _: None
        self.after: Callable[[Sequence[Write]], None] = lambda _: None
        self.reads = self.writes = 0
        self._real = real

    def commit(self, writes: Sequence[Write]) -> None:
        self.before(writes)
        self._real.commit(writes)
        self.writes += len(writes)
        self.after(writes)

    def get_many(self, paths: Sequence[str]) -> Any:
        self.reads += len(paths)
        return self._real.get_many(paths)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def between(services: Services) -> Between:
    """Put one in front of an instance's documents."""
    store = Between(services.documents)
    services.__dict__["documents"] = store
    return store


class Failing:
    """Raises Unavailable, for commits of shards, the next ``times`` of them."""

    def __init__(self, times: int) -> None:
        self.left = times
        self._guard = threading.Lock()

    def __call__(self, writes: Iterable[Write]) -> None:
        with self._guard:
            if self.left and any("/shards/" in write.path for write in writes):
                self.left -= 1
                raise Unavailable("no answer")
