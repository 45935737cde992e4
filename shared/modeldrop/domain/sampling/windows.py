"""The window an event belongs to: by its own time, not by that of its arrival."""

from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WindowRule(msgspec.Struct, frozen=True):
    """How windows are laid over time, in seconds.

    ``future_tolerance_seconds``: so far ahead of ours an app's clock may be. ``retention_seconds``: so long a window
    takes events after its end.
    """

    window_seconds: int
    future_tolerance_seconds: float
    retention_seconds: float


class Placement(msgspec.Struct, frozen=True):
    """Where an event is counted. ``window`` is its start in UTC; None: nowhere, it is too old."""

    verdict: Literal["in_its_window", "from_the_future", "too_old"]
    window: datetime | None


def window_start(event_time: datetime, window_seconds: int) -> datetime:
    """The start, in UTC, of the window a time falls in: windows are counted from 1970 and include their start.

    >>> window_start(datetime(2026, 1, 1, 10, 59, 59, 999_999, tzinfo=UTC), 3600).isoformat()
    '2026-01-01T10:00:00+00:00'
    """
    return EPOCH + _number(event_time, window_seconds) * timedelta(seconds=window_seconds)


def place(event_time: datetime, now: datetime, rule: WindowRule) -> Placement:
    """The window an event is counted in.

    One from the future beyond tolerance is counted in the window of ``now``. (Delivered again in a later window it
    is counted there as well: only its time could tell, and that is wrong.) A window is too old for all of its events at
    once.
    """
    if event_time - now > timedelta(seconds=rule.future_tolerance_seconds):
        return Placement("from_the_future", window_start(now, rule.window_seconds))
    # Spans rather than moments: the window of a time in year 1 may begin before there are dates.
    end = (_number(event_time, rule.window_seconds) + 1) * timedelta(seconds=rule.window_seconds)
    if now - EPOCH - end >= timedelta(seconds=rule.retention_seconds):
        return Placement("too_old", None)
    return Placement("in_its_window", window_start(event_time, rule.window_seconds))


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down.

    >>> milliseconds(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC))
    1000
    """
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _number(event_time: datetime, window_seconds: int) -> int:
    return (event_time - EPOCH) // timedelta(seconds=window_seconds)
