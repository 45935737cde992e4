"""BigQuery's table resources, read as tables and columns.

Source: the REST reference of BigQuery v2, resource ``Table`` (``tableReference``, ``schema.fields[]`` with ``name``,
``type``, ``mode`` and, for RECORD, ``fields``). Only these are read.
"""

from typing import Any

from modeldrop.errors import FieldProblem

DEEPEST_RECORD = 15  # BigQuery's own limit
MOST_FIELDS = 2_000

_REFERENCE = ("projectId", "datasetId", "tableId")


def read_resources(metadata: object, problems: list[FieldProblem]) -> dict[str, dict[str, str]]:
    """``project.dataset.table`` to its columns and types; what is wrong is added to ``problems``.

    A RECORD becomes ``STRUCT<name TYPE, …>``, a REPEATED field ``ARRAY<…>``.
    """
    resources = metadata.get("tables", [metadata]) if isinstance(metadata, dict) else metadata
    if not isinstance(resources, list):
        problems.append(FieldProblem("tables", "must be an object of tables, or a list of table resources"))
        return {}
    tables: dict[str, dict[str, str]] = {}
    left = [MOST_FIELDS]
    for number, resource in enumerate(resources):
        place = f"tables[{number}]"
        name = _full_name(resource, place, problems)
        if name is None:
            continue
        if name in tables:
            problems.append(FieldProblem(place, "the table is there twice"))
        schema = resource.get("schema")
        fields = schema.get("fields") if isinstance(schema, dict) else None
        tables[name] = dict(_read_fields(fields, f"{place}.schema.fields", 1, left, problems))
    return tables


def _full_name(resource: object, place: str, problems: list[FieldProblem]) -> str | None:
    reference = resource.get("tableReference") if isinstance(resource, dict) else None
    parts = [reference.get(key) for key in _REFERENCE] if isinstance(reference, dict) else []
    names = [part for part in parts if isinstance(part, str) and part and "." not in part]
    if len(names) != len(_REFERENCE):
        problems.append(FieldProblem(f"{place}.tableReference", f"must have the texts {', '.join(_REFERENCE)}"))
        return None
    return ".".join(names)


def _read_fields(
    fields: object, place: str, level: int, left: list[int], problems: list[FieldProblem]
) -> list[tuple[str, str]]:
    if not isinstance(fields, list) or level > DEEPEST_RECORD:
        problems.append(FieldProblem(place, f"must be a list, at most {DEEPEST_RECORD} levels deep"))
        return []
    left[0] -= len(fields)  # nested fields count, too
    if left[0] < 0:
        problems.append(FieldProblem(place, f"more than {MOST_FIELDS:,} fields in all"))
        return []
    columns: dict[str, str] = {}
    for number, field in enumerate(fields):
        here = f"{place}[{number}]"
        name = field.get("name") if isinstance(field, dict) else None
        if not isinstance(name, str) or name in columns:
            problems.append(FieldProblem(f"{here}.name", "must be a text, once among its neighbours"))
            continue
        columns[name] = _type(field, here, level, left, problems)
    return list(columns.items())


def _type(field: dict[str, Any], place: str, level: int, left: list[int], problems: list[FieldProblem]) -> str:
    type_ = field.get("type")
    if not isinstance(type_, str):
        problems.append(FieldProblem(f"{place}.type", "must be a text"))
        return ""
    if type_.upper() in ("RECORD", "STRUCT"):
        nested = _read_fields(field.get("fields"), f"{place}.fields", level + 1, left, problems)
        type_ = f"STRUCT<{', '.join(f'{name} {of}' for name, of in nested)}>"
    return f"ARRAY<{type_}>" if field.get("mode") == "REPEATED" else type_
