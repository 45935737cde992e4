"""How answers are drawn: as text that steers no terminal, as wide as it needs to be where no terminal sets a width."""

import json
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from modeldrop.errors import Unavailable

Answer = dict[str, Any]

FOREIGN = "the server does not answer as modeldrop does. Is it its address?"
UNLIMITED_COLUMNS = 10_000
_STEERING = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})  # controls, formats, private use, surrogates, breaks
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (0, "s"))


class Screen(Console):
    """Standard output: full text where it is no terminal; a closed pipe is told to the caller, not hidden."""

    def __init__(self) -> None:
        super().__init__(width=None if sys.stdout.isatty() else UNLIMITED_COLUMNS)

    def on_broken_pipe(self) -> None:
        """Nobody reads."""
        raise BrokenPipeError


def plain(text: str) -> str:
    r"""Text from outside, safe to print: what could steer a terminal, or turn its writing around, is spelled out.

    >>> print(plain("\x1b[31mred\x9b2J\u202e"))
    \x1b[31mred\x9b2J\u202e
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _STEERING and character != "\n"
        else character
        for character in text
    )


def show(answer: Answer, table: Callable[[Answer], Table], as_json: bool) -> None:
    """Print the answer. Everything that came from outside is printed as text, never as markup.

    Raises Unavailable if it is no answer of the API.
    """
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        Screen().print(drawn(answer, table))


def drawn(answer: Answer, table: Callable[[Answer], Table]) -> Table:
    """The answer's table. Raises Unavailable if it is no answer of the API."""
    try:
        return table(answer)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise Unavailable(FOREIGN) from None


def table_of(columns: list[str], rows: list[list[str]]) -> Table:
    """A table of text; a cell that does not fit goes on in the next line."""
    table = Table(show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(plain(cell)) for cell in row])
    return table


def ago(moment: str | None, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was, in its largest unit; text that is no time stays as it is.

    >>> ago("2026-01-10T12:00:00Z", datetime(2026, 1, 10, 15, 30, tzinfo=UTC))
    '3 h ago'
    >>> ago("2026-01-10T12:00:05Z", datetime(2026, 1, 10, 12, 0, tzinfo=UTC))
    'in 5 s'
    """
    if moment is None:
        return "-"
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    passed = round(((now or datetime.now(UTC)) - then).total_seconds())
    least, unit = next((least, unit) for least, unit in _UNITS if abs(passed) >= least)
    amount = f"{abs(passed) // max(least, 1)} {unit}"
    return f"in {amount}" if passed < 0 else f"{amount} ago"


def to_the_second(moment: str) -> str:
    """An ISO 8601 time without parts of a second; text that is no time stays as it is.

    >>> to_the_second("2026-01-10T12:00:00.123456Z")
    '2026-01-10T12:00:00Z'
    """
    try:
        return datetime.fromisoformat(moment).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    except ValueError:
        return moment
