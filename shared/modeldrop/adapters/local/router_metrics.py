"""What the traffic router measured, in a small SQLite file: the router adds to it, the functions read it.

A row counts the answers of one version that ended within one short interval, and bears the start of it. Spans between
the edges of intervals are therefore measured exactly.
"""

import sqlite3
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from modeldrop.adapters.local.serving_table import ServingTableReader, as_unavailable
from modeldrop.adapters.local.sqlite_file import SqliteFile
from modeldrop.domain.serving_metrics import VersionMetrics
from modeldrop.ports import Endpoint

RETENTION_MS = 25 * 3_600_000
"""A day can be looked back at, and an hour more, so that it is whole."""
LATENCY_STEP = 1.25
LATENCY_BOUNDS_MS = tuple(0.5 * LATENCY_STEP**number for number in range(54))
"""Upper bounds of the buckets that latencies are counted in, 0.5 ms to 68 s; one more bucket is for the rest."""
LATENCY_BUCKETS = len(LATENCY_BOUNDS_MS) + 1

_BUSY_SECONDS = 2.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COUNTS = [f"latency_{number}" for number in range(LATENCY_BUCKETS)]
_COLUMNS = ["at", "model", "version", "id", "requests", "errors", *_COUNTS]

# "at" is in milliseconds since 1970. "latency_N" counts the requests above bound N-1 and up to bound N: whoever changes
# the bounds must name another table.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS answers (
    at INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, id TEXT NOT NULL,
    {", ".join(f"{name} INTEGER NOT NULL" for name in ("requests", "errors", *_COUNTS))},
    PRIMARY KEY (at, model, version, id)
) WITHOUT ROWID
"""
_ADD = (
    f"INSERT INTO answers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)
_SUM = (
    f"SELECT version, {', '.join(f'sum({name})' for name in ('errors', *_COUNTS))} FROM answers"  # noqa: S608
    " WHERE at >= ? AND at < ? AND model = ? GROUP BY version"
)
_FORGET = """
DELETE FROM answers WHERE at < :before AND at <= (
    SELECT max(at) FROM (SELECT at FROM answers ORDER BY at LIMIT :most))
