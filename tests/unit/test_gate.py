"""The gate: every rule, its reasons, and what must hold for any metrics."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from modeldrop.domain.champion import fold
from modeldrop.domain.gate import decide
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.replay import replay
from modeldrop.domain.retired_llms import retired
from modeldrop.domain.versions import Contender, Decision, Grant, Metadata, ModelVersion, Standing, Status, order_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = {"f1": 0.8, "auc": 0.9, "accuracy": 0.85, "precision": 0.8, "recall": 0.8}
LLM = {"performance_score": 92.0, "bias_score": 25.0, "success_rate": 90.0, "avg_response_time": 1.2}


def version(name: str = "v2", metrics: dict[str, float] | None = None, **changes: Any) -> ModelVersion:
    runtime = changes.pop("runtime", "scorecard")
    facts = {key: changes.pop(key) for key in ("stated_composite", "deployment_ready", "llm") if key in changes}
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


@pytest.mark.parametrize(
    ("stated", "rule"),
    [(98.0, "composite_mismatch"), (74.0, "composite_mismatch"), (96.0, "first_model"), (77.0, "first_model")],
)
def test_a_stated_composite_may_differ_by_ten_points_both_ways(stated: float, rule: str) -> None:
    assert judge(version(metrics=LLM, runtime="gemini", stated_composite=stated)).rule == rule  # its parts give 86.3


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
        (version(), {"require_signature": True}, "unsigned"),
        (version(runtime="gemini", llm="text-bison@002"), {}, "retired_model"),
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


def test_a_signature_that_was_found_right_satisfies_the_policy() -> None:
    assert judge(version(signed_by="ci-2026"), require_signature=True).verdict == "approved"


def test_approval_by_hand_holds_what_nothing_else_speaks_against() -> None:
    against = standing({"f1": 0.7})
    held = judge(version(metrics={"f1": 0.8}), against, approval="manual")
    assert (held.verdict, held.rule) == ("held", "awaiting_approval")
    approval = Grant("ada@example.com", NOW)
    passed = judge(version(metrics={"f1": 0.8}, approval=approval), against, approval="manual")
    assert (passed.verdict, passed.rule) == ("approved", "improvement")
    assert "ada@example.com" in passed.reasons[-1]


def test_approval_does_not_outweigh_a_reason_to_reject() -> None:
    worse = version(metrics={"f1": 0.6}, approval=Grant("ada@example.com", NOW))
    assert judge(worse, standing({"f1": 0.7}), approval="manual").rule == "no_improvement"
    assert judge(version(metrics={"f1": 0.6}), standing({"f1": 0.7}), approval="manual").verdict == "rejected"


def test_a_held_version_is_no_yardstick_for_the_next() -> None:
    policy = GatePolicy(approval="manual")
    first, second = fold([version("v1", {"f1": 0.9}), version("v2", {"f1": 0.5})], Standing(), policy)
    assert first.standing.champion is None
    assert second.decision is not None and second.decision.verdict == "held"


def test_the_champion_itself_is_no_yardstick() -> None:
    decision = judge(version("v1", {"f1": 0.8}), standing({"f1": 0.8}, best={"f1": 0.7}))
    assert [c.version for c in decision.compared_with] == ["v0"]


GONE = [
    "text-bison", "text-bison@001", "chat-bison-32k@002", "codechat-bison", "code-gecko", "textembedding-gecko@003",
    "text-unicorn@001", "palm-2", "PaLM2", "models/chat-bison-001", "gemini-pro", "gemini-pro-vision", "gemini-ultra",
    "gemini-1.0-pro-002", "publishers/google/models/gemini-1.5-pro-002", "Gemini-1.5-Flash-8b", "gemini-2.0-flash",
    "gemini-2.0-flash-lite-001",
]  # fmt: skip
ALIVE = [
    "gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.5-flash", "gemini-pro-latest", "gemini-flash-latest", "napalm-7b",
    "my-bisonbert", "projects/p/locations/l/endpoints/123", "gemini-10.5-pro", "",
]  # fmt: skip


@pytest.mark.parametrize("llm", GONE)
def test_an_llm_that_no_longer_exists(llm: str) -> None:
    decision = judge(version(metrics=LLM, runtime="gemini", llm=llm))
    assert (decision.verdict, decision.rule) == ("rejected", "retired_model")
    assert llm.rsplit("/", 1)[-1] in decision.reasons[0]


@pytest.mark.parametrize("llm", ALIVE)
def test_an_llm_that_may_exist(llm: str) -> None:
    assert retired(llm) is None


def test_a_scorecard_may_name_whatever_it_was_made_from() -> None:
    assert judge(version(llm="text-bison")).verdict == "approved"


def test_a_decision_keeps_only_what_can_matter() -> None:
    noise = {f"m{i}": float(i) for i in range(150)}
    decision = judge(version(metrics=GOOD | noise), standing(GOOD | noise | {"f1": 0.1}), floors={"m3": 1.0})
    assert decision.facts is not None
    assert decision.facts.metrics.keys() == GOOD.keys() | {"m3"}
    assert [y.metrics.keys() for y in decision.yardsticks] == [GOOD.keys()]
    assert len(msgspec.json.encode(decision)) < 4_000


def test_what_was_never_judged_cannot_be_judged_again() -> None:
    assert replay(Decision("rejected", "late_arrival", ["v9 was live: history, no candidate"])) is None


def test_a_forged_record_does_not_replay() -> None:
    decision = judge(version(metrics={"f1": 0.6}), standing({"f1": 0.7}))
    forged = msgspec.structs.replace(decision, verdict="approved")
    assert replay(decision) == decision
    assert replay(forged) != forged
