"""What an instance remembers of windows: enough to tell, without asking anybody, which events are no longer needed."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from operator import attrgetter

from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import Shard, entry_threshold, shard_count, shard_index
from modeldrop.records.windows import WindowKey, WindowRecord

MOST_WINDOWS = 10_000
MOST_ROWS = 150_000  # about 70 MB; a window of the largest sample has 131,072 at most
_by_hash = attrgetter("hash")


class KnownWindow:
    """A window, and its shards as they were when this instance saw them last; safe from many threads."""

    def __init__(self, record: WindowRecord) -> None:
        self.record = record
        self.rows = 0
        self._count = shard_count(record.sample_size)
        self._shards: dict[int, Shard] = {}
        self._threshold = LARGEST_HASH
        self._learned = False
        self._guard = threading.Lock()

    @property
    def threshold(self) -> int:
        """The largest hash that may still matter. It only falls, and stays where it is when the rows are forgotten."""
        if self._learned:
            with self._guard:
                self._learned = False
                self._threshold = min(self._threshold, entry_threshold(self._shards, self.record.sample_size))
        return self._threshold

    def shard_of(self, row: Row) -> int:
        """The index of the row's shard."""
        return shard_index(row.hash, self._count)

    def holds(self, row: Row) -> bool:
        """Whether the row is known to be stored as it is: nothing that is needed is ever removed."""
        shard = self._shards.get(self.shard_of(row))
        if shard is None:
            return False
        at = bisect_left(shard.rows, row.hash, key=_by_hash)
        if at == len(shard.rows) or shard.rows[at].hash != row.hash:
            return False
        known = shard.rows[at]
        return known.names == row.names and known.values == row.values

    def learn(self, index: int, shard: Shard) -> int:
        """Remember a shard as it is now; how many rows more are remembered."""
        with self._guard:
            before = self._shards.get(index)
            self._shards[index] = shard
            self._learned = True
            more = len(shard.rows) - (len(before.rows) if before else 0)
            self.rows += more
        return more

    def forget_rows(self) -> int:
        """Keep the threshold alone; how many rows were forgotten."""
        _ = self.threshold
        with self._guard:
            forgotten, self.rows, self._shards = self.rows, 0, {}
        return forgotten


class KnownWindows:
    """The windows used last; the rows of those used longest ago are forgotten first."""

    def __init__(self, *, most_windows: int = MOST_WINDOWS, most_rows: int = MOST_ROWS) -> None:
        self._most_windows = most_windows
        self._most_rows = most_rows
        self._windows: OrderedDict[WindowKey, KnownWindow] = OrderedDict()
        self._rows = 0
        self._guard = threading.Lock()

    def get(self, key: WindowKey) -> KnownWindow | None:
        """The window, if it is known."""
        with self._guard:
            window = self._windows.get(key)
            if window is not None:
                self._windows.move_to_end(key)
            return window

    def add(self, record: WindowRecord) -> KnownWindow:
        """The window of a record, from now on known."""
        with self._guard:
            window = self._windows.setdefault(record.key, KnownWindow(record))
            window.record = record  # it may be longer now
            self._windows.move_to_end(record.key)
            while len(self._windows) > self._most_windows:
                _, oldest = self._windows.popitem(last=False)
                self._rows -= oldest.forget_rows()
            return window

    def learn(self, window: KnownWindow, index: int, shard: Shard) -> None:
        """Remember a shard of a window, and forget others if that is too much."""
        with self._guard:
            if self._windows.get(window.record.key) is not window:
                return  # forgotten meanwhile
            self._rows += window.learn(index, shard)
            for other in self._windows.values():
                if self._rows <= self._most_rows:
                    break
                if other is not window:
                    self._rows -= other.forget_rows()
