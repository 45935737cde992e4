"""The span of time that two samples share: what came outside of it has nothing to be compared with.

A version that served until noon and one that served from noon on have a window in common, and no hour of it. What
changes with the hour of the day would look like drift between them.
"""

from collections.abc import Sequence
from typing import NamedTuple

_STRAYS = 100
"""One in so many rows may have any time, at either end: a clock that is wrong must not stretch a span."""


class Span(NamedTuple):
    """Event times in milliseconds since 1970; both ends belong to it."""

    first: int
    last: int


def shared_span(current: Sequence[int], reference: Sequence[int], fewest: int) -> Span | None:
    """The span between the event times of both sides, without the 1 % earliest and latest of each.

    None where it holds fewer than ``fewest`` rows of a side, or not even half of the current rows.

    >>> shared_span(range(100, 200), range(140, 400), 20)
    Span(first=142, last=198)
    >>> shared_span(range(100, 200), range(160, 400), 20) is None
    True
    """
    if not current or not reference:
        return None
    ends = [_ends(sorted(side)) for side in (current, reference)]
    span = Span(max(first for first, _ in ends), min(last for _, last in ends))
    inside, inside_reference = (sum(span.first <= time <= span.last for time in side) for side in (current, reference))
    enough = min(inside, inside_reference) >= fewest and 2 * inside >= len(current)
    return span if enough else None


def _ends(times: Sequence[int]) -> Span:
    strays = len(times) // _STRAYS
    return Span(times[strays], times[-1 - strays])
