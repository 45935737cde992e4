"""The noise floor: what two samples of *one* distribution show by chance, in 95 of 100 cases at most.

A threshold below it would call chance drift, so the threshold in effect is the larger of the two. With n and m rows:

- PSI. For counts that are not tiny, Σ (q - p)·ln(q/p) ≈ Σ (q - p)²/p, and nm/(n + m) times that is Pearson's χ² with
  B - 1 degrees over B buckets. Floor: χ²₀.₉₅(B - 1)·(1/n + 1/m); its mean would be (B - 1)·(1/n + 1/m) (Yurdakul
  2018).
- Jensen–Shannon. Around m = (p + q)/2 each divergence is ½ Σ ((p - q)/2)²/m, so JSD ≈ ⅛ Σ (p - q)²/m nats, of which
  the distance takes bits and the root. Floor: √(χ²₀.₉₅(B - 1)·(1/n + 1/m) / (8 ln 2)).
- Kolmogorov–Smirnov. D·√(nm/(n + m)) exceeds 1.3581 in 5 of 100 cases (Kolmogorov's limit).
- Wasserstein. The bound of ``wasserstein``: mean plus 1.645 spreads, over √(nm/(n + m)).
"""

import math

from modeldrop.domain.drift.chi_square import chi_square_quantile_95
from modeldrop.domain.drift.wasserstein import Wasserstein

_KOLMOGOROV_95 = 1.3580986393225507
_NORMAL_95 = 1.6448536269514722


def psi_floor(buckets: int, reference_rows: int, current_rows: int) -> float:
    """For PSI over that many buckets (those with a row on either side).

    >>> round(psi_floor(10, 200, 200), 3), round(psi_floor(10, 4096, 4096), 3)
    (0.169, 0.008)
    """
    return chi_square_quantile_95(buckets - 1) * _size_factor(reference_rows, current_rows)


def jensen_shannon_floor(buckets: int, reference_rows: int, current_rows: int) -> float:
    """For the Jensen–Shannon distance (base 2) over that many buckets.

    >>> round(jensen_shannon_floor(10, 200, 200), 3), round(jensen_shannon_floor(10, 4096, 4096), 3)
    (0.175, 0.039)
    """
    return math.sqrt(psi_floor(buckets, reference_rows, current_rows) / (8 * math.log(2)))


def kolmogorov_smirnov_floor(reference_rows: int, current_rows: int) -> float:
    """For the Kolmogorov–Smirnov statistic.

    >>> round(kolmogorov_smirnov_floor(200, 200), 3)
    0.136
    """
    return _KOLMOGOROV_95 * math.sqrt(_size_factor(reference_rows, current_rows))


def wasserstein_floor(found: Wasserstein, reference_rows: int, current_rows: int) -> float:
    """For the Wasserstein distance, from its mean and spread without drift.

    >>> round(wasserstein_floor(Wasserstein(0.0, 1.3, 1.0), 200, 200), 3)
    0.294
    """
    return (found.expected + _NORMAL_95 * found.spread) * math.sqrt(_size_factor(reference_rows, current_rows))


def _size_factor(reference_rows: int, current_rows: int) -> float:
    return 1 / reference_rows + 1 / current_rows
