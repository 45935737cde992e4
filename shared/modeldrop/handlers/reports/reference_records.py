"""The formats a package's reference rows come in, record by record: JSON lines, CSV, Parquet.

Nothing here trusts the file: records are read one at a time and bounded, a record that cannot be read is an
InvalidInput that says which one.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json

MOST_RECORD_BYTES = 1 << 20
MOST_COLUMNS = 2_000


def csv_records(data: bytes) -> Iterator[list[str]]:
    """Lines of CSV (RFC 4180, UTF-8) as cells, the header first; empty lines are passed over.

    >>> list(csv_records(b'a,b\\r\\n1,"x,y"\\r\\n'))
    [['a', 'b'], ['1', 'x,y']]
    """
    try:
        yield from (cells for cells in csv.reader(_text_lines(data), strict=True) if cells)
    except csv.Error as error:
        raise refused(f"is not CSV: {error}") from None
    except UnicodeDecodeError:
        raise refused("is not UTF-8") from None


def json_records(data: bytes) -> Iterator[bytes]:
    """Lines of a file of JSON lines; empty ones are passed over.

    >>> list(json_records(b'{"a": 1}\\n\\n{"a": 2}'))
    [b'{"a": 1}', b'{"a": 2}']
    """
    lines = io.BytesIO(data)
    while line := lines.readline(MOST_RECORD_BYTES + 1):
        if len(line) > MOST_RECORD_BYTES:
            raise refused(f"has a line of more than {MOST_RECORD_BYTES:,} bytes")
        if stripped := line.strip():
            yield stripped


def check_header(header: Sequence[str]) -> None:
    """Raises InvalidInput for a header that names too many columns, or one of them twice.

    >>> check_header(["amount", "country", ""])
    """
    if len(header) > MOST_COLUMNS:
        raise refused(f"has {len(header):,} columns; at most {MOST_COLUMNS:,} are read")
    named = [name for name in header if name]
    twice = sorted({name for name in named if named.count(name) > 1}) if len(set(named)) < len(named) else []
    if twice:
        raise InvalidInput([FieldProblem(shown(name), "is there twice in the header") for name in twice[:20]])
    if not named:
        raise refused("has no header")


def row_of_cells(cells: Sequence[str], header: Sequence[str]) -> Mapping[str, object]:
    """The cells by their column; raises InvalidInput unless there are as many as columns."""
    if len(cells) != len(header):
        raise refused(f"{len(cells):,} cells, and the header has {len(header):,}")
    return dict(zip(header, cells, strict=True))


def row_of_json(line: bytes) -> Mapping[str, object]:
    """The object of a line; raises InvalidInput for anything else (NaN, a number beyond 64 bits, a key twice …)."""
    value = strict_json.decode(line, limit_bytes=MOST_RECORD_BYTES)
    if not isinstance(value, dict):
        raise refused("is not a JSON object")
    if len(value) > MOST_COLUMNS:
        raise refused(f"has {len(value):,} values; at most {MOST_COLUMNS:,} are read")
    return value


def refused(reason: str) -> InvalidInput:
    """What is wrong with the file, or the record, as a whole."""
    return InvalidInput([FieldProblem("$", reason)])


def shown(name: str) -> str:
    """Names come from outside: printable and cut, fit for a message."""
    return name[:80] if name.isprintable() else ascii(name[:80])


def _text_lines(data: bytes) -> Iterator[str]:
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    while line := lines.readline(MOST_RECORD_BYTES + 1):
        if len(line) > MOST_RECORD_BYTES:
            raise refused(f"has a line of more than {MOST_RECORD_BYTES:,} characters")
        yield line
