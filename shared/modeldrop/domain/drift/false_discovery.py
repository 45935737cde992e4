"""False-discovery control: of the features called drifted, how many may be so by chance?

Benjamini & Hochberg (1995): with N p-values in ascending order, the largest p(k) <= k/N·rate is the cut-off, and all
up to it are taken as real. Where nothing drifts, a report with any false alarm then comes up at most with probability
``rate``, however many features there are; it holds for positively dependent features too (Benjamini & Yekutieli
2001).
"""

from collections.abc import Iterable


def significance_cutoff(p_values: Iterable[float], rate: float) -> float | None:
    """The largest p-value taken as real; None if there is none, as always with a rate of 0.

    >>> significance_cutoff([0.9, 0.02, 0.001, 0.03], 0.05)
    0.03
    >>> significance_cutoff([0.04, 0.9], 0.05) is None
    True
    """
    if rate <= 0:
        return None
    ordered = sorted(p_values)
    real = [p for rank, p in enumerate(ordered, start=1) if p <= rank / len(ordered) * rate]
    return real[-1] if real else None
