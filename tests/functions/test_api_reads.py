"""How often the API asks its stores: a page of models takes as many round trips as one model does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldrop.domain.endpoint import ServedVersion
from modeldrop.domain.model_head import ModelHead, Serving
from modeldrop.ports import Create
from modeldrop.records.health import HealthRecord, health_path
from modeldrop.web.reading import read
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.counted import Counted, counted

MODELS = 120
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Many models with a version each; of every second one the health is known, of every third there is an endpoint."""
    control = Control(tmp_path)
    writes = []
    for number in range(MODELS):
        model, serving = f"m{number:03d}", Serving("v1", "key", DAY)
        head = ModelHead(model, desired="v1", production=serving, last_key="key")
        writes.append(Create(f"models/{model}", msgspec.to_builtins(head)))
        if number % 2 == 0:
            record = HealthRecord("scorecard", "v1", "healthy")
            writes.append(Create(health_path(model), msgspec.to_builtins(record)))
        if number % 3 == 0:
            version = ServedVersion(model, "v1", "0" * 64, "scorecard", (tmp_path / "bucket").as_uri())
            control.services.model_server.upload(version)
            control.services.model_server.deploy(version)
    control.services.documents.commit(writes)
    return control


@pytest.mark.parametrize("limit", [1, 50])
def test_a_page_of_models_takes_a_fixed_number_of_round_trips(control: Control, limit: int) -> None:
    services, documents = counted(control, "documents")
    machines = Counted(services.model_server)
    services.__dict__["model_server"] = machines
    page: Any = read(services, "/v1/models", limit=limit)
    assert [row["model"] for row in page["models"]] == [f"m{number:03d}" for number in range(limit)]
    assert dict(documents.calls) == {"list": 3, "get_many": 3}  # heads, ticks, news; healths, verdicts, newest versions
    assert dict(machines.calls) == {"observe_many": 1}


def test_all_pages_together_are_all_models(control: Control) -> None:
    seen: list[dict[str, Any]] = []
    page: Any = {"next": None}
    while page["next"] is not None or not seen:
        page = read(control.services, "/v1/models", limit=50, before=page["next"])
        seen += page["models"]
    assert [row["model"] for row in seen] == [f"m{number:03d}" for number in range(MODELS)]
    assert [row["health"] for row in seen] == ["healthy", "unknown"] * (MODELS // 2)
    assert [row["endpoint"] is not None for row in seen] == [number % 3 == 0 for number in range(MODELS)]


def test_endpoints_that_cannot_be_seen_hide_nothing_else(control: Control) -> None:
    (control.data / "serving.sqlite").unlink()
    (control.data / "serving.sqlite").mkdir()
    page: Any = read(control.another_instance(), "/v1/models", limit=2)
    assert [(row["model"], row["health"], row["endpoint"]) for row in page["models"]] == [
        ("m000", "healthy", None),
        ("m001", "unknown", None),
    ]


def test_a_page_of_versions_is_two_reads(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.policy(FAST)
    for number in range(1, 4):
        control.make_live(f"v{number}", 0.5 + number / 10, day=number)
    services, documents = counted(control, "documents")
    page: Any = read(services, f"/v1/models/{MODEL}/versions")
    assert len(page["versions"]) == 3
    assert documents.calls.total() <= 3
