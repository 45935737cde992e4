"""HTTP as functions see it: what is asked, and what is answered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any, Protocol

import msgspec

from modeldrop.errors import FieldProblem

JSON = "application/json"
PROBLEM = "application/problem+json"


class RequestHeaders(Protocol):
    """The header fields of a request; names are asked for without regard to case."""

    def get(self, key: str, default: str) -> str:
        """The field's text, or ``default``."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    """What is given several times is joined by commas, so that nobody takes one and leaves the others."""
    headers: RequestHeaders
    stream: IO[bytes]
    """The body."""
    bound_to: str
    """The address this process listens at, not what the caller says it is."""
    remote: str
    """The address the request came from."""


@dataclass(frozen=True)
class Reply:
    """One answer. ``afterwards`` is done when it is on its way: the caller does not wait for it."""

    status: int
    body: bytes | Iterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    afterwards: Callable[[], None] | None = None
    said: str = ""
    """What came of it in plain words, for the audit trail, where the body is a page."""


def json_reply(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """The content as JSON."""
    return Reply(status, msgspec.json.encode(content), headers or {})


def problem(
    status: int, detail: str, *, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Reply:
    """An error (RFC 9457); ``errors`` has all that is wrong with the request, field by field."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        content["errors"] = errors
    return Reply(status, msgspec.json.encode(content), headers or {}, PROBLEM)
