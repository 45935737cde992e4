"""The gate: may this version replace the champion? A pure function of the version, the standing and the policy.

Score = Σ weight x scaled / Σ weight over the metrics reported, with scaled = (value - worst) / (best - worst) cut to
[0, 1]; 0 is worst, 1 is best. Candidate and yardstick are compared over the metrics *both* report. A weighted metric
the yardstick has and the candidate lacks is a reason to reject: leaving out a bad figure must not help. With weights
of one's own (``custom``) every weighted metric must be there.
"""

from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.presets import Weighing, weighing
from modeldrop.domain.versions import Comparison, Decision, ModelVersion, Standing, Term

APPROVED = "approved"
REJECTED = "rejected"
_ROUNDING = 1e-9  # what float arithmetic may lose; far below any min_improvement that means something


def decide(candidate: ModelVersion, standing: Standing, policy: GatePolicy, policy_digest: str | None) -> Decision:
    """The decision on a candidate of the fold, with every reason in plain words."""
    assert candidate.metadata is not None
    metrics = candidate.metadata.metrics
    weigh = weighing(policy, metrics)
    terms = _terms(metrics, weigh, policy)
    score = score_over(metrics, weigh, metrics)
    comparisons, missing = _compare(metrics, standing, weigh, policy)
    objections = [
        *_not_ready(candidate),
        *_not_supported(policy),
        *_limits(terms, policy),
        *_off_scale(metrics, weigh),
        *_composite(candidate, score, weigh, policy),
        *missing,
        *[("no_improvement", _shortfall(c)) for c in comparisons if not c.passed],
    ]
    if objections:
        verdict, rule, reasons = REJECTED, objections[0][0], [text for _, text in objections]
    elif standing.champion is None:
        verdict, rule, reasons = APPROVED, "first_model", ["there is no champion to beat: the first model"]
    else:
        verdict, rule, reasons = APPROVED, "improvement", [_gain(c) for c in comparisons]
    return Decision(verdict, rule, reasons, score, comparisons, terms, weigh.preset, policy_digest, policy)


def score_over(metrics: dict[str, float], weigh: Weighing, shared: dict[str, float]) -> float | None:
    """The score of ``metrics`` over the weighted metrics that ``shared`` has too; None if there are none."""
    counted = [metric for metric in weigh.weights if metric in metrics and metric in shared]
    total = sum(weigh.weights[metric] for metric in counted)
    if not counted:
        return None
    return sum(weigh.weights[metric] * _scaled(metrics[metric], weigh.scale[metric]) for metric in counted) / total


def _scaled(value: float, scale: tuple[float, float]) -> float:
    worst, best = scale
    return min(1.0, max(0.0, (value - worst) / (best - worst)))


def _terms(metrics: dict[str, float], weigh: Weighing, policy: GatePolicy) -> list[Term]:
    reported = sum(weight for metric, weight in weigh.weights.items() if metric in metrics) or 1.0
    names = [*weigh.weights, *sorted((policy.floors.keys() | policy.ceilings.keys()) - weigh.weights.keys())]
    return [_term(name, metrics.get(name), weigh, policy, reported) for name in names]


def _term(name: str, value: float | None, weigh: Weighing, policy: GatePolicy, reported: float) -> Term:
    worst, best = weigh.scale.get(name, (0.0, 1.0))
    direction = "lower" if best < worst else "higher"
    weight = weigh.weights.get(name)
    if value is None:
        return Term(name, None, weight, direction, None, None, False if _has_limit(name, policy) else None)
    passed = policy.floors.get(name, value) <= value <= policy.ceilings.get(name, value)
    if weight is None:
        return Term(name, value, None, direction, None, None, passed)
    scaled = _scaled(value, (worst, best))
    return Term(name, value, weight / reported, direction, scaled, weight / reported * scaled, passed)


def _has_limit(name: str, policy: GatePolicy) -> bool:
    return name in policy.floors or name in policy.ceilings


def _not_ready(candidate: ModelVersion) -> list[tuple[str, str]]:
    assert candidate.metadata is not None
    objections = []
    if not candidate.metadata.deployment_ready:
        objections.append(("not_ready", "the package says deployment_ready: false"))
    if candidate.validation_passed is False:
        objections.append(("validation_failed", 'validation_report.json says "passed": false'))
    return objections


