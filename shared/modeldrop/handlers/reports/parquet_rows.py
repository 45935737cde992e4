"""Parquet → JSON lines, in a process of its own: ``python -m modeldrop.handlers.reports.parquet_rows``.

A few kilobytes of Parquet can claim gigabytes, in pages that are decompressed before anybody can look at them, and a
broken file can bring the native reader down. Neither must happen to the process that watches all models. So the child
has a limit on its memory and its time, writes as much as its reader is willing to take, and may die as it likes. It
reads a line with the names of the columns (JSON; empty: all), then the file.

Needs pyarrow, which is an extra: ``pip install 'modeldrop[parquet]'``.
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from modeldrop.errors import InvalidInput
from modeldrop.handlers.reports.reference_records import MOST_COLUMNS, refused

MEMORY_BYTES = 2 << 30
SECONDS = 60
OUTPUT_BYTES = 256 << 20
ROWS_AT_ONCE = 1_000
MISSING_EXTRA = "reading Parquet needs pyarrow: pip install 'modeldrop[parquet]'"
REFUSED = 3  # exit code: stderr says why
_LONGEST_REASON = 300


def json_lines_of_parquet(data: bytes, columns: Sequence[str], *, seconds: float = SECONDS) -> bytes:
    """The rows as JSON lines, of these columns (none named: of all).

    Raises InvalidInput if they cannot be read, for whatever reason.
    """
    with tempfile.TemporaryFile() as lines:
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                input=json.dumps(list(columns)).encode() + b"\n" + data,
                stdout=lines,
                stderr=subprocess.PIPE,
                timeout=seconds,
                check=False,
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
        except subprocess.TimeoutExpired:
            raise refused(f"could not be read as Parquet within {seconds:g} s") from None
        if done.returncode != 0:
            raise _unreadable(done.returncode, done.stderr)
        lines.seek(0)
        return lines.read()


def _unreadable(code: int, stderr: bytes) -> InvalidInput:
    if code == REFUSED:
        return refused(stderr.decode("utf-8", "replace").strip()[-_LONGEST_REASON:])
    return refused(f"cannot be read as Parquet within {MEMORY_BYTES >> 20:,} MiB (the reader ended with {code})")


def main() -> int:
    """The child."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, OUTPUT_BYTES))  # one byte more is SIGXFSZ
    wanted = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    try:
        _write_rows(data, wanted)
    except ImportError:
        return _refuse(MISSING_EXTRA)
    except MemoryError:
        return _refuse(f"takes more than {MEMORY_BYTES >> 20:,} MiB to read")
    except Exception as error:  # whatever the native reader makes of a hostile file
        return _refuse(f"is not Parquet that can be read: {error}"[:_LONGEST_REASON])
    return 0


def _refuse(reason: str) -> int:
    sys.stderr.write(reason)
    return REFUSED


def _write_rows(data: bytes, wanted: Sequence[str]) -> None:
    import pyarrow  # noqa: PLC0415 - an extra, and only here
    from pyarrow import parquet  # noqa: PLC0415

    file = parquet.ParquetFile(pyarrow.BufferReader(data))
    names = file.schema_arrow.names
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"{len(names):,} columns; at most {MOST_COLUMNS:,} are read")
    columns = [name for name in names if name in wanted] if wanted else names
    number = 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns, use_threads=False):
        for row in batch.to_pylist():
            number += 1
            sys.stdout.write(json_line(row, number))
    sys.stdout.flush()


def json_line(row: Mapping[str, object], number: int) -> str:
    """The row of that number as a line of JSON; raises ValueError for what is no feature value.

    >>> json_line({"amount": Decimal("2.50"), "on": date(2026, 1, 1), "country": None}, 1)
    '{"amount": 2.5, "on": "2026-01-01", "country": null}\\n'
    >>> json_line({"amount": float("nan")}, 2)
    Traceback (most recent call last):
    ValueError: row 2, amount: nan is not a finite number
    """
    plain = {name: _plain(value, f"row {number}, {name[:80]}") for name, value in row.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def _plain(value: object, where: str) -> object:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value} is not a finite number")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str | dict):
        return value
    raise ValueError(f"{where}: a {type(value).__name__} is no feature value")


if __name__ == "__main__":
    sys.exit(main())
