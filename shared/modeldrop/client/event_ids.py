"""Ids of predictions: UUIDs of version 7 (RFC 9562), which carry their time."""

import os
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from modeldrop.client.process_ends import tell_of_forks

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_PARTS_OF_MILLISECOND = 4096  # what the 12 bits behind the version can tell apart
_NANOSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Uuid7Ids:
    """Makes ids that only grow within a process, also if the clock is set back; safe from many threads.

    The 12 bits behind the version continue the time below the millisecond (RFC 9562, 6.2, method 3); where they would
    repeat they count on, into the next millisecond if it must be. The other 62 bits are random: processes need not know
    of each other.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self.start_afresh()
        tell_of_forks(self)

    def start_afresh(self) -> None:
        """As another process: the lock may be held for ever by a thread that was not forked."""
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> str:
        """The next id, 36 characters."""
        with self._lock:
            now = self._clock_ns() * _PARTS_OF_MILLISECOND // _NANOSECONDS
            self._last = moment = max(now, self._last + 1)
        return _written(*divmod(moment, _PARTS_OF_MILLISECOND))

    def of(self, moment: datetime) -> str:
        """An id of another time than now; of now where that is before 1970, or has no zone.

        >>> Uuid7Ids().of(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC))[:15]
        '017f22e2-79b0-7'
        """
        milliseconds = -1 if moment.tzinfo is None else (moment - _EPOCH) // timedelta(milliseconds=1)
        if milliseconds < 0:
            return self.new()
        return _written(milliseconds, int.from_bytes(os.urandom(2)) % _PARTS_OF_MILLISECOND)


def _written(milliseconds: int, part: int) -> str:
    random = int.from_bytes(os.urandom(8)) >> 2
    return (
        f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{part:03x}"
        f"-{0x8000 | random >> 48:04x}-{random & 0xFFFF_FFFF_FFFF:012x}"
    )


def is_uuid7(text: str) -> bool:
    """Whether the id carries its time.

    >>> is_uuid7(Uuid7Ids().new()), is_uuid7("7")
    (True, False)
    """
    return _UUID7.fullmatch(text) is not None
