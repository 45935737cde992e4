"""Numbers as people read them."""

NOTHING = "–"
_THIN = "\u202f"


def figure(value: float | None, digits: int = 4) -> str:
    """A measured number; large ones grouped, nothing where there is none.

    >>> figure(0.123456), figure(12345.678), figure(None), figure(3.0), figure(1e-9)
    ('0.1235', '12\u202f346', '–', '3', '1e-09')
    """
    if value is None:
        return NOTHING
    if 10_000 <= abs(value) < 1e15:
        return whole(round(value))
    return f"{value:.{digits}g}"


def whole(value: int | None) -> str:
    """A count.

    >>> whole(1234567), whole(12), whole(None)
    ('1\u202f234\u202f567', '12', '–')
    """
    return NOTHING if value is None else f"{value:,}".replace(",", _THIN)


def percent(share: float | None) -> str:
    """A share from 0 to 1; small ones keep a digit.

    >>> percent(0.5), percent(0.0123), percent(0.0), percent(1.0), percent(0.00001), percent(None)
    ('50 %', '1.2 %', '0 %', '100 %', '< 0.1 %', '–')
    """
    if share is None:
        return NOTHING
    points = 100 * share
    if 0 < points < 0.1:
        return "< 0.1 %"
    text = f"{points:.1f}" if points < 10 else f"{points:.0f}"
    return f"{text.removesuffix('.0')} %"


def seconds(value: float | None) -> str:
    """A length of time.

    >>> seconds(0.25), seconds(90), seconds(7200), seconds(172800)
    ('0.25 s', '90 s', '2 h', '2 days')
    """
    if value is None:
        return NOTHING
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if value >= 2 * length:
            return f"{value / length:.3g} {unit}"
    return f"{value:.3g} s"
