"""Bounds of F1.

F1 = 2·TP / (2·TP + FP + FN) rises with J = TP / (TP + FP + FN), F1 = 2J / (1 + J). And J is a plain share: of the cases
that are positive, or were called so, those that are both. So its bounds are Wilson's (``share_bounds``), carried over;
no approximation is added, and F1 of 0 and 1 need no exception.
"""

from modeldrop.domain.quality.interval import Interval
from modeldrop.domain.quality.share_bounds import share_bounds


def f1_bounds(right: int, predicted: int, labelled: int) -> Interval:
    """From how often the class was predicted rightly, was predicted at all, and is the label.

    >>> [round(bound, 3) for bound in f1_bounds(80, 100, 100)]
    [0.744, 0.846]
    """
    bounds = share_bounds(right, predicted + labelled - right)
    return Interval(*(2 * bound / (1 + bound) for bound in bounds))
