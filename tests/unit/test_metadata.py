"""Metadata in its dialects, and everything that may be wrong with it at once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.errors import InvalidInput
from modeldrop.events.metadata import read_metadata

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HERE = locate("models/fraud/v1/metadata.json", None)
EXAMPLES = Path(__file__).parents[2] / "examples"
SCORECARD: dict[str, Any] = {"runtime": "scorecard", "parameters": {"coefficients": {"amount": 0.5}}}


def read(document: object, location: object = HERE) -> Any:
    assert isinstance(location, PackageLocation)
    return read_metadata(json.dumps(document).encode(), location, NOW)


def problems(document: object, location: object = HERE) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(document, location)
    return {problem.field: problem.message for problem in caught.value.problems}


def test_our_own_dialect() -> None:
    metadata = read(
        SCORECARD
        | {
            "model": "fraud",
            "version": "v1",
            "created_at": "2026-05-01T12:00:00+02:00",
            "metrics": {"f1": 0.8, "auc": 1},
            "features": {"amount": {"type": "numeric"}},
            "lineage": {"commit": "abc", "parent": None},
            "labels": {"team": "risk"},
            "some_other_field": [1, {"a": None}],
        }
    )
    assert metadata.created_at == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert metadata.metrics == {"f1": 0.8, "auc": 1.0}
    assert metadata.features == {"amount": "numeric"}
    assert metadata.lineage == {"commit": "abc"}
    assert metadata.deployment_ready is True


def test_the_flat_llm_dialect_of_the_example() -> None:
    (path,) = EXAMPLES.glob("text-to-sql/models/*/best_model_metadata.json")
    location = locate(f"models/{path.parent.name}/{path.name}", "sql")
    assert isinstance(location, PackageLocation)
    metadata = read_metadata(path.read_bytes(), location, NOW)
    assert (metadata.runtime, metadata.llm, metadata.stated_composite) == ("gemini", "gemini-2.5-flash", 89.5)
    assert metadata.metrics == {
        "performance_score": 92.0,
        "bias_score": 25.0,
        "success_rate": 90.0,
        "avg_response_time": 1.2,
    }


def test_flat_nlg_metrics() -> None:
    image = "registry.example/nlg@sha256:" + "0" * 64
    metadata = read({"runtime": "container", "image": image, "bleu1": 0.5, "bleu4": 0.2, "rougeL_precision": 0.4})
    assert metadata.metrics == {"bleu1": 0.5, "bleu4": 0.2, "rougeL_precision": 0.4}


def test_times_without_an_offset_are_utc() -> None:
    assert read(SCORECARD | {"selection_date": "2026-05-01T12:00:00"}).created_at == datetime(
        2026, 5, 1, 12, tzinfo=UTC
    )


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "yesterday", "1999-01-01", ""])
def test_times_that_cannot_be(time: str) -> None:
    assert list(problems(SCORECARD | {"created_at": time})) == ["created_at"]


def test_a_clock_that_is_a_little_ahead_is_no_problem() -> None:
    ahead = NOW + timedelta(hours=2)
    assert read(SCORECARD | {"created_at": ahead.isoformat()}).created_at == ahead


def test_everything_wrong_is_named_at_once() -> None:
    document = {
        "model": "other",
        "version": 7,
        "runtime": "abacus",
        "created_at": "soon",
        "metrics": {"f1": "good", "auc": None, "__x__": 1, "": 2},
        "features": {"amount": {"type": "money"}, "country": "text"},
        "lineage": [],
        "deployment_ready": "yes",
        "labels": {"team": 3},
    }
    assert set(problems(document)) == {
        "model",
        "version",
        "runtime",
        "created_at",
        "metrics.f1",
        "metrics.auc",
        "metrics.__x__",
        "metrics.$",
        "features.amount.type",
        "features.country",
        "lineage",
        "deployment_ready",
        "labels.team",
    } - {"metrics.$"} | {"metrics."}


def test_the_names_of_the_path_are_part_of_it() -> None:
    found = problems({"runtime": "abacus"}, locate("models/Fraud/..v/metadata.json", None))
    assert set(found) == {"model", "version", "runtime"}


def test_boolean_is_no_number_and_a_large_integer_is_none() -> None:
    assert "metrics.f1" in problems(SCORECARD | {"metrics": {"f1": True}})


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "runtime"),
        ({"runtime": "gemini"}, "selected_model"),
        ({"runtime": "container"}, "image"),
        ({"runtime": "container", "image": "registry.example/nlg:latest"}, "image"),
        ({"runtime": "scorecard"}, "parameters"),
        ([], "$"),
        ("metadata", "$"),
        (None, "$"),
    ],
)
def test_what_a_runtime_needs(document: object, field: str) -> None:
    assert any(name.startswith(field) for name in problems(document))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"metrics":{"f1":NaN}}', b'{"metrics":{"f1":1e999}}', b"[" * 100_000, b'{"a":1,"a":2}'],
)
def test_bytes_that_are_no_document(content: bytes) -> None:
    assert isinstance(HERE, PackageLocation)
    with pytest.raises(InvalidInput):
        read_metadata(content, HERE, NOW)


def test_too_many_of_anything() -> None:
    found = problems(SCORECARD | {"metrics": {f"m{i}": 1.0 for i in range(201)}})
    assert "200" in found["metrics"]


def test_many_problems_in_one_field_do_not_hide_the_others() -> None:
    found = problems(SCORECARD | {"features": {f"f{i}": 1 for i in range(150)}, "labels": {"a": 1}})
    assert "labels.a" in found
    assert len(found) <= 102
