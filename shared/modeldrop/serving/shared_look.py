"""One look for all who ask for it: ``POST /reload`` by many callers, each of whom may wait for a slow self-check.

Whoever asks gets the outcome of a look that began after they asked, so that it has seen what they wrote before; all who
ask while one is under way share the next. Looks have a thread of their own, and callers wait for them no longer than
they must: threads that wait here answer nobody else meanwhile.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import msgspec

Outcome = TypeVar("Outcome")


class LookRules(msgspec.Struct, frozen=True):
    """How often there may be a look, and how long and how many callers wait for one."""

    least_pause_seconds: float = 1.0
    """From the end of one to the begin of the next."""
    deadline_seconds: float = 20.0
    most_waiting: int = 8


class SharedLook(Generic[Outcome]):
    """Used by many threads at once. What ``look`` raises is raised to all who wait for it."""

    def __init__(self, look: Callable[[], Outcome], rules: LookRules) -> None:
        self._look = look
        self._rules = rules
        self._lock = threading.Lock()
        self._next: Future[Outcome] | None = None
        self._is_running = False
        self._waiting = 0

    def outcome(self, instead: Callable[[str], Outcome]) -> Outcome:
        """What the next look ends with; ``instead`` makes it of the reason why nobody waited for that to the end."""
        with self._lock:
            if self._waiting >= self._rules.most_waiting:
                return instead(f"{self._waiting} other callers wait for this already")
            self._waiting += 1
            wanted = self._next = self._next or Future()
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="serving-reload", daemon=True).start()
        try:
            return wanted.result(self._rules.deadline_seconds)
        except TimeoutError:
            return instead(f"there was no outcome within {self._rules.deadline_seconds:g} s; it goes on by itself")
        finally:
            with self._lock:
                self._waiting -= 1

    def _run(self) -> None:
        """Looks, as long as somebody wants one."""
        while True:
            with self._lock:
                wanted, self._next = self._next, None
                if wanted is None:
                    self._is_running = False
                    return
            try:
                wanted.set_result(self._look())
            except Exception as error:
                wanted.set_exception(error)
            time.sleep(self._rules.least_pause_seconds)
