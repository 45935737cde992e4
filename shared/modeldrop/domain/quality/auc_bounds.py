"""Bounds of the area under the ROC curve.

J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
Radiology 143, 1982: with m positives and n others, Q1 = A / (2 - A) and Q2 = 2A² / (1 + A), an area A has the variance

    (A(1 - A) + (m - 1)(Q1 - A²) + (n - 1)(Q2 - A²)) / (m·n)

As Wilson does it for shares, the variance is that of the area in question and not of the one observed: the bounds are
the areas that the observed one is just z standard errors away from. So an observed area of 0 or 1 is no certainty.
"""

import math

from modeldrop.domain.quality.interval import Interval, Z

_HALVINGS = 50


def auc_bounds(area: float, positive: int, others: int) -> Interval:
    """Of an area observed over so many positives and others, at least one each.

    >>> [round(bound, 3) for bound in auc_bounds(0.8, 50, 150)]
    [0.727, 0.858]
    """
    upper = _farthest(area, 1.0, positive, others)
    lower = _farthest(area, 0.0, positive, others)
    return Interval(lower, upper)


def _farthest(area: float, end: float, positive: int, others: int) -> float:
    """Between the area and ``end``: where the observed one is z standard errors away."""
    near, far = area, end
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        if abs(middle - area) < Z * math.sqrt(_variance(middle, positive, others)):
            near = middle
        else:
            far = middle
    return far


def _variance(area: float, positive: int, others: int) -> float:
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    squared = area * area
    summed = area * (1 - area) + (positive - 1) * (q1 - squared) + (others - 1) * (q2 - squared)
    return max(0.0, summed) / (positive * others)
