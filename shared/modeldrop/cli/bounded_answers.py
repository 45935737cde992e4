"""Answers that neither fill the memory nor drip in for ever."""

import time
from collections.abc import Callable, Iterator

import httpx

from modeldrop.cli.control_plane import MOST_BYTES


def bounded(timeout_seconds: float) -> Callable[[httpx.Response], None]:
    """A response hook of httpx: the body must be small, plain, and there ``timeout_seconds`` after its headers."""

    def bind(response: httpx.Response) -> None:
        if "content-encoding" in response.headers:  # unpacked, a small body can be a huge one; nobody asked for it
            raise httpx.DecodingError("the answer is packed", request=response.request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Body(response.stream, time.monotonic() + timeout_seconds)

    return bind


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, until: float) -> None:
        self._stream, self._until = stream, until

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._stream:
            size += len(piece)
            if size > MOST_BYTES:
                raise httpx.ReadError(f"the answer has more than {MOST_BYTES} bytes")
            if time.monotonic() > self._until:
                raise httpx.ReadTimeout("timed out while the answer came in")
            yield piece

    def close(self) -> None:
        self._stream.close()
