"""Bounds of a mean error: MAE, MAPE.

mean ± z·s/√n, with s² = Σ(e - mean)² / (n - 1): the central limit theorem. Errors with a long tail need more labels
than a hundred for it to hold.
"""

import math
import sys
from collections.abc import Sequence

from modeldrop.domain.quality.interval import Interval, Z

_NOTHING_KNOWN = Interval(0.0, sys.float_info.max)  # JSON has no infinity


def mean_bounds(errors: Sequence[float], mean: float) -> Interval:
    """Of errors with that mean, all finite; of fewer than two, or too large ones, nothing is known.

    >>> [round(bound, 3) for bound in mean_bounds([1.0, 2.0, 3.0, 2.0], 2.0)]
    [1.328, 2.672]
    """
    count = len(errors)
    if count < 2:
        return _NOTHING_KNOWN
    try:
        squares = math.fsum((error - mean) ** 2 for error in errors)
    except OverflowError:
        return _NOTHING_KNOWN
    away = Z * math.sqrt(squares / (count - 1) / count)
    return Interval(mean - away, mean + away)
