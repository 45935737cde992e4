"""Policy files: documented defaults, every error at once, and YAML's traps."""

from pathlib import Path

import pytest

from modeldrop.domain.policy import Policy
from modeldrop.errors import InvalidInput
from modeldrop.events.policy_file import POLICY_LIMIT_BYTES, read_policy

EVERY_FIELD = b"""
gate: {preset: custom, weights: {f1: 0.7, mae: 0.3}, lower_is_better: [mae], scale: {mae: [10, 0]},
       floors: {f1: 0.5}, ceilings: {mae: 8}, min_improvement: 0.01, composite_tolerance: 10, late_seconds: 3600,
       require_signature: false, approval: none}
rollout: {strategy: canary, steps: [5, 20, 50, 100], bake_seconds: 600, min_requests: 100, max_error_rate: 0.01,
          max_p95_ms: null, failure_limit: 2, error_limit: 4, inconclusive_limit: 6, keep_warm_seconds: 3600,
          deadline_seconds: 7200}
drift: {window_seconds: 3600, sample_size: 4096, min_rows: 200, tests: {numeric: psi, categorical: jensen_shannon},
        thresholds: {psi: 0.2, ks: 0.1, wasserstein: 0.1, jensen_shannon: 0.1}, false_discovery_rate: 0.05,
        windows_to_alarm: 2, redact: {name: drop, card: hash}}
quality: {metric: f1, positive: fraud, min: 0.5, max_drop: 0.1, min_labels: 100}
retrain: {on: [data_drift, concept_drift, prediction_drift, unhealthy], cooldown_seconds: 86400, max_per_week: 3,
          stop_after_no_gain: 3, target: {type: webhook, url: "https://example.com"}}
notify: [{type: slack, on: [promoted, rejected]}]
"""


def fields(content: bytes) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read_policy(content)
    return [problem.field for problem in caught.value.problems]


def test_an_empty_file_is_the_defaults() -> None:
    assert read_policy(b"") == Policy()


def test_every_documented_field() -> None:
    policy = read_policy(EVERY_FIELD)
    assert policy.gate.scale == {"mae": [10.0, 0.0]}
    assert policy.retrain.on == ["data_drift", "concept_drift", "prediction_drift", "unhealthy"], "not YAML 1.1's true"
    assert policy.rollout == Policy().rollout, "the documented defaults are the defaults"


def test_everything_wrong_is_named_at_once() -> None:
    content = b"""
    gate: {preset: best, floors: {f1: high}, min_improvement: 2, unknown: 1}
    rollout: {steps: [0, 200], bake_seconds: -1}
    rolout: {}
    """
    assert set(fields(content)) == {
        "gate.preset",
        "gate.floors.f1",
        "gate.min_improvement",
        "gate.unknown",
        "rollout.steps[0]",
        "rollout.steps[1]",
        "rollout.bake_seconds",
        "rolout",
    }


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"gate: {preset: custom}", "gate.weights"),
        (b"gate: {scale: {f1: [1, 1]}}", "gate.scale.f1"),
        (b"rollout: {steps: [50, 20]}", "rollout.steps"),
        (b"rollout: {bake_seconds: 7200}", "rollout.deadline_seconds"),
        (b"rollout: {approve_steps: [30]}", "rollout.approve_steps"),
        (b"rollout: {strategy: hot_swap, approve_steps: [20]}", "rollout.approve_steps"),
        (b"drift: {tests: {categorical: ks}}", "drift.tests.categorical"),
        (b"drift: {false_discovery_rate: 0}", "drift.false_discovery_rate"),
        (b"quality: {min: 0.9}", "quality.metric"),
        (b"gate: {min_improvement: .nan}", "gate.min_improvement"),
        (b"gate: {floors: {f1: .inf}}", "gate.floors.f1"),
        (b"gate: {}\ngate: {}", "gate"),
        (b"[]", "$"),
        (b"policy", "$"),
        (b"a: &a [*a]", "$"),
        (b"gate: !!python/object/apply:os.system [x]", "$"),
        (b"a: [", "$"),
        (b"\xff\xff", "$"),
        (b"[" * 1000, "$"),
        (b"# " + b"x" * POLICY_LIMIT_BYTES, "$"),
        (b"true: 1", "True"),
        (b'gate: !!int ""', "$"),
        (b"gate: !!timestamp foo", "$"),
        (b'"\\ud800": 1', "$"),
        (b"gate: &anchor {}", "$"),
        (b"- a\n" * 5000, "$"),
        (b"gate: {scale: {f1: [1e308, 0]}}", "gate.scale.f1[0]"),
        (b"gate: {weights: {f1: 5.0e-324}}", "gate.weights.f1"),
    ],
)
def test_policies_that_cannot_be(content: bytes, field: str) -> None:
    assert fields(content) == [field]


def test_the_example_policy_is_one() -> None:
    for path in (Path(__file__).parents[2] / "examples").rglob("policies/*.yaml"):
        read_policy(path.read_bytes())
