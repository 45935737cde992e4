"""Values beyond the reference's range.

The share of the current values below the smallest or above the largest of the reference. Without drift each of n + m
values is equally likely to be the largest, so k or more of m lie above all n with chance C(n + m - k, n) / C(n + m,
n) at most (ties make it smaller), and the same below (Gumbel & von Schelling 1950). Larger shares and smaller
p-values are worse. Reported, not judged: a few values out of range are a matter of the tails, which Wasserstein
weighs.
"""

import math

import msgspec

from modeldrop.domain.drift.columns import Floats


class OutOfRange(msgspec.Struct, frozen=True):
    """Shares of the current values beyond either end, and the chance of as many at the more striking one."""

    below: float
    above: float
    p_value: float


def out_of_range(reference: Floats, current: Floats) -> OutOfRange:
    """From values in ascending order, at least one a side.

    >>> import numpy as np
    >>> found = out_of_range(np.arange(100.0), np.array([-5.0, 1.0, 2.0, 99.5]))
    >>> found.below, found.above, round(found.p_value, 3)
    (0.25, 0.25, 0.077)
    """
    n, m = reference.size, current.size
    below = int(current.searchsorted(reference[0], side="left"))
    above = m - int(current.searchsorted(reference[-1], side="right"))
    p_value = min(1.0, 2 * _chance_of_exceeding(max(below, above), n, m))
    return OutOfRange(below / m, above / m, p_value)


def _chance_of_exceeding(count: int, n: int, m: int) -> float:
    logarithm = (
        math.lgamma(m + 1) - math.lgamma(m - count + 1) - math.lgamma(n + m + 1) + math.lgamma(n + m - count + 1)
    )
    return math.exp(min(0.0, logarithm))
