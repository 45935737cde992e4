"""Errors of the API as ``application/problem+json`` (RFC 9457), as values."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Literal

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput, InvalidName, ModeldropError, NotFound, TooLarge, TransientError
from modeldrop.http.messages import PROBLEM, Reply

MEDIA_TYPE = PROBLEM


class Problem(msgspec.Struct, frozen=True):
    """What a caller is told: ``status`` as in HTTP, ``detail`` in plain words, ``errors`` field by field."""

    status: int
    title: str
    detail: str
    type: Literal["about:blank"] = "about:blank"
    errors: Sequence[FieldProblem] | msgspec.UnsetType = msgspec.UNSET

    def reply(self, headers: Mapping[str, str] | None = None) -> Reply:
        """The problem as an answer over HTTP."""
        return Reply(self.status, msgspec.json.encode(self), headers or {}, PROBLEM)


def problem_of(status: int, detail: str, errors: Sequence[FieldProblem] = ()) -> Problem:
    """A problem with the usual title of its status.

    >>> problem_of(404, "there is no model fraud").title
    'Not Found'
    """
    return Problem(status, HTTPStatus(status).phrase, detail, errors=errors or msgspec.UNSET)


def not_found(detail: str) -> Problem:
    """404."""
    return Problem(404, "Not found", detail)


def bad_request(detail: str, errors: Sequence[FieldProblem] = ()) -> Problem:
    """400."""
    return Problem(400, "Bad request", detail, errors=errors or msgspec.UNSET)


def problem_with(error: ModeldropError) -> Problem | None:
    """What an error of ours is over HTTP; None for one that is no answer to a caller."""
    match error:
        case InvalidInput():
            return bad_request(str(error), error.problems)
        case InvalidName():
            return bad_request(str(error))
        case TooLarge():
            return problem_of(413, str(error))
        case NotFound():
            return not_found(str(error))
        case TransientError():
            return problem_of(503, str(error))
    return None
