"""The body of a request, with a limit on its size."""

from typing import IO

from modeldrop.http.messages import RequestHeaders

_DRAIN_BYTES = 64 * 1024
_MOST_DRAINED_BYTES = 64 * 1024 * 1024


def read_body(stream: IO[bytes], limit_bytes: int) -> bytes:
    """The body, cut one byte above the limit.

    The rest is read and dropped: a client that is still sending would see a broken connection instead of the answer,
    and the framework would read it all into memory. One that never comes to an end does see it broken.
    """
    body = bytearray()
    while len(body) <= limit_bytes and (piece := stream.read(limit_bytes + 1 - len(body))):
        body += piece
    left = _MOST_DRAINED_BYTES if len(body) > limit_bytes else 0
    while left > 0 and (piece := stream.read(_DRAIN_BYTES)):
        left -= len(piece)
    return bytes(body)


def is_cut_off(body: bytes, headers: RequestHeaders, limit_bytes: int) -> bool:
    """Whether less of the body came than was announced: the client has gone, and what it asked is not known.

    Servers hand on such a body as it is; cut off at its very beginning it looks like an empty one.

    >>> [is_cut_off(body, {"Content-Length": "2"}, 100) for body in (b"", b"{", b"{}")]
    [True, True, False]
    """
    announced = headers.get("Content-Length", "")
    return announced.isascii() and announced.isdigit() and len(body) < min(int(announced[:18]), limit_bytes)
