"""Pearson's χ² test that two samples over the same buckets come from one distribution.

χ² = Σ (observed - expected)² / expected over both sides and all buckets, with the expected counts of the pooled
shares; degrees of freedom: buckets - 1 (Pearson 1900). Larger is worse; so is a small p-value. The approximation
needs expected counts of about five (Cochran 1954): rarer buckets are counted as one. Which are rare is told by the
pooled counts alone, so that neither side is favoured.
"""

import functools
import math

import msgspec
import numpy as np

from modeldrop.domain.drift.columns import Counts
from modeldrop.domain.drift.incomplete_gamma import upper_gamma

FEWEST_EXPECTED = 5.0
_NORMAL_95 = 1.6448536269514722


class ChiSquare(msgspec.Struct, frozen=True):
    """The statistic, its degrees of freedom, and the chance of one as large without drift."""

    statistic: float
    degrees: int
    p_value: float


def chi_square(reference: Counts, current: Counts) -> ChiSquare:
    """The test on two counts; each side has at least one row. One bucket alone cannot differ: p-value 1.

    >>> test = chi_square(np.array([100, 200, 300]), np.array([66, 89, 120]))
    >>> round(test.statistic, 4), test.degrees, round(test.p_value, 4)
    (6.99, 2, 0.0303)
    """
    n, m = int(reference.sum()), int(current.sum())
    a, b = _without_rare(reference, current, min(n, m) / (n + m))
    statistic = float(((a / n - b / m) ** 2 / (a + b)).sum()) * n * m
    return ChiSquare(statistic, a.size - 1, chi_square_survival(statistic, a.size - 1))


def chi_square_survival(statistic: float, degrees: int) -> float:
    """The chance that χ² with these degrees of freedom is at least the statistic; 1 with no degree.

    >>> round(chi_square_survival(3.841458820694124, 1), 12)
    0.05
    """
    return upper_gamma(degrees / 2, statistic / 2) if degrees > 0 else 1.0


@functools.cache
def chi_square_quantile_95(degrees: int) -> float:
    """What χ² exceeds in 5 of 100 cases: Wilson and Hilferty's approximation (1931), refined by Newton's method.

    >>> round(chi_square_quantile_95(9), 9)
    16.918977605
    """
    if degrees < 1:
        return 0.0
    ninth = 2 / (9 * degrees)
    x = degrees * (1 - ninth + _NORMAL_95 * math.sqrt(ninth)) ** 3
    for _ in range(6):  # each step doubles the correct digits, of which the start has two
        half = degrees / 2
        density = math.exp((half - 1) * math.log(x / 2) - x / 2 - math.lgamma(half)) / 2
        x += (chi_square_survival(x, degrees) - 0.05) / density
    return x


def _without_rare(reference: Counts, current: Counts, smaller_share: float) -> tuple[Counts, Counts]:
    """Both sides without empty buckets, and with the rare ones as one; it comes first and is made large enough."""
    pooled = reference + current
    order = pooled.argsort(kind="stable")
    order = order[pooled[order] > 0]
    expected = pooled[order] * smaller_share
    rare = int(expected.searchsorted(FEWEST_EXPECTED))
    if 0 < rare < order.size and expected[:rare].sum() < FEWEST_EXPECTED:
        rare += 1
    if rare < 2:
        return reference[order], current[order]
    starts = np.array([0, *range(rare, order.size)])
    return np.add.reduceat(reference[order], starts), np.add.reduceat(current[order], starts)
