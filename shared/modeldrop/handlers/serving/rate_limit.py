"""How much one caller may ask for: a token bucket each, in the memory of this process. The time is an argument.

A bucket gains ``per_second`` tokens up to ``burst``; an instance costs one. Whoever has a token left is answered, even
if more is asked for: the bucket is then in debt, and the caller waits until it is paid off. So a large batch is never
impossible, and in the long run nobody gets more than the rate.
"""

import threading
from collections import OrderedDict

MOST_CALLERS = 10_000
"""Beyond them, whoever has not asked for the longest time begins anew."""


class RateLimit:
    """One for all callers; safe from many threads. ``per_second`` is above 0, ``burst`` at least 1."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By caller: tokens, and when there were so many."""

    def admit(self, caller: str, now: float) -> float | None:
        """Take one token and return None; or, if there is none, return after how many seconds there will be."""
        with self._lock:
            level = self._level(caller, now)
            if level >= 1:
                self._set(caller, level - 1, now)
                return None
            return (1 - level) / self._per_second

    def charge(self, caller: str, tokens: int, now: float) -> None:
        """Take more for the same request, into debt if need be."""
        with self._lock:
            self._set(caller, self._level(caller, now) - tokens, now)

    def _level(self, caller: str, now: float) -> float:
        level, since = self._levels.get(caller, (float(self._burst), now))
        return min(level + max(now - since, 0.0) * self._per_second, self._burst)

    def _set(self, caller: str, level: float, now: float) -> None:
        self._levels[caller] = (level, now)
        self._levels.move_to_end(caller)
        if len(self._levels) > MOST_CALLERS:
            self._levels.popitem(last=False)
