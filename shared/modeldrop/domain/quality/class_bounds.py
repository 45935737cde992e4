"""Bounds of what a confusion table says: of one class, or of the macro average over all.

A class nobody predicted has no precision that could be looked up, and one that is no label no recall: they count as 0
in the average and may be anything in its bounds. The shares of different classes are of different cases and err on
their own; F1 of different classes shares its errors (a miss of one is a false alarm of another).
"""

from collections.abc import Mapping

from modeldrop.domain.quality.confusion import Confusion
from modeldrop.domain.quality.f1_bounds import f1_bounds
from modeldrop.domain.quality.interval import Interval, mean_of_dependent, mean_of_independent
from modeldrop.domain.quality.share_bounds import share_bounds


def accuracy_bounds(table: Confusion) -> Interval:
    """Of the share of right classes."""
    return share_bounds(sum(table.right.values()), table.rows)


def precision_bounds(table: Confusion, positive: str | None) -> Interval:
    """Of the positive class, or of the macro average."""
    return _of_shares(table, table.predicted, positive)


def recall_bounds(table: Confusion, positive: str | None) -> Interval:
    """Of the positive class, or of the macro average."""
    return _of_shares(table, table.labelled, positive)


def f1_bounds_of(table: Confusion, positive: str | None) -> Interval:
    """Of the positive class, or of the macro average."""
    names = table.classes if positive is None else [positive]
    bounds = [
        f1_bounds(table.right.get(name, 0), table.predicted.get(name, 0), table.labelled.get(name, 0)) for name in names
    ]
    return mean_of_dependent(bounds) if bounds else Interval(0.0, 1.0)


def _of_shares(table: Confusion, cases: Mapping[str, int], positive: str | None) -> Interval:
    names = table.classes if positive is None else [positive]
    if not names:
        return Interval(0.0, 1.0)
    parts = [(table.right.get(name, 0), cases.get(name, 0)) for name in names]
    values = [right / count if count else 0.0 for right, count in parts]
    return mean_of_independent(values, [share_bounds(*part) for part in parts])
