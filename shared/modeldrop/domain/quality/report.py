"""The quality of a version in a window, from predictions whose labels are known, and the verdict on it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.interval import Interval
from modeldrop.domain.quality.measured import Measured, Pair, are_numbers, measure_classes, measure_numbers
from modeldrop.domain.quality.outcomes import DEFAULT_THRESHOLD

LOWER_IS_BETTER = frozenset({"mae", "mape"})
_ROUNDING = 1e-9  # what float arithmetic may lose

Verdict = Literal["ok", "degraded", "insufficient_data"]
Source = Literal["baseline", "declared"]


class Yardsticks(msgspec.Struct, frozen=True):
    """What a metric may be compared with: measured before on labels (comes first), or declared by the package.

    ``intervals``: how far off what was measured may be by chance. What was declared is taken as it is.
    """

    baseline: Mapping[str, float] = {}
    declared: Mapping[str, float] = {}
    intervals: Mapping[str, Interval] = {}

    def of(self, metric: str) -> tuple[Source, float] | None:
        """The yardstick of a metric; None where there is none."""
        if metric in self.baseline:
            return "baseline", self.baseline[metric]
        return ("declared", self.declared[metric]) if metric in self.declared else None

    def uncertainty(self, metric: str, *, lower_is_better: bool) -> float:
        """How much better than it may have been by chance the baseline came out; 0 of what was declared."""
        if metric not in self.baseline or metric not in self.intervals:
            return 0.0
        lower, upper = self.intervals[metric]
        return upper - self.baseline[metric] if lower_is_better else self.baseline[metric] - lower


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
    interval: Interval | None = None  # of ``value``


def quality_report(
    pairs: Sequence[Pair],
    policy: QualityPolicy,
    yardsticks: Yardsticks,
    coverage: float | None,
    threshold: float = DEFAULT_THRESHOLD,
) -> QualityReport:
    """The report on pairs of prediction and label (``outcomes`` says how they are matched).

    ``degraded``: the metric is worse than ``min``, or than its yardstick by more than ``max_drop``, both in the
    metric's own units, and by more than chance: so is its one-sided 95 % bound (``interval``). For MAE and MAPE, where
    lower is better, ``min`` is the largest error that is good enough and a drop is a rise. ``insufficient_data``: fewer
    than ``min_labels`` pairs, no value, one that may be worse by chance, or a limit that could not be checked.
    ``threshold`` (above 0, at most 1) is where a score becomes the class 1.

    >>> pairs = [(0.9, True), (0.8, True), (0.3, False), (0.7, False)]
    >>> policy = QualityPolicy(metric="accuracy", min=0.8, min_labels=4)
    >>> report = quality_report(pairs, policy, Yardsticks(), coverage=1.0)
    >>> report.verdict, report.reasons[0][36:]
    ('insufficient_data', 'the policy wants, but with 4 labels that may be chance')
    >>> quality_report(pairs * 100, policy, Yardsticks(), coverage=1.0).verdict
    'degraded'
    """
    measured = _measure(pairs, policy, threshold)
    metric = policy.metric
    counted = metric or ("mae" if "mae" in measured.counts else "accuracy")
    n = measured.counts.get(counted, 0)
    value = None if metric is None else measured.values.get(metric)
    yardstick = None if metric is None else yardsticks.of(metric)
    verdict, reasons = _judge(measured, n, policy, yardsticks)
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
        measured.intervals.get(metric) if value is not None and metric is not None else None,
    )


def _measure(pairs: Sequence[Pair], policy: QualityPolicy, threshold: float) -> Measured:
    numbers = are_numbers(pairs) if policy.metric is None else policy.metric in LOWER_IS_BETTER
    return measure_numbers(pairs) if numbers else measure_classes(pairs, policy.positive, threshold)


def _judge(measured: Measured, n: int, policy: QualityPolicy, yardsticks: Yardsticks) -> tuple[Verdict, list[str]]:
    if n < policy.min_labels:
        return "insufficient_data", [f"{n} labelled predictions; the policy wants {policy.min_labels}"]
    if measured.problem is not None and policy.metric not in measured.values:
        return "insufficient_data", [measured.problem]
    if policy.metric is None:
        if policy.min is None and policy.max_drop is None:
            return "ok", ["the policy names no metric and no limit"]
        return "insufficient_data", ["the policy has a limit, but names no metric"]
    value = measured.values.get(policy.metric)
    if value is None:
        return "insufficient_data", [f"{policy.metric} cannot be measured on these predictions and labels"]
    found = _Found(policy.metric, value, measured.intervals[policy.metric], n)
    return _hold_against_limits(found, policy, yardsticks)


class _Found(msgspec.Struct, frozen=True):
    """The policy's metric, measured."""

    metric: str
    value: float
    interval: Interval
    n: int

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def is_worse(self, limit: float) -> bool:
        """Than a limit, at all."""
        return (self.value - limit if self.lower_is_better else limit - self.value) > _ROUNDING

    def is_surely_worse(self, limit: float, uncertainty: float = 0.0) -> bool:
        """By more than chance, where the limit itself may be off by so much in the direction that matters.

        Two independent distances add up as squares (MOVER, see ``interval``).
        """
        better = self.interval.lower if self.lower_is_better else self.interval.upper
        return abs(limit - self.value) > math.hypot(better - self.value, uncertainty) + _ROUNDING


def _hold_against_limits(found: _Found, policy: QualityPolicy, yardsticks: Yardsticks) -> tuple[Verdict, list[str]]:
    metric, shown = found.metric, f"{found.metric} {found.value:.4g}"
    broken: list[str] = []
    unsure: list[str] = []
    if policy.min is not None and found.is_worse(policy.min):
        surely = found.is_surely_worse(policy.min)
        (broken if surely else unsure).append(f"{shown} is worse than the {policy.min:g} the policy wants")
    yardstick = yardsticks.of(metric)
    if policy.max_drop is not None and yardstick is not None:
        source, expected = yardstick
        limit = expected + (policy.max_drop if found.lower_is_better else -policy.max_drop)
        if found.is_worse(limit):
            of = "measured before" if source == "baseline" else "declared by the package"
            surely = found.is_surely_worse(limit, yardsticks.uncertainty(metric, lower_is_better=found.lower_is_better))
            (broken if surely else unsure).append(
                f"{shown} is worse by more than {policy.max_drop:g} than the {expected:.4g} {of}"
            )
    if broken:
        return "degraded", broken
    if unsure:
        return "insufficient_data", [f"{each}, but with {found.n} labels that may be chance" for each in unsure]
    if policy.max_drop is not None and yardstick is None:
        return "insufficient_data", [f"there is no earlier or declared {metric} to compare with (quality.max_drop)"]
    return "ok", [f"{shown} is within the policy's limits"]
