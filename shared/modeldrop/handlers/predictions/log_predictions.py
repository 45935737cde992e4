"""Prediction events → samples: each event is stored, or known not to be needed, before it is acknowledged.

Decode → look up its version → its window → hash → above the window's threshold: done, without any I/O. Below it: its
row joins what gathers for its shard, and the event waits for that commit. Most events of a large window are above.

What an instance remembers saves work and decides nothing: registered versions for half a minute, windows and their
thresholds as far as there is room.
"""

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from modeldrop.domain.sampling.hashing import hash_id
from modeldrop.domain.sampling.rows import Row
from modeldrop.errors import FieldProblem
from modeldrop.events.plain_prediction import plain_prediction
from modeldrop.events.prediction_events import Batch, Event, Poison, PredictionEvent, decode_predictions
from modeldrop.handlers.predictions.group_commit import GroupCommit
from modeldrop.handlers.predictions.keep_poison import PoisonKeeper
from modeldrop.handlers.predictions.known_versions import FUTURE_TOLERANCE, KnownVersions, Sampling, Subject
from modeldrop.handlers.predictions.known_windows import KnownWindow, KnownWindows
from modeldrop.handlers.predictions.pass_over import PassedOverCounts
from modeldrop.handlers.predictions.place_events import PlacedEvents, WindowEvents, place_events
from modeldrop.handlers.predictions.sampled_rows import sample_events
from modeldrop.handlers.predictions.store_rows import store_rows
from modeldrop.records.passed_over import Passed
from modeldrop.records.windows import WindowKey, Windows, new_window
from modeldrop.wiring import Services

INLINE_LIMIT_BYTES = 64 << 10
"""Larger messages are decoded in a thread: a hostile one takes a second, and others are waiting."""
LOOK_UP_THREADS = 4
MOST_LATEST = 10_000
T = TypeVar("T")


class Taken(msgspec.Struct, frozen=True):
    """What became of the events of a message. ``sampled``: stored, or known not to be needed."""

    sampled: int
    from_the_future: int  # of the sampled: counted in the window of their arrival
    passed_over: int
    quarantined: int  # or, of many, only counted


NEEDLESS = Taken(1, 0, 0, 0)


class _Latest(msgspec.Struct, frozen=True):
    """The window a version's events came to last: its times, and how they were sampled."""

    begin: datetime
    end: datetime
    sampling: Sampling
    window: KnownWindow


