"""What must hold of drift for any values."""

import math

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.domain.drift.chi_square import chi_square
from modeldrop.domain.drift.columns import Column, Counts, Observations
from modeldrop.domain.drift.cumulative import cumulative_gap
from modeldrop.domain.drift.incomplete_gamma import upper_gamma
from modeldrop.domain.drift.jensen_shannon import jensen_shannon
from modeldrop.domain.drift.kolmogorov_smirnov import kolmogorov_smirnov
from modeldrop.domain.drift.l_infinity import l_infinity
from modeldrop.domain.drift.missing_values import missing_values, presence
from modeldrop.domain.drift.psi import psi
from modeldrop.domain.drift.reference_profile import profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.drift.wasserstein import wasserstein
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.scorecard import FeatureType

steady = settings(deadline=None, max_examples=60)  # a busy machine is no counterexample
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.lists(finite | st.integers(-5, 5) | st.integers(-(2**70), 2**70), min_size=1, max_size=60)
anything = (
    st.none() | finite | st.integers() | st.booleans() | st.text(max_size=3) | st.lists(st.integers(0, 9), max_size=5)
)
columns = st.lists(anything, min_size=20, max_size=60)
types = st.sampled_from(["numeric", "categorical", "boolean", "text"])
policies = st.builds(
    DriftPolicy,
    min_rows=st.just(0),
    tests=st.fixed_dictionaries(
        {
            "numeric": st.sampled_from(["psi", "ks", "wasserstein", "jensen_shannon"]),
            "categorical": st.sampled_from(["psi", "jensen_shannon"]),
        }
    ),
    thresholds=st.just({"psi": 1e-9, "ks": 1e-9, "wasserstein": 1e-9, "jensen_shannon": 1e-9}),
)


