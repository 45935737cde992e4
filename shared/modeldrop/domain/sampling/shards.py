"""The rows of a window with the smallest hashes, spread over documents.

A row's shard is given by the low bits of its hash; its rank by the whole hash, in effect the high bits. The two are
independent, so each shard has its share of the smallest. ADR 7 has the mathematics.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

import msgspec

from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row, merge_rows

ROWS_EXPECTED = 256
"""At most so many of a sample's rows are expected in one shard."""
ROWS_OF_SHARD = 512
"""So many a shard has room for, where there are several: twice what is expected, and what one document can hold."""
_by_hash = attrgetter("hash")


class Shard(msgspec.Struct, frozen=True):
    """The ``capacity`` rows with the smallest hashes of all that came, in the order of their hashes."""

    capacity: int
    rows: tuple[Row, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether a row beyond the last one may have been dropped. Up to the last one, none ever was."""
        return len(self.rows) >= self.capacity


def shard_count(sample_size: int) -> int:
    """How many shards a window's sample has: a power of two, such that each expects 256 rows at most.

    >>> [shard_count(k) for k in (64, 256, 257, 4096, 5000, 65_536)]
    [1, 1, 2, 16, 32, 256]
    """
    _check_sample_size(sample_size)
    at_least = -(-sample_size // ROWS_EXPECTED)
    return 1 << (at_least - 1).bit_length()


def shard_capacity(sample_size: int) -> int:
    """The room of each shard. A single one has room for one row more than the sample: it tells that there were more.

    With several, fewer than 2^-134 of all windows of up to ``sample_size`` events have a shard that gets full.

    >>> shard_capacity(256), shard_capacity(257)
    (257, 512)
    """
    return sample_size + 1 if shard_count(sample_size) == 1 else ROWS_OF_SHARD


def shard_index(hash_of_id: int, count: int) -> int:
    """The shard of a row, 0 to count - 1; ``count`` is a power of two.

    >>> shard_index(0b1011, 4)
    3
    """
    return hash_of_id & (count - 1)


def empty_shard(sample_size: int) -> Shard:
    """A shard of a window's sample before anything came."""
    return Shard(shard_capacity(sample_size))


def merge_into(shard: Shard, rows: Iterable[Row]) -> Shard:
    """The shard with these rows, of any order and number; the very same object if they change nothing.

    >>> shard = merge_into(Shard(2), [Row(3, b"", b"c"), Row(1, b"", b"a"), Row(2, b"", b"b")])
    >>> [row.hash for row in shard.rows]
    [1, 2]
    >>> merge_into(shard, [Row(9, b"", b"z"), *shard.rows]) is shard
    True
    """
    highest = shard.rows[-1].hash if shard.is_full else LARGEST_HASH
    kept = {row.hash: row for row in shard.rows}
    changed = False
    for row in rows:
        if row.hash > highest:
            continue
        known = kept.get(row.hash)
        merged = row if known is None else merge_rows(known, row)
        if merged is not known:
            kept[row.hash] = merged
            changed = True
    if not changed:
        return shard
    return Shard(shard.capacity, tuple(sorted(kept.values(), key=_by_hash)[: shard.capacity]))


def entry_threshold(known: Mapping[int, Shard], sample_size: int) -> int:
    """The largest hash that may still matter to the window's sample; rows above it need not be stored.

    ``known``: shards by index as they were at any time, some or none of them. The threshold only falls as knowledge
    grows, so an old one lets rows in that are not needed, and never keeps one out that is.

    >>> rows = tuple(Row(hash_of_id, b"", b"") for hash_of_id in (10, 20, 30, 40))
    >>> entry_threshold({0: Shard(9, rows)}, 2), entry_threshold({}, 2) == LARGEST_HASH
    (30, True)
    """
    first = first_left_out(known, sample_size)
    return LARGEST_HASH if first is None else first


def first_left_out(shards: Mapping[int, Shard], sample_size: int) -> int | None:
    """The smallest stored hash that is not in the sample of these shards; None if all that came is in it.

    It is the one that follows the ``sample_size`` smallest. Only if a shard got full below that (ids made to hit it)
    is it that shard's last: rows beyond may be missing there, so that a sample across would be lopsided.
    """
    _check_sample_size(sample_size)
    limit = min((shard.rows[-1].hash for shard in shards.values() if shard.is_full), default=None)
    hashes = [row.hash for shard in shards.values() for row in shard.rows]
    if len(hashes) <= sample_size:
        return limit
    hashes.sort()  # runs already in order: a merge
    follows = hashes[sample_size]
    return follows if limit is None else min(follows, limit)


def _check_sample_size(sample_size: int) -> None:
    if sample_size < 1:
        raise ValueError(f"a sample has at least one row, not {sample_size}")
