"""How far off a metric may be by chance: one-sided 95 % bounds on either side of it.

One statistic a file: ``share_bounds`` (accuracy, precision, recall), ``f1_bounds``, ``auc_bounds``, ``mean_bounds``
(MAE, MAPE). Here is what combines them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

Z = 1.6448536269514722
"""The normal distribution's 95th percentile."""


class Interval(NamedTuple):
    """With 95 % certainty the true value is not below ``lower``, and with 95 % it is not above ``upper``."""

    lower: float
    upper: float


def mean_of_independent(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Of the mean of estimates that know nothing of one another.

    Their distances add up as squares: the method of variance estimates recovery (MOVER; G. Y. Zou and A. Donner,
    "Construction of confidence limits about effect measures", Statistics in Medicine 27, 2008). At least one.

    >>> mean_of_independent([0.5, 0.5], [Interval(0.2, 0.9), Interval(0.1, 0.8)])
    Interval(lower=0.25, upper=0.75)
    """
    mean = sum(values) / len(values)
    below = math.hypot(*(value - each.lower for value, each in zip(values, intervals, strict=True)))
    above = math.hypot(*(each.upper - value for value, each in zip(values, intervals, strict=True)))
    return Interval(mean - below / len(values), mean + above / len(values))


def mean_of_dependent(intervals: Sequence[Interval]) -> Interval:
    """Of the mean of estimates that may all be off together: the mean of their bounds, the widest there can be."""
    count = len(intervals)
    return Interval(sum(each.lower for each in intervals) / count, sum(each.upper for each in intervals) / count)
