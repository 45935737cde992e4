"""Both sides of a column counted over the same buckets, and their shares for a chart."""

import msgspec
import numpy as np

from modeldrop.domain.drift.columns import Counts, Floats

MISSING = "(missing)"
OTHER_TYPE = "(other type)"
OTHER = "(other)"
_LONGEST_LABEL = 64


class Buckets(msgspec.Struct, frozen=True, eq=False):
    """Bins by their inner ``edges``, or categories by ``names``, then ``other``; last come missing and other type."""

    edges: Floats
    names: tuple[str, ...]
    reference: Counts
    current: Counts

    @property
    def used(self) -> int:
        """How many have a row on either side."""
        return int(np.count_nonzero(self.reference + self.current))


class Histogram(msgspec.Struct, frozen=True):
    """Shares of both sides by bucket, with a label each; ``edges`` are the inner ones of numbers, else empty."""

    edges: list[float]
    labels: list[str]
    reference: list[float]
    current: list[float]


def histogram(buckets: Buckets) -> Histogram:
    """For charts; each side has at least one row.

    >>> shown = histogram(Buckets(np.array([1.0, 2.0]), (), np.array([1, 1, 2, 0, 0]), np.array([0, 0, 3, 1, 0])))
    >>> shown.labels
    ['≤ 1', '1 … 2', '> 2', '(missing)', '(other type)']
    >>> shown.reference, shown.current
    ([0.25, 0.25, 0.5, 0.0, 0.0], [0.0, 0.0, 0.75, 0.25, 0.0])
    """
    own = _bin_labels(buckets.edges) if buckets.edges.size else [*map(_cut, buckets.names), OTHER]
    return Histogram(
        buckets.edges.tolist(),
        [*own, MISSING, OTHER_TYPE],
        (buckets.reference / buckets.reference.sum()).tolist(),
        (buckets.current / buckets.current.sum()).tolist(),
    )


def _bin_labels(edges: Floats) -> list[str]:
    """An edge just below the next one makes a bin of a single value."""
    single = (np.nextafter(edges[1:], -np.inf) == edges[:-1]).tolist()
    texts = [f"{edge:.6g}" for edge in edges.tolist()]
    first = f"< {texts[1]}" if single and single[0] else f"≤ {texts[0]}"
    inner = [
        f"= {high}" if alone else f"{low} … {high}"
        for low, high, alone in zip(texts[:-1], texts[1:], single, strict=True)
    ]
    return [first, *inner, f"> {texts[-1]}"]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
