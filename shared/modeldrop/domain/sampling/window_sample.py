"""The sample of a window, or of many, and what it says of all events there were.

The sample holds *every* row whose hash is at most its threshold, and no other. These are the share
p = (threshold + 1) / 2^64 of all hashes. With n rows there,

    N = n / p        with relative standard error        sqrt((1 - p) / (n - 1))

N is unbiased: it is the estimate (m - 1) / U of the m-th smallest of N uniform numbers, U, with m = n + 1 (Beyer,
Haas, Reinwald, Sismanis and Gemulla, "On synopses for distinct-value estimation under multiset operations", 2007).
"""

from collections.abc import Mapping, Sequence
from math import sqrt

import msgspec

from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row, merge_rows
from modeldrop.domain.sampling.shards import Shard, first_left_out

_ALL_HASHES = LARGEST_HASH + 1


class WindowSample(msgspec.Struct, frozen=True):
    """A uniform sample of at most ``sample_size`` events: all those whose hash is at most ``threshold``.

    ``rows`` stand in the order of their hashes, which is a random order of the events. Equal samples are equal bytes
    in any encoding.
    """

    sample_size: int
    threshold: int
    rows: tuple[Row, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the rows are all the events there were, and no sample of them."""
        return self.threshold == LARGEST_HASH

    @property
    def estimated_events(self) -> int:
        """How many different events there were: exact if complete, else the unbiased estimate."""
        share_of_hashes = self.threshold + 1
        return (len(self.rows) * _ALL_HASHES + share_of_hashes // 2) // share_of_hashes

    @property
    def relative_error(self) -> float | None:
        """One standard error of ``estimated_events``, relative to it; 0 if complete, None if nothing can be said."""
        if self.is_complete:
            return 0.0
        share_above = (LARGEST_HASH - self.threshold) / _ALL_HASHES
        return sqrt(share_above / (len(self.rows) - 1)) if len(self.rows) > 1 else None

    @property
    def conflicts(self) -> int:
        """Rows whose event was told more than once, and differently."""
        return sum(row.conflicted for row in self.rows)


def window_sample(shards: Mapping[int, Shard], sample_size: int) -> WindowSample:
    """The sample of a window from all of its shards, by index; one that is missing is empty.

    >>> rows = Row(1 << 61, b"", b"a"), Row(1 << 62, b"", b"b"), Row(1 << 63, b"", b"c")
    >>> sample = window_sample({0: Shard(9, rows)}, 2)
    >>> [row.values for row in sample.rows], sample.is_complete, sample.estimated_events
    ([b'a', b'b'], False, 4)
    """
    first = first_left_out(shards, sample_size)
    threshold = LARGEST_HASH if first is None else first - 1
    rows = {row.hash: row for shard in shards.values() for row in shard.rows if row.hash <= threshold}
    return WindowSample(sample_size, threshold, _in_order(rows))


def merge_samples(samples: Sequence[WindowSample]) -> WindowSample:
    """The sample of all their events together: of several windows, of several regions; at least one.

    The same as if all had come to one window; an event in two of them counts once. Of samples of different sizes the
    smallest size holds. Commutative, associative, idempotent.
    """
    united = unite_samples(samples)
    sample_size = min(sample.sample_size for sample in samples)
    first = united.rows[sample_size].hash if len(united.rows) > sample_size else None
    return WindowSample(sample_size, united.threshold if first is None else first - 1, united.rows[:sample_size])


def unite_samples(samples: Sequence[WindowSample]) -> WindowSample:
    """The same, not cut to the size of one: all their rows up to the smallest of their thresholds.

    >>> united = unite_samples([WindowSample(1, 5, (Row(1, b"", b"a"),)), WindowSample(1, 3, (Row(2, b"", b"b"),))])
    >>> united.sample_size, united.threshold, [row.values for row in united.rows]
    (2, 3, [b'a', b'b'])
    """
    if not samples:
        raise ValueError("no samples to merge")
    threshold = min(sample.threshold for sample in samples)
    rows: dict[int, Row] = {}
    for sample in samples:
        for row in sample.rows:
            if row.hash <= threshold:
                known = rows.get(row.hash)
                rows[row.hash] = row if known is None else merge_rows(known, row)
    return WindowSample(sum(sample.sample_size for sample in samples), threshold, _in_order(rows))


def _in_order(rows: Mapping[int, Row]) -> tuple[Row, ...]:
    return tuple(rows[each] for each in sorted(rows))
