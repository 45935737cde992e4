"""Drift and quality over windows, and the pictures in a report, over the API."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldrop.domain.drift.feature_drift import FeatureDrift
from modeldrop.ports import Replace
from modeldrop.records.reports import DriftRecord, QualityRecord, Reports, drift_path
from modeldrop.web.answers.reports import DriftAnswer, FeatureAnswer, QualityWindow
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW
from tests.handlers.reporting import HOUR, bring_reference, events, hour, reference_csv, take

DRIFT = f"/v1/models/{MODEL}/drift"
QUALITY = f"/v1/models/{MODEL}/quality"
TIMES = [f"2026-03-01T{time}:00:00Z" for time in (10, 11, 12)]


@pytest.fixture
def control(function_folder: Path) -> Control:
    """v1 serves, and its predictions drifted at 11 o'clock; the function reads the same folder."""
    control = Control(function_folder)
    control.policy(FAST + "quality: {metric: accuracy, min: 0.8, min_labels: 50}\n")
    control.tell(f"policies/{MODEL}.yaml")
    control.clock.now = NOW
    control.make_live("v1", 0.7, day=1)
    bring_reference(control, reference_csv(events(-1, 500)))
    control.clock.now = NOW + 4 * HOUR
    for number, moved in enumerate((0.0, 3.0, 0.0)):
        said = events(number, 300, moved=moved)
        take(control.services, said)
        take(control.services, [_label(each) for each in said[:150]])
    return control


def _label(said: dict[str, Any]) -> dict[str, Any]:
    known = {
        "type": "label",
        "model": MODEL,
        "prediction_id": said["prediction_id"],
        "label": said["prediction"] >= 0.5,
    }
    return known | {"predicted_at": said["timestamp"]}


def look(client: Any, report: str) -> None:
    for time in TIMES:
        assert client.get(report, query_string={"window": time}).status_code == 200


def test_a_report_has_pictures(client: Any) -> None:
    said = client.get(DRIFT, query_string={"window": TIMES[1]}).json
    (amount,) = said["features"]
    shown = amount["distribution"]
    assert list(shown) == ["kind", "edges", "reference", "live"] and shown["kind"] == "numeric"
    assert len(shown["edges"]) == len(shown["live"]) + 1 == len(shown["reference"]) + 1
    assert sum(shown["live"]) == pytest.approx(1.0, abs=1e-4)
    assert said["prediction"]["distribution"]["kind"] == "numeric"
    assert said["distributions_left_out"] == 0


def test_the_answer_is_the_record_as_it_is(client: Any, control: Control) -> None:
    said = client.get(DRIFT, query_string={"window": TIMES[1]})
    kept = Reports(control.services.documents).drift(MODEL, "v1", hour(1))
    assert kept is not None
    assert said.json == msgspec.json.decode(msgspec.json.encode(kept.value))
    assert list(said.json) == [field.name for field in msgspec.structs.fields(DriftRecord)]
    assert list(said.json["features"][0]) == [field.name for field in msgspec.structs.fields(FeatureDrift)]


@pytest.mark.parametrize(("answer", "source"), [(DriftAnswer, DriftRecord), (FeatureAnswer, FeatureDrift)])
def test_the_types_of_answers_have_the_fields_of_what_they_show(answer: Any, source: Any) -> None:
    fields = [{field.name: field.default for field in msgspec.structs.fields(kind)} for kind in (answer, source)]
    assert list(fields[0].items()) == list(fields[1].items())


def test_a_report_from_before_there_were_pictures(client: Any, control: Control) -> None:
    client.get(DRIFT, query_string={"window": TIMES[1]})
    documents, path = control.services.documents, drift_path(MODEL, "v1", hour(1))
    kept = documents.get(path)
    assert kept is not None
    data = kept.data
    for column in (*data["features"], data["prediction"]):
        del column["distribution"]
    del data["distributions_left_out"]
    documents.commit([Replace(path, data, kept.revision)])
    said = client.get(DRIFT, query_string={"window": TIMES[1]}).json
    assert (said["features"][0]["distribution"], said["prediction"]["distribution"]) == (None, None)
    assert said["features"][0]["psi"] == data["features"][0]["psi"]


def test_drift_over_windows(client: Any) -> None:
    look(client, DRIFT)
    said = client.get(f"{DRIFT}/windows").json
    assert (said["model"], said["version"], said["next"]) == (MODEL, "v1", None)
    assert [(each["window"], each["verdict"]) for each in said["windows"]] == [
        (TIMES[2], "ok"),
        (TIMES[1], "drifted"),
        (TIMES[0], "ok"),
    ]
    whole = client.get(DRIFT, query_string={"window": TIMES[1]}).json
    (amount,) = whole["features"]
    names = ("test", "value", "threshold", "verdict")
    assert said["windows"][1] == {
        **{name: whole[name] for name in ("window", "verdict", "complete", "rows", "estimated_events")},
        "features": {"amount": {name: amount[name] for name in names}},
        "prediction": {name: whole["prediction"][name] for name in names},
    }


def test_quality_over_windows(client: Any) -> None:
    look(client, QUALITY)
    said = client.get(f"{QUALITY}/windows").json
    assert (said["model"], said["version"], said["next"]) == (MODEL, "v1", None)
    assert [each["window"] for each in said["windows"]] == TIMES[::-1]
    (whole,) = client.get(QUALITY, query_string={"window": TIMES[1]}).json["versions"]
    fields = ["window", "verdict", "metric", "value", "bounds", "expected", "n", "coverage"]
    assert said["windows"][1] == {name: whole[name] for name in fields}
    assert (said["windows"][1]["value"], said["windows"][1]["n"], said["windows"][1]["coverage"]) == (1.0, 150, 0.5)
    assert set(fields) <= {field.name for field in msgspec.structs.fields(QualityRecord)}
    assert fields == [field.name for field in msgspec.structs.fields(QualityWindow)]


@pytest.mark.parametrize("report", [DRIFT, QUALITY])
def test_page_by_page(client: Any, report: str) -> None:
    assert client.get(f"{report}/windows").json["windows"] == []
    look(client, report)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "version": "v1"}
    while True:
        page = client.get(f"{report}/windows", query_string=query).json
        seen += [each["window"] for each in page["windows"]]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    assert seen == TIMES[::-1]


@pytest.mark.parametrize("report", ["drift", "quality"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody/{}/windows", 404),
        ("/v1/models/fraud/{}/windows?version=v9", 404),
        ("/v1/models/fraud/{}/windows?version=a/b", 400),
        ("/v1/models/fraud/{}/windows?before=yesterday", 400),
        ("/v1/models/fraud/{}/windows?before=0001-01-01T00:00:00%2B23:00", 400),
        ("/v1/models/fraud/{}/windows?limit=0", 400),
        ("/v1/models/fraud/{}/windows?limit=201", 400),
        ("/v1/models/fraud/{}/windows?before=0001-01-01", 200),
        ("/v1/models/fraud/{}/windows?before=9999-12-31T23:59:59.999999Z", 200),
    ],
)
def test_problems(client: Any, report: str, path: str, status: int) -> None:
    answer = client.get(path.format(report))
    assert answer.status_code == status
    if status != 200:
        assert (answer.content_type, bool(answer.json["detail"])) == ("application/problem+json", True)
