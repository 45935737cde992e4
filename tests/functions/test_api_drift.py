"""The reports over the API: the fields of the contract, problems, and what a list of models says."""

from pathlib import Path
from typing import Any

import pytest

from modeldrop.web.reading import read
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW
from tests.handlers.reporting import HOUR, bring_reference, events, reference_csv, take

FIELDS = {"window", "version", "reference", "rows", "estimated_events", "verdict", "features"}
OF_FEATURES = {
    *("name", "type", "test", "value", "threshold", "p_value", "missing", "verdict", "psi", "ks", "wasserstein"),
    *("jensen_shannon", "l_infinity", "chi_square"),
}


@pytest.fixture
def control(function_folder: Path) -> Control:
    """v1 serves, and its predictions of 10 o'clock have drifted; the function reads the same folder."""
    control = Control(function_folder)
    control.policy(FAST)
    control.clock.now = NOW
    control.make_live("v1", 0.7, day=1)
    bring_reference(control, reference_csv(events(-1, 500)))
    control.clock.now = NOW + 2 * HOUR
    take(control.services, events(0, 300, moved=3.0) + events(1, 10))
    return control


def test_a_report_on_the_latest_window(client: Any) -> None:
    said = client.get(f"/v1/models/{MODEL}/drift").json
    assert said.keys() >= FIELDS
    assert (said["window"], said["version"], said["rows"]) == ("2026-03-01T11:00:00Z", "v1", 10)
    assert said["verdict"] == "insufficient_data"


@pytest.mark.parametrize(
    "window", ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00", "20260301T100000Z", "2026-03-01T11:00:00+01:00"]
)
def test_a_report_on_a_window(client: Any, window: str) -> None:
    said = client.get(f"/v1/models/{MODEL}/drift", query_string={"window": window, "version": "v1"}).json
    assert (said["window"], said["rows"], said["verdict"]) == ("2026-03-01T10:00:00Z", 300, "drifted")
    assert said["reference"]["kind"] == "package"
    assert said["alarm"]["windows_to_alarm"] == 2
    (amount,) = said["features"]
    assert amount.keys() >= OF_FEATURES
    assert (amount["name"], amount["type"], amount["test"], amount["verdict"]) == (
        "amount",
        "numeric",
        "psi",
        "drifted",
    )
    assert said["prediction"]["verdict"] == "drifted"


def test_the_list_of_models_says_what_the_newest_report_said(client: Any, control: Control) -> None:
    def shown() -> Any:  # at a time when reports on those windows have not expired
        models, model = (read(control.services, path) for path in ("/v1/models", f"/v1/models/{MODEL}"))
        assert isinstance(models, dict)
        assert isinstance(model, dict)
        return models["models"][0]["drift"], model["drift"]

    assert shown() == (None, None)
    client.get(f"/v1/models/{MODEL}/drift?window=2026-03-01T10:00:00Z")
    assert shown() == ("drifted", "drifted")
    client.get(f"/v1/models/{MODEL}/drift")
    assert shown() == ("insufficient_data", "insufficient_data")


def test_quality(client: Any, control: Control) -> None:
    said = events(0, 150, moved=3.0)
    known = [
        {"type": "label", "model": MODEL, "prediction_id": each["prediction_id"], "predicted_at": each["timestamp"]}
        | {"label": each["prediction"] >= 0.5}
        for each in said
    ]
    take(control.services, known)
    answer = client.get(f"/v1/models/{MODEL}/quality").json
    (row,) = answer["versions"]
    assert (answer["model"], row["version"], row["window"]) == (MODEL, "v1", "2026-03-01T10:00:00Z")
    assert (row["labelled"], row["coverage"], row["metrics"]["accuracy"]) == (150, 0.5, 1.0)
    same = client.get(f"/v1/models/{MODEL}/quality?window=2026-03-01T10:00:00Z&version=v1").json
    assert same["versions"][0]["metrics"] == row["metrics"]


@pytest.mark.parametrize("report", ["drift", "quality"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody/{}", 404),
        ("/v1/models/fraud/{}?version=v9", 404),
        ("/v1/models/fraud/{}?window=2026-03-01T09:00:00Z", 404),
        ("/v1/models/fraud/{}?window=2026-03-01T10:30:00Z", 404),
        ("/v1/models/fraud/{}?window=0001-01-01T00:00:00%2B23:00", 400),
        ("/v1/models/fraud/{}?window=9999-12-31T23:59:59Z", 404),
        ("/v1/models/fraud/{}?window=yesterday", 400),
        ("/v1/models/fraud/{}?window=", 400),
        ("/v1/models/fraud/{}?version=a/b", 400),
        ("/v1/models/fraud/{}?version=", 400),
        ("/v1/models/fraud/{}?version=%00", 400),
    ],
)
def test_problems(client: Any, report: str, path: str, status: int) -> None:
    answer = client.get(path.format(report))
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["detail"]
