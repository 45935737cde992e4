"""L∞ distance: the largest change of any bucket's share, from 0 to 1 (as in TensorFlow Data Validation).

L∞ = max |q - p|. Larger is worse; it is in points, so 0.1 says that some category gained or lost ten percent of the
rows.
"""

import numpy as np

from modeldrop.domain.drift.columns import Counts


def l_infinity(reference: Counts, current: Counts) -> float:
    """The distance of two counts over the same buckets; each side has at least one row.

    >>> l_infinity(np.array([50, 50]), np.array([1, 3]))
    0.25
    """
    return float(np.max(np.abs(current / current.sum() - reference / reference.sum())))
