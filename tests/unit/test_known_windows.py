"""What an instance remembers of windows: bounded, and never more than is true."""

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import Shard, entry_threshold
from modeldrop.handlers.predictions.known_windows import KnownWindow, KnownWindows
from modeldrop.records.windows import WindowRecord, new_window
from tests.unit.sampled_events import histories, steady, stored

START = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = DriftPolicy(sample_size=512)


def record(number: int) -> WindowRecord:
    return new_window("fraud", "v1", START + timedelta(hours=number), POLICY, START)


def shard(count: int, seed: int = 1) -> Shard:
    chance = Random(seed)
    hashes = sorted(chance.getrandbits(64) & ~1 for _ in range(count))
    return Shard(512, tuple(Row(each, b"n", b"v") for each in hashes))


def test_the_threshold_falls_with_what_is_learned_and_stays_when_rows_are_forgotten() -> None:
    window = KnownWindow(record(0))
    assert window.threshold == LARGEST_HASH
    window.learn(0, shard(300))
    assert window.threshold == LARGEST_HASH  # no more rows than the sample has
    window.learn(1, shard(300, 2))
    learned = window.threshold
    assert learned < LARGEST_HASH
    assert window.forget_rows() == 600
    assert (window.threshold, window.rows) == (learned, 0)
    window.learn(0, shard(3))
    assert window.threshold == learned


@given(histories)
@steady
def test_it_holds_what_is_stored_and_nothing_else(events: list[Row]) -> None:
    window = KnownWindow(record(0))
    shards = stored(events, 512, 2)
    for index, each in shards.items():
        window.learn(index, each)
    assert window.threshold == entry_threshold(shards, 512)
    kept = {(row.hash, row.names, row.values) for each in shards.values() for row in each.rows}
    for row in events:
        assert window.holds(row) == ((row.hash, row.names, row.values) in kept)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(0, 50)), max_size=60))
@steady
def test_rows_and_windows_are_bounded(steps: list[tuple[int, int, int]]) -> None:
    known = KnownWindows(most_windows=5, most_rows=120)
    windows = []
    for number, index, rows in steps:
        windows.append(known.add(record(number)))
        known.learn(windows[-1], index, shard(rows))
        remembered = [window for n in range(10) if (window := known.get(record(n).key)) is not None]
        assert len(remembered) <= 5
        assert sum(window.rows for window in {id(window): window for window in windows}.values()) <= 120


def test_a_window_that_is_used_is_not_the_one_to_go() -> None:
    known = KnownWindows(most_windows=2, most_rows=1000)
    first = known.add(record(0))
    known.add(record(1))
    assert known.get(first.record.key) is first
    known.add(record(2))
    assert known.get(first.record.key) is first
    assert known.get(record(1).key) is None
