"""Answers are counted whatever happens to the file they are written to."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modeldrop.adapters.local.router_metrics import RouterMetrics
from modeldrop.localcloud.answer_counting import INTERVAL_MS, MOST_WAITING, AnswerCounter
from modeldrop.ports import VersionMetrics
from tests.contract.router_metrics_system import endpoint_of, served_version

V1 = served_version("fraud", "v1")
DEADLINE_SECONDS = 10.0
LOGGER = "modeldrop.localcloud.answer_counting"
EVER = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where nothing is yet."""
    return tmp_path / "router-metrics.sqlite"


def known(path: Path, version: str = "v1", span: tuple[datetime, datetime] = EVER) -> VersionMetrics:
    """What the functions can read now; zeros while there is no file."""
    if not path.is_file():
        return VersionMetrics()
    with closing(RouterMetrics(path, path.with_name("serving.sqlite"))) as source:
        return source.measure(endpoint_of([version]), *span)[version]


async def until_known(path: Path, requests: int) -> VersionMetrics:
    """What can be read once there are so many requests; the file can only be looked at."""
    await _until(lambda: known(path).requests >= requests)
    return known(path)


def test_answers_are_known_soon_and_counted_once(path: Path) -> None:
    async def count() -> None:
        counter = AnswerCounter(path)
        for latency_ms in (1.0, 10.0, 100.0):
            counter.count(V1, failed=latency_ms == 10.0, latency_ms=latency_ms)
        metrics = await until_known(path, 3)
        assert (metrics.requests, metrics.errors) == (3, 1)
        assert metrics.p95_ms == pytest.approx(100, rel=0.25)
        counter.count(V1, failed=True, latency_ms=1.0)
        metrics = await until_known(path, 4)
        assert (metrics.requests, metrics.errors) == (4, 2)
        await counter.aclose()

    asyncio.run(count())
    assert known(path).requests == 4


def test_closing_writes_the_interval_under_way(path: Path) -> None:
    async def count() -> None:
        counter = AnswerCounter(path)
        counter.count(V1, failed=False, latency_ms=1.0)
        counter.count(served_version("fraud", "v2"), failed=True, latency_ms=1.0)
        await counter.aclose()
        await counter.aclose()

    asyncio.run(count())
    assert known(path, "v1") == VersionMetrics(requests=1, errors=0, p95_ms=known(path, "v1").p95_ms)
    assert known(path, "v2").errors == 1


def test_without_answers_nothing_is_written(path: Path) -> None:
    asyncio.run(AnswerCounter(path).aclose())
    assert not path.exists()


def test_an_answer_counts_in_the_interval_in_which_it_ended(path: Path) -> None:
    interval = timedelta(milliseconds=INTERVAL_MS)

    async def count() -> list[tuple[datetime, datetime]]:
        counter = AnswerCounter(path)
        times = []
        for requests in range(1, 6):
            before = datetime.now(UTC)
            counter.count(V1, failed=False, latency_ms=5_000.0)
            times.append((before, datetime.now(UTC)))
            await until_known(path, requests)
        await counter.aclose()
        return times

    for number, (before, after) in enumerate(asyncio.run(count())):
        first, last = _edge(before), _edge(after)
        assert known(path, span=(EVER[0], first)).requests <= number
        assert known(path, span=(EVER[0], last + interval)).requests >= number + 1
        assert known(path, span=(first, last + interval)).requests >= 1


def _edge(moment: datetime) -> datetime:
    """The start of the interval that holds the moment."""
    return moment - (moment - EVER[0]) % timedelta(milliseconds=INTERVAL_MS)


def test_a_file_that_cannot_be_written_is_tried_again_and_complained_about_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()

    async def count() -> None:
        counter = AnswerCounter(path)
        counter.count(V1, failed=False, latency_ms=1.0)
        await _until(lambda: _levels(caplog) == ["ERROR"])
        counter.count(V1, failed=True, latency_ms=1.0)
        await _until(lambda: _levels(caplog) == ["ERROR", "DEBUG", "DEBUG"])
        await asyncio.to_thread(path.rmdir)
        metrics = await until_known(path, 2)
        assert (metrics.requests, metrics.errors) == (2, 1)
        await _until(lambda: "WARNING" in _levels(caplog))
        await counter.aclose()

    with caplog.at_level(logging.DEBUG, LOGGER):
        asyncio.run(count())
    complaints = [level for level in _levels(caplog) if level != "DEBUG"]
    assert complaints == ["ERROR", "WARNING"]


def _levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of what the counter has logged."""
    return [record.levelname for record in caplog.records if record.name == LOGGER]


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_file_that_others_hold_stops_nobody(path: Path) -> None:
    """Counting, and all else in the event loop, goes on while the file is locked; then all of it is written."""

    async def count(other: sqlite3.Connection, source: RouterMetrics) -> float:
        counter = AnswerCounter(path)
        counter.count(V1, failed=False, latency_ms=1.0)
        await until_known(path, 1)
        other.execute("BEGIN IMMEDIATE")
        slowest = 0.0
        for _ in range(50):
            begin = time.perf_counter()
            counter.count(V1, failed=False, latency_ms=1.0)
            await asyncio.sleep(0.01)
            slowest = max(slowest, time.perf_counter() - begin)
        assert source.measure(endpoint_of(["v1"]), *EVER)["v1"].requests == 1
        other.execute("COMMIT")
        await until_known(path, 51)
        await counter.aclose()
        return slowest

    with (
        closing(RouterMetrics(path, path.with_name("serving.sqlite"))) as source,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        assert asyncio.run(count(other, source)) < 1.5, "a write waits two seconds for the lock"
    assert known(path).requests == 51


def test_what_waits_is_bounded_and_the_oldest_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()

    async def count() -> None:
        counter = AnswerCounter(path)
        for number in range(MOST_WAITING + 5):
            counter.count(served_version("fraud", f"v{number}"), failed=False, latency_ms=1.0)
        await _until(lambda: len(caplog.records) == 1)
        await asyncio.to_thread(path.rmdir)
        await _until(lambda: len(caplog.records) == 2)
        await counter.aclose()

    with caplog.at_level(logging.WARNING):
        asyncio.run(count())
    with closing(sqlite3.connect(path)) as connection:
        versions = {version for (version,) in connection.execute("SELECT version FROM answers")}
    assert versions == {f"v{number}" for number in range(5, MOST_WAITING + 5)}
    assert caplog.messages[-1].endswith("lost: 5")


def test_what_is_lost_in_the_end_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()

    async def count() -> None:
        counter = AnswerCounter(path)
        counter.count(V1, failed=False, latency_ms=1.0)
        await counter.aclose()
        counter.count(V1, failed=False, latency_ms=1.0)  # a straggler is of no consequence

    with caplog.at_level(logging.WARNING):
        asyncio.run(count())
    assert caplog.messages[-1].endswith("lost: 1")
