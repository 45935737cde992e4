"""Jensen–Shannon distance: how far two distributions over buckets lie apart, from 0 (equal) to 1 (nothing shared).

JSD = ½ Σ p·log2(p / m) + ½ Σ q·log2(q / m), m = (p + q) / 2; the distance is its square root, a metric (Lin 1991;
Endres & Schindelin 2003). Larger is worse. Numbers are compared in the bins of ``binning``.
"""

import math

import numpy as np

from modeldrop.domain.drift.columns import Counts, Floats


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The distance of two counts over the same buckets; each side has at least one row.

    >>> jensen_shannon(np.array([4, 0]), np.array([0, 9])), jensen_shannon(np.array([1, 2]), np.array([2, 4]))
    (1.0, 0.0)
    """
    p = reference / reference.sum()
    q = current / current.sum()
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))  # rounding may leave the range by a hair


def _divergence(shares: Floats, middle: Floats) -> float:
    used = shares > 0
    return float((shares[used] * np.log2(shares[used] / middle[used])).sum())
