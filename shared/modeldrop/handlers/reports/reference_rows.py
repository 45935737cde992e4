"""The rows of a package's reference, by column, as samples hold them.

Of more rows than the limit those are taken whose *number* in the file has the smallest hash: a uniform sample, the
same each time. (The hash of a row's content would take all rows that are equal or none of them.) Every value that is
taken is checked, and with any that is wrong there is no reference at all.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from modeldrop.domain.drift.columns import Column, Observations
from modeldrop.domain.sampling.hashing import LARGEST_HASH, hash_id
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.handlers.reports.reference_records import (
    check_header,
    csv_records,
    json_records,
    refused,
    row_of_cells,
    row_of_json,
    shown,
)
from modeldrop.handlers.reports.reference_values import infer_cells, stored_value, value_of_cell, value_of_json
from modeldrop.handlers.reports.sampled_columns import MOST_FEATURES, PREDICTION, answer, infer_type, known_types

MOST_PROBLEMS = 20
NOT_FEATURES = frozenset({PREDICTION, "label", ""})  # a table that was written with its index has a column without name

Cells = dict[str, list[Any]]


class Table(NamedTuple):
    """A file's records, as often as they are asked for, and how one of them is read."""

    records: Callable[[], Iterator[Any]]
    read: Callable[[Any], Mapping[str, object]]


class Limits(msgspec.Struct, frozen=True):
    """How much of a file is taken, and from where on it is refused."""

    rows: int = 200_000
    values: int = 4_000_000  # of all columns together: fewer rows are taken of a file with many columns
    file_rows: int = 2_000_000  # of more it is refused


_USUAL = Limits()


class ReferenceRows(msgspec.Struct, frozen=True):
    """The columns, of how many rows of the file."""

    observations: Observations
    file_rows: int


def read_rows(name: str, data: bytes, rule: KeepRule, limits: Limits = _USUAL) -> ReferenceRows:
    """The rows of a file by the ending of its name; raises InvalidInput with what is wrong (field: row, column)."""
    is_csv, wanted = name.endswith(".csv"), set(known_types(rule)) if rule.declared else None
    if name.endswith(".parquet"):
        from modeldrop.handlers.reports.parquet_rows import json_lines_of_parquet  # noqa: PLC0415 - rare

        data = json_lines_of_parquet(data, [] if wanted is None else [*sorted(wanted), PREDICTION])
    table = _csv_table(data) if is_csv else Table(partial(json_records, data), row_of_json)
    file_rows, first = _count(table.records(), limits.file_rows), next(table.records(), None)
    if first is None:
        raise refused("has no rows")
    width = len(_row(table, first, 1)) if wanted is None else len(wanted) + 1
    threshold = _threshold(file_rows, min(limits.rows, limits.values // max(1, width)))
    return ReferenceRows(_observe(_gather(table, threshold, wanted, 2 * limits.values), rule, is_csv), file_rows)


def _csv_table(data: bytes) -> Table:
    header = next(csv_records(data), None)
    if header is None:
        raise refused("is empty")
    check_header(header)
    return Table(lambda: islice(csv_records(data), 1, None), partial(row_of_cells, header=header))


def _count(records: Iterator[object], most: int) -> int:
    count = 0
    for count, _ in enumerate(records, start=1):
        if count > most:
            raise refused(f"has more than {most:,} rows")
    return count


def _threshold(file_rows: int, most: int) -> int:
    """Rows are taken up to this hash of their number."""
    if file_rows <= most:
        return LARGEST_HASH
    return sorted(_hash(number) for number in range(1, file_rows + 1))[most - 1]


def _hash(number: int) -> int:
    return hash_id(f"row {number}")


def _gather(table: Table, threshold: int, wanted: set[str] | None, most_values: int) -> Cells:
    """The raw values of the rows taken, by column; None where a row has none. Without ``wanted`` all columns."""
    cells: Cells = {}
    taken = values = 0
    for number, record in enumerate(table.records(), start=1):
        if threshold != LARGEST_HASH and _hash(number) > threshold:
            continue
        for name, value in _row(table, record, number).items():
            if name == PREDICTION or (name not in NOT_FEATURES if wanted is None else name in wanted):
                _add(cells, name, value, taken)
        taken += 1
        values += len(cells)
        if values > most_values or len(cells) > MOST_FEATURES + 1:
            raise refused(f"holds more than {most_values:,} values, or {MOST_FEATURES:,} features")
    for column in cells.values():
        column.extend([None] * (taken - len(column)))
    return cells


def _add(cells: Cells, name: str, value: object, row: int) -> None:
    column = cells.setdefault(name, [])
    if len(column) < row:
        column += [None] * (row - len(column))
    column.append(value)


def _row(table: Table, record: Any, number: int) -> Mapping[str, object]:
    try:
        return table.read(record)
    except InvalidInput as error:
        raise InvalidInput([FieldProblem(f"row {number}", each.message) for each in error.problems]) from None


def _observe(cells: Cells, rule: KeepRule, is_csv: bool) -> Observations:
    problems: list[FieldProblem] = []
    types = known_types(rule)
    predictions = cells.pop(PREDICTION, None)
    if not cells and (types or predictions is None):  # where all is redacted, the predictions are left
        raise refused(_nothing_to_compare(rule))
    columns = []
    for name in sorted(cells):
        if rule.is_dropped(name):
            continue
        values = _read(name, cells.pop(name), rule, is_csv, problems)
        columns.append(Column(name, types.get(name) or infer_type(values), values))
    prediction = None
    if predictions is not None:
        values = _read(PREDICTION, list(map(answer, predictions)), KeepRule(), is_csv, problems)
        prediction = Column(PREDICTION, infer_type(values), values)
    if problems:
        raise InvalidInput(problems)
    return Observations(columns, prediction)


def _nothing_to_compare(rule: KeepRule) -> str:
    if not rule.declared:
        return "has no features"
    return "has none of the features the metadata declare" if rule.kept else "all features are redacted, no predictions"


def _read(name: str, cells: list[Any], rule: KeepRule, is_csv: bool, problems: list[FieldProblem]) -> list[object]:
    """The column's values as a sample would hold them; adds to ``problems`` what is none."""
    declared = rule.declared.get(name)
    type_ = declared or (infer_cells([cell or "" for cell in cells]) if is_csv else None)
    same: dict[str, object] = {}  # one object for equal texts
    values: list[object] = []
    for number, cell in enumerate(cells, start=1):
        try:
            if isinstance(cell, str) and cell in same:
                values.append(same[cell])
                continue
            value = value_of_cell(cell or "", type_ or "") if is_csv else value_of_json(cell, type_)
        except ValueError as error:
            problems.append(FieldProblem(f"{shown(name)}, row {number} of those read", str(error)))
            if len(problems) >= MOST_PROBLEMS:
                raise InvalidInput(problems) from None
            continue
        values.append(stored_value(name, value, rule))
        if isinstance(cell, str):
            same[cell] = values[-1]
    return values
