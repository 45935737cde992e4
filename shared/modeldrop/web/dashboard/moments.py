"""Times as people read them: in UTC, with how long ago that is."""

from dataclasses import dataclass
from datetime import UTC, datetime

_UNITS = ((86_400, "days", 2), (3_600, "h", 1), (60, "min", 1))


@dataclass(frozen=True)
class Moment:
    """A time: ``iso`` for programs; ``text``, without a year that goes without saying, and ``age`` for people."""

    iso: str
    full: str
    text: str
    age: str


def moment(stated: str | datetime | None, now: datetime) -> Moment | None:
    """A time of the API (ISO 8601); None where there is none. Without a zone it is UTC.

    >>> moment("2026-03-01T10:00:05Z", datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC))
    Moment(iso='2026-03-01T10:00:05Z', full='1 Mar 2026, 10:00:05', text='1 Mar, 10:00:05', age='2 h ago')
    """
    if stated is None:
        return None
    at = stated if isinstance(stated, datetime) else datetime.fromisoformat(stated)
    at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    iso = at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    full = f"{at.day} {at:%b %Y, %H:%M:%S}"
    text = f"{at.day} {at:%b, %H:%M:%S}" if at.year == now.year else full
    return Moment(iso, full, text, age((now - at).total_seconds()))


def age(seconds: float) -> str:
    """How long ago, in the largest unit that fits; the script keeps it up in the browser by the same rule.

    >>> age(3), age(59), age(60), age(7300), age(400000), age(-300)
    ('3 s ago', '59 s ago', '1 min ago', '2 h ago', '4 days ago', 'in 5 min')
    """
    length = abs(seconds)
    text = f"{length:.0f} s" if length < 59.5 else ""
    for unit, name, fewest in _UNITS:
        if length >= unit * fewest and not text:
            text = f"{int(length // unit)} {name}"
    text = text or "1 min"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def short(stated: str | None) -> str:
    """A window's start, as short as it can be on an axis.

    >>> short("2026-03-01T10:00:00Z"), short(None)
    ('1 Mar 10:00', '–')
    """
    if stated is None:
        return "–"
    at = datetime.fromisoformat(stated).astimezone(UTC)
    return f"{at.day} {at:%b %H:%M}"
