"""The verdict on one column.

Drifted means both: a value above the threshold in effect (it is large enough to matter, and larger than chance), and
a p-value that survives the control of false discoveries over all features of the report.
"""

from typing import Literal

import msgspec

from modeldrop.domain.drift.alarm import DRIFTED, INSUFFICIENT_DATA, OK
from modeldrop.domain.drift.buckets import Histogram, histogram
from modeldrop.domain.drift.columns import Column
from modeldrop.domain.drift.comparison import MISSING_VALUES, Absence, Comparison, Measurement
from modeldrop.domain.drift.distribution import Distribution
from modeldrop.domain.scorecard import FeatureType

Verdict = Literal["ok", "drifted", "insufficient_data"]


class FeatureDrift(msgspec.Struct, frozen=True):
    """What a report says of a column; figures that are not defined or could not be measured are None."""

    name: str
    type: FeatureType
    test: str  # psi | ks | wasserstein | jensen_shannon, or missing_values where that check speaks
    value: float | None
    threshold: float | None  # in effect: the policy's, or the noise floor above it
    p_value: float | None  # adjusted for the measurements made of this column
    missing: float  # share of the current rows
    verdict: Verdict
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None  # in standard deviations of the reference
    jensen_shannon: float | None = None
    l_infinity: float | None = None
    chi_square: float | None = None
    derived: str | None = None  # which number of a text the figures are of: the one that moved most
    reason: str = ""
    missing_reference: float = 0.0
    other_type: float = 0.0  # share of the current rows whose value is of another type than the feature
    unseen: float | None = None  # categories: share of the current rows whose category is new
    out_of_range: float | None = None  # numbers: share of the current values beyond the reference's range
    histogram: Histogram | None = None  # over the bins of the test
    distribution: Distribution | None = None  # None also where a side has no values, or a report no room for it


def judge_column(
    comparison: Comparison, cutoff: float | None, fewest_values: int, with_histogram: bool
) -> FeatureDrift:
    """The verdict, with the figures of the measurement that decides it: of the drifted ones, or all, the farthest out.

    ``cutoff`` is the largest p-value that survives the control of false discoveries (None: none does).
    """
    if not comparison.measurements:
        return _unmeasured(comparison, "too few rows")
    shown = max(comparison.measurements, key=lambda each: (_is_drifted(each, cutoff), each.value / each.threshold))
    if _is_drifted(shown, cutoff):
        return _described(comparison, shown, DRIFTED, _reason(shown, comparison.absence, cutoff), with_histogram)
    if not comparison.is_measured:
        return _unmeasured(comparison, f"fewer than {fewest_values} usable values on one side")
    return _described(comparison, shown, OK, _reason(shown, comparison.absence, cutoff), with_histogram)


def without_reference(column: Column) -> FeatureDrift:
    """A column of the current rows that the reference does not have."""
    missing = sum(value is None for value in column.values) / max(1, len(column.values))
    reason = "the reference has no such feature"
    return FeatureDrift(column.name, column.type, "", None, None, None, missing, INSUFFICIENT_DATA, reason=reason)


def _is_drifted(measurement: Measurement, cutoff: float | None) -> bool:
    return measurement.value > measurement.threshold and cutoff is not None and measurement.p_value <= cutoff


def _unmeasured(comparison: Comparison, reason: str) -> FeatureDrift:
    absence = comparison.absence
    return FeatureDrift(
        comparison.name,
        comparison.type,
        comparison.test,
        None,
        None,
        None,
        absence.missing,
        INSUFFICIENT_DATA,
        reason=reason,
        missing_reference=absence.missing_reference,
        other_type=absence.other_type,
        unseen=comparison.unseen,
        distribution=comparison.distribution(None),
    )


def _described(
    comparison: Comparison, shown: Measurement, verdict: Verdict, reason: str, with_histogram: bool
) -> FeatureDrift:
    absence, buckets = comparison.absence, shown.buckets
    return FeatureDrift(
        comparison.name,
        comparison.type,
        shown.test,
        shown.value,
        shown.threshold,
        shown.p_value,
        absence.missing,
        verdict,
        **msgspec.structs.asdict(shown.statistics),
        derived=shown.derived,
        reason=reason,
        missing_reference=absence.missing_reference,
        other_type=absence.other_type,
        unseen=comparison.unseen,
        out_of_range=shown.out_of_range,
        histogram=histogram(buckets) if with_histogram and buckets is not None else None,
        distribution=comparison.distribution(shown.derived),
    )


def _reason(shown: Measurement, absence: Absence, cutoff: float | None) -> str:
    of = f"{shown.derived}: " if shown.derived else ""
    text = f"{of}{shown.test} {shown.value:.3g}"
    if shown.value <= shown.threshold:
        return f"{text} is within {shown.threshold:.3g}"
    text = f"{text} is above {shown.threshold:.3g}"
    if not _is_drifted(shown, cutoff):
        return f"{text}, but p {shown.p_value:.2g} does not survive the control of false discoveries"
    return f"{text}; {_absent(absence)}" if shown.test == MISSING_VALUES else text


def _absent(absence: Absence) -> str:
    return (
        f"missing {absence.missing_reference:.1%} → {absence.missing:.1%}, "
        f"of another type {absence.other_type_reference:.1%} → {absence.other_type:.1%}"
    )
