"""The gate: may this version replace the champion? A pure function of the version, the standing and the policy.

Score = Σ weight x scaled / Σ weight over the metrics reported, with scaled = (value - worst) / (best - worst) cut to
[0, 1]; 0 is worst, 1 is best. Candidate and yardstick are compared over the metrics *both* report. A weighted metric
the yardstick has and the candidate lacks is a reason to reject: leaving out a bad figure must not help. With weights
of one's own (``custom``) every weighted metric must be there.

A decision carries what it was made from, cut down to what can matter; ``domain.replay`` makes it again, bit for bit:
weights are taken in an order of their own, so that the one in which a store gives a map back does not count.
"""

from collections.abc import Collection

import msgspec

from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.presets import Weighing, weighing
from modeldrop.domain.retired_llms import retired
from modeldrop.domain.versions import Comparison, Decision, Facts, ModelVersion, Standing, Term, Yardstick

APPROVED = "approved"
REJECTED = "rejected"
HELD = "held"
_ROUNDING = 1e-9  # what float arithmetic may lose; far below any min_improvement that means something

Objections = list[tuple[str, str]]  # rule, reason


def decide(candidate: ModelVersion, standing: Standing, policy: GatePolicy, policy_digest: str | None) -> Decision:
    """The decision on a candidate of the fold, with every reason in plain words."""
    return judge(_facts(candidate), standing, policy, policy_digest)


def judge(facts: Facts, standing: Standing, policy: GatePolicy, policy_digest: str | None) -> Decision:
    """The decision on these facts."""
    weigh = weighing(policy, facts.metrics)
    counted = weigh.weights.keys() | policy.floors.keys() | policy.ceilings.keys()
    facts = msgspec.structs.replace(facts, metrics=_only(counted, facts.metrics))
    metrics = facts.metrics
    yardsticks = _yardsticks(facts, standing, weigh)
    terms = _terms(metrics, weigh, policy)
    score = score_over(metrics, weigh, metrics)
    comparisons, missing = _compare(metrics, yardsticks, weigh, policy)
    objections = [
        *_not_ready(facts),
        *_retired(facts),
        *_unsigned(facts, policy),
        *_limits(terms, policy),
        *_off_scale(metrics, weigh),
        *_composite(facts, score, weigh, policy),
        *missing,
        *[("no_improvement", _shortfall(c)) for c in comparisons if not c.passed],
    ]
    verdict, rule, reasons = _verdict(objections, comparisons, facts, policy)
    return Decision(
        verdict,
        rule,
        reasons,
        score,
        comparisons,
        terms,
        weigh.preset,
        policy_digest,
        policy,
        facts,
        yardsticks,
    )


def beyond_force(candidate: ModelVersion, policy: GatePolicy) -> list[str]:
    """What stands against a version even where an operator skips the gate: nobody may vouch for it in its place."""
    facts = _facts(candidate)
    return [text for _, text in (*_retired(facts), *_unsigned(facts, policy))]


def score_over(metrics: dict[str, float], weigh: Weighing, shared: dict[str, float]) -> float | None:
    """The score of ``metrics`` over the weighted metrics that ``shared`` has too; None if there are none."""
    counted = [metric for metric in weigh.weights if metric in metrics and metric in shared]
    if not counted:
        return None
    total = sum(weigh.weights[metric] for metric in counted)
    return sum(weigh.weights[metric] * _scaled(metrics[metric], weigh.scale[metric]) for metric in counted) / total


def _verdict(
    objections: Objections, comparisons: list[Comparison], facts: Facts, policy: GatePolicy
) -> tuple[str, str, list[str]]:
    if objections:
        return REJECTED, objections[0][0], [text for _, text in objections]
    rule, reasons = "improvement", [_gain(c) for c in comparisons]
    if not comparisons:
        rule, reasons = "first_model", ["there is no champion to beat: the first model"]
    if policy.approval == "none":
        return APPROVED, rule, reasons
    if facts.approved_by is None:
        return HELD, "awaiting_approval", [*reasons, "the policy wants approval by hand, which nobody has given yet"]
    return APPROVED, rule, [*reasons, f"approved by hand by {facts.approved_by}"]


