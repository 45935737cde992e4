"""What a round of deliveries came to, counted by many threads."""

from threading import Lock

import msgspec


class DeliveryReport(msgspec.Struct, frozen=True):
    """What was done with what lay in the outbox. Deliveries count one a channel."""

    delivered: int
    failed: int  # attempts; they are made again later
    dead: int  # given up
    errors: dict[str, str]  # what is no trouble of a channel, but ours, by item or model
    in_time: bool  # False: the time ran out, and the rest is left to the next tick


class Tally:
    """Counts; safe from many threads."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._delivered = self._failed = self._dead = 0
        self._errors: dict[str, str] = {}

    def add(self, delivered: int, failed: int, dead: int) -> None:
        """So many more."""
        with self._guard:
            self._delivered += delivered
            self._failed += failed
            self._dead += dead

    def trouble(self, where: str, error: Exception) -> None:
        """Something of ours went wrong."""
        with self._guard:
            self._errors[where] = f"{type(error).__name__}: {error}"

    def report(self, *, in_time: bool) -> DeliveryReport:
        """The sums so far."""
        with self._guard:
            return DeliveryReport(self._delivered, self._failed, self._dead, dict(self._errors), in_time)
