"""The empirical distribution functions of two samples, laid over each other in one pass."""

import functools

import msgspec
import numpy as np

from modeldrop.domain.drift.columns import Counts, Floats


class CumulativeGap(msgspec.Struct, frozen=True, eq=False):
    """``points``: both samples, ascending (n + m); ``gap``: (F - G)·n·m once each is counted, in whole numbers.

    F is the share of the reference (n values) at or below a point, G the current one's (m values). Within ties the gap
    has no meaning before the last of them.
    """

    points: Floats
    gap: Counts
    reference_rows: int
    current_rows: int


def cumulative_gap(reference: Floats, current: Floats) -> CumulativeGap:
    """From values in ascending order, at least one a side.

    >>> found = cumulative_gap(np.array([1.0, 3.0]), np.array([2.0]))
    >>> found.points.tolist(), found.gap.tolist()
    ([1.0, 2.0, 3.0], [1, -1, 0])
    """
    n, m = reference.size, current.size
    both = np.concatenate([reference, current])
    order = both.argsort(kind="stable")  # two ascending runs: merged, not sorted
    return CumulativeGap(both.take(order), _steps(n, m).take(order).cumsum(), n, m)


@functools.lru_cache(maxsize=4)
def _steps(n: int, m: int) -> Counts:
    """By how much the gap changes with each value; the same for all columns of a report."""
    return np.repeat(np.array([m, -n], dtype=np.int64), [n, m])
