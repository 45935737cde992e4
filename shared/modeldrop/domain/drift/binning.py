"""Fixed bins of a numeric feature: ten of equal share in the reference, open at both ends.

The edges are values of the reference (the k-th is the smallest with at least k tenths at or below it), so that no
arithmetic can overflow. A value so frequent that two edges fall on it gets a bin of its own: otherwise a column of
zeros that becomes a column of ones would stay in one bin. Bins come out fewer or more than ten then.
"""

import sys

import numpy as np

from modeldrop.domain.drift.columns import Counts, Floats

BINS = 10


def quantile_edges(ordered: Floats) -> Floats:
    """Inner edges, ascending and different, from the reference's values (ascending, at least one).

    Bin i holds the x with edge[i-1] < x <= edge[i]; the first and the last are open.

    >>> quantile_edges(np.arange(1.0, 21.0)).tolist()
    [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]
    >>> edges = quantile_edges(np.zeros(20))
    >>> bin_counts(np.array([-1.0, 0.0, 0.0, 1.0]), edges).tolist()
    [1, 2, 1]
    """
    tenths = np.arange(1, BINS)
    cuts = ordered[-(-tenths * ordered.size // BINS) - 1]
    frequent = cuts[1:][cuts[1:] == cuts[:-1]]
    frequent = frequent[frequent > -sys.float_info.max]  # nothing lies below the smallest float
    return np.unique(np.concatenate([cuts, np.nextafter(frequent, -np.inf)]))


def bin_counts(ordered: Floats, edges: Floats) -> Counts:
    """How many of the values (ascending) each bin holds; one more bin than edges.

    >>> bin_counts(np.array([0.0, 1.0, 2.0, 9.0]), np.array([1.0, 5.0])).tolist()
    [2, 1, 1]
    """
    up_to = np.zeros(edges.size + 2, dtype=np.int64)
    up_to[1:-1] = ordered.searchsorted(edges, side="right")
    up_to[-1] = ordered.size
    return up_to[1:] - up_to[:-1]  # np.diff takes four times as long
