"""Typed values from untyped ones, with every field error at once (msgspec alone stops at the first)."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput

T = TypeVar("T")

MOST_PROBLEMS = 100
LONGEST_MESSAGE = 300  # msgspec quotes values, and those come from outside
_AT_PATH = re.compile(r" - at `\$(.*)`$")


def convert(value: object, kind: type[T], path: str = "") -> T:
    """``value`` as ``kind``; raises InvalidInput with all that is wrong, each with its path.

    >>> from modeldrop.domain.policy import Policy
    >>> try:
    ...     convert({"gate": {"floors": {"f1": "high"}, "preset": "best"}, "rolout": {}}, Policy)
    ... except InvalidInput as error:
    ...     print(*error.problems, sep="\\n")
    gate.preset: Invalid enum value 'best'
    gate.floors.f1: Expected `float`, got `str`
    rolout: unknown field
    """
    problems = field_problems(value, kind, path)
    if problems:
        raise InvalidInput(problems)
    return msgspec.convert(value, kind)


def field_problems(value: object, kind: Any, path: str) -> list[FieldProblem]:
    """What keeps ``value`` from being a ``kind``, the first hundred; empty if nothing does."""
    return list(islice(_problems(value, kind, path), MOST_PROBLEMS))


def _problems(value: object, kind: Any, path: str) -> Iterator[FieldProblem]:
    """One after the other, as they are asked for: a hostile document has a million."""
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        inner = _inner_problems(value, kind, path)
        yield next(inner, None) or _problem(path, str(error))
        yield from inner


def _inner_problems(value: object, kind: Any, path: str) -> Iterator[FieldProblem]:
    """The problems of the parts, where the parts can be told apart."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if not isinstance(value, Mapping):
        if get_origin(kind) is list and isinstance(value, list):
            (item,) = get_args(kind)
            for i, part in enumerate(value):
                yield from _problems(part, item, f"{path}[{i}]")
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _struct_problems(value, kind, path)
    elif get_origin(kind) is dict:
        key_kind, item = get_args(kind)
        for name, part in value.items():
            where = _join(path, name)
            yield from _problems(name, key_kind, where)
            yield from _problems(part, item, where)


def _struct_problems(value: Mapping[Any, Any], kind: type[msgspec.Struct], path: str) -> Iterator[FieldProblem]:
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in known.items():
        if name in value:
            yield from _problems(value[name], field.type, _join(path, name))
        elif field.required:
            yield FieldProblem(_join(path, name), "missing")
    if kind.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in known:
                yield FieldProblem(_join(path, name), "unknown field")


def _join(path: str, name: object) -> str:
    """Field names come from outside: shown in ASCII and cut, so that a report cannot be forged or blown up."""
    shown = name if isinstance(name, str) and name.isascii() and name.isprintable() else ascii(name)
    return f"{path}.{shown[:128]}" if path else shown[:128]


def _problem(path: str, message: str) -> FieldProblem:
    inner = _AT_PATH.search(message)
    if inner and inner[1] != "":
        path = f"{path}{inner[1].removeprefix('.') if not path else inner[1]}"
    text = _AT_PATH.sub("", message)
    return FieldProblem(path or "$", text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…")
