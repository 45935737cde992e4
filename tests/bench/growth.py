"""What a window costs as it grows to ten million events: rows that enter the sample, and commits of shards.

Simulated: of an event there is only its hash, a uniform number of 64 bits, and a commit puts rows into a shard in
memory. The rest is the product's own: thresholds, shards, what an instance knows of a window. Counted, not computed.
``ingest`` has the same of up to a million real events, by the same pattern of 16 arrays at a time.

The formula beside it, k(1 + ln(N/k)), is for events that come one by one, each after the one before was stored. Those
that come together do not know of each other, so more of them enter; the commit leaves out what is needed no more.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import log

import numpy as np
import numpy.typing as npt

from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.rows import Row as SampledRow
from modeldrop.domain.sampling.shards import Shard, empty_shard, merge_into
from modeldrop.domain.sampling.window_sample import window_sample
from modeldrop.handlers.predictions.known_windows import KnownWindow
from modeldrop.records.windows import new_window
from tests.bench.ingest import AT_ONCE
from tests.bench.logged_events import IN_ARRAY
from tests.bench.measuring import Aim, Reference, Row

SEED = 7
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
POLICY = DriftPolicy()
MOST_TIMES_FORMULA = 1.1
"""Of rows stored."""
START = datetime(2026, 1, 1, tzinfo=UTC)
Hashes = npt.NDArray[np.uint64]


@dataclass
class _Window:
    """A window as one instance knows it, and its shards as they stand."""

    known: KnownWindow = field(default_factory=lambda: KnownWindow(new_window("growth", "v1", START, POLICY, START)))
    shards: dict[int, Shard] = field(default_factory=dict)
    entered: int = 0
    stored: int = 0
    commits: int = 0

    def take(self, hashes: Hashes) -> None:
        """Events that come at one time: rows by shard, and a commit of each shard that still needs one of them."""
        rows = [SampledRow(each, b"", b"") for each in hashes[hashes <= np.uint64(self.known.threshold)].tolist()]
        self.entered += len(rows)
        by_shard: dict[int, list[SampledRow]] = {}
        for row in rows:
            by_shard.setdefault(self.known.shard_of(row), []).append(row)
        for index, some in by_shard.items():
            self._commit(index, some)

    def _commit(self, index: int, rows: list[SampledRow]) -> None:
        """As ``store_rows``, without a store: what others have learned meanwhile may have made it needless."""
        threshold = self.known.threshold
        shard = self.shards.get(index, empty_shard(POLICY.sample_size))
        merged = merge_into(shard, [row for row in rows if row.hash <= threshold])
        if merged is not shard:
            self.commits += 1
            self.stored += len({row.hash for row in merged.rows} - {row.hash for row in shard.rows})
            self.shards[index] = merged
            self.known.learn(index, merged)


def run() -> Iterator[Row]:
    """The rows of this benchmark."""
    yield from _grown(IN_ARRAY * AT_ONCE, f"{AT_ONCE} arrays at a time")
    yield from _grown(IN_ARRAY, "an array at a time")


def _grown(at_once: int, how: str) -> Iterator[Row]:
    """The counts at each size, of events that come so many at a time and wait for each other."""
    window, random = _Window(), np.random.default_rng(SEED)
    smallest: Hashes = np.empty(0, np.uint64)
    done, seconds = 0, 0.0
    for size in SIZES:
        while done < size:
            hashes = random.integers(0, 2**64, min(at_once, size - done), np.uint64)
            done += hashes.size
            smallest = np.sort(np.concatenate([smallest, hashes]))[: POLICY.sample_size]
            begin = time.perf_counter()
            window.take(hashes)
            seconds += time.perf_counter() - begin
        sample = window_sample(window.shards, POLICY.sample_size)
        assert [row.hash for row in sample.rows] == smallest.tolist(), "the sample has the smallest hashes there were"
        events = f"{size:,} hashes, {how}"
        formula = Reference(round(POLICY.sample_size * (1 + log(size / POLICY.sample_size))), "k(1 + ln(N/k))")
        yield Row("growth", f"{events}: rows that enter", window.entered, "", None, formula, None)
        yield Row("growth", "… rows stored", window.stored, "", None, formula, Aim(MOST_TIMES_FORMULA, "ratio"))
        yield Row("growth", "… commits of a shard", window.commits, "")
        yield Row("growth", "… time for all of that", seconds, "s")
