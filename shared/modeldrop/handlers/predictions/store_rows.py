"""Put rows into a shard of a window: read, merge, compare and set, and again if somebody was faster.

The same for an answer that was lost: whether the commit happened is seen when the shard is read again, and rows that
are there already change nothing.
"""

import random
import time
from collections.abc import Callable, Sequence

from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import merge_into
from modeldrop.errors import TransientError
from modeldrop.handlers.predictions.known_windows import KnownWindow, KnownWindows
from modeldrop.records.windows import Windows
from modeldrop.wiring import Services

TRIES = 12
SHORTEST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 1.0
GIVE_UP_SECONDS = 25.0  # the push subscription waits a minute for its answer
_chance = random.SystemRandom()


def store_rows(services: Services, known: KnownWindows, window: KnownWindow, index: int, rows: Sequence[Row]) -> None:
    """Returns when every row is stored or known not to be needed; raises TransientError if that cannot be reached."""
    windows = Windows(services.documents)

    def attempt() -> None:
        if not _needed(window, rows):
            return
        slot = windows.shard(window.record, index)
        known.learn(window, index, slot.shard)
        merged = merge_into(slot.shard, _needed(window, rows))
        if merged is not slot.shard:
            services.documents.commit([slot.write(merged)])
            known.learn(window, index, merged)

    try_again(attempt)


def try_again(attempt: Callable[[], None]) -> None:
    """Make an attempt until it goes through, with pauses of growing and random length, a bounded number of times."""
    begin = time.monotonic()
    for number in range(TRIES):
        try:
            return attempt()
        except TransientError:
            if number == TRIES - 1 or time.monotonic() - begin > GIVE_UP_SECONDS:
                raise
        time.sleep(_chance.uniform(0, min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2**number)))


def _needed(window: KnownWindow, rows: Sequence[Row]) -> list[Row]:
    threshold = window.threshold
    return [row for row in rows if row.hash <= threshold]
