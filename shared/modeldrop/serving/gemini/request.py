"""One instance of a ``gemini`` version: a question in plain words, and the tables it is about."""

from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.serving.sql.schema import DatasetSchema, read_schema

LONGEST_QUERY = 4_000
LONGEST_DATASET_NAME = 256
MOST_PROBLEMS_SHOWN = 20


class SqlRequest(msgspec.Struct, frozen=True):
    """A checked instance."""

    user_query: str
    dataset_name: str
    schema: DatasetSchema

    @property
    def dialect(self) -> str:
        """Of the four the guard knows."""
        return self.schema.dialect

    @property
    def tables(self) -> dict[str, dict[str, str]]:
        """Column to type, by table."""
        return self.schema.tables


def read_request(instance: object) -> SqlRequest:
    """The request in an instance; raises InvalidInput with everything that is wrong. Other fields are not looked at.

    >>> tables = {"dialect": "sqlite", "tables": {"orders": {"id": "INTEGER"}}}
    >>> read_request({"user_query": "How many?", "dataset_name": "shop", "dataset_metadata": tables}).dialect
    'sqlite'
    """
    if not isinstance(instance, dict):
        raise InvalidInput([FieldProblem("$", "an instance must be an object")])
    problems: list[FieldProblem] = []
    query = _text(instance, "user_query", LONGEST_QUERY, problems)
    name = _text(instance, "dataset_name", LONGEST_DATASET_NAME, problems)
    schema = _schema(instance, problems)
    if problems or schema is None:
        more = len(problems) - MOST_PROBLEMS_SHOWN
        rest = [FieldProblem("$", f"and {more} more problems")] if more > 0 else []
        raise InvalidInput([*problems[:MOST_PROBLEMS_SHOWN], *rest])
    return SqlRequest(query, name, schema)


def _text(instance: dict[str, Any], name: str, longest: int, problems: list[FieldProblem]) -> str:
    value = instance.get(name)
    if not isinstance(value, str):
        problems.append(FieldProblem(name, "missing" if value is None else "must be text"))
        return ""
    if not value.strip():
        problems.append(FieldProblem(name, "is empty"))
    elif len(value) > longest:
        problems.append(FieldProblem(name, f"{len(value):,} characters, more than the {longest:,} allowed"))
    elif not _is_writable(value):
        problems.append(FieldProblem(name, "holds characters that no text has"))
    return value


def _is_writable(text: str) -> bool:
    """Lone surrogates cannot be sent, and nobody writes NUL."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _schema(instance: dict[str, Any], problems: list[FieldProblem]) -> DatasetSchema | None:
    value = instance.get("dataset_metadata")
    if value is None:
        problems.append(FieldProblem("dataset_metadata", "missing"))
        return None
    if not isinstance(value, str | dict | list):
        problems.append(FieldProblem("dataset_metadata", "must be JSON text, an object, or a list"))
        return None
    try:
        return read_schema(value)
    except InvalidInput as error:
        problems += [
            FieldProblem("dataset_metadata" if p.field == "$" else f"dataset_metadata.{p.field}", p.message)
            for p in error.problems
        ]
        return None