@st.composite
def sides(draw: st.DrawFn) -> tuple[Counts, Counts]:
    """Two counts over the same buckets, neither empty."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=30))
    a, b = np.array(pairs, dtype=np.int64).T
    return a + (a.sum() == 0), b + (b.sum() == 0)


def report_on(before: list[object], after: list[object], type_: FeatureType, policy: DriftPolicy) -> DriftReport:
    column, prediction = Column("x", type_, before), Column("prediction", type_, before)
    moved, outcome = Column("x", type_, after), Column("prediction", type_, after)
    profile = profile_reference(Observations([column], prediction))
    return drift_report(profile, Observations([moved], outcome), policy, histograms=True)


@steady
@given(sides())
def test_statistics_over_buckets_are_symmetric_and_within_bounds(counts: tuple[Counts, Counts]) -> None:
    a, b = counts
    for statistic, most in ((psi, math.inf), (jensen_shannon, 1.0), (l_infinity, 1.0)):
        value = statistic(a, b)
        assert 0.0 <= value <= most
        assert math.isfinite(value)
        assert math.isclose(value, statistic(b, a), rel_tol=1e-9, abs_tol=1e-12)
    one, other = chi_square(a, b), chi_square(b, a)
    assert math.isclose(one.statistic, other.statistic, rel_tol=1e-9, abs_tol=1e-9)
    assert 0.0 <= one.p_value <= 1.0


@steady
@given(sides(), st.integers(2, 50))
def test_equal_shares_do_not_differ(counts: tuple[Counts, Counts], factor: int) -> None:
    a, _ = counts
    assert jensen_shannon(a, a * factor) == l_infinity(a, a * factor) == 0.0
    assert psi(a, a) == chi_square(a, a).statistic == 0.0


@steady
@given(sides(), st.randoms(use_true_random=False))
def test_the_order_of_buckets_means_nothing(counts: tuple[Counts, Counts], random: object) -> None:
    a, b = counts
    order = np.array(sorted(range(a.size), key=lambda _: random.random()))  # type: ignore[attr-defined]
    for statistic in (psi, jensen_shannon, l_infinity):
        assert math.isclose(statistic(a[order], b[order]), statistic(a, b), rel_tol=1e-9, abs_tol=1e-9)


@steady
@given(numbers, numbers)
def test_gaps_are_symmetric_and_within_bounds(before: list[float], after: list[float]) -> None:
    a, b = (np.sort(np.array([float(value) for value in side])) for side in (before, after))
    there, back = cumulative_gap(a, b), cumulative_gap(b, a)
    assert 0.0 <= kolmogorov_smirnov(there) <= 1.0
    assert math.isclose(kolmogorov_smirnov(there), kolmogorov_smirnov(back), abs_tol=1e-12)
    moved = wasserstein(there, a)
    assert all(math.isfinite(figure) and figure >= 0 for figure in msgspec.structs.astuple(moved))
    same = cumulative_gap(a, a)
    assert kolmogorov_smirnov(same) == wasserstein(same, a).distance == 0.0


@steady
@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=50), st.lists(st.integers(0, 500), min_size=2, max_size=5)
)
def test_a_farther_shift_is_never_smaller(values: list[int], shifts: list[int]) -> None:
    a = np.sort(np.array(values, dtype=np.float64))
    gaps = [cumulative_gap(a, a + shift) for shift in sorted(shifts)]
    largest = [kolmogorov_smirnov(gap) for gap in gaps]
    assert largest == sorted(largest)
    if a[0] < a[-1]:
        moved = [wasserstein(gap, a).distance for gap in gaps]
        assert all(math.isclose(d, s / a.std(), rel_tol=1e-9) for d, s in zip(moved, sorted(shifts), strict=True))


@steady
@given(st.tuples(*[st.integers(0, 10**6)] * 6))
def test_the_check_for_missing_values_is_symmetric(counts: tuple[int, ...]) -> None:
    a, b = presence(counts[0] + 1, *counts[1:3]), presence(counts[3] + 1, *counts[4:])
    assert math.isclose(missing_values(a, b).value, missing_values(b, a).value, rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(missing_values(a, b).p_value, missing_values(b, a).p_value, rel_tol=1e-6, abs_tol=1e-12)


@steady
@given(st.floats(0.5, 500), st.floats(0, 1e6), st.floats(0, 1e3))
def test_the_incomplete_gamma_function_falls_from_one_to_zero(shape: float, x: float, step: float) -> None:
    here, further = upper_gamma(shape, x), upper_gamma(shape, x + step)
    assert 0.0 <= further <= here + 1e-11
    assert here <= 1.0


@steady
@given(columns, columns, types, policies)
def test_a_report_is_always_finite_json(
    before: list[object], after: list[object], type_: FeatureType, policy: DriftPolicy
) -> None:
    report = report_on(before, after, type_, policy)
    text = msgspec.json.encode(report)  # what is not finite would become null, and come back as something else
    assert msgspec.json.decode(text, type=DriftReport) == report
    for feature in (*report.features, report.prediction):
        assert feature is not None
        if feature.verdict != "insufficient_data":
            assert feature.value is not None
            assert feature.value >= 0
            assert feature.p_value is not None
            assert 0 <= feature.p_value <= 1
            assert feature.threshold is not None
            assert feature.threshold > 0


@steady
@given(columns, types, policies)
def test_equal_samples_never_drift(values: list[object], type_: FeatureType, policy: DriftPolicy) -> None:
    report = report_on(values, values[::-1], type_, policy)
    assert report.verdict != "drifted"
    (feature,) = report.features
    assert feature.value in (None, 0.0)


@steady
@given(columns, columns, types, policies, st.randoms(use_true_random=False))
def test_the_order_of_rows_means_nothing(
    before: list[object], after: list[object], type_: FeatureType, policy: DriftPolicy, random: object
) -> None:
    told = report_on(before, after, type_, policy)
    random.shuffle(before)  # type: ignore[attr-defined]
    random.shuffle(after)  # type: ignore[attr-defined]
    assert msgspec.json.encode(report_on(before, after, type_, policy)) == msgspec.json.encode(told)
