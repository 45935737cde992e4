"""Bounds of a share of n cases: accuracy, precision, recall.

Wilson's score interval (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
1927): all shares p that the observed one, x/n, is no further away from than z·√(p(1 - p)/n). Honest with few cases and
near 0 and 1, where the plain normal interval is not.

    (x + z²/2 ± z·√(x(n - x)/n + z²/4)) / (n + z²)
"""

import math

from modeldrop.domain.quality.interval import Interval, Z


def share_bounds(right: int, cases: int) -> Interval:
    """Of ``right`` out of ``cases``; without cases anything is possible.

    >>> [round(bound, 3) for bound in share_bounds(90, 100)]
    [0.84, 0.939]
    >>> share_bounds(0, 0)
    Interval(lower=0.0, upper=1.0)
    """
    if cases == 0:
        return Interval(0.0, 1.0)
    middle = right + Z * Z / 2
    away = Z * math.sqrt(right * (cases - right) / cases + Z * Z / 4)
    return Interval(max(0.0, (middle - away) / (cases + Z * Z)), min(1.0, (middle + away) / (cases + Z * Z)))
