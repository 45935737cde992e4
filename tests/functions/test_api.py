"""The API through functions-framework, over a registry that the real handlers filled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from modeldrop.wiring import services
from tests.handlers.control import FAST, MODEL, Control

SOURCE = Path(__file__).parents[2] / "functions" / "api" / "main.py"


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """A model with a live version and a rejected one; the function reads the same folder."""
    for name, value in {"BACKEND": "local", "DATA": str(tmp_path), "AUTH": "none"}.items():
        monkeypatch.setenv(f"MODELDROP_{name}", value)
    services.cache_clear()
    control = Control(tmp_path)
    control.policy(FAST)
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    yield control
    services.cache_clear()


@pytest.fixture
def client(control: Control) -> Any:
    return functions_framework.create_app(target="api", source=str(SOURCE)).test_client()


def test_models(client: Any) -> None:
    (model,) = client.get("/v1/models").json["models"]
    assert (model["model"], model["production"], model["endpoint"]) == (MODEL, "v1", {"traffic": {"v1": 100}})
    one = client.get(f"/v1/models/{MODEL}").json
    assert one["aliases"] == {"production": "v1", "previous": None, "latest": "v2"}


def test_versions_by_page(client: Any) -> None:
    first = client.get(f"/v1/models/{MODEL}/versions?limit=1").json
    second = client.get(f"/v1/models/{MODEL}/versions", query_string={"limit": 1, "before": first["next"]}).json
    assert [row["version"] for row in (*first["versions"], *second["versions"])] == ["v2", "v1"]
    one = client.get(f"/v1/models/{MODEL}/versions/v2").json
    assert (one["status"], one["decision"]["rule"]) == ("rejected", "no_improvement")


def test_a_decision_explained(client: Any) -> None:
    decision = client.get(f"/v1/models/{MODEL}/versions/v2/explain").json
    assert {"verdict", "rule", "score", "compared_with", "terms", "reasons"} <= decision.keys()
    assert {"metric", "value", "weight", "direction", "scaled", "contribution", "passed"} <= decision["terms"][0].keys()


def test_rollouts(client: Any) -> None:
    (rollout,) = client.get(f"/v1/models/{MODEL}/rollouts").json["rollouts"]
    assert rollout["phase"] == "live"
    assert client.get(f"/v1/models/{MODEL}/rollouts/{rollout['id']}").json == rollout


def test_what_is_quarantined(client: Any, control: Control) -> None:
    control.put("models/Bad Name/v1/metadata.json", b"{")
    control.tell("models/Bad Name/v1/metadata.json")
    (row,) = client.get("/v1/quarantine").json["quarantine"]
    assert row["what"] == "models/Bad Name/v1/metadata.json"
    assert [problem["field"] for problem in row["problems"]] == ["model", "$"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody", 404),
        ("/v1/models/nobody/versions", 404),
        (f"/v1/models/{MODEL}/versions/v9", 404),
        (f"/v1/models/{MODEL}/rollouts/9", 404),
        ("/v1/models/..%2f", 404),
        ("/v1//models", 404),
        ("/v2", 404),
        ("/v1/models?limit=0", 400),
        ("/v1/models?limit=00000199999999999999999999", 400),
        (f"/v1/models/{MODEL}/versions?before=a/b", 400),
    ],
)
def test_problems(client: Any, path: str, status: int) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["detail"]


def test_nothing_can_be_written_yet(client: Any) -> None:
    assert client.post("/v1/models").status_code == 405
