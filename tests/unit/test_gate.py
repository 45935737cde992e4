"""The gate: every rule, its reasons, and what must hold for any metrics."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.champion import fold
from modeldrop.domain.gate import decide
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.versions import Contender, Decision, Metadata, ModelVersion, Standing, Status, order_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {"f1": 0.8, "auc": 0.9, "accuracy": 0.85, "precision": 0.8, "recall": 0.8}
LLM = {"performance_score": 92.0, "bias_score": 25.0, "success_rate": 90.0, "avg_response_time": 1.2}


def version(name: str = "v2", metrics: dict[str, float] | None = None, **changes: Any) -> ModelVersion:
    runtime = changes.pop("runtime", "scorecard")
    facts = {key: changes.pop(key) for key in ("stated_composite", "deployment_ready") if key in changes}
    metadata = Metadata(runtime=runtime, metrics=GOOD if metrics is None else metrics, **facts)
    base = ModelVersion(
        model="fraud",
        version=name,
        key=order_key(NOW, name),
        status=Status.RECEIVED,
        object_name=f"models/fraud/{name}/metadata.json",
        generation=1,
        digest="d" * 64,
        received_at=NOW,
        declared_at=NOW,
        declared_by="created_at",
        metadata=metadata,
    )
    return msgspec.structs.replace(base, **changes)


def standing(metrics: dict[str, float], best: dict[str, float] | None = None) -> Standing:
    champion = Contender("v1", "key1", metrics)
    return Standing(champion, champion if best is None else Contender("v0", "key0", best))


def judge(candidate: ModelVersion, against: Standing | None = None, **policy: Any) -> Decision:
    return decide(candidate, against or Standing(), GatePolicy(**policy), None)


def test_the_example_of_the_llm_metadata_passes_with_its_stated_composite() -> None:
    decision = judge(version(metrics=LLM, runtime="gemini", stated_composite=89.5))
    assert (decision.verdict, decision.rule, decision.preset) == ("approved", "first_model", "llm")
    assert decision.score == pytest.approx(0.5 * 0.92 + 0.3 * 0.75 + 0.1 * 0.88 + 0.1 * 0.9)


def test_a_composite_its_parts_do_not_give_is_a_reason_to_reject() -> None:
    decision = judge(version(metrics=LLM, runtime="gemini", stated_composite=98.0))
    assert (decision.verdict, decision.rule) == ("rejected", "composite_mismatch")


def test_nlg_weights() -> None:
    metrics = {"bleu1": 0.5, "bleu2": 0.4, "bleu3": 0.3, "bleu4": 0.2, "rougeL_precision": 0.6}
    decision = judge(version(metrics=metrics))
    assert decision.preset == "nlg"
    assert decision.score == pytest.approx(0.1 * 0.5 + 0.15 * 0.4 + 0.25 * 0.3 + 0.4 * 0.2 + 0.1 * 0.6)


@pytest.mark.parametrize(
    ("candidate", "policy", "rule"),
    [
        (version(deployment_ready=False), {}, "not_ready"),
        (version(validation_passed=False), {}, "validation_failed"),
        (version(), {"floors": {"f1": 0.9}}, "limit"),
        (version(), {"ceilings": {"latency_ms": 20}}, "limit"),
        (version(), {"require_signature": True}, "unsupported"),
        (version(), {"approval": "manual"}, "unsupported"),
        (version(metrics={"f1": 0.8}), {"preset": "custom", "weights": {"f1": 1, "cost": 1}}, "missing_metric"),
    ],
)
def test_reasons_to_reject_even_the_first_model(candidate: ModelVersion, policy: dict[str, Any], rule: str) -> None:
    decision = judge(candidate, **policy)
    assert (decision.verdict, decision.rule) == ("rejected", rule)
    assert decision.reasons


def test_all_reasons_are_named_at_once() -> None:
    decision = judge(version(deployment_ready=False, validation_passed=False), floors={"f1": 0.9, "auc": 0.99})
    assert len(decision.reasons) == 4


@pytest.mark.parametrize(
    ("gain", "verdict"), [(-0.1, "rejected"), (0.0, "rejected"), (0.0009, "rejected"), (0.001, "approved")]
)
def test_the_champion_must_be_beaten_by_the_minimum(gain: float, verdict: str) -> None:
    decision = judge(version(metrics={"f1": 0.8 + gain}), standing({"f1": 0.8}))
    assert decision.verdict == verdict
    assert [c.version for c in decision.compared_with] == ["v1"]


def test_the_best_in_history_must_be_beaten_too() -> None:
    decision = judge(version(metrics={"f1": 0.8}), standing({"f1": 0.7}, best={"f1": 0.9}))
    assert decision.verdict == "rejected"
    assert [(c.role, c.passed) for c in decision.compared_with] == [("production", True), ("best", False)]


def test_leaving_out_a_bad_figure_does_not_help() -> None:
    decision = judge(version(metrics={"f1": 0.99}), standing({"f1": 0.5, "auc": 0.5}))
    assert (decision.verdict, decision.rule) == ("rejected", "missing_metric")


def test_a_new_figure_counts_on_neither_side() -> None:
    decision = judge(version(metrics={"f1": 0.6, "auc": 0.0}), standing({"f1": 0.5}))
    assert decision.verdict == "approved"
    assert decision.compared_with[0].candidate_score == pytest.approx(0.6)


def test_nothing_in_common_cannot_be_compared() -> None:
    assert judge(version(metrics={}), standing({})).rule == "nothing_to_compare"


def test_a_metric_of_which_less_is_better() -> None:
    policy = {"weights": {"mae": 1.0}, "scale": {"mae": [10.0, 0.0]}}
    assert judge(version(metrics={"mae": 2.0}), standing({"mae": 3.0}), **policy).verdict == "approved"
    assert judge(version(metrics={"mae": 4.0}), standing({"mae": 3.0}), **policy).verdict == "rejected"
    assert judge(version(metrics={"mae": 4.0}), **policy).terms[0].direction == "lower"


def test_what_lies_outside_a_scale_nobody_stated_is_not_guessed() -> None:
    decision = judge(version(metrics={"rmse": 12.0}), weights={"rmse": 1.0}, lower_is_better=["rmse"])
    assert (decision.verdict, decision.rule) == ("rejected", "no_scale")


def test_the_direction_can_be_turned_in_a_preset_too() -> None:
    decision = judge(version(metrics=LLM), preset="llm", lower_is_better=["performance_score"])
    assert [term.direction for term in decision.terms if term.metric == "performance_score"] == ["lower"]


def test_a_response_time_does_not_make_a_classifier_an_llm() -> None:
    assert judge(version(metrics={"f1": 0.8, "avg_response_time": 0.1})).preset == "classifier"


unit = st.floats(0, 1, allow_nan=False)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), unit, min_size=1), st.sampled_from(sorted(GOOD)), unit, unit)
def test_a_better_figure_never_hurts(champion: dict[str, float], metric: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    worse = judge(version(metrics={**GOOD, metric: low}), standing(champion))
    better = judge(version(metrics={**GOOD, metric: high}), standing(champion))
    assert not (worse.verdict == "approved" and better.verdict == "rejected")


@given(st.lists(unit, min_size=1, max_size=8))
def test_the_champion_never_loses_to_what_it_beat(scores: list[float]) -> None:
    versions = [version(f"v{i}", {"f1": score}) for i, score in enumerate(scores)]
    last = list(fold(versions, Standing(), GatePolicy()))[-1]
    assert last.standing.champion is not None
    champion = last.standing.champion.metrics["f1"]
    assert all(score < champion + 0.001 for score in scores)
    assert all(
        c.version != v.version for v in fold(versions, Standing(), GatePolicy()) for c in v.decision.compared_with
    )
