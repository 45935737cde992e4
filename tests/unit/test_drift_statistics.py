"""Each statistic against an implementation of somebody else, or one written out by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import special, stats
from scipy.spatial import distance

from modeldrop.domain.drift.chi_square import chi_square, chi_square_quantile_95, chi_square_survival
from modeldrop.domain.drift.columns import Counts, Floats
from modeldrop.domain.drift.cumulative import cumulative_gap
from modeldrop.domain.drift.false_discovery import significance_cutoff
from modeldrop.domain.drift.incomplete_gamma import upper_gamma
from modeldrop.domain.drift.jensen_shannon import jensen_shannon
from modeldrop.domain.drift.kolmogorov_smirnov import (
    kolmogorov_smirnov,
    kolmogorov_smirnov_p_value,
    kolmogorov_survival,
)
from modeldrop.domain.drift.l_infinity import l_infinity
from modeldrop.domain.drift.missing_values import missing_values, presence
from modeldrop.domain.drift.noise_floor import (
    jensen_shannon_floor,
    kolmogorov_smirnov_floor,
    psi_floor,
    wasserstein_floor,
)
from modeldrop.domain.drift.out_of_range import out_of_range
from modeldrop.domain.drift.psi import psi
from modeldrop.domain.drift.wasserstein import wasserstein, wasserstein_p_value


def samples(seed: int) -> tuple[Floats, Floats]:
    """Two samples with a shift; every second pair has many ties."""
    random = np.random.default_rng(seed)
    n, m = random.integers(1, 400, size=2)
    a, b = random.normal(0, 1, n), random.normal(random.uniform(-1, 1), random.uniform(0.5, 2), m)
    return (np.sort(a), np.sort(b)) if seed % 2 else (np.sort(a.round(1)), np.sort(b.round(1)))


def counts(seed: int, buckets: int = 8, low: int = 0) -> tuple[Counts, Counts]:
    random = np.random.default_rng(seed)
    return random.integers(low, 200, buckets), random.integers(low, 90, buckets)


@pytest.mark.parametrize("seed", range(20))
def test_kolmogorov_smirnov_is_scipys(seed: int) -> None:
    a, b = samples(seed)
    assert kolmogorov_smirnov(cumulative_gap(a, b)) == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-14)


@pytest.mark.parametrize(("n", "m"), [(100, 100), (200, 300), (200, 1000), (999, 1000), (200, 4096)])
@pytest.mark.parametrize("scaled", [0.6, 1.0, 1.36, 1.7, 2.2])
def test_its_p_value_errs_towards_no_drift_and_not_far(n: int, m: int, scaled: float) -> None:
    a = (np.arange(n) + 0.5) / n
    b = (np.arange(m) + 0.5) / m + scaled * math.sqrt((n + m) / (n * m))  # of uniforms, the shift is the gap
    exact = stats.ks_2samp(a, b, method="exact")
    assert exact.pvalue < 1.0
    assert exact.pvalue * 0.99 <= kolmogorov_smirnov_p_value(exact.statistic, n, m) <= exact.pvalue * 1.2


@pytest.mark.parametrize("scaled", [0.35, 0.5, 0.8, 1.0, 1.5, 2.5, 5.0])
def test_kolmogorovs_limit_is_scipys(scaled: float) -> None:
    assert kolmogorov_survival(scaled) == pytest.approx(special.kolmogorov(scaled), rel=1e-10)


def test_a_large_gap_has_the_p_value_zero() -> None:
    assert kolmogorov_smirnov_p_value(1.0, 65_536, 65_536) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_wasserstein_is_scipys_in_standard_deviations(seed: int) -> None:
    a, b = samples(seed + 100)
    a = np.append(a, a[-1] + 1)
    expected = stats.wasserstein_distance(a, b) / a.std()
    assert wasserstein(cumulative_gap(a, b), a).distance == pytest.approx(expected, rel=1e-9)


def test_a_constant_reference_is_measured_in_the_spread_of_both() -> None:
    reference, current = np.full(50, 3.0), np.full(50, 3.001)
    assert wasserstein(cumulative_gap(reference, current), reference).distance == pytest.approx(2.0)
    same = wasserstein(cumulative_gap(reference, reference), reference)
    assert same.distance == 0.0
    assert wasserstein_p_value(same, 50, 50) == 1.0


def test_values_near_the_largest_float_are_measured() -> None:
    a = np.linspace(-1.7, 1.7, 101) * 1e308
    b = np.linspace(0.0, 1.7, 101) * 1e308
    small = stats.wasserstein_distance(a / 1e308, b / 1e308) / (a / 1e308).std()
    assert wasserstein(cumulative_gap(a, b), a).distance == pytest.approx(small)


@pytest.mark.parametrize("name", ["normal", "exponential", "lognormal", "rare", "uniform"])
def test_wassersteins_p_value_is_not_too_small(name: str) -> None:
    random = np.random.default_rng(5)
    draw = {
        "normal": lambda k: random.normal(size=k),
        "exponential": lambda k: random.exponential(size=k),
        "lognormal": lambda k: random.lognormal(size=k),
        "rare": lambda k: (random.random(k) < 0.03).astype(float),
        "uniform": random.random,
    }[name]
    p_values = []
    for _ in range(400):
        a, b = np.sort(draw(300)), np.sort(draw(500))
        p_values.append(wasserstein_p_value(wasserstein(cumulative_gap(a, b), a), 300, 500))
    assert np.mean(np.array(p_values) < 0.05) <= 0.05
    assert np.median(p_values) > 0.5  # the bound is about the mean without drift, not far above it
    assert np.median(p_values) < 0.95


@pytest.mark.parametrize("seed", range(20))
def test_jensen_shannon_is_scipys(seed: int) -> None:
    a, b = counts(seed)
    assert jensen_shannon(a, b) == pytest.approx(distance.jensenshannon(a, b, base=2), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_chi_square_is_scipys(seed: int) -> None:
    a, b = counts(seed, low=30)
    expected = stats.chi2_contingency([a, b], correction=False)
    found = chi_square(a, b)
    assert found.degrees == expected.dof
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_rare_buckets_count_as_one() -> None:
    a = np.array([100, 0, 3, 80, 2, 4, 0])
    b = np.array([90, 0, 1, 85, 5, 1, 3])
    expected = stats.chi2_contingency([[100, 80, 9], [90, 85, 10]], correction=False)
    assert chi_square(a, b).statistic == pytest.approx(expected.statistic)
    assert chi_square(a, b).degrees == 2


def test_a_rare_rest_is_made_large_enough() -> None:
    a, b = np.array([100, 2, 60]), np.array([100, 1, 70])
    expected = stats.chi2_contingency([[100, 62], [100, 71]], correction=False)
    assert chi_square(a, b).statistic == pytest.approx(expected.statistic)
    lonely = chi_square(np.array([2, 0]), np.array([0, 3]))
    assert (lonely.statistic, lonely.degrees, lonely.p_value) == (0.0, 0, 1.0)


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.5, 13.0, 51.0, 400.0])
@pytest.mark.parametrize("factor", [0.0, 1e-3, 0.2, 0.9, 1.0, 1.01, 1.5, 4.0, 20.0])
def test_the_incomplete_gamma_function_is_scipys(shape: float, factor: float) -> None:
    expected = special.gammaincc(shape, shape * factor)
    assert upper_gamma(shape, shape * factor) == pytest.approx(expected, rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 12, 50, 102, 1000])
def test_the_quantile_of_chi_square_is_scipys(degrees: int) -> None:
    assert chi_square_quantile_95(degrees) == pytest.approx(stats.chi2.ppf(0.95, degrees), rel=1e-10)
    assert chi_square_survival(chi_square_quantile_95(degrees), degrees) == pytest.approx(0.05, rel=1e-9)


def test_no_degree_of_freedom_shows_nothing() -> None:
    assert chi_square_survival(0.0, 0) == 1.0
    assert chi_square_quantile_95(0) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_psi_and_l_infinity_by_hand(seed: int) -> None:
    a, b = counts(seed)
    a[3], b[3], b[5] = 0, 0, 0
    n, m = a.sum(), b.sum()
    by_hand = 0.0
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        if x or y:
            p, q = max(x, 0.5) / n, max(y, 0.5) / m
            by_hand += (q - p) * math.log(q / p)
    assert psi(a, b) == pytest.approx(by_hand)
    assert l_infinity(a, b) == pytest.approx(max(abs(x / n - y / m) for x, y in zip(a, b, strict=True)))


def test_missing_values_by_hand() -> None:
    found = missing_values(presence(900, 100, 0), presence(700, 300, 0))
    assert found.value == pytest.approx(0.2 * math.log(3) - 0.2 * math.log(0.7 / 0.9))
    assert found.p_value == pytest.approx(stats.chi2_contingency([[900, 100], [700, 300]], correction=False).pvalue)


@pytest.mark.parametrize(("k", "n", "m"), [(0, 50, 60), (1, 50, 60), (3, 400, 10), (7, 200, 4096)])
def test_exceedances_by_the_hypergeometric_distribution(k: int, n: int, m: int) -> None:
    """k or more of m above all of n: the k largest of all are of the m, drawn without replacement."""
    reference = np.arange(float(n))
    current = np.sort(np.concatenate([np.full(m - k, 1.0), np.full(k, n + 1.0)]))
    found = out_of_range(reference, current)
    assert (found.below, found.above) == (0.0, k / m)
    assert found.p_value == pytest.approx(min(1.0, 2 * stats.hypergeom(n + m, m, k).pmf(k)))


def test_values_at_the_ends_of_the_range_are_inside() -> None:
    found = out_of_range(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert (found.below, found.above, found.p_value) == (0.0, 0.0, 1.0)


def test_noise_floors_are_the_quantiles_they_are_said_to_be() -> None:
    sizes = 1 / 300 + 1 / 500
    assert psi_floor(10, 300, 500) == pytest.approx(stats.chi2.ppf(0.95, 9) * sizes)
    divergence = stats.chi2.ppf(0.95, 9) * sizes / 8 / math.log(2)
    assert jensen_shannon_floor(10, 300, 500) == pytest.approx(math.sqrt(divergence))
    assert kolmogorov_smirnov_floor(300, 500) == pytest.approx(stats.kstwobign.ppf(0.95) * math.sqrt(sizes))
    a, b = np.sort(np.random.default_rng(1).normal(size=(2, 300)))
    moved = wasserstein(cumulative_gap(a, b), a)
    at_floor = wasserstein_floor(moved, 300, 300)
    just_there = type(moved)(at_floor, moved.expected, moved.spread)
    assert wasserstein_p_value(just_there, 300, 300) == pytest.approx(0.05)


@pytest.mark.parametrize("seed", range(10))
def test_false_discovery_control_is_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    p_values = random.random(20) ** random.integers(1, 6)
    cutoff = significance_cutoff(p_values.tolist(), 0.1)
    real = stats.false_discovery_control(p_values, method="bh") <= 0.1
    assert [cutoff is not None and p <= cutoff for p in p_values] == real.tolist()


def test_a_rate_of_zero_takes_nothing_as_real_and_of_one_everything() -> None:
    assert significance_cutoff([0.0, 0.0], 0.0) is None
    assert significance_cutoff([0.2, 1.0], 1.0) == 1.0
    assert significance_cutoff([], 0.05) is None


def test_larger_shifts_have_larger_values() -> None:
    reference = np.sort(stats.norm.ppf((np.arange(1000) + 0.5) / 1000))
    shifted = [reference + step for step in np.arange(0.0, 3.0, 0.1)]
    gaps = [cumulative_gap(reference, moved) for moved in shifted]
    for values in ([kolmogorov_smirnov(gap) for gap in gaps], [wasserstein(gap, reference).distance for gap in gaps]):
        assert values[0] == 0.0
        assert all(low < high for low, high in pairwise(values))