"""


class AnswerCounts(msgspec.Struct, frozen=True):
    """The answers of one version within one interval, or a part of them.

    ``id`` tells these answers from all others: counts added once more, because nobody knows whether the first attempt
    was stored, stay what they are.
    """

    id: str
    model: str
    version: str
    at_ms: int  # start of the interval, since 1970
    errors: int
    latency_counts: tuple[int, ...]  # by bucket, see LATENCY_BOUNDS_MS

    @property
    def requests(self) -> int:
        """All of them, with the errors."""
        return sum(self.latency_counts)


class RouterMetricsWriter:
    """Adds counts to the file at ``path``; several writers, in one process or many, may add to one file."""

    def __init__(self, path: Path) -> None:
        """Makes the file where there is none. Raises Unavailable."""
        self._file = SqliteFile(path, _SCHEMA, busy_seconds=_BUSY_SECONDS)

    def add(self, counts: Sequence[AnswerCounts]) -> None:
        """Store all of these, durably, or raise Unavailable. What is older than RETENTION_MS is forgotten.

        Of that, each call removes about twice as much as it adds: a bounded amount, yet more than ever comes.
        """
        if not counts:
            return
        newest_ms = max(each.at_ms for each in counts)
        with self._file.writing() as connection:
            connection.executemany(_ADD, [_row(each) for each in counts])
            connection.execute(_FORGET, {"before": newest_ms - RETENTION_MS, "most": 2 * len(counts)})

    def close(self) -> None:
        """Closes the file. Later calls raise Unavailable."""
        self._file.close()


class RouterMetrics:
    """A ports.MetricSource over the file at ``path``, and the serving database that tells whose worker runs.

    ``p95_ms`` comes from the latency buckets and is within 25 % (``LATENCY_STEP - 1``) of the true value, by nearest
    rank: both lie in the same bucket. Below 0.5 ms it is off by 0.5 ms at most; above 68 s it is 68 s. Intervals are
    measured from RETENTION_MS ago on. Safe from many threads.
    """

    def __init__(self, path: Path, serving: Path) -> None:
        """Makes the files where there are none. Raises Unavailable."""
        self._file = SqliteFile(path, _SCHEMA, busy_seconds=_BUSY_SECONDS)
        try:
            with as_unavailable():
                self._serving = ServingTableReader(serving)
        except BaseException:
            self._file.close()
            raise
        self._serving_lock = threading.Lock()

    def measure(self, endpoint: Endpoint, since: datetime, until: datetime) -> Mapping[str, VersionMetrics]:
        """See MetricSource. ``answering`` is about now; None for a version that is not deployed any more."""
        answering, following = self._answering(endpoint.model)
        with self._file.reading() as connection:
            counted = _sums(connection, endpoint.model, since, until)
        return {
            one.version: _metrics(
                counted.get(one.version, ()), answering.get(one.version, following.get(one.deployed_id))
            )
            for one in endpoint.deployed
        }

    def close(self) -> None:
        """Closes both files. Later calls raise Unavailable."""
        self._file.close()
        with self._serving_lock:
            self._serving.close()

    def _answering(self, model: str) -> tuple[dict[str, bool], dict[str, bool]]:
        """By version; and by deployment, of those that stand for whatever version their pointer names."""
        with self._serving_lock:
            deployments = self._serving.read().get(model, ())
        return (
            {one.served.version: one.port is not None for one in deployments},
            {one.deployed_id: one.port is not None for one in deployments if one.served.pointer is not None},
        )


def latency_bucket(latency_ms: float) -> int:
    """Which of the ``LATENCY_BUCKETS`` a latency is counted in.

    >>> latency_bucket(0.5), latency_bucket(0.6), latency_bucket(1e9)
    (0, 1, 54)
    """
    return bisect_left(LATENCY_BOUNDS_MS, latency_ms)


def p95_ms(latency_counts: Sequence[int]) -> float | None:
    """The latency that 95 % of the requests do not exceed, in milliseconds; None without requests.

    Within the bucket in which the 95 % are reached, latencies are taken to be spread evenly.

    >>> p95_ms([100] + [0] * 54)
    0.475
    """
    hundredths = 95 * sum(latency_counts)  # whole numbers: no rounding decides which bucket it is
    below = 0
    for number, count in enumerate(latency_counts):
        if count and 100 * (below + count) >= hundredths:
            lower, upper = _bounds(number)
            return lower + (upper - lower) * (hundredths / 100 - below) / count
        below += count
    return None


def _bounds(bucket: int) -> tuple[float, float]:
    """The latencies a bucket is for. The last one has no end, and is taken for its beginning."""
    lower = LATENCY_BOUNDS_MS[bucket - 1] if bucket else 0.0
    return lower, LATENCY_BOUNDS_MS[bucket] if bucket < len(LATENCY_BOUNDS_MS) else lower


def _row(counts: AnswerCounts) -> tuple[int | str, ...]:
    """In the order of _COLUMNS."""
    named = (counts.at_ms, counts.model, counts.version, counts.id, counts.requests, counts.errors)
    return (*named, *counts.latency_counts)


def _sums(connection: sqlite3.Connection, model: str, since: datetime, until: datetime) -> dict[str, tuple[int, ...]]:
    """Errors, then the count of each latency bucket, by version."""
    rows = connection.execute(_SUM, (_milliseconds(since), _milliseconds(until), model))
    return {version: tuple(sums) for version, *sums in rows}


def _metrics(sums: Sequence[int], answering: bool | None) -> VersionMetrics:
    if not sums:
        return VersionMetrics(answering=answering)
    errors, *latency_counts = sums
    return VersionMetrics(
        requests=sum(latency_counts), errors=errors, p95_ms=p95_ms(latency_counts), answering=answering
    )


def _milliseconds(moment: datetime) -> int:
    """Since 1970, rounded up: a start of whole milliseconds is at or after the one exactly if it is the other."""
    return -((_EPOCH - moment) // timedelta(milliseconds=1))
