"""Both sides of a column as shares that draw well over each other. For the eye alone: no test looks at these.

Numbers have 20 bins of equal width, unlike those of the tests (``binning``): of bins with equal shares a picture would
show a block. They span both sides, so that what moved away is seen where it is now. Where the farthest hundredth of a
side lies far from all the rest, the span ends before it, and the outermost bin holds it too: a single wrong value must
not press the picture into one bar. Bins of whole numbers all hold equally many of them: else there would be teeth.
"""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from modeldrop.domain.drift.binning import bin_counts
from modeldrop.domain.drift.buckets import OTHER
from modeldrop.domain.drift.columns import Floats
from modeldrop.domain.drift.distribution import CategoricalDistribution, NumericDistribution

MOST_BINS = 20
MOST_CATEGORIES = 20
"""With that for the others."""
LONGEST_NAME = 64  # characters
_SMALLEST_SHARE = 0.01
"""Where there are more categories: one that has less on both sides is too thin a bar to be worth its name."""
_STRAYS = 100
"""One value in so many, at either end, may lie anywhere."""
_PLACES = 6
_HALVES_BELOW = 2.0**51
"""There, a float half way between two whole numbers exists."""


class _Span(NamedTuple):
    first: float
    last: float


def numeric_distribution(reference: Floats, live: Floats) -> NumericDistribution | None:
    """From both sides' finite values, ascending; None where a side has none.

    >>> shown = numeric_distribution(np.array([0.0, 1.0, 1.0, 2.0]), np.array([2.0, 2.0]))
    >>> shown.edges, shown.reference, shown.live
    ([-0.5, 0.5, 1.5, 2.5], [0.25, 0.5, 0.25], [0.0, 0.0, 1.0])
    """
    if not (reference.size and live.size):
        return None
    span = _shared_span(reference, live)
    edges = _whole_edges(span) if _are_whole(reference) and _are_whole(live) else _equal_edges(span)
    inner = np.array(edges[1:-1])
    counts = np.array([bin_counts(reference, inner), bin_counts(live, inner)])
    before, after = (counts / [[reference.size], [live.size]]).round(_PLACES).tolist()
    return NumericDistribution(edges, before, after)


def categorical_distribution(reference: Mapping[str, int], live: Mapping[str, int]) -> CategoricalDistribution | None:
    """From both sides' rows by category; None where a side has none.

    >>> categorical_distribution({"DE": 3, "FR": 1}, {"DE": 1, "PL": 1})
    CategoricalDistribution(categories=['DE', 'FR', 'PL'], reference=[0.75, 0.25, 0.0], live=[0.5, 0.0, 0.5])
    """
    rows = sum(reference.values()), sum(live.values())
    if not all(rows):
        return None
    names = reference.keys() | live.keys()
    shown = names if len(names) <= MOST_CATEGORIES else _most_frequent((reference, live), rows)
    counts = {name: (reference.get(name, 0), live.get(name, 0)) for name in shown}
    ordered = sorted(counts, key=lambda name: (-counts[name][0], -counts[name][1], name))
    columns = [counts[name] for name in ordered]
    labels = [_writable(name) for name in ordered]
    if len(shown) < len(names):
        columns.append((rows[0] - sum(before for before, _ in columns), rows[1] - sum(after for _, after in columns)))
        labels.append(OTHER)
    shares = (np.array(columns) / rows).round(_PLACES)
    first, second = shares.T.tolist()
    return CategoricalDistribution(labels, first, second)


def _most_frequent(sides: Sequence[Mapping[str, int]], rows: Sequence[int]) -> Collection[str]:
    """Of either side: what is new in the live rows is just what should be seen."""
    largest: dict[str, float] = {}
    for side, all_rows in zip(sides, rows, strict=True):
        fewest = _SMALLEST_SHARE * all_rows
        for name, count in side.items():
            if count >= fewest:
                largest[name] = max(largest.get(name, 0.0), count / all_rows)
    return sorted(largest, key=lambda name: (-largest[name], name))[: MOST_CATEGORIES - 1]


def _writable(name: str) -> str:
    """Of a length that can be drawn, and without halves of surrogate pairs, which no store takes."""
    cut = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return cut.encode("utf-8", "replace").decode()


def _shared_span(reference: Floats, live: Floats) -> _Span:
    sides = [_span(reference), _span(live)]
    span = _Span(min(side.first for side in sides), max(side.last for side in sides))
    if span.first < span.last:
        return span
    # nearly all values are one: the picture is of the few others
    return _Span(min(float(reference[0]), float(live[0])), max(float(reference[-1]), float(live[-1])))


def _span(ordered: Floats) -> _Span:
    """Without the farthest hundredth at an end where it lies farther out than half the width of all between."""
    strays = ordered.size // _STRAYS
    lowest, first, last, highest = map(ordered.item, (0, strays, -1 - strays, -1))
    near = last / 2 - first / 2  # the difference itself may be beyond any float
    return _Span(lowest if first - lowest <= near else first, highest if highest - last <= near else last)


def _are_whole(ordered: Floats) -> bool:
    """Whether all are whole numbers; most that are not show it in the first one looked at."""
    ends = float(ordered[ordered.size // 2]), float(ordered[0]), float(ordered[-1])
    if not all(end.is_integer() and abs(end) < _HALVES_BELOW for end in ends):
        return False
    return bool((np.floor(ordered) == ordered).all())


def _whole_edges(span: _Span) -> list[float]:
    """Half way between whole numbers."""
    count = span.last - span.first + 1
    width = math.ceil(count / MOST_BINS)
    return [span.first - 0.5 + width * number for number in range(math.ceil(count / width) + 1)]


def _equal_edges(span: _Span) -> list[float]:
    first, last = span
    if first == last:
        half = abs(first) / 2 or 0.5
        return [max(first - half, -sys.float_info.max), min(first + half, sys.float_info.max)]
    parts = [number / MOST_BINS for number in range(MOST_BINS + 1)]
    # a weighted sum, since the width may be beyond any float; + 0.0: no store need tell -0.0 from it
    return sorted({first * (1 - part) + last * part + 0.0 for part in parts})
