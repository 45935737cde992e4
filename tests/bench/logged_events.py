"""Prediction events of 20 features for benchmarks, quickly made, and a registered version that they belong to."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modeldrop.handlers.packages.take_upload import take_upload
from modeldrop.settings import Settings
from modeldrop.wiring import Services

MODEL, VERSION = "bench", "v1"
NUMERIC = [f"feature_{number:02d}" for number in range(18)]
IN_ARRAY = 1_000


def window() -> datetime:
    """The start of the hour before the last one: all of its events have happened, none is late."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


def arrays(first: int, count: int, start: datetime) -> Iterator[bytes]:
    """Events ``first`` to ``first + count``, in arrays of 1,000; the same numbers are the same events."""
    for begin in range(first, first + count, IN_ARRAY):
        yield b"[%b]" % b",".join(event(number, start) for number in range(begin, begin + IN_ARRAY))


def event(number: int, start: datetime) -> bytes:
    """One of them."""
    return _template(number % 1_000, start) % number


_TEMPLATES: dict[tuple[int, datetime], bytes] = {}


def _template(kind: int, start: datetime) -> bytes:
    """A thousand events that differ; the id is left open."""
    template = _TEMPLATES.get((kind, start))
    if template is None:
        values = {name: round((kind * 37 + place * 101) % 1009 / 7, 4) for place, name in enumerate(NUMERIC)}
        told = {
            "type": "prediction",
            "model": MODEL,
            "version": VERSION,
            "prediction_id": "order-%d",
            "timestamp": (start + timedelta(seconds=3 * kind)).isoformat(),
            "features": {**values, "country": ("DE", "FR", "PL")[kind % 3], "returning": kind % 2 == 0},
            "prediction": kind / 1_000,
            "latency_ms": 10 + kind % 17,
        }
        template = _TEMPLATES[kind, start] = json.dumps(told).encode()
    return template


def registered(settings: Settings) -> Services:
    """An instance over a store in which the version is registered."""
    types = dict.fromkeys(NUMERIC, "numeric") | {"country": "categorical", "returning": "boolean"}
    metadata = {
        "runtime": "scorecard",
        "created_at": "2026-01-01T00:00:00Z",
        "metrics": {"f1": 0.8},
        "features": {name: {"type": kind} for name, kind in types.items()},
        "parameters": {"intercept": 0.0, "coefficients": {NUMERIC[0]: 0.5}},
    }
    assert settings.data is not None
    name = f"models/{MODEL}/{VERSION}/metadata.json"
    path = Path(settings.data) / "bucket" / name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(metadata))
    services = Services(settings)
    told = {"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized", "source": "bench", "id": "1"}
    body = json.dumps({**told, "data": {"bucket": "local", "name": name}}).encode()
    assert take_upload(services, {}, body) == "approved"
    return services
