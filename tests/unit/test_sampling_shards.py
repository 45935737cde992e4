"""The algebra of the sample: any way to tell, divide, forget in between and merge leads to the same bytes."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.sampling.hashing import LARGEST_HASH, hash_id
from modeldrop.domain.sampling.packing import pack
from modeldrop.domain.sampling.payload import SampledPrediction, prediction_row
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import (
    ROWS_EXPECTED,
    ROWS_OF_SHARD,
    Shard,
    empty_shard,
    entry_threshold,
    merge_into,
    shard_capacity,
    shard_count,
    shard_index,
)
from modeldrop.domain.sampling.window_sample import WindowSample, merge_samples, window_sample
from tests.unit.sampled_events import folded, histories, plain_sample, rows, steady, stored, stored_by_instances

capacities = st.integers(2, 8)
counts = st.sampled_from([1, 2, 4])
sizes = st.integers(1, 20)
chances = st.integers(0, 2**32).map(Random)
NEVER_FULL = 100  # more than any history has


# --- one shard -------------------------------------------------------------------------------------------------


@given(histories, capacities)
def test_a_shard_keeps_the_smallest_hashes(events: list[Row], capacity: int) -> None:
    kept = sorted(folded(events).values(), key=lambda row: row.hash)[:capacity]
    assert merge_into(Shard(capacity), events) == Shard(capacity, tuple(kept))


@given(histories, histories, histories, capacities)
def test_merging_shards_is_a_semilattice(a: list[Row], b: list[Row], c: list[Row], capacity: int) -> None:
    one, other, third = (merge_into(Shard(capacity), events) for events in (a, b, c))
    assert merge_into(one, other.rows) == merge_into(other, one.rows)
    left = merge_into(merge_into(one, other.rows), third.rows)
    assert left == merge_into(one, merge_into(other, third.rows).rows)
    assert merge_into(one, one.rows) is one


@given(histories, capacities, st.integers(1, 5), chances)
def test_batches_in_any_order_and_twice_are_the_same_bytes(
    events: list[Row], capacity: int, batches: int, chance: Random
) -> None:
    told = events * 2
    chance.shuffle(told)
    shard = Shard(capacity)
    for start in range(batches):
        shard = merge_into(shard, told[start::batches])
    assert pack(shard) == pack(merge_into(Shard(capacity), events))


@given(histories, histories, capacities)
def test_a_shard_is_the_same_object_if_and_only_if_nothing_changed(
    before: list[Row], events: list[Row], capacity: int
) -> None:
    shard = merge_into(Shard(capacity), before)
    merged = merge_into(shard, events)
    assert (merged is shard) == (merged == shard)


# --- layout ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 65_536))
def test_shards_have_room_for_twice_what_is_expected(sample_size: int) -> None:
    count, capacity = shard_count(sample_size), shard_capacity(sample_size)
    assert count & (count - 1) == 0
    assert sample_size <= count * ROWS_EXPECTED
    assert capacity <= ROWS_OF_SHARD
    assert capacity == sample_size + 1 if count == 1 else capacity >= 2 * sample_size / count
    assert empty_shard(sample_size) == Shard(capacity)


@pytest.mark.parametrize("sample_size", [0, -1])
def test_a_sample_has_at_least_one_row(sample_size: int) -> None:
    for call in (shard_count, shard_capacity, empty_shard):
        with pytest.raises(ValueError, match="at least one row"):
            call(sample_size)
    with pytest.raises(ValueError, match="at least one row"):
        entry_threshold({}, sample_size)


@pytest.mark.parametrize("sample_size", [64, 256, 257, 300, 1024, 4096])
def test_up_to_the_sample_size_it_is_all_the_data(sample_size: int) -> None:
    count, capacity = shard_count(sample_size), shard_capacity(sample_size)
    events = [Row(hash_id(f"order-{number}"), b"", b"") for number in range(sample_size + 1)]
    shards = {at: Shard(capacity) for at in range(count)}
    for at in range(count):
        shards[at] = merge_into(shards[at], [row for row in events[:-1] if shard_index(row.hash, count) == at])
    complete = window_sample(shards, sample_size)
    assert complete == plain_sample(events[:-1], sample_size)
    assert complete.is_complete
    assert complete.estimated_events == sample_size
    assert complete.relative_error == 0.0
    at = shard_index(events[-1].hash, count)
    shards[at] = merge_into(shards[at], events[-1:])
    one_more = window_sample(shards, sample_size)
    assert one_more == plain_sample(events, sample_size)
    assert not one_more.is_complete


@steady
@given(st.integers(1, 400), st.floats(0.5, 3), chances)
def test_real_layouts_give_the_plain_sample(sample_size: int, ratio: float, chance: Random) -> None:
    events = [Row(chance.getrandbits(64), b"", b"") for _ in range(int(ratio * sample_size))]
    shards = stored(events, shard_capacity(sample_size), shard_count(sample_size))
    assert window_sample(shards, sample_size) == plain_sample(events, sample_size)


# --- the sample of a window --------------------------------------------------------------------------------------


@given(histories, counts, sizes)
def test_the_sample_is_the_plain_one_where_no_shard_is_full(events: list[Row], count: int, sample_size: int) -> None:
    assert window_sample(stored(events, NEVER_FULL, count), sample_size) == plain_sample(events, sample_size)


@given(histories, capacities, counts, sizes)
def test_also_with_full_shards_it_holds_every_event_up_to_its_threshold(
    events: list[Row], capacity: int, count: int, sample_size: int
) -> None:
    sample = window_sample(stored(events, capacity, count), sample_size)
    plain = plain_sample(events, sample_size)
    assert sample.threshold <= plain.threshold
    assert sample.rows == tuple(row for row in plain.rows if row.hash <= sample.threshold)
    assert len(sample.rows) <= sample_size
    assert not sample.is_complete or set(sample.rows) == set(folded(events).values())


@steady
@given(histories, capacities | st.just(NEVER_FULL), counts, sizes, chances)
def test_no_stale_knowledge_keeps_out_what_the_sample_needs(
    events: list[Row], capacity: int, count: int, sample_size: int, chance: Random
) -> None:
    """Duplicates, any order, any instance with any old view of any shards: the sample is byte for byte the same."""
    told = events * 2
    chance.shuffle(told)
    sample = window_sample(stored_by_instances(told, capacity, count, sample_size, chance), sample_size)
    assert msgspec.msgpack.encode(sample) == msgspec.msgpack.encode(
        window_sample(stored(events, capacity, count), sample_size)
    )


@given(histories, histories, capacities, counts, sizes)
def test_the_threshold_only_falls(
    before: list[Row], events: list[Row], capacity: int, count: int, sample_size: int
) -> None:
    old, new = stored(before, capacity, count), stored(before + events, capacity, count)
    partly = {at: shard for at, shard in old.items() if at % 2}
    assert (
        entry_threshold(partly, sample_size) >= entry_threshold(old, sample_size) >= entry_threshold(new, sample_size)
    )
    assert entry_threshold({}, sample_size) == LARGEST_HASH
    assert entry_threshold(new, sample_size) >= window_sample(new, sample_size).threshold


def test_a_sample_is_not_taken_for_complete_when_the_next_event_was_kept_out() -> None:
    """With exactly as many stored as are sampled nothing may be refused yet: one more tells that there were more."""
    events = [Row(number, b"", b"") for number in (10, 20, 30)]
    shards = stored(events[:2], NEVER_FULL, 1)
    assert entry_threshold(shards, 2) == LARGEST_HASH
    shards = stored(events, NEVER_FULL, 1)
    assert entry_threshold(shards, 2) == 30
    assert window_sample(shards, 2) == WindowSample(2, 29, tuple(events[:2]))


def test_the_last_hash_of_all_can_be_the_one_left_out() -> None:
    events = [Row(number, b"", b"") for number in (0, 1, LARGEST_HASH)]
    assert not window_sample(stored(events, NEVER_FULL, 2), 2).is_complete
    assert window_sample(stored(events, NEVER_FULL, 2), 3).is_complete


# --- many windows ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(histories, sizes), min_size=1, max_size=4), chances)
def test_merging_samples_is_the_sample_of_all_events(parts: list[tuple[list[Row], int]], chance: Random) -> None:
    samples = [plain_sample(events, size) for events, size in parts]
    everything = [row for events, _ in parts for row in events]
    expected = plain_sample(everything, min(size for _, size in parts))
    chance.shuffle(samples)
    assert merge_samples(samples) == expected
    assert merge_samples([merge_samples(samples), *samples]) == expected
    one_by_one = samples[0]
    for sample in samples[1:]:
        one_by_one = merge_samples([one_by_one, sample])
    assert one_by_one == expected


@given(st.lists(st.tuples(histories, capacities), min_size=2, max_size=3), counts, sizes)
def test_merging_is_a_semilattice_also_with_full_shards(parts: Any, count: int, sample_size: int) -> None:
    samples = [window_sample(stored(events, capacity, count), sample_size) for events, capacity in parts]
    merged = merge_samples(samples)
    assert merged == merge_samples(samples[::-1])
    assert merged == merge_samples([merge_samples(samples[:-1]), samples[-1]])
    assert merge_samples([merged, merged]) == merged
    known = folded(row for events, _ in parts for row in events)
    assert {row.hash for row in merged.rows} == {each for each in known if each <= merged.threshold}


def test_merging_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        merge_samples([])


@given(rows, rows)
def test_conflicts_are_counted(one: Row, other: Row) -> None:
    events = [one, msgspec.structs.replace(other, hash=one.hash)]
    different = len({(row.names, row.values) for row in events}) > 1 or one.conflicted or other.conflicted
    assert plain_sample(events, 5).conflicts == different


def test_real_rows_merge_like_any() -> None:
    """The same id told with two amounts: one row in both orders, counted as a conflict."""
    told = [
        prediction_row(hash_id("order-1"), SampledPrediction(0, 1, None, "ok", {"amount": amount}))
        for amount in (5.0, 5, 7)
    ]
    one_way = window_sample(stored(told, NEVER_FULL, 1), 64)
    other_way = window_sample(stored(told[::-1], NEVER_FULL, 1), 64)
    assert msgspec.msgpack.encode(one_way) == msgspec.msgpack.encode(other_way)
    assert one_way.conflicts == 1
    assert plain_sample(told[:2], 64).conflicts == 0
