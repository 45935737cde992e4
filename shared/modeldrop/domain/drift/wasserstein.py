"""Wasserstein distance: how far values must move, on average, to turn one sample into the other.

W = ∫ |F(x) - G(x)| dx, in units of the reference's standard deviation (Vallender 1974 for the integral): 0.1 says
that values moved by a tenth of it. Larger is worse. A reference without spread (below 10⁻¹² of the range of all
values) is no unit; the standard deviation of both sides together is taken then.

Its chance without drift. √(nm / (n + m))·W tends to ∫ |B(F(x))| dx with B a Brownian bridge. That is a convex
function of a Gaussian process with mean μ = √(2/π)·∫ √(F(1 - F)) dx; against the process its slope is at most σ, the
standard deviation of the values: the largest variance of ∫ h·B(F) for |h| <= 1 is that of a function of slope 1 of
the values, at most their own. So it exceeds μ + tσ no more often than a normal variable exceeds t (Borell 1975;
Tsirelson, Ibragimov & Sudakov 1976; the median of a convex function lies below its mean: Kwapień 1994). The p-value
is this bound: too large rather than too small (under normal values 5 % comes out in 0.5 % of cases). It needs a
finite variance: with tails as heavy as Cauchy's *and* one side twenty times the other, small p-values come up to five
times too often.
"""

import functools
import math

import msgspec
import numpy as np

from modeldrop.domain.drift.columns import Floats
from modeldrop.domain.drift.cumulative import CumulativeGap

_NO_SPREAD = 1e-12  # of the range of all values


class Wasserstein(msgspec.Struct, frozen=True):
    """The distance, and without drift the mean and spread of √(nm / (n + m)) times it; all in the same unit."""

    distance: float
    expected: float
    spread: float


def wasserstein(gap: CumulativeGap, reference: Floats) -> Wasserstein:
    """The distance of two samples; ``reference`` are the values of that side.

    >>> from modeldrop.domain.drift.cumulative import cumulative_gap
    >>> reference = np.array([0.0, 2.0])
    >>> round(wasserstein(cumulative_gap(reference, reference + 3.0), reference).distance, 12)
    3.0
    """
    # A quarter first, so that differences of the largest floats are floats; a unit of one, so that squares are.
    start = gap.points[0] * 0.25
    span = gap.points[-1] * 0.25 - start
    if span == 0.0:
        return Wasserstein(0.0, 0.0, 0.0)
    points = (gap.points * 0.25 - start) / span
    widths = points[1:] - points[:-1]
    moved = float(np.abs(gap.gap[:-1]) @ widths) / (gap.reference_rows * gap.current_rows)
    expected = math.sqrt(2 / math.pi) * float(_bridge_spread(points.size) @ widths)
    spread = _deviation(points)
    unit = _deviation((reference * 0.25 - start) / span)
    if unit < _NO_SPREAD:
        unit = spread
    return Wasserstein(moved / unit, expected / unit, spread / unit)


def _deviation(values: Floats) -> float:
    """Their standard deviation, as ``np.std`` in half the time."""
    apart = values - values.mean()
    return math.sqrt(float((apart * apart).sum()) / values.size)


@functools.lru_cache(maxsize=4)
def _bridge_spread(size: int) -> Floats:
    """√(F(1 - F)) between the points of that many; the same for all columns of a report."""
    below = np.arange(1, size) / size
    return np.sqrt(below * (1 - below))


def wasserstein_p_value(found: Wasserstein, reference_rows: int, current_rows: int) -> float:
    """At least the chance of a distance as large without drift; 1 where all values are one.

    >>> wasserstein_p_value(Wasserstein(0.0, 0.0, 0.0), 200, 200)
    1.0
    """
    if found.spread == 0.0:
        return 1.0
    root = math.sqrt(reference_rows * current_rows / (reference_rows + current_rows))
    return 0.5 * math.erfc((root * found.distance - found.expected) / found.spread / math.sqrt(2))