class PredictionIntake:
    """Takes messages of the topic ``predictions``; one for a process, safe from many threads and event loops."""

    def __init__(self, services: Services, linger_seconds: float) -> None:
        """``linger_seconds``: so long a commit waits for more rows of its shard. Raises ConfigurationError."""
        self._services = services
        self._versions = KnownVersions(services)
        self._poison = PoisonKeeper(services, self._versions)
        self._windows = KnownWindows()
        self._commits = GroupCommit(linger_seconds)
        self._passed_over = PassedOverCounts(services, self._commits)
        self._threads = ThreadPoolExecutor(LOOK_UP_THREADS, "look up")
        self._opening = threading.Lock()
        self._latest: dict[tuple[str, str | None], _Latest] = {}

    async def take(self, data: bytes) -> Taken:
        """One message. When this returns, each event in it is stored, not needed, passed over, or quarantined.

        Raises TransientError if that could not be reached: then the message is to be delivered again.
        """
        if len(data) > INLINE_LIMIT_BYTES:
            return await self._take_batch(await self._in_thread(decode_predictions, data))
        event = None if data.startswith(b"[") else plain_prediction(data)
        if event is None:
            return await self._take_batch(decode_predictions(data))
        return NEEDLESS if self._is_needless(event) else await self._take_batch(Batch((event,)))

    async def refuse(self, body: bytes, problems: Sequence[FieldProblem]) -> None:
        """Quarantine a push that is none. What it holds nobody knows, and so its digest is all that is kept of it."""
        digest = hashlib.sha256(body).hexdigest().encode()
        await self._take_batch(Batch(poison=(Poison(None, b"SHA-256 %b" % digest, tuple(problems), is_cut=True),)))

    def take_now(self, data: bytes) -> Taken:
        """The same for those who can wait; not to be called from an event loop."""
        return asyncio.run(self.take(data))

    def close(self) -> None:
        """Store what has gathered, and end the threads."""
        self._commits.close()
        self._threads.shutdown()

    def _is_needless(self, event: PredictionEvent) -> bool:
        """Whether the event is of a window known, above its threshold.

        Most are, where events come one by one. What follows would find the same, in four times the time.
        """
        subject = event.model, event.version
        latest = self._latest.get(subject)
        if latest is None or not latest.begin <= event.timestamp < latest.end:
            return False
        sampling = self._versions.recall((subject,)).get(subject)
        return sampling is latest.sampling and hash_id(event.prediction_id) > latest.window.threshold

    def _note_latest(self, part: WindowEvents, window: KnownWindow) -> None:
        """Remember the window of a version's events, as far as none of them can be from the future."""
        begin, end = part.key[2], self._services.clock() + FUTURE_TOLERANCE
        if len(self._latest) >= MOST_LATEST:
            self._latest.clear()
        self._latest[part.key[:2]] = _Latest(begin, min(begin + part.sampling.length, end), part.sampling, window)

    async def _take_batch(self, batch: Batch) -> Taken:
        groups = _by_subject(batch)
        samplings = await self._samplings(groups)
        placed, passed_over = self._place(groups, samplings)
        windows = await self._known(placed)
        poison = [*batch.poison, *(one for each in placed for one in each.poison)]
        rows: dict[KnownWindow, list[Row]] = {}
        for part in (part for each in placed for part in each.windows):
            window = windows[part.key]
            self._note_latest(part, window)
            outcome = sample_events(part.events, window.threshold, part.sampling.keep)
            rows[window] = outcome.rows
            poison += outcome.poison
        waits = [wait for window, some in rows.items() for wait in self._store(window, some)]
        not_kept = await self._in_thread(self._poison.keep, poison) if poison else Counter[Passed]()
        waits += self._pass_over(passed_over + not_kept)
        await _all_done(waits)
        return _taken(batch, placed, passed_over, poison)

    async def _samplings(self, groups: dict[Subject, list[Event]]) -> dict[Subject, Sampling | None]:
        known = self._versions.recall(groups)
        missing = [subject for subject in groups if subject not in known]
        return known | await self._in_thread(self._versions.look_up, missing) if missing else known

    def _place(
        self, groups: dict[Subject, list[Event]], samplings: dict[Subject, Sampling | None]
    ) -> tuple[list[PlacedEvents], Counter[Passed]]:
        """The events in their windows, and those that belong to none."""
        now = self._services.clock()
        placed: list[PlacedEvents] = []
        passed_over: Counter[Passed] = Counter()
        for (model, version), events in groups.items():
            sampling = samplings[model, version]
            if sampling is None:
                passed_over[model, version or "", "not_registered"] += len(events)
                continue
            placed.append(place_events((model, version), sampling, events, now))
            if placed[-1].too_old:
                passed_over[model, version or "", "too_old"] += placed[-1].too_old
        return placed, passed_over

    async def _known(self, placed: Sequence[PlacedEvents]) -> dict[WindowKey, KnownWindow]:
        """The windows of the events; those that do not stand yet are opened."""
        wanted = [part for each in placed for part in each.windows]
        known = self._recall(wanted)
        missing = [part for part in wanted if part.key not in known]
        return known | await self._in_thread(self._open, missing) if missing else known

    def _recall(self, wanted: Sequence[WindowEvents]) -> dict[WindowKey, KnownWindow]:
        known = {}
        for part in wanted:
            window = self._windows.get(part.key)
            if window is not None and window.record.seconds >= part.sampling.policy.window_seconds:
                known[part.key] = window  # a shorter one has to be lengthened first
        return known

    def _open(self, wanted: Sequence[WindowEvents]) -> dict[WindowKey, KnownWindow]:
        now = self._services.clock()
        with self._opening:  # when an instance starts, many ask for the same
            known = self._recall(wanted)
            missing = [new_window(*part.key, part.sampling.policy, now) for part in wanted if part.key not in known]
            opened = Windows(self._services.documents).open(missing) if missing else []
            return known | {record.key: self._windows.add(record) for record in opened}

    def _store(self, window: KnownWindow, rows: Sequence[Row]) -> "list[Future[None]]":
        """What to wait for until the rows are stored."""
        by_shard: dict[int, list[Row]] = {}
        for row in rows:
            if not window.holds(row):
                by_shard.setdefault(window.shard_of(row), []).append(row)
        return [
            self._commits.add(
                f"{window.record.path}/{index}",
                partial(store_rows, self._services, self._windows, window, index),
                some,
            )
            for index, some in by_shard.items()
        ]

    def _pass_over(self, counts: Counter[Passed]) -> "list[Future[None]]":
        wait = self._passed_over.add(counts) if counts else None
        return [] if wait is None else [wait]

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, function, *arguments)


def _by_subject(batch: Batch) -> dict[Subject, list[Event]]:
    groups: dict[Subject, list[Event]] = {}
    for prediction in batch.predictions:
        groups.setdefault((prediction.model, prediction.version), []).append(prediction)
    for label in batch.labels:
        groups.setdefault((label.model, None), []).append(label)
    return groups


async def _all_done(waits: "Sequence[Future[None]]") -> None:
    """Waits for all of them; raises the first error there is."""
    if not waits:
        return
    outcomes = await asyncio.gather(*map(asyncio.wrap_future, waits), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _taken(
    batch: Batch, placed: Sequence[PlacedEvents], passed_over: Counter[Passed], poison: Sequence[Poison]
) -> Taken:
    found_later = len(poison) - len(batch.poison)
    events = len(batch.predictions) + len(batch.labels)
    from_the_future = sum(each.from_the_future for each in placed)
    return Taken(events - passed_over.total() - found_later, from_the_future, passed_over.total(), len(poison))
