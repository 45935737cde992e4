"""When to try again what may work later: pauses that double, of random length so that those who wait spread out.

"Full jitter" of M. Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015): uniform from none at all to
a longest pause that doubles with every attempt.
"""

from datetime import datetime, timedelta
from typing import Final

FIRST_PAUSE: Final = timedelta(seconds=5)  # the longest after the first attempt
LONGEST_PAUSE: Final = timedelta(hours=1)
MOST_ATTEMPTS: Final = 24
"""So many that failed, and it is given up: with pauses of half their longest, that is after seven hours."""
MOST_REFUSALS: Final = 6
"""So many that were refused, and it is given up: a wrong password or address may be one of a minute, not of an hour."""


def next_attempt(attempts: int, now: datetime, chance: float) -> datetime:
    """Not before then, after ``attempts`` (1 or more) that failed; ``chance`` is a random number, 0 <= chance < 1.

    >>> next_attempt(1, datetime(2026, 1, 1), 0.5), next_attempt(4, datetime(2026, 1, 1), 0.5)
    (datetime.datetime(2026, 1, 1, 0, 0, 2, 500000), datetime.datetime(2026, 1, 1, 0, 0, 20))
    """
    return now + chance * longest_pause(attempts)


def longest_pause(attempts: int) -> timedelta:
    """The longest pause after so many attempts.

    >>> [longest_pause(n).total_seconds() for n in (1, 2, 3, 10, 11, 1_000_000)]
    [5.0, 10.0, 20.0, 2560.0, 3600.0, 3600.0]
    """
    doublings = min(max(attempts - 1, 0), 30)  # far beyond the longest; no power that no timedelta can hold
    return min(FIRST_PAUSE * (1 << doublings), LONGEST_PAUSE)
