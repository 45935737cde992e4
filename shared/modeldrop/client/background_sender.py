"""A bounded queue of events, and the thread that sends them in batches.

Whoever puts an event in never waits for the network. A batch that cannot be sent is tried again, with growing pauses,
as long as the queue has room for what comes meanwhile; then it is given up, the oldest first. Every event that was
taken ends as published or as failed.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from modeldrop.client.process_ends import tell_of_forks, tell_of_the_end
from modeldrop.client.transports import Connection, Transport
from modeldrop.errors import Refused

log = logging.getLogger("modeldrop.client")

MOST_BATCH_EVENTS = 1_000
MOST_BATCH_BYTES = 1_000_000
MOST_QUEUE_BYTES = 64 << 20
SHORTEST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
MOST_KINDS = 20
"""Of warnings: names of features may be in them, and there can be any number of those."""
_BRACKETS = len(b"[]")


@dataclass(frozen=True)
class Pace:
    """How much goes into one batch, how long an event may wait for others, and how much may wait."""

    batch_events: int
    flush_seconds: float
    queue_events: int


class BackgroundSender:
    """Takes events from any thread and sends them from one of its own, which runs as a daemon."""

    def __init__(self, transport: Transport, pace: Pace) -> None:
        self._transport = transport
        self._pace = pace
        self._closing = False
        self.start_afresh()
        tell_of_forks(self)
        tell_of_the_end(self)

    def start_afresh(self) -> None:
        """With nothing waiting and nothing counted; also what a forked process begins with.

        There, the events belong to the parent, its thread does not exist, and its locks may be held for ever.
        """
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._has_room = True
        self._taken = 0  # events that left the queue
        self._flush_until = 0  # those up to this one wait for no others
        self._flushes = 0
        self._abandoned = False
        self._warned: set[str] = set()
        self.published = 0
        self.failed = 0
        self.dropped = 0

    def put(self, event: bytes) -> bool:
        """Queue one event; False, and counted as dropped, if there is no room or the sender is closed."""
        with self._changed:
            self._has_room = (
                len(self._queue) < self._pace.queue_events and self._queue_bytes + len(event) <= MOST_QUEUE_BYTES
            )
            is_taken = self._has_room and not self._closing
            if is_taken:
                self._run_thread()
                self._queue.append(event)
                self._queue_bytes += len(event) + 1
            else:
                self.dropped += 1
            if len(self._queue) == 1 or not self._has_room or self._is_due():
                self._changed.notify_all()
        return is_taken

    def drop(self) -> None:
        """Count an event that could not even be queued."""
        with self._changed:
            self.dropped += 1

    def flush(self, timeout_seconds: float) -> bool:
        """Send what is waiting, and wait for it; whether all of it was published or given up within the time."""
        with self._changed:
            target = self._taken + len(self._queue)
            self._hurry(target)
            return self._changed.wait_for(lambda: self._settled() >= target, max(timeout_seconds, 0))

    def begin_to_close(self) -> None:
        """Take no more events, and send what is waiting; does not wait."""
        with self._changed:
            self._closing = True
            self._hurry(self._taken + len(self._queue))

    def close(self, timeout_seconds: float) -> bool:
        """Take no more events, send what is waiting; what remains after the time is given up and counted as failed."""
        self.begin_to_close()
        is_settled = self.flush(timeout_seconds)
        with self._changed:
            self._abandoned = True
            self.failed += self._taken + len(self._queue) - self._settled()
            self._taken += len(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        return is_settled

    def warn_once(self, kind: str, message: str, *arguments: object) -> None:
        """Log the first of its kind, of up to twenty kinds: what fails, fails by the thousand."""
        with self._changed:
            if kind in self._warned or len(self._warned) == MOST_KINDS:
                return
            self._warned.add(kind)
        log.warning(message, *arguments)

    def _run_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="modeldrop-predictions", daemon=True)
            thread.start()
            self._thread = thread

    def _hurry(self, until: int) -> None:
        self._flush_until = max(self._flush_until, until)
        self._flushes += 1
        self._changed.notify_all()

    def _settled(self) -> int:
        return self.published + self.failed

    def _is_due(self) -> bool:
        return (
            self._closing
            or self._taken < self._flush_until
            or len(self._queue) >= self._pace.batch_events
            or self._queue_bytes >= MOST_BATCH_BYTES
        )

    # --- the thread ---

    def _run(self) -> None:
        connection = _LazyConnection(self._transport.connect)
        while batch := self._next_batch():
            self._deliver(connection, batch)
        connection.close()

    def _next_batch(self) -> list[bytes]:
        """Waits for one; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            self._changed.wait_for(self._is_due, self._pace.flush_seconds)
            batch: list[bytes] = []
            size = _BRACKETS
            while self._queue and len(batch) < self._pace.batch_events:
                size += len(self._queue[0]) + 1
                if batch and size > MOST_BATCH_BYTES + 1:  # the last has no comma
                    break
                batch.append(self._queue.popleft())
            self._queue_bytes -= sum(map(len, batch)) + len(batch)
            self._taken += len(batch)
            self._has_room = True
            return batch

    def _deliver(self, connection: Connection, batch: list[bytes]) -> None:
        data = b"[%b]" % b",".join(batch)
        for attempt in count():
            flushes = self._flushes
            try:
                connection.publish(data)
            except Refused as error:
                self.warn_once("refused", "predictions are refused and lost: %s", error)
                return self._settle(failed=len(batch))
            except Exception as error:  # whatever a transport may raise: this thread has to live on
                self.warn_once("unavailable", "predictions cannot be sent now: %s: %s", type(error).__name__, error)
                if not self._pause(attempt, flushes):
                    return self._settle(failed=len(batch))
            else:
                return self._settle(published=len(batch))

    def _pause(self, attempt: int, flushes: int) -> bool:
        """Wait before the next attempt, not at all if a flush was asked for since; False to give up."""
        longest = min(SHORTEST_PAUSE_SECONDS * 2 ** min(attempt, 20), LONGEST_PAUSE_SECONDS)
        seconds = random.SystemRandom().uniform(longest / 2, longest)
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or not self._has_room or self._flushes != flushes, seconds)
            return self._has_room and not self._abandoned

    def _settle(self, *, published: int = 0, failed: int = 0) -> None:
        with self._changed:
            if not self._abandoned:  # then all were counted as failed
                self.published += published
                self.failed += failed
            self._changed.notify_all()


class _LazyConnection:
    """Connects when something is to be sent, again after a failure: also connecting may fail."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def publish(self, data: bytes) -> None:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.publish(data)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
