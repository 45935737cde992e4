"""What a benchmark says: rows of a measured value, the reference of the same run, their ratio, and the aim."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from rich.table import Table

POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Aim:
    """At most ``limit``: of the worst value measured, of the value itself, or of its ratio to the reference."""

    limit: float
    of: Literal["worst", "measured", "ratio"]


@dataclass(frozen=True)
class Reference:
    """What the measured value is held against; taken in the same run."""

    value: float
    name: str


@dataclass(frozen=True)
class Row:
    """One line of the result. ``worst`` is given where single values matter, not only their median."""

    bench: str
    what: str
    measured: float
    unit: str
    worst: float | None = None
    reference: Reference | None = None
    aim: Aim | None = None

    @property
    def ratio(self) -> float | None:
        """Measured against reference; None without one, or where it is 0."""
        return self.measured / self.reference.value if self.reference and self.reference.value else None

    @property
    def judged(self) -> float | None:
        """The value the aim is about."""
        if self.aim is None:
            return None
        return {"worst": self.worst, "measured": self.measured, "ratio": self.ratio}[self.aim.of]

    @property
    def verdict(self) -> str:
        """``ok``, ``missed``, or nothing for a row that only informs.

        >>> Row("b", "x", 3.0, "s", reference=Reference(2.0, "y"), aim=Aim(1.4, "ratio")).verdict
        'missed'
        """
        if self.aim is None:
            return ""
        return "ok" if self.judged is not None and self.judged <= self.aim.limit else "missed"

    def facts(self) -> dict[str, Any]:
        """The row for programs."""
        return {
            "bench": self.bench,
            "what": self.what,
            "measured": self.measured,
            "worst": self.worst,
            "unit": self.unit,
            "reference": self.reference.value if self.reference else None,
            "reference_is": self.reference.name if self.reference else None,
            "ratio": self.ratio,
            "aim": _aim_text(self) or None,
            "verdict": self.verdict or None,
        }


@dataclass(frozen=True)
class Note:
    """Something the reader must know: what was left out, and why."""

    bench: str
    text: str


def timed(bench: str, what: str, seconds: Sequence[float], reference: Reference | None, aim: Aim | None) -> Row:
    """The row of several durations: their median and the worst of them."""
    return Row(bench, what, median(seconds), "s", max(seconds), reference, aim)


def until(holds: Callable[[], bool], claim: str, limit_seconds: float = 60.0) -> float:
    """Ask again and again until it holds; when that was (``time.perf_counter``). Raises TimeoutError."""
    deadline = time.perf_counter() + limit_seconds
    while not holds():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {limit_seconds:g} s: {claim}")
        time.sleep(POLL_SECONDS)
    return time.perf_counter()


def rate(work: Callable[[], object], seconds: float) -> float:
    """How often a second ``work`` can be done, one after the other."""
    begin = time.perf_counter()
    count = 0
    while (now := time.perf_counter()) - begin < seconds:
        work()
        count += 1
    return count / (now - begin)


def table(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    result = Table(title="modeldrop benchmarks", title_justify="left")
    for column in ("bench", "what"):
        result.add_column(column)
    for column in ("measured", "worst", "reference", "ratio", "aim"):
        result.add_column(column, justify="right", no_wrap=column != "reference")
    result.add_column("", no_wrap=True)
    last = ""
    for row in rows:
        if row.bench != last:
            result.add_section()
        result.add_row(row.bench if row.bench != last else "", *_cells(row))
        last = row.bench
    return result


def _cells(row: Row) -> list[str]:
    reference = f"{_amount(row.reference.value, row.unit)} {row.reference.name}" if row.reference else ""
    colour = {"ok": "green", "missed": "red", "": "default"}[row.verdict]
    return [
        row.what,
        _amount(row.measured, row.unit),
        "" if row.worst is None else _amount(row.worst, row.unit),
        reference,
        "" if row.ratio is None else f"{row.ratio:.2f}×",
        _aim_text(row),
        f"[{colour}]{row.verdict}[/]",
    ]


def _aim_text(row: Row) -> str:
    if row.aim is None:
        return ""
    if row.aim.of == "ratio":
        return f"≤ {row.aim.limit:g}×"
    return f"≤ {_amount(row.aim.limit, row.unit)}" + (" worst" if row.aim.of == "worst" else "")


def _amount(value: float, unit: str) -> str:
    """A value with its unit, in three or four digits.

    >>> _amount(0.01234, "s"), _amount(0.9996, "s"), _amount(1.2345, "s"), _amount(1234.5, "/s"), _amount(6.0, "")
    ('12.3 ms', '1.00 s', '1.23 s', '1,234/s', '6')
    """
    if unit == "s":
        return f"{value:.2f} s" if value >= 0.9995 else f"{1000 * value:.3g} ms"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{value:g} {unit}".rstrip()
