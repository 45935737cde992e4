"""MAE and MAPE: how far numbers were off. From 0; lower is better.

MAE = mean |prediction - label|, in the label's unit. MAPE = mean |prediction - label| / |label|, as a share (0.1 is ten
percent); labels of 0 have no percentage, are left out and counted.
"""

import math
from collections.abc import Sequence

Pair = tuple[float, float]  # prediction, label


def mean_absolute_error(pairs: Sequence[Pair]) -> float | None:
    """None without pairs, or where an error is too large for a float.

    >>> mean_absolute_error([(1.0, 2.0), (5.0, 2.0)])
    2.0
    """
    return _mean([abs(prediction - label) for prediction, label in pairs])


def mean_absolute_percentage_error(pairs: Sequence[Pair]) -> float | None:
    """None without a label that is not 0, or where an error is too large for a float.

    >>> mean_absolute_percentage_error([(110.0, 100.0), (5.0, 0.0)])
    0.1
    """
    return _mean([abs(prediction - label) / abs(label) for prediction, label in pairs if label])


def zero_labels(pairs: Sequence[Pair]) -> int:
    """How many pairs MAPE leaves out."""
    return sum(label == 0 for _, label in pairs)


def _mean(errors: Sequence[float]) -> float | None:
    """An error beyond the largest float is infinite; so is the mean then, which is no figure."""
    if not errors:
        return None
    try:
        mean = math.fsum(errors) / len(errors)
    except OverflowError:
        return None
    return mean if math.isfinite(mean) else None
