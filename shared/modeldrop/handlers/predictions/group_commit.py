"""Group commit: one writer for each document, and while it works, or waits a little, what arrives gathers.

All who gave something to a group are told together, after its commit. At most one commit of a document is under way.
"""

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from modeldrop.errors import Unavailable

THREADS = 16
MOST_PENDING = 50_000
"""Items that may wait in memory at one time, those being committed included."""

Store = Callable[[list[Any]], None]


class _Group:
    """What gathers for a document."""

    def __init__(self, store: Store, due: float) -> None:
        self.store = store
        self.due = due
        self.items: list[Any] = []
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # one of many waiters who goes away must not cancel it for the others


class GroupCommit:
    """Stores items in groups, in threads of its own; safe from many threads."""

    def __init__(self, linger_seconds: float, *, most_pending: int = MOST_PENDING) -> None:
        """``linger_seconds``: so long a group waits for others after its first item came."""
        self._linger_seconds = linger_seconds
        self._most_pending = most_pending
        self._changed = threading.Condition()
        self._gathering: dict[str, _Group] = {}
        self._committing: set[str] = set()
        self._due: list[tuple[float, str]] = []  # a heap: the groups whose document nobody is writing
        self._pending = 0
        self._timer: threading.Thread | None = None
        self._executor = ThreadPoolExecutor(THREADS, "commit")
        self._closed = False

    def add(self, name: str, store: Store, items: Sequence[Any]) -> "Future[None]":
        """Have the items stored with others of the same ``name``, by the ``store`` of the first of them.

        The future is done when they are, or has the error they failed with. Raises Unavailable if too much is waiting.
        """
        with self._changed:
            if self._closed or self._pending + len(items) > self._most_pending:
                raise Unavailable(f"{self._pending:,} rows wait to be stored already")
            group = self._gathering.get(name)
            if group is None:
                group = self._gathering[name] = _Group(store, time.monotonic() + self._linger_seconds)
                if name not in self._committing:
                    self._schedule(name, group)
            group.items += items
            self._pending += len(items)
            return group.done

    def close(self) -> None:
        """Store what has gathered, and end the threads. Later calls of ``add`` raise Unavailable."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._gathering and not self._committing)
        if self._timer is not None:
            self._timer.join()
        self._executor.shutdown()

    def _schedule(self, name: str, group: _Group) -> None:
        heapq.heappush(self._due, (group.due, name))
        if self._timer is None:  # not before it is needed: servers fork after they have loaded a function
            self._timer = threading.Thread(target=self._start_due, name="group commit", daemon=True)
            self._timer.start()
        self._changed.notify_all()

    def _start_due(self) -> None:
        """Start each commit when it is due; at once when closing."""
        with self._changed:
            while self._due or self._committing or not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or (wait > 0 and not self._closed):
                    self._changed.wait(wait)
                    continue
                _, name = heapq.heappop(self._due)
                self._committing.add(name)
                self._executor.submit(self._commit, name, self._gathering.pop(name))

    def _commit(self, name: str, group: _Group) -> None:
        error: BaseException | None = None
        try:
            group.store(group.items)
        except BaseException as raised:  # whatever it is, it belongs to those who wait
            error = raised
        with self._changed:
            self._pending -= len(group.items)
            self._committing.discard(name)
            if (following := self._gathering.get(name)) is not None:
                self._schedule(name, following)
            self._changed.notify_all()
        if error is None:
            group.done.set_result(None)
        else:
            group.done.set_exception(error)
