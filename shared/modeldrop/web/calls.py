"""What a handler of the API is given, and what may be asked in a query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from modeldrop.events.field_errors import convert
from modeldrop.http.messages import Asked
from modeldrop.web.answers.names import Instant, Limit, PageId, Version
from modeldrop.web.callers.caller import Caller

MOST_DIGITS = 4


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls that take no parameters."""


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a list."""

    limit: Limit = 50
    before: PageId | None = None


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of the history; or with ``at``: what served then."""

    limit: Limit = 50
    before: PageId | None = None
    at: Instant | None = None


class WindowQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A window, by its start, of a version; left out: the latest, and the version in production."""

    window: Instant | None = None
    version: Version | None = None


class TrendQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of a version's windows; left out: the version in production."""

    limit: Limit = 50
    before: Instant | None = None
    version: Version | None = None


Q = TypeVar("Q", bound=msgspec.Struct)


@dataclass(frozen=True)
class Call(Generic[Q]):
    """One call of a route. ``arguments`` are the names in its path; ``asked`` is None where no request came for it."""

    arguments: Mapping[str, str]
    query: Q
    caller: Caller
    body: bytes = b""
    asked: Asked | None = None

    @property
    def model(self) -> str:
        """The model in the path."""
        return self.arguments["model"]


def read_query(query: Mapping[str, Any], kind: type[Q]) -> Q:
    """A query's texts as ``kind``; raises InvalidInput with everything that is wrong.

    >>> read_query({"limit": "20"}, Page).limit
    20
    >>> read_query({"limit": "0", "befor": "v1"}, Page)
    Traceback (most recent call last):
    modeldrop.errors.InvalidInput: limit: Expected `int` >= 1; befor: unknown field
    """
    numbers = {name for name, default in zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True) if default}
    return convert({name: _number(text) if name in numbers else text for name, text in query.items()}, kind)


def _number(text: object) -> object:
    is_number = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(str(text)) if is_number else text
