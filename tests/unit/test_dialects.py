"""Metadata as the source systems write them: what is read, what is left alone, what the gate says of it.

D1 LLM inference · D3 text generation · D4 registry packages for a Node.js service · D5 a finance assistant's registry.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.gate import decide
from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.versions import Decision, Metadata, ModelVersion, Standing, Status, order_key
from modeldrop.errors import InvalidInput
from modeldrop.events.metadata import FOREIGN_LABELS, read_metadata

NOW = datetime(2026, 6, 1, tzinfo=UTC)
IMAGE = "registry.example/service@sha256:" + "0" * 64

D1 = {
    "selected_model": "gemini-2.5-flash",
    "composite_score": 89.5,
    "performance_score": 92.0,
    "bias_score": 25.0,
    "success_rate": 90.0,
    "avg_response_time": 1.2,
    "deployment_ready": True,
    "selection_date": "2026-05-10T12:00:00",
    "hyperparameters": {"temperature": 0.2, "top_p": 0.9, "top_k": 40},
}
D3 = {"bleu1": 0.52, "bleu2": 0.41, "bleu3": 0.33, "bleu4": 0.27, "rougeL_precision": 0.49}
D4: dict[str, Any] = {
    "model_type": "intent_classifier",
    "version": "v1.0.0",
    "metrics": {"accuracy": 0.93, "f1": 0.91, "load_time_ms": 420.0},
    "status": "registered",
}
D5 = {
    "name": "Credit risk",
    "type": "credit_risk",
    "version": "v1.0.0",
    "framework": "xgboost",
    "artifact_path": "/opt/models/credit_risk/model.pkl",
    "metrics": {"auc": 0.88, "precision": 0.81},
    "training_data_version": "2026-04",
    "status": "active",
    "created_by": "ada@example.com",
    "deployed_at": None,
}
SERVED = {"runtime": "container", "image": IMAGE}


def read(document: object, version: str = "v1.0.0") -> Metadata:
    location = locate(f"models/intent/{version}/metadata.json", None)
    assert isinstance(location, PackageLocation)
    return read_metadata(json.dumps(document).encode(), location, NOW)


def problems(document: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        read(document)
    return {problem.field: problem.message for problem in caught.value.problems}


def judged(metadata: Metadata, **policy: Any) -> Decision:
    key = order_key(NOW, "v1.0.0")
    version = ModelVersion(
        "intent", "v1.0.0", key, Status.RECEIVED, "models/intent/v1.0.0/metadata.json", 1, "d" * 64, NOW, NOW,
        "upload", metadata,
    )  # fmt: skip
    return decide(version, Standing(), GatePolicy(**policy), None)


D1_METRICS = {"performance_score": 92.0, "bias_score": 25.0, "success_rate": 90.0, "avg_response_time": 1.2}
TABLE: list[tuple[str, dict[str, Any], str, dict[str, float], str, float]] = [
    # dialect, document, runtime, metrics, preset, score
    ("D1", D1, "gemini", D1_METRICS, "llm", 0.863),
    ("D3", D3 | SERVED, "container", D3, "nlg", 0.353),
    ("D4", D4 | {"runtime": "onnx"}, "onnx", D4["metrics"], "classifier", 0.919),
    ("D5", D5 | SERVED, "container", {"auc": 0.88, "precision": 0.81}, "classifier", 0.860),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "document", "runtime", "metrics", "preset", "score"), TABLE)
def test_each_dialect_is_read_and_judged(
    dialect: str, document: dict[str, Any], runtime: str, metrics: dict[str, float], preset: str, score: float
) -> None:
    metadata = read(document)
    assert (metadata.runtime, metadata.metrics) == (runtime, metrics), dialect
    decision = judged(metadata)
    assert (decision.verdict, decision.rule, decision.preset) == ("approved", "first_model", preset)
    assert decision.score == pytest.approx(score, abs=5e-4)


@pytest.mark.parametrize(
    ("document", "labels", "lineage"),
    [
        (D4 | SERVED, {"model_type": "intent_classifier"}, {}),
        (
            D5 | SERVED,
            {"name": "Credit risk", "type": "credit_risk", "framework": "xgboost", "created_by": "ada@example.com"},
            {"training_data": "2026-04"},
        ),
        (
            D5 | SERVED | {"labels": {"framework": "sklearn"}, "lineage": {"training_data": "s3", "commit": "abc"}},
            {"name": "Credit risk", "type": "credit_risk", "framework": "sklearn", "created_by": "ada@example.com"},
            {"training_data": "s3", "commit": "abc"},
        ),
    ],
)
def test_what_other_registries_say_is_kept(
    document: dict[str, Any], labels: dict[str, str], lineage: dict[str, str]
) -> None:
    metadata = read(document)
    assert (metadata.labels, metadata.lineage) == (labels, lineage)
    assert metadata.artifact_uri is None  # nobody knows what their path is relative to


@pytest.mark.parametrize("odd", [None, 7, ["a"], {"id": 3}, "", "x" * 1025])
def test_their_fields_in_another_form_are_left_alone(odd: object) -> None:
    foreign = dict.fromkeys((*FOREIGN_LABELS, "training_data_version", "artifact_path", "status"), odd)
    metadata = read(SERVED | foreign)
    assert (metadata.labels, metadata.lineage) == ({}, {})


@pytest.mark.parametrize(("document", "word"), [(D3, "BLEU"), (D4, "Framework"), (D5, "Framework"), ({}, "missing")])
def test_a_dialect_that_does_not_say_what_serves_it(document: dict[str, Any], word: str) -> None:
    found = problems(document)
    assert list(found) == ["runtime"]
    assert word in found["runtime"] and "container" in found["runtime"]


def test_the_version_of_a_registry_entry_is_that_of_its_path() -> None:
    assert list(problems(D4 | SERVED | {"version": "v1.0.1"})) == ["version"]


def test_a_figure_stated_twice_must_be_the_same() -> None:
    assert read(D1 | {"metrics": {"bias_score": 25}}).metrics["bias_score"] == 25.0
    assert list(problems(D1 | {"metrics": {"bias_score": 2}})) == ["metrics.bias_score"]


LLMS = [("gemini-2.5-flash", "first_model"), ("gemini-1.5-pro", "retired_model"), ("text-bison@002", "retired_model")]


@pytest.mark.parametrize(("llm", "rule"), LLMS)
def test_the_llm_must_exist_still(llm: str, rule: str) -> None:
    named = {"runtime": "gemini", "hyperparameters": {"model": llm}, "performance_score": 90.0}
    assert judged(read(D1 | {"selected_model": llm})).rule == rule
    assert judged(read(named)).rule == rule


NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, '"NaN"', '"Infinity"', '"1e999"']
PLACES = ['"metrics":{"f1":%s}', '"performance_score":%s', '"bleu4":%s', '"composite_score":%s']


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", NOT_FINITE)
def test_nan_and_infinities_never_reach_a_score(place: str, number: str) -> None:
    location = locate("models/intent/v1.0.0/metadata.json", None)
    assert isinstance(location, PackageLocation)
    content = '{"runtime":"container","image":"%s",%s}' % (IMAGE, place % number)  # noqa: UP031 - braces of JSON
    with pytest.raises(InvalidInput):
        read_metadata(content.encode(), location, NOW)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*D1_METRICS, *D3, "f1", "auc"]), st.floats(allow_nan=False, allow_infinity=False))
)
def test_whatever_is_read_gives_a_score_or_none(metrics: dict[str, float]) -> None:
    score = judged(read(SERVED | {"metrics": metrics})).score
    assert score is None or 0 <= score <= 1
