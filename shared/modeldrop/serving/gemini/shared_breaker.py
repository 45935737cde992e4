"""One circuit for all threads of a process."""

import threading
from collections.abc import Callable
from time import monotonic

from modeldrop.serving.gemini.circuit_breaker import (
    BreakerRules,
    Circuit,
    ask,
    failed,
    given_up,
    seconds_left,
    succeeded,
)


class SharedBreaker:
    """``circuit_breaker`` with a clock and a lock; see there."""

    def __init__(self, rules: BreakerRules, clock: Callable[[], float] = monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._circuit = Circuit()

    def ask(self) -> int | None:
        """A ticket for one call, to be handed back with its outcome; None: the call must not be made now."""
        with self._lock:
            self._circuit, ticket = ask(self._circuit, self._clock(), self._rules)
            return ticket

    def succeeded(self, ticket: int) -> None:
        """The service answered."""
        with self._lock:
            self._circuit = succeeded(self._circuit, ticket)

    def failed(self, ticket: int) -> None:
        """It did not."""
        with self._lock:
            self._circuit = failed(self._circuit, ticket, self._clock(), self._rules)

    def given_up(self, ticket: int) -> None:
        """Nobody waited for it."""
        with self._lock:
            self._circuit = given_up(self._circuit, ticket)

    def seconds_left(self) -> float:
        """How long no call will be let through."""
        with self._lock:
            return seconds_left(self._circuit, self._clock(), self._rules)
