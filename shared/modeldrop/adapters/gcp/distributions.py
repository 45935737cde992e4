"""Quantiles of Cloud Monitoring's distributions: histograms whose buckets may be of different kinds.

The ``google.api.Distribution`` message says what the buckets are: an open one below the lowest bound, finite ones that
hold their lower bound but not the upper, an open one from the highest bound on. The bounds are ``offset + width * i``
(linear), ``scale * growth_factor ** i`` (exponential) or a list (explicit). Empty buckets at the end may be left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

Buckets = Mapping[tuple[float, float], int]
"""Number of values by (from, to) of the bucket they are in. A bucket whose ends are equal is a single place."""


def buckets_of(distributions: Iterable[Any]) -> Buckets:
    """The values of all these ``google.api.Distribution``, none of which is negative (latencies).

    The open buckets have one known end. The lowest begins at 0; the highest is taken as a place, its lower bound: a
    quantile in there is said to be less than it was. Raises ValueError for what is no histogram.
    """
    values: dict[tuple[float, float], int] = {}
    for distribution in distributions:
        counts = list(distribution.bucket_counts)
        if sum(counts) != distribution.count or any(count < 0 for count in counts):
            raise ValueError(f"{distribution.count} values, but {sum(counts)} in the buckets")
        if not distribution.count:
            continue
        bounds = list(_bounds(distribution.bucket_options, len(counts)))
        if not bounds or not all(map(isfinite, bounds)) or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"bounds of buckets that do not rise: {bounds[:5]}")
        ends = [min(0.0, bounds[0]), *bounds, bounds[-1]]
        for bucket, count in zip(pairwise(ends), counts, strict=False):
            if count:
                values[bucket] = values.get(bucket, 0) + count
    return values


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value that ``share`` (0 < share <= 1) of all values do not exceed; None where there are no values.

    Values are taken as evenly spread within their bucket: it is off by at most the width of the widest one around it.

    >>> quantile({(0.0, 10.0): 90, (10.0, 20.0): 10}, 0.95)
    15.0
    """
    ends = sorted({end for bucket in buckets for end in bucket})
    wanted = round(share * sum(buckets.values()), 9)  # 0.95 * 20 is 19, in whatever way floats multiply
    last, below_last = 0.0, 0.0
    for end in ends:
        below = sum(count * _share_below(bucket, end) for bucket, count in buckets.items())
        if below >= wanted:
            return last + (end - last) * (wanted - below_last) / (below - below_last)
        below_last = below + buckets.get((end, end), 0)
        if below_last >= wanted:
            return end
        last = end
    return ends[-1] if ends else None


def _share_below(bucket: tuple[float, float], value: float) -> float:
    low, high = bucket
    if high <= low:  # a place: nothing of it is below itself
        return 1.0 if low < value else 0.0
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _bounds(options: Any, counts: int) -> Iterator[float]:
    """The bounds between the first ``counts`` buckets, and one more where a finite bucket is the last of them."""
    kind = options.WhichOneof("options")
    if kind == "explicit_buckets":
        total, bound = len(options.explicit_buckets.bounds), options.explicit_buckets.bounds.__getitem__
    elif kind == "linear_buckets":
        linear = options.linear_buckets
        total, bound = linear.num_finite_buckets + 1, lambda i: linear.offset + linear.width * i
    elif kind == "exponential_buckets":
        exponential = options.exponential_buckets
        total, bound = exponential.num_finite_buckets + 1, lambda i: exponential.scale * exponential.growth_factor**i
    else:
        raise ValueError("values without a histogram")
    if counts > total + 1:
        raise ValueError(f"{counts} buckets where there can be {total + 1}")
    try:
        yield from (float(bound(i)) for i in range(min(total, counts)))
    except OverflowError as error:
        raise ValueError("bounds of buckets beyond all numbers") from error
