"""The gate's presets: which metrics count, how much, and on which scale (worst, best)."""

import msgspec

from modeldrop.domain.policy import GatePolicy

ZERO_TO_ONE = (0.0, 1.0)
ONE_TO_ZERO = (1.0, 0.0)


class Weighing(msgspec.Struct, frozen=True):
    """How metrics become one score: weights (their sum is not restricted) and scales ``(worst, best)``."""

    preset: str
    weights: dict[str, float]
    scale: dict[str, tuple[float, float]]
    unstated: tuple[str, ...] = ()  # weighted metrics whose scale nobody stated: 0 to 1 is assumed


LLM = Weighing(
    "llm",
    {"performance_score": 0.5, "bias_score": 0.3, "avg_response_time": 0.1, "success_rate": 0.1},
    {
        "performance_score": (0.0, 100.0),
        "bias_score": (100.0, 0.0),
        "avg_response_time": (10.0, 0.0),  # seconds: an answer that takes ten is worth nothing
        "success_rate": (0.0, 100.0),
    },
)
NLG = Weighing("nlg", {"bleu1": 0.10, "bleu2": 0.15, "bleu3": 0.25, "bleu4": 0.40, "rougeL_precision": 0.10}, {})
CLASSIFIER = Weighing("classifier", {"f1": 0.3, "auc": 0.25, "accuracy": 0.25, "precision": 0.1, "recall": 0.1}, {})

PRESETS = {weighing.preset: weighing for weighing in (LLM, NLG, CLASSIFIER)}


def weighing(policy: GatePolicy, metrics: dict[str, float]) -> Weighing:
    """The policy's weighing; where it names no preset, the one whose metrics the package reports.

    >>> weighing(GatePolicy(), {"bleu4": 0.3}).preset
    'nlg'
    """
    name = policy.preset or ("custom" if policy.weights else _preset_of(metrics))
    preset = PRESETS.get(name, Weighing("custom", {}, {}))
    weights = dict(sorted(policy.weights.items())) or preset.weights  # stores may not keep the order of a map
    known = preset.scale | {metric: (worst, best) for metric, (worst, best) in policy.scale.items()}
    scale = {metric: known.get(metric, ZERO_TO_ONE) for metric in weights}
    for metric in policy.lower_is_better:
        worst, best = scale.get(metric, ZERO_TO_ONE)
        scale[metric] = (max(worst, best), min(worst, best))
    return Weighing(name, weights, scale, tuple(metric for metric in weights if metric not in known))


def _preset_of(metrics: dict[str, float]) -> str:
    """Response times and success rates are reported by all kinds of models: they do not make one an LLM."""
    if "performance_score" in metrics or "bias_score" in metrics:
        return LLM.preset
    return NLG.preset if any(metric in metrics for metric in NLG.weights) else CLASSIFIER.preset
