"""Where a process ends or is forked, and what then happens to the senders that live in it."""

import atexit
import os
import time
import weakref
from typing import Protocol

EXIT_SECONDS = 2.0
"""How long the end of the process is held up for events that are still to be sent."""


class StartsAfresh(Protocol):
    """What is told of a fork."""

    def start_afresh(self) -> None:
        """Forget everything, locks too: this is another process now."""


class Sender(StartsAfresh, Protocol):
    """What is told of the end as well."""

    def begin_to_close(self) -> None:
        """Send what is waiting; do not wait for it."""

    def close(self, timeout_seconds: float) -> bool:
        """Send what is waiting, for so long at most."""


_SENDERS: weakref.WeakSet[Sender] = weakref.WeakSet()
_FORKED: weakref.WeakSet[StartsAfresh] = weakref.WeakSet()


def tell_of_forks(part: StartsAfresh) -> None:
    """From now on, as long as it lives."""
    _FORKED.add(part)


def tell_of_the_end(sender: Sender) -> None:
    """From now on, as long as it lives."""
    _SENDERS.add(sender)


def _close_all() -> None:
    """All together within the time, not one after the other."""
    deadline = time.monotonic() + EXIT_SECONDS
    senders = list(_SENDERS)
    for sender in senders:
        sender.begin_to_close()
    for sender in senders:
        sender.close(deadline - time.monotonic())


def _start_all_afresh() -> None:
    for part in list(_FORKED):
        part.start_afresh()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing is forked
    os.register_at_fork(after_in_child=_start_all_afresh)
