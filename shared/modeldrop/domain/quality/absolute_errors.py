"""MAE and MAPE: how far numbers were off. From 0; lower is better.

MAE = mean |prediction - label|, in the label's unit. MAPE = mean |prediction - label| / |label|, as a share (0.1 is ten
percent); labels of 0 have no percentage, are left out and counted. So are those that are 0 but for the rounding, a
billionth of what labels are like: a single one would be all there is to see of the mean.
"""

import math
from collections.abc import Sequence

Pair = tuple[float, float]  # prediction, label
_NEAR_ZERO = 1e-9  # of the median label


def absolute_errors(pairs: Sequence[Pair]) -> list[float]:
    """What MAE is the mean of.

    >>> mean_error(absolute_errors([(1.0, 2.0), (5.0, 2.0)]))
    2.0
    """
    return [abs(prediction - label) for prediction, label in pairs]


def absolute_percentage_errors(pairs: Sequence[Pair]) -> list[float]:
    """What MAPE is the mean of; fewer than there are pairs, by those it leaves out.

    >>> mean_error(absolute_percentage_errors([(110.0, 100.0), (5.0, 0.0), (5.0, 1e-300)]))
    0.1
    """
    sizes = sorted(abs(label) for _, label in pairs if label)
    least = sizes[len(sizes) // 2] * _NEAR_ZERO if sizes else 0.0
    return [abs(prediction - label) / abs(label) for prediction, label in pairs if label and abs(label) > least]


def mean_error(errors: Sequence[float]) -> float | None:
    """The mean; None without errors, or where one is too large for a float: an infinite mean is no figure."""
    if not errors:
        return None
    try:
        mean = math.fsum(errors) / len(errors)
    except OverflowError:
        return None
    return mean if math.isfinite(mean) else None
