"""Population stability index: how far shares have moved between two sets of buckets.

PSI = Σ (q - p)·ln(q / p) over the buckets, p the reference's share and q the current one: the sum of both
Kullback–Leibler divergences (Jeffreys 1946), named so in credit scoring (Siddiqi 2006). Larger is worse; 0 is none,
above 0.2 is usually called a shift. A side without rows in a bucket counts as half a row of its own (the logarithm
needs a floor); buckets empty on both sides are left out.
"""

import numpy as np

from modeldrop.domain.drift.columns import Counts

ROWS_FOR_NONE = 0.5


def psi(reference: Counts, current: Counts) -> float:
    """PSI of two counts over the same buckets; each side has at least one row.

    >>> round(psi(np.array([50, 50]), np.array([25, 75])), 4)
    0.2747
    >>> psi(np.array([50, 50, 0]), np.array([10, 10, 0]))
    0.0
    """
    used = (reference + current) > 0
    p = np.maximum(reference[used], ROWS_FOR_NONE) / reference.sum()
    q = np.maximum(current[used], ROWS_FOR_NONE) / current.sum()
    return float(((q - p) * np.log(q / p)).sum())
