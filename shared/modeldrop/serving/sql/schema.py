"""The tables a statement may read, from an instance's ``dataset_metadata``."""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json
from modeldrop.serving.sql.bigquery_tables import read_resources

Dialect = Literal["bigquery", "postgres", "duckdb", "sqlite"]
Tables = dict[str, dict[str, str]]

METADATA_LIMIT_BYTES = 256 * 1024
MOST_TABLES = 200
MOST_COLUMNS = 2_000
LONGEST_NAME = 256
LONGEST_TYPE = 64 * 1024  # of a nested RECORD, all fields written out
MOST_PROBLEMS = 50
POSTGRES_NAME_BYTES = 63  # PostgreSQL cuts longer names, and the rest may be the name of another table

# No quotes, slashes, wildcards (*), partitions ($), times (@): a table's name must be nothing but a name.
_TABLE_PART = re.compile(r"\w[\w -]*")
_COLUMN = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\"`\\\[\]]+")
_TYPE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")
_SYSTEM = re.compile(r"(sqlite_|pg_|duckdb_|pragma_|information_schema|__tables|_table_suffix|dbstat)", re.IGNORECASE)
# DuckDB opens a file where it finds no table: "orders.csv", also written "orders"."csv".
_ENDINGS = "csv tsv txt parquet json jsonl ndjson geojson gz zst xlsx xls db duckdb sqlite arrow feather avro vortex"
_FILE_ENDINGS = frozenset(_ENDINGS.split())


class DatasetSchema(msgspec.Struct, frozen=True):
    """``tables``: full name (parts joined by dots) to its columns and their types as declared."""

    dialect: Dialect
    tables: Tables


def read_schema(dataset_metadata: str | Mapping[str, Any] | list[Any]) -> DatasetSchema:
    """The schema in ``dataset_metadata``: JSON text, or the value it would decode to.

    Two shapes: ``{"dialect", "tables": {table: {column: type}}}``, and BigQuery's table resources: one, a list of them,
    or ``{"tables": [...]}``, where the dialect may be left out. Raises InvalidInput with all problems (at most 50).

    >>> read_schema('{"dialect": "sqlite", "tables": {"orders": {"id": "INTEGER"}}}').tables
    {'orders': {'id': 'INTEGER'}}
    """
    metadata = _decoded(dataset_metadata)
    problems: list[FieldProblem] = []
    if isinstance(metadata, dict) and isinstance(metadata.get("tables"), dict):
        dialect: object = metadata.get("dialect")
        tables = _read_mapping(metadata["tables"], problems)
    else:
        dialect = metadata.get("dialect", "bigquery") if isinstance(metadata, dict) else "bigquery"
        tables = read_resources(metadata, problems)
    if dialect not in get_args(Dialect):
        problems.append(FieldProblem("dialect", f"must be one of {', '.join(get_args(Dialect))}"))
    _check_counts(tables, problems)
    for name, columns in tables.items():
        _check_table(name, str(dialect), problems)
        _check_columns(name, columns, problems)
    if problems:
        raise InvalidInput(problems[:MOST_PROBLEMS])
    return msgspec.convert({"dialect": dialect, "tables": tables}, DatasetSchema)


def _decoded(dataset_metadata: object) -> Any:
    """Through JSON in both cases, so that a value meets the same limits of size, depth and numbers as a text."""
    try:
        data = dataset_metadata.encode() if isinstance(dataset_metadata, str) else msgspec.json.encode(dataset_metadata)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):  # ValueError: a lone surrogate
        raise InvalidInput([FieldProblem("$", "cannot be read as JSON")]) from None
    return strict_json.decode(data, limit_bytes=METADATA_LIMIT_BYTES)


def _read_mapping(value: dict[str, Any], problems: list[FieldProblem]) -> Tables:
    tables: Tables = {}
    for table, columns in value.items():
        place = f"tables.{ascii(table)[1:-1][:LONGEST_NAME]}"
        if not isinstance(columns, dict):
            problems.append(FieldProblem(place, "must be an object of column to type"))
            continue
        wrong = [column for column, type_ in columns.items() if not isinstance(type_, str)]
        problems.extend(FieldProblem(f"{place}.{ascii(name)[1:-1][:128]}", "the type must be a text") for name in wrong)
        tables[table] = {column: type_ for column, type_ in columns.items() if column not in wrong}
    return tables


def _check_counts(tables: Tables, problems: list[FieldProblem]) -> None:
    if not tables and not problems:
        problems.append(FieldProblem("tables", "names no table"))
    if len(tables) > MOST_TABLES:
        problems.append(FieldProblem("tables", f"{len(tables):,} tables, more than the {MOST_TABLES} allowed"))
    columns = sum(map(len, tables.values()))
    if columns > MOST_COLUMNS:
        problems.append(FieldProblem("tables", f"{columns:,} columns, more than the {MOST_COLUMNS:,} allowed"))


def _check_table(name: str, dialect: str, problems: list[FieldProblem]) -> None:
    place = f"tables.{ascii(name)[1:-1][:LONGEST_NAME]}"
    parts = name.split(".")
    if len(name) > LONGEST_NAME:
        problems.append(FieldProblem(place, f"the name is longer than {LONGEST_NAME} characters"))
    elif len(parts) > 3 or not all(map(_TABLE_PART.fullmatch, parts)):
        problems.append(FieldProblem(place, "must be one to three names of letters, digits, _, - and spaces"))
    elif any(map(_SYSTEM.match, parts)):
        problems.append(FieldProblem(place, "tables of the database system cannot be offered"))
    elif dialect == "duckdb" and parts[-1].lower() in _FILE_ENDINGS:
        problems.append(FieldProblem(place, "looks like a file's name"))
    elif dialect == "postgres" and any(len(part.encode()) > POSTGRES_NAME_BYTES for part in parts):
        problems.append(FieldProblem(place, f"a name is longer than {POSTGRES_NAME_BYTES} bytes"))


def _check_columns(table: str, columns: dict[str, str], problems: list[FieldProblem]) -> None:
    place = f"tables.{ascii(table)[1:-1][:LONGEST_NAME]}"
    if not columns:
        problems.append(FieldProblem(place, "has no columns"))
    for name, type_ in columns.items():
        column = f"{place}.{ascii(name)[1:-1][:128]}"
        if len(name) > LONGEST_NAME or not _COLUMN.fullmatch(name):
            problems.append(FieldProblem(column, f"not a column's name of at most {LONGEST_NAME} characters"))
        if len(type_) > LONGEST_TYPE or not _TYPE.fullmatch(type_):
            problems.append(FieldProblem(column, "not a type: too long, or with control characters"))
