"""The categories of a column, and the buckets in which two sides of it are compared.

Up to 100 categories have a bucket each; of more, the 100 most frequent *of both sides together* have one, and the
rest share ``other``. Why not the reference's own 100: those that are frequent there partly by luck come back less
often in any second sample, and categories it happened to miss come up; a feature with a long tail would drift by
itself. Taken from the union, neither side is favoured. A new category that is frequent therefore has a bucket of its
own (empty in the reference), rare new ones share ``other`` with rare old ones; ``unseen_share`` says how many rows
are new ones.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import cast

import msgspec
import numpy as np

from modeldrop.domain.drift.buckets import Buckets
from modeldrop.domain.drift.columns import Counts

MOST_CATEGORIES = 100
_ABSENT = {True: "missing", False: "other type"}
_WIDEST_BITS = 1024  # whole numbers beyond the largest float are no categories
_WHOLE_BELOW = 1e16


class Categories(msgspec.Struct, frozen=True, eq=False):
    """``counts``: rows by category; ``missing`` and ``other_type``: how many rows have none."""

    counts: Mapping[str, int]
    missing: int
    other_type: int


def category_name(value: object) -> str | None:
    """The category a value stands for; None if it cannot be one. 1, 1.0 and "1" are one, as are true and "true".

    >>> [category_name(value) for value in ("DE", 1, 1.0, 2.5, True, None, ["DE"])]
    ['DE', '1', '1', '2.5', 'true', None, None]
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _WIDEST_BITS else None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_BELOW else repr(value)
    return None


def read_categories(values: Sequence[object]) -> Categories:
    """Counts of a categorical column; lists and maps are of another type."""
    counts = _plain_counts(values)
    if counts is not None:
        missing = counts.pop(None, 0)
    else:
        counts = Counter(category_name(value) for value in values)
        del counts[None]
        missing = sum(value is None for value in values)
    named = cast("Counter[str]", counts)
    return Categories(named, missing, len(values) - missing - named.total())


def _plain_counts(values: Sequence[object]) -> Counter[str | None] | None:
    """Counts of a column of nothing but strings and None, the usual case, several times faster; else None.

    Nothing else equals a string or None, so that it is enough to look at what is different.
    """
    try:
        counts = Counter(values)
    except TypeError:  # a list or a map
        return None
    return cast("Counter[str | None]", counts) if set(map(type, counts)) <= {str, NoneType} else None


def read_booleans(values: Sequence[object]) -> Categories:
    """Counts of a boolean column; all but true and false is of another type.

    >>> read_booleans([True, True, None, 1]).counts
    {'false': 0, 'true': 2}
    """
    counts = Counter(value if isinstance(value, bool) else _ABSENT[value is None] for value in values)
    named = {"false": counts[False], "true": counts[True]}
    return Categories(named, counts[_ABSENT[True]], counts[_ABSENT[False]])


def category_buckets(reference: Categories, current: Categories) -> Buckets:
    """Both sides in the same buckets.

    >>> buckets = category_buckets(Categories({"a": 3}, 0, 0), Categories({"a": 1, "b": 1}, 2, 0))
    >>> buckets.names, buckets.reference.tolist(), buckets.current.tolist()
    (('a', 'b'), [3, 0, 0, 0, 0], [1, 1, 0, 2, 0])
    """
    pooled = {name: count + current.counts.get(name, 0) for name, count in reference.counts.items()}
    pooled |= {name: count for name, count in current.counts.items() if name not in pooled}
    ranked = heapq.nsmallest(MOST_CATEGORIES, ((-count, name) for name, count in pooled.items()))
    names = tuple(name for _, name in ranked)
    return Buckets(np.empty(0), names, _counts(reference, names), _counts(current, names))


def unseen_share(reference: Categories, current: Categories) -> float:
    """Share of the current rows whose category the reference never had. High is suspicious where categories are few.

    >>> unseen_share(Categories({"a": 3}, 0, 0), Categories({"a": 1, "b": 2}, 1, 0))
    0.5
    """
    unseen = sum(count for name, count in current.counts.items() if not reference.counts.get(name))
    rows = sum(current.counts.values()) + current.missing + current.other_type
    return unseen / rows if rows else 0.0


def _counts(side: Categories, names: Sequence[str]) -> Counts:
    own = [side.counts.get(name, 0) for name in names]
    other = sum(side.counts.values()) - sum(own)
    return np.array([*own, other, side.missing, side.other_type], dtype=np.int64)
