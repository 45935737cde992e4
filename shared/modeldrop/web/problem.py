"""Errors of the API as ``application/problem+json`` (RFC 9457)."""

import msgspec

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True):
    """What a caller is told: ``status`` as in HTTP, ``detail`` in plain words."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"


def not_found(detail: str) -> Problem:
    """404."""
    return Problem(404, "Not found", detail)


def bad_request(detail: str) -> Problem:
    """400."""
    return Problem(400, "Bad request", detail)
