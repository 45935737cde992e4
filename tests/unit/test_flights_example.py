"""The committed examples: they parse, they are what train.py makes, and the scorecard agrees with scikit-learn."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.domain.scorecard import Scorecard, Scored, parse_scorecard
from modeldrop.events import strict_json

EXAMPLES = Path(__file__).parents[2] / "examples"
FLIGHTS = EXAMPLES / "flights"
JANUARY = ("v1", "v2", "v3")  # trained and measured on that month alone
VERSIONS = (*JANUARY, "v7")
METRICS = ("accuracy", "precision", "recall", "f1", "auc")


def metadata_of(version: str) -> dict[str, Any]:
    data = (FLIGHTS / "packages" / version / "metadata.json").read_bytes()
    metadata: dict[str, Any] = strict_json.decode(data, limit_bytes=1024 * 1024)
    return metadata


def scorecard_of(version: str) -> Scorecard:
    metadata = metadata_of(version)
    return parse_scorecard(metadata["parameters"], {n: f["type"] for n, f in metadata["features"].items()})


def reference_of(version: str) -> list[dict[str, str]]:
    with (FLIGHTS / "packages" / version / "reference.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def value_of(text: str, kind: str) -> object:
    if kind == "boolean":
        return {"true": True, "false": False}[text]
    return float(text) if kind == "numeric" else text


def rows() -> list[dict[str, Any]]:
    lines = (FLIGHTS / "rows.jsonl").read_bytes().splitlines()
    return [strict_json.decode(line, limit_bytes=10_000) for line in lines]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_scorecard_gives_scikit_learns_predictions(version: str) -> None:
    kinds = {name: feature["type"] for name, feature in metadata_of(version)["features"].items()}
    card, reference = scorecard_of(version), reference_of(version)
    assert 1_500 <= len(reference) <= 2_000
    for row in reference:
        assert row.keys() == {*kinds, "prediction", "label"}
        answer = card.score({name: value_of(row[name], kind) for name, kind in kinds.items()})
        assert isinstance(answer, Scored)
        assert abs(answer.score - float(row["prediction"])) < 1e-6
        assert row["label"] in ("true", "false")


def test_the_versions_tell_the_story() -> None:
    first, better, worse, retrained = (metadata_of(version) for version in VERSIONS)
    assert first["created_at"] < better["created_at"] < worse["created_at"]
    for metric in METRICS:
        assert first["metrics"][metric] < better["metrics"][metric]
        assert better["metrics"][metric] > worse["metrics"][metric] + 0.1
    for version, metadata in zip(VERSIONS, (first, better, worse, retrained), strict=True):
        names = (metadata["model"], metadata["version"], metadata["runtime"], metadata["deployment_ready"])
        assert names == ("flights", version, "scorecard", True)
    assert better["lineage"]["parent"] == "v1" and retrained["lineage"]["parent"] == "v2"


def test_retraining_on_july_helps_in_july() -> None:
    """On the July flights among the rows, the old model against the retrained one: fewer wrong answers."""
    july = [row for row in rows() if row["time"] > "2013-06"]
    wrong = {
        version: sum(_decision(scorecard_of(version), row) != row["label"] for row in july) for version in ("v2", "v7")
    }
    assert wrong["v7"] < wrong["v2"]


def _decision(card: Scorecard, row: dict[str, Any]) -> bool:
    answer = card.score(row["features"])
    assert isinstance(answer, Scored) and answer.decision is not None
    return answer.decision


def test_rows_are_traffic_for_every_version() -> None:
    traffic = rows()
    assert [row["time"] for row in traffic] == sorted(row["time"] for row in traffic)
    assert {row["time"][:7] for row in traffic} >= {"2013-01", "2013-07"}
    assert len(traffic) == 2_000
    for card in map(scorecard_of, VERSIONS):
        assert all(isinstance(card.score(row["features"]), Scored) for row in traffic)


def test_rows_of_january_show_the_quality_the_metadata_states() -> None:
    """They are a sample of the held-out days, so the stated metrics must come out, within a sample's error."""
    january = [row for row in rows() if row["time"] < "2013-06"]
    for version in JANUARY:
        answers = [scorecard_of(version).score(row["features"]) for row in january]
        right = sum(
            isinstance(a, Scored) and a.decision == row["label"] for a, row in zip(answers, january, strict=True)
        )
        assert right / len(january) == pytest.approx(metadata_of(version)["metrics"]["accuracy"], abs=0.04)


def test_july_is_different() -> None:
    """The demo's drift is in the data, not staged."""
    late = {month: [row["label"] for row in rows() if row["time"][5:7] == month] for month in ("01", "07")}
    assert sum(late["07"]) / len(late["07"]) > 1.2 * sum(late["01"]) / len(late["01"])


def test_train_makes_the_committed_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(FLIGHTS / "train.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=100)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = [path.relative_to(FLIGHTS) for path in (FLIGHTS / "packages").rglob("*") if path.is_file()]
    assert made == sorted([*committed, Path("rows.jsonl")])
    for name in made:
        assert (tmp_path / name).read_bytes() == (FLIGHTS / name).read_bytes(), name


def test_the_readme_shows_the_measured_metrics() -> None:
    readme = (FLIGHTS / "README.md").read_text(encoding="utf-8")
    for version in VERSIONS:
        metrics = metadata_of(version)["metrics"]
        assert " | ".join(f"{metrics[name]:.4f}" for name in METRICS) in readme


def test_the_examples_stay_small() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file() and "node_modules" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_500_000


def test_the_llm_package_has_the_flat_layout() -> None:
    (folder,) = (EXAMPLES / "text-to-sql" / "models").iterdir()
    location = locate(f"models/{folder.name}/best_model_metadata.json", "text-to-sql")
    assert isinstance(location, PackageLocation)
    assert (location.model, location.version, location.problems) == ("text-to-sql", folder.name, ())
    documents = {path.name: json.loads(path.read_bytes()) for path in folder.iterdir()}
    assert documents.keys() == {
        "best_model_metadata.json",
        "model_selection_report.json",
        "validation_report.json",
    }
    metadata = documents["best_model_metadata.json"]
    assert metadata["hyperparameters"] == {"temperature": 0.2, "top_p": 0.9, "top_k": 40}
    assert metadata["deployment_ready"] is True
    assert documents["validation_report.json"]["passed"] is True
    assert documents["model_selection_report.json"]["selected_model"] == metadata["selected_model"]
