"""The time a prediction's id carries, if it is a UUID of version 7 (RFC 9562)."""

import re
from datetime import UTC, datetime, timedelta

from modeldrop.domain.sampling.windows import EPOCH

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
"""An id outside these carries no time; it only looks as if."""
# The time in milliseconds (48 bits), version 7, random, variant 10 (two bits), random.
_UUID7 = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)


def uuid7_time(prediction_id: str) -> datetime | None:
    """When the id was made, in UTC, to the millisecond; None for anything but a UUIDv7 in its usual form, with hyphens.

    >>> uuid7_time("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").isoformat()
    '2022-02-22T19:22:22+00:00'
    >>> uuid7_time("017f22e2-79b0-4cc3-98c4-dc0c0c07398f") is None
    True
    """
    found = _UUID7.fullmatch(prediction_id)
    if found is None:
        return None
    since_epoch = timedelta(milliseconds=int(found[1] + found[2], 16))  # up to the year 10889, where no date is
    return EPOCH + since_epoch if EARLIEST - EPOCH <= since_epoch < END - EPOCH else None
