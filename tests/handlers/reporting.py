"""What the tests of reports share: a model with predictions in its windows, and reports made on them."""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.records.reports import DriftRecord
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import WINDOW, in_arrays, instance, prediction

HOUR = timedelta(hours=1)
COUNTRIES = ("DE", "FR", "PL")
CSV = "reference.csv"


def hour(number: int) -> datetime:
    """The start of the ``number``-th window."""
    return WINDOW + number * HOUR


def events(
    number: int, count: int, *, version: str = "v1", moved: float = 0.0, salt: str = "", **changes: Any
) -> list[dict[str, Any]]:
    """Predictions of the ``number``-th window; ``moved``: how far amounts and scores are off."""
    chance = random.Random(f"{number} {version} {salt}")
    return [
        prediction(
            each,
            version,
            prediction_id=f"{version} {number} {salt} {each}",
            timestamp=(hour(number) + timedelta(seconds=each % 3600)).isoformat(),
            features={"amount": round(chance.gauss(10 + moved, 2), 3), "country": chance.choice(COUNTRIES)},
            prediction=round(min(1.0, max(0.0, chance.gauss(0.5 + moved / 20, 0.1))), 4),
        )
        | changes
        for each in range(count)
    ]


def reference_csv(rows: Iterable[dict[str, Any]]) -> bytes:
    """Predictions as a package's reference."""
    lines = [f"{row['features']['amount']},{row['features']['country']},{row['prediction']},true" for row in rows]
    return "\n".join(["amount,country,prediction,label", *lines]).encode()


def bring_reference(control: Control, content: bytes, name: str = CSV, version: str = "v1") -> None:
    """Put a reference beside the package's metadata."""
    control.put(f"models/{MODEL}/{version}/{name}", content)


def take(services: Services, some: Sequence[dict[str, Any]]) -> None:
    """Events through an instance of the function."""
    with instance(services) as intake:
        for each in in_arrays(some, 1_000):
            assert intake.take_now(each).quarantined == 0


def report(control: Control, number: int | None = None, version: str | None = "v1") -> DriftRecord:
    """A report made now, however fresh the last one is."""
    control.clock.forward(61)
    window = None if number is None else hour(number)
    return report_drift(control.services, MODEL, version=version, window=window)


def verdicts(record: DriftRecord) -> dict[str, str]:
    """By feature."""
    return {feature["name"]: feature["verdict"] for feature in record.features}


def as_bytes(record: DriftRecord) -> bytes:
    """What a report says, apart from when somebody looked."""
    return msgspec.json.encode(msgspec.structs.replace(record, looked_at=WINDOW))
