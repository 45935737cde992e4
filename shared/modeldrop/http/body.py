"""The body of a request, with a limit on its size."""

from typing import IO

_DRAIN_BYTES = 64 * 1024
_MOST_DRAINED_BYTES = 64 * 1024 * 1024


def read_body(stream: IO[bytes], limit_bytes: int) -> bytes:
    """The body, cut one byte above the limit.

    The rest is read and dropped: a client that is still sending would see a broken connection instead of the answer,
    and the framework would read it all into memory. One that never comes to an end does see it broken.
    """
    body = stream.read(limit_bytes + 1)
    left = _MOST_DRAINED_BYTES if len(body) > limit_bytes else 0
    while left > 0 and (piece := stream.read(_DRAIN_BYTES)):
        left -= len(piece)
    return body
