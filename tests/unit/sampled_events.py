"""What the tests of sampling share: events, the sample in its plainest form, stores that take events as they come."""

from collections.abc import Iterable, Sequence
from random import Random

from hypothesis import settings
from hypothesis import strategies as st

from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row, merge_rows
from modeldrop.domain.sampling.shards import Shard, entry_threshold, merge_into, shard_index
from modeldrop.domain.sampling.window_sample import WindowSample

steady = settings(deadline=None)  # a busy machine is no counterexample
crowded = st.integers(0, 40)  # so few hashes that events meet
extreme = st.sampled_from([0, 1, LARGEST_HASH - 1, LARGEST_HASH])
hashes = st.one_of(crowded, extreme, st.integers(0, LARGEST_HASH))
texts = st.sampled_from([b"", b"a", b"b"])
rows = st.builds(Row, hashes, texts, texts, st.booleans())
histories = st.lists(rows, max_size=60)


def folded(events: Iterable[Row]) -> dict[int, Row]:
    """One row for each hash."""
    known: dict[int, Row] = {}
    for row in events:
        known[row.hash] = merge_rows(known.get(row.hash, row), row)
    return known


def plain_sample(events: Iterable[Row], sample_size: int) -> WindowSample:
    """The sample by its definition: all events, sorted, and cut before the first one too many."""
    ordered = sorted(folded(events).values(), key=lambda row: row.hash)
    threshold = ordered[sample_size].hash - 1 if len(ordered) > sample_size else LARGEST_HASH
    return WindowSample(sample_size, threshold, tuple(ordered[:sample_size]))


def stored(events: Iterable[Row], capacity: int, count: int) -> dict[int, Shard]:
    """All events in ``count`` shards, one after the other, none left out."""
    shards: dict[int, Shard] = {}
    for row in events:
        at = shard_index(row.hash, count)
        shards[at] = merge_into(shards.get(at, Shard(capacity)), [row])
    return shards


def stored_by_instances(
    events: Sequence[Row], capacity: int, count: int, sample_size: int, chance: Random
) -> dict[int, Shard]:
    """As function instances do it: each event meets one that knows some shards as they were at some time, or not at
    all, and is not stored if it lies above the threshold found with that."""
    past: dict[int, list[Shard]] = {at: [Shard(capacity)] for at in range(count)}
    for row in events:
        known = {at: chance.choice(states) for at, states in past.items() if chance.random() < 0.8}
        if row.hash <= entry_threshold(known, sample_size):
            states = past[shard_index(row.hash, count)]
            states.append(merge_into(states[-1], [row]))
    return {at: states[-1] for at, states in past.items()}
