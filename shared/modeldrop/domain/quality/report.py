"""The quality of a version in a window, from predictions whose labels are known, and the verdict on it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.measured import Measured, Pair, are_numbers, measure_classes, measure_numbers
from modeldrop.domain.quality.outcomes import DEFAULT_THRESHOLD

LOWER_IS_BETTER = frozenset({"mae", "mape"})
_ROUNDING = 1e-9  # what float arithmetic may lose

Verdict = Literal["ok", "degraded", "insufficient_data"]
Source = Literal["baseline", "declared"]


class Yardsticks(msgspec.Struct, frozen=True):
    """What a metric may be compared with: measured before on labels (comes first), or declared by the package."""

    baseline: Mapping[str, float] = {}
    declared: Mapping[str, float] = {}

    def of(self, metric: str) -> tuple[Source, float] | None:
        """The yardstick of a metric; None where there is none."""
        if metric in self.baseline:
            return "baseline", self.baseline[metric]
        return ("declared", self.declared[metric]) if metric in self.declared else None


class QualityReport(msgspec.Struct, frozen=True):
    """``n``: pairs the policy's metric was measured on (without one: accuracy or MAE); ``unusable``: all others."""

    values: dict[str, float]
    n: int
    unusable: int
    coverage: float | None  # share of the predictions that have a label
    verdict: Verdict
    reasons: list[str]
    metric: str | None = None
    value: float | None = None
    compared_with: Source | None = None
    expected: float | None = None
    zero_labels: int = 0  # pairs that MAPE leaves out


def quality_report(
    pairs: Sequence[Pair],
    policy: QualityPolicy,
    yardsticks: Yardsticks,
    coverage: float | None,
    threshold: float = DEFAULT_THRESHOLD,
) -> QualityReport:
    """The report on pairs of prediction and label (``outcomes`` says how they are matched).

    ``degraded``: the metric is worse than ``min``, or than its yardstick by more than ``max_drop``, both in the
    metric's own units. For MAE and MAPE, where lower is better, ``min`` is the largest error that is good enough and a
    drop is a rise. ``insufficient_data``: fewer than ``min_labels`` pairs, no value, or a limit that could not be
    checked. ``threshold`` (above 0, at most 1) is where a score becomes the class 1.

    >>> pairs = [(0.9, True), (0.8, True), (0.3, False), (0.7, False)]
    >>> policy = QualityPolicy(metric="accuracy", min=0.8, min_labels=4)
    >>> report = quality_report(pairs, policy, Yardsticks(), coverage=1.0)
    >>> report.verdict, report.value, report.reasons
    ('degraded', 0.75, ['accuracy 0.75 is worse than the 0.8 the policy wants'])
    """
    measured = _measure(pairs, policy, threshold)
    metric = policy.metric
    counted = metric or ("mae" if "mae" in measured.counts else "accuracy")
    n = measured.counts.get(counted, 0)
    value = None if metric is None else measured.values.get(metric)
    yardstick = None if metric is None else yardsticks.of(metric)
    verdict, reasons = _judge(measured, n, policy, yardstick)
    return QualityReport(
        measured.values,
        n,
        len(pairs) - n,
        coverage,
        verdict,
        reasons,
        metric,
        value,
        yardstick[0] if yardstick else None,
        yardstick[1] if yardstick else None,
        measured.zero_labels,
    )


def _measure(pairs: Sequence[Pair], policy: QualityPolicy, threshold: float) -> Measured:
    numbers = are_numbers(pairs) if policy.metric is None else policy.metric in LOWER_IS_BETTER
    return measure_numbers(pairs) if numbers else measure_classes(pairs, policy.positive, threshold)


def _judge(
    measured: Measured, n: int, policy: QualityPolicy, yardstick: tuple[Source, float] | None
) -> tuple[Verdict, list[str]]:
    if n < policy.min_labels:
        return "insufficient_data", [f"{n} labelled predictions; the policy wants {policy.min_labels}"]
    if measured.problem is not None:
        return "insufficient_data", [measured.problem]
    if policy.metric is None:
        if policy.min is None and policy.max_drop is None:
            return "ok", ["the policy names no metric and no limit"]
        return "insufficient_data", ["the policy has a limit, but names no metric"]
    value = measured.values.get(policy.metric)
    if value is None:
        return "insufficient_data", [f"{policy.metric} cannot be measured on these predictions and labels"]
    return _hold_against_limits(policy.metric, value, policy, yardstick)


def _hold_against_limits(
    metric: str, value: float, policy: QualityPolicy, yardstick: tuple[Source, float] | None
) -> tuple[Verdict, list[str]]:
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    broken: list[str] = []
    if policy.min is not None and sign * (policy.min - value) > _ROUNDING:
        broken.append(f"{metric} {value:.4g} is worse than the {policy.min:g} the policy wants")
    if policy.max_drop is not None and yardstick is not None:
        source, expected = yardstick
        if sign * (expected - value) > policy.max_drop + _ROUNDING:
            of = "measured before" if source == "baseline" else "declared by the package"
            broken.append(
                f"{metric} {value:.4g} is worse by more than {policy.max_drop:g} than the {expected:.4g} {of}"
            )
    if broken:
        return "degraded", broken
    if policy.max_drop is not None and yardstick is None:
        return "insufficient_data", [f"there is no earlier or declared {metric} to compare with (quality.max_drop)"]
    return "ok", [f"{metric} {value:.4g} is within the policy's limits"]
