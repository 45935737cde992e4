"""From values to coordinates."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` on the coordinates from ``start`` to ``end``; what lies outside is cut off."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate.

        >>> Scale(0, 10, 0, 100)(5), Scale(0, 10, 100, 0)(10), Scale(1, 1, 0, 100)(1)
        (50.0, 0.0, 0.0)
        """
        span = self.high - self.low
        share = (value - self.low) / span if span > 0 else 0.0
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def round_up(value: float) -> float:
    """The next number above that reads well: 1, 2 or 5 times a power of ten; 1 for nothing at all.

    >>> round_up(0.23), round_up(0.5), round_up(37.0), round_up(0.0)
    (0.5, 0.5, 50.0, 1.0)
    """
    if value <= 0:
        return 1.0
    exponent = int(f"{value:e}".split("e")[1])
    steps = [float(f"{step}e{exponent}") for step in (1, 2, 5)]
    return next((step for step in steps if step >= value), float(f"1e{exponent + 1}"))