def _facts(candidate: ModelVersion) -> Facts:
    metadata = candidate.metadata
    assert metadata is not None
    return Facts(
        candidate.version,
        metadata.metrics,
        metadata.deployment_ready,
        candidate.validation_passed,
        metadata.stated_composite,
        metadata.llm if metadata.runtime == "gemini" else None,
        candidate.signed_by,
        candidate.approval.by if candidate.approval else None,
    )


def _yardsticks(facts: Facts, standing: Standing, weigh: Weighing) -> list[Yardstick]:
    """Production and the best in history: each once, and never the candidate itself."""
    found: list[Yardstick] = []
    for role, contender in (("production", standing.champion), ("best", standing.best)):
        if contender is None or contender.version in {facts.version, *(y.version for y in found)}:
            continue
        found.append(Yardstick(contender.version, role, _only(weigh.weights.keys(), contender.metrics)))
    return found


def _only(names: Collection[str], metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in sorted(metrics.items()) if name in names}


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


def _not_ready(facts: Facts) -> Objections:
    objections = []
    if not facts.deployment_ready:
        objections.append(("not_ready", "the package says deployment_ready: false"))
    if facts.validation_passed is False:
        objections.append(("validation_failed", 'validation_report.json says "passed": false'))
    return objections


def _retired(facts: Facts) -> Objections:
    why = retired(facts.llm) if facts.llm is not None else None
    return [] if why is None else [("retired_model", f"the LLM no longer exists: {why}")]


def _unsigned(facts: Facts, policy: GatePolicy) -> Objections:
    if not policy.require_signature or facts.signed_by is not None:
        return []
    return [("unsigned", "the policy requires a signature; this package has none that could be verified")]


def _limits(terms: list[Term], policy: GatePolicy) -> Objections:
    objections = []
    for term in terms:
        if term.passed is not False:
            continue
        wanted = [f"at least {policy.floors[term.metric]:g}"] if term.metric in policy.floors else []
        wanted += [f"at most {policy.ceilings[term.metric]:g}"] if term.metric in policy.ceilings else []
        value = "not reported" if term.value is None else f"{term.value:g}"
        objections.append(("limit", f"{term.metric} is {value}; the policy wants {' and '.join(wanted)}"))
    return objections


def _off_scale(metrics: dict[str, float], weigh: Weighing) -> Objections:
    """On a scale nobody stated, a value outside it would count as the best or the worst there is."""
    return [
        ("no_scale", f"{name} is {metrics[name]:g}, not from 0 to 1: the policy must state its scale (gate.scale)")
        for name in weigh.unstated
        if name in metrics and not 0 <= metrics[name] <= 1
    ]


def _composite(facts: Facts, score: float | None, weigh: Weighing, policy: GatePolicy) -> Objections:
    """A stated score is held against the one its parts give, whichever of the two is higher."""
    stated = facts.stated_composite
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
    metrics: dict[str, float], yardsticks: list[Yardstick], weigh: Weighing, policy: GatePolicy
) -> tuple[list[Comparison], Objections]:
    """Against each yardstick, over the weighted metrics both report; and what is missing for that."""
    comparisons: list[Comparison] = []
    missing: Objections = []
    if weigh.preset == "custom":
        missing += [
            ("missing_metric", f"{metric} is not reported, but the policy gives it a weight")
            for metric in weigh.weights
            if metric not in metrics
        ]
    for yardstick in yardsticks:
        theirs_alone = [m for m in weigh.weights if m in yardstick.metrics and m not in metrics]
        missing += [("missing_metric", f"{m} is not reported, but {yardstick.version} has it") for m in theirs_alone]
        mine = score_over(metrics, weigh, yardstick.metrics)
        theirs = score_over(yardstick.metrics, weigh, metrics)
        if mine is None or theirs is None:
            text = f"no weighted metric is reported by both this and {yardstick.version}"
            missing.append(("nothing_to_compare", text))
            continue
        required = theirs + policy.min_improvement
        passed = mine >= required - _ROUNDING
        comparisons.append(Comparison(yardstick.version, yardstick.role, theirs, mine, required, passed))
    return comparisons, missing


def _shortfall(c: Comparison) -> str:
    return (
        f"score {c.candidate_score:.4f} against {c.score:.4f} of {c.version} ({c.role}): "
        f"at least {c.required:.4f} is required"
    )


def _gain(c: Comparison) -> str:
    gain = c.candidate_score - c.score
    return f"score {c.candidate_score:.4f} beats {c.score:.4f} of {c.version} ({c.role}) by {gain:.4f}"
