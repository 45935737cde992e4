"""The drift report of a window: current rows against a reference, feature by feature, and the predictions apart."""

from collections.abc import Sequence

import msgspec

from modeldrop.domain.drift.alarm import DRIFTED, INSUFFICIENT_DATA, OK
from modeldrop.domain.drift.chosen_tests import ChosenTests, chosen_tests
from modeldrop.domain.drift.columns import Column, Observations, count_rows
from modeldrop.domain.drift.comparison import Comparison, compare_column, leave_unmeasured
from modeldrop.domain.drift.false_discovery import significance_cutoff
from modeldrop.domain.drift.feature_drift import FeatureDrift, Verdict, judge_column, without_reference
from modeldrop.domain.drift.reference_profile import ColumnProfile, ReferenceProfile
from modeldrop.domain.policy import DriftPolicy

FEWEST_ROWS = 20
"""Whatever a policy says: with fewer rows the approximations behind thresholds and p-values do not hold."""


class DriftReport(msgspec.Struct, frozen=True):
    """``verdict`` is that of the features (data drift); the predictions have their own (prediction drift)."""

    rows: int
    reference_rows: int
    verdict: Verdict
    features: list[FeatureDrift]
    prediction: FeatureDrift | None


def drift_report(
    reference: ReferenceProfile, current: Observations, policy: DriftPolicy, *, histograms: bool = False
) -> DriftReport:
    """The report, in the order of the reference's features; raises InvalidInput for columns or tests that do not fit.

    A feature has the type it has in the reference. One the current rows lack is missing in all of them; one the
    reference lacks cannot be judged. ``insufficient_data``: a side has fewer rows than ``min_rows``, or no feature has
    enough usable values.

    >>> from modeldrop.domain.drift.reference_profile import profile_reference
    >>> before = Observations([Column("amount", "numeric", list(range(400)))])
    >>> after = Observations([Column("amount", "numeric", list(range(300, 700)))])
    >>> report = drift_report(profile_reference(before), after, DriftPolicy())
    >>> report.verdict, report.features[0].test, report.features[0].ks
    ('drifted', 'psi', 0.75)
    """
    rows = count_rows(current)
    chosen = chosen_tests(policy)
    columns = {column.name: column for column in current.features}
    pairs = [
        (profile, columns.get(name) or _absent(profile, current, rows)) for name, profile in reference.features.items()
    ]
    enough = min(rows, reference.rows) >= _fewest(policy)
    features = _judge(pairs, chosen, policy, enough, histograms)
    features += [without_reference(column) for name, column in columns.items() if name not in reference.features]
    prediction = _prediction(reference, current, chosen, policy, enough, histograms)
    return DriftReport(rows, reference.rows, _verdict(features), features, prediction)


def _prediction(
    reference: ReferenceProfile,
    current: Observations,
    chosen: ChosenTests,
    policy: DriftPolicy,
    enough: bool,
    histograms: bool,
) -> FeatureDrift | None:
    """The predictions are a family of their own: one p-value, held against the rate itself."""
    column = current.prediction
    if column is None:
        return None
    if reference.prediction is None:
        return without_reference(column)
    return _judge([(reference.prediction, column)], chosen, policy, enough, histograms)[0]


def _judge(
    pairs: Sequence[tuple[ColumnProfile, Column]],
    chosen: ChosenTests,
    policy: DriftPolicy,
    enough: bool,
    histograms: bool,
) -> list[FeatureDrift]:
    """Verdicts on columns, with false discoveries controlled over them together."""
    fewest = _fewest(policy)
    comparisons: list[Comparison] = [
        compare_column(profile, column, chosen, fewest) if enough else leave_unmeasured(profile, column, chosen)
        for profile, column in pairs
    ]
    p_values = [p for comparison in comparisons if (p := comparison.p_value) is not None]
    cutoff = significance_cutoff(p_values, policy.false_discovery_rate)
    return [judge_column(comparison, cutoff, fewest, histograms) for comparison in comparisons]


def _fewest(policy: DriftPolicy) -> int:
    return max(policy.min_rows, FEWEST_ROWS)


def _absent(profile: ColumnProfile, current: Observations, rows: int) -> Column:
    unobserved = sum(last < profile.name for last in current.cut_after)
    return Column(profile.name, profile.type, [None] * (rows - unobserved), unobserved)


def _verdict(features: Sequence[FeatureDrift]) -> Verdict:
    verdicts = {feature.verdict for feature in features}
    if DRIFTED in verdicts:
        return DRIFTED
    return OK if OK in verdicts else INSUFFICIENT_DATA
