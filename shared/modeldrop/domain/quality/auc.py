"""Area under the ROC curve: how well scores put the positive before the others. From 0 to 1; higher is better.

AUC = P(score of a positive > score of another) + ½ P(equal), over all pairs: the statistic of Mann and Whitney (1947;
Hanley & McNeil 1982). 0.5 is chance. Ties count exactly one half.
"""

from collections.abc import Sequence

import numpy as np


def auc(positive: Sequence[float], others: Sequence[float]) -> float | None:
    """From the scores of both groups; None where one of them is empty.

    >>> auc([0.9, 0.4], [0.4, 0.1])
    0.875
    """
    if not positive or not others:
        return None
    ordered = np.sort(np.array(others, dtype=np.float64))
    scores = np.array(positive, dtype=np.float64)
    below_and_up_to = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return int(below_and_up_to.sum()) / (2 * len(positive) * len(others))
