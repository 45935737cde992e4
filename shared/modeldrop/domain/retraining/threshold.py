"""A decision threshold that brings the share of positives back to what it was in the baseline.

positive = score >= threshold, as the scorecard decides. Of all thresholds that split the current scores, the one whose
share of positives comes nearest the baseline's; it lies between two scores that differ, so that equal scores stay on
one side: above the larger of those that are negative, at most the smallest of those that are positive.

Whether the shares differ at all is told by the two-proportion z-test with the pooled variance, two-sided (Fleiss,
"Statistical Methods for Rates and Proportions", 1981, chapter 2).
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from math import sqrt
from typing import Final

import msgspec

from modeldrop.domain.quality.outcomes import number_of

TWO_SIDED_95_PERCENT: Final = 1.96
"""Standard deviations within which a difference may be chance."""
LEAST_GAIN: Final = 0.5
"""A threshold is proposed only if it takes away this part of the difference, at least."""
MOST_STRANGERS: Final = 0.05
"""Share of the values that may be neither scores nor missing; they are left out."""
LONGEST_NAME: Final = 128

_SUFFIX: Final = re.compile(r"(.+)-threshold-\d{8}T\d{6}Z")
_MOST_DIGITS: Final = 17  # enough for every float


class Proposal(msgspec.Struct, frozen=True):
    """The threshold, and shares of positives: with it, with the present one, and in the baseline."""

    threshold: float
    rate: float
    current_rate: float
    baseline_rate: float
    rows: int  # current ones that have a score
    baseline_rows: int


def propose(
    baseline: Sequence[object],
    current: Sequence[object],
    threshold: float,
    *,
    fewest_rows: int = 1,
    baseline_threshold: float | None = None,
) -> Proposal | None:
    """The proposal; None if there is nothing to gain, or too little to tell by.

    ``baseline``: scores (``baseline_threshold`` is theirs, where it is not the present one) or decisions; ``current``:
    scores. Missing values (None) are left out. Nothing is proposed for fewer than ``fewest_rows`` on a side, for what
    are no scores, for shares that differ no more than chance lets them, or if no threshold takes away half of the
    difference.

    >>> propose([0.1, 0.2, 0.3, 0.9] * 50, [0.1, 0.6, 0.7, 0.9] * 50, 0.5)
    Proposal(threshold=0.8, rate=0.25, current_rate=0.75, baseline_rate=0.25, rows=200, baseline_rows=200)
    """
    decided = decisions(baseline, threshold if baseline_threshold is None else baseline_threshold)
    known = _scores(current)
    if known is None or decided is None or min(len(known), len(decided)) < max(1, fewest_rows):
        return None
    positives = sum(score >= threshold for score in known)
    if _is_chance((positives, len(known)), (sum(decided), len(decided))):
        return None
    found = _nearest(sorted(known, reverse=True), (sum(decided), len(decided)), threshold)
    if found is None:
        return None
    new = sum(score >= found for score in known)
    if _gap(new, known, decided) > (1 - LEAST_GAIN) * _gap(positives, known, decided):
        return None
    rate, current_rate = new / len(known), positives / len(known)
    return Proposal(found, rate, current_rate, sum(decided) / len(decided), len(known), len(decided))


def decisions(values: Sequence[object], threshold: float) -> list[bool] | None:
    """What was decided, from decisions or from scores; None if they are neither.

    Tables often write decisions as 0 and 1: numbers that are nothing else are taken for them.

    >>> decisions([True, None, False], 0.5), decisions([0.5, 0.4], 0.5), decisions([0, 1, 1], 7.5), decisions(["x"], 0)
    ([True, False], [True, False], [False, True, True], None)
    """
    there = [value for value in values if value is not None]
    booleans = [value for value in there if isinstance(value, bool)]
    if booleans and _are_most(booleans, there):
        return booleans
    numbers = _numbers(there)
    if not numbers or not _are_most(numbers, there):
        return None
    return [number == 1 for number in numbers] if _are_bits(numbers) else [number >= threshold for number in numbers]


def proposal_name(version: str, window: datetime) -> str:
    """The name of a proposal, and of the version that comes of it. One that came of a proposal passes its own on.

    >>> first = proposal_name("v2", datetime(2026, 3, 1, 10, tzinfo=UTC))
    >>> first, proposal_name(first, datetime(2026, 4, 1, 10, tzinfo=UTC))
    ('v2-threshold-20260301T100000Z', 'v2-threshold-20260401T100000Z')
    """
    derived = _SUFFIX.fullmatch(version)
    root = derived[1] if derived else version
    suffix = f"-threshold-{window.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    room = LONGEST_NAME - len(suffix)
    if len(root) > room:  # versions that begin alike still have names of their own
        digest = sha256(root.encode()).hexdigest()[:12]
        root = f"{root[: room - 13]}-{digest}"
    return root + suffix


def between(low: float, high: float) -> float:
    """A threshold that parts two scores: their middle in as few digits as lie between them, else ``high`` itself.

    Not ``high`` where there is room: apps log scores that are rounded, and those decided on are not.

    >>> between(0.41234, 0.43), between(0.5, 0.6), between(-3.0, 12.0), between(0.1, 0.1 + 2**-56)
    (0.42, 0.55, 4.0, 0.10000000000000002)
    """
    middle = low / 2 + high / 2
    for digits in range(1, _MOST_DIGITS + 1):
        rounded = float(f"{middle:.{digits}g}")
        if low < rounded < high:
            return rounded
    return high


def _scores(values: Sequence[object]) -> list[float] | None:
    """The scores; None if these are none: other things, or all of them 0 or 1."""
    there = [value for value in values if value is not None]
    numbers = _numbers(there)
    return numbers if numbers and _are_most(numbers, there) and not _are_bits(numbers) else None


def _numbers(values: Sequence[object]) -> list[float]:
    """Those that are finite numbers; true and false are none."""
    return [number for value in values if (number := number_of(value)) is not None]


def _are_most(some: Sequence[object], values: Sequence[object]) -> bool:
    return len(values) - len(some) <= MOST_STRANGERS * len(values)


def _are_bits(numbers: Sequence[float]) -> bool:
    return all(number in (0, 1) for number in numbers)


def _is_chance(current: tuple[int, int], baseline: tuple[int, int]) -> bool:
    """Whether two shares (how many, of how many) differ no more than by chance."""
    pooled = (current[0] + baseline[0]) / (current[1] + baseline[1])
    deviation = sqrt(pooled * (1 - pooled) * (1 / current[1] + 1 / baseline[1]))
    return abs(current[0] / current[1] - baseline[0] / baseline[1]) <= TWO_SIDED_95_PERCENT * deviation


def _nearest(falling: Sequence[float], baseline: tuple[int, int], threshold: float) -> float | None:
    """The threshold whose share is nearest the baseline's; of two as near, the one nearer the present threshold.

    At least one score stays on each side: a threshold that everything reaches, or nothing, decides nothing. Shares are
    compared as whole numbers (share x both sizes), so that rounding decides nothing either.
    """
    rows = len(falling)
    cuts = [number for number in range(1, rows) if falling[number - 1] > falling[number]]
    if not cuts:
        return None
    gaps = {number: abs(number * baseline[1] - baseline[0] * rows) for number in cuts}
    least = min(gaps.values())
    found = [between(falling[number], falling[number - 1]) for number, gap in gaps.items() if gap == least]
    return min(found, key=lambda each: (abs(each - threshold), each))


def _gap(positives: int, known: Sequence[float], decided: Sequence[bool]) -> int:
    """How far the share is from the baseline's, times both sizes."""
    return abs(positives * len(decided) - sum(decided) * len(known))
