"""What every answer carries: headers that keep browsers careful, how long it may be kept, and its tag."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

from modeldrop.http.messages import Asked, Reply

CAREFUL: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send forms with "Origin: null", which could be anybody's.
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
READ: Final = "private, no-cache"
"""Browsers may keep it, and ask each time whether it is still right; what stands between them and us may not."""
CHANGED: Final = "no-store"
_TAG_DIGITS: Final = 32


def finished(asked: Asked, reply: Reply) -> Reply:
    """The reply with its headers; 304 without a body where the caller has the same already."""
    is_read = asked.method in ("GET", "HEAD") and reply.status == 200 and isinstance(reply.body, bytes)
    headers = {
        **CAREFUL,
        "Cache-Control": READ if is_read else CHANGED,
        "Vary": "Accept, Authorization",
        **reply.headers,
    }
    if not is_read:
        return replace(reply, headers=headers)
    assert isinstance(reply.body, bytes)
    headers.setdefault("ETag", f'"{sha256(reply.body).hexdigest()[:_TAG_DIGITS]}"')
    if headers["Cache-Control"] != CHANGED and is_among(headers["ETag"], asked.headers.get("If-None-Match", "")):
        return replace(reply, status=304, body=b"", headers=headers)
    return replace(reply, headers=headers)


def is_among(tag: str, known: str) -> bool:
    """Whether a tag is among those of an ``If-None-Match`` header, by weak comparison (RFC 9110, 13.1.2).

    >>> is_among('"a"', 'W/"b", W/"a"'), is_among('"a"', "*"), is_among('"a"', '"b"'), is_among('"a"', "")
    (True, True, False, False)
    """
    tags = [each.strip() for each in known.split(",")]
    return "*" in tags or tag.removeprefix("W/") in [each.removeprefix("W/") for each in tags]


def next_page(asked: Asked, reply: Reply, before: object) -> Reply:
    """The reply with a ``Link`` to the page that begins after ``before``, if there is one (RFC 8288)."""
    if asked.method not in ("GET", "HEAD") or not isinstance(before, str):
        return reply
    address = f"{asked.path}?{urlencode({**asked.query, 'before': before})}"
    return replace(reply, headers={**reply.headers, "Link": f'<{address}>; rel="next"'})