def _not_supported(policy: GatePolicy) -> list[tuple[str, str]]:
    """What a policy may ask for and this release cannot do is refused, never skipped."""
    objections = []
    if policy.require_signature:
        objections.append(("unsupported", "the policy requires a signature; signatures cannot be checked yet"))
    if policy.approval == "manual":
        objections.append(("unsupported", "the policy requires approval by hand, which cannot be given yet"))
    return objections


def _limits(terms: list[Term], policy: GatePolicy) -> list[tuple[str, str]]:
    objections = []
    for term in terms:
        if term.passed is not False:
            continue
        wanted = [f"at least {policy.floors[term.metric]:g}"] if term.metric in policy.floors else []
        wanted += [f"at most {policy.ceilings[term.metric]:g}"] if term.metric in policy.ceilings else []
        value = "not reported" if term.value is None else f"{term.value:g}"
        objections.append(("limit", f"{term.metric} is {value}; the policy wants {' and '.join(wanted)}"))
    return objections


def _off_scale(metrics: dict[str, float], weigh: Weighing) -> list[tuple[str, str]]:
    """On a scale nobody stated, a value outside it would count as the best or the worst there is."""
    return [
        ("no_scale", f"{name} is {metrics[name]:g}, not from 0 to 1: the policy must state its scale (gate.scale)")
        for name in weigh.unstated
        if name in metrics and not 0 <= metrics[name] <= 1
    ]


def _composite(
    candidate: ModelVersion, score: float | None, weigh: Weighing, policy: GatePolicy
) -> list[tuple[str, str]]:
    assert candidate.metadata is not None
    stated = candidate.metadata.stated_composite
    if stated is None or weigh.preset != "llm":
        return []
    if score is None:
        return [("composite_mismatch", f"a composite score of {stated:g} is stated, but none of its parts is reported")]
    if abs(stated - 100 * score) <= policy.composite_tolerance:
        return []
    return [
        (
            "composite_mismatch",
            f"the stated composite score {stated:g} is not the {100 * score:.1f} its parts give "
            f"(tolerance {policy.composite_tolerance:g} points)",
        )
    ]


def _compare(
    metrics: dict[str, float], standing: Standing, weigh: Weighing, policy: GatePolicy
) -> tuple[list[Comparison], list[tuple[str, str]]]:
    """Against production and against the best in history (once, where they are the same)."""
    yardsticks = [("production", standing.champion), ("best", standing.best)]
    comparisons: list[Comparison] = []
    missing: list[tuple[str, str]] = []
    if weigh.preset == "custom":
        missing += [_lacks(metric, "the policy's weights") for metric in weigh.weights if metric not in metrics]
    for role, yardstick in yardsticks:
        if yardstick is None or any(yardstick.version == c.version for c in comparisons):
            continue
        missing += [
            _lacks(metric, yardstick.version)
            for metric in weigh.weights
            if metric in yardstick.metrics and metric not in metrics
        ]
        mine, theirs = (
            score_over(m, weigh, s) for m, s in ((metrics, yardstick.metrics), (yardstick.metrics, metrics))
        )
        if mine is None or theirs is None:
            missing.append(
                ("nothing_to_compare", f"no weighted metric is reported by both this and {yardstick.version}")
            )
            continue
        required = theirs + policy.min_improvement
        passed = mine >= required - _ROUNDING
        comparisons.append(Comparison(yardstick.version, role, theirs, mine, required, passed))
    return comparisons, list(dict.fromkeys(missing))


def _lacks(metric: str, reported_by: str) -> tuple[str, str]:
    return ("missing_metric", f"{metric} is not reported, but {reported_by} has it")


def _shortfall(c: Comparison) -> str:
    return (
        f"score {c.candidate_score:.4f} against {c.score:.4f} of {c.version} ({c.role}): "
        f"at least {c.required:.4f} is required"
    )


def _gain(c: Comparison) -> str:
    gain = c.candidate_score - c.score
    return f"score {c.candidate_score:.4f} beats {c.score:.4f} of {c.version} ({c.role}) by {gain:.4f}"
