"""Counts what the traffic router answers, and writes the counts to a file beside it, never in a request's way."""

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path

from modeldrop.adapters.local.router_metrics import LATENCY_BUCKETS, AnswerCounts, RouterMetricsWriter, latency_bucket
from modeldrop.ports import ServedVersion

LOG = logging.getLogger(__name__)

INTERVAL_MS = 100
RETRY_SECONDS = 1.0
MOST_WAITING = 6_000
"""Rows kept while the file cannot be written, some 5 MB: ten minutes of one busy version. Then the oldest are lost."""


class _Tally:
    """The answers of one version in the interval under way."""

    __slots__ = ("errors", "latency_counts")

    def __init__(self) -> None:
        self.errors = 0
        self.latency_counts = [0] * LATENCY_BUCKETS


class AnswerCounter:
    """Counts by version and interval, in memory; a task writes each interval to the file at ``path`` when it is over.

    The task lives while there is something to write. A file that cannot be written is tried again, opened anew, as it
    may be another one by then. For one event loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._interval_ms = 0
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._waiting: list[AnswerCounts] = []
        self._writer: RouterMetricsWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failing = False
        self._lost = 0

    def count(self, served: ServedVersion, *, failed: bool, latency_ms: float) -> None:
        """One more answer, which ended now."""
        self._end_interval(_interval_ms())
        tally = self._tallies.get((served.model, served.version))
        if tally is None:
            tally = self._tallies[served.model, served.version] = _Tally()
        tally.errors += failed
        tally.latency_counts[latency_bucket(latency_ms)] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_while_needed())

    async def aclose(self) -> None:
        """Write all that was counted, also of the interval under way, and close the file."""
        self._closing.set()
        if self._task is not None:
            await self._task
        self._end_interval(None)
        await self._write()
        if self._waiting:
            LOG.warning("%s: rows of what was answered that are lost: %d", self._path.name, len(self._waiting))
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _write_while_needed(self) -> None:
        while (self._tallies or self._waiting) and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), RETRY_SECONDS if self._failing else _remaining_seconds())
            self._end_interval(_interval_ms())
            await self._write()

    def _end_interval(self, now_ms: int | None) -> None:
        """Make rows of what was counted, unless it belongs to the interval of ``now_ms``."""
        if now_ms == self._interval_ms:
            return
        self._waiting += [
            AnswerCounts(secrets.token_hex(8), *name, self._interval_ms, tally.errors, tuple(tally.latency_counts))
            for name, tally in self._tallies.items()
        ]
        self._tallies = {}
        self._interval_ms = now_ms or 0
        excess = max(len(self._waiting) - MOST_WAITING, 0)
        del self._waiting[:excess]
        self._lost += excess

    async def _write(self) -> None:
        """Try once to store what waits. It stays where it is until it is stored."""
        batch = tuple(self._waiting)
        if not batch:
            return
        try:
            await asyncio.to_thread(self._store, batch)
        except Exception:
            level = logging.DEBUG if self._failing else logging.ERROR  # one complaint is enough
            LOG.log(level, "%s: what was answered cannot be written; trying on", self._path.name, exc_info=True)
            self._failing = True
            return
        stored = {counts.id for counts in batch}
        self._waiting = [counts for counts in self._waiting if counts.id not in stored]
        if self._failing:
            LOG.warning("%s is written again; rows of what was answered that are lost: %d", self._path.name, self._lost)
        self._failing, self._lost = False, 0

    def _store(self, batch: tuple[AnswerCounts, ...]) -> None:
        """In a thread of its own, one at a time."""
        writer = self._writer or RouterMetricsWriter(self._path)
        self._writer = None
        try:
            writer.add(batch)
        except BaseException:
            writer.close()
            raise
        self._writer = writer


def _interval_ms() -> int:
    """When the interval under way began, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000 // INTERVAL_MS * INTERVAL_MS


def _remaining_seconds() -> float:
    """Of the interval under way."""
    return (INTERVAL_MS - time.time_ns() / 1_000_000 % INTERVAL_MS) / 1_000
