"""The body of the Pub/Sub REST API's ``publish``, posted with the standard library."""

import base64
import encodings.idna  # noqa: F401 - the socket would import it, in the background thread
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from modeldrop.errors import Refused, Unavailable

ATTEMPT_SECONDS = 10.0
_REASON_BYTES = 300
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WORTH_ANOTHER_TRY = frozenset({401, 403, 404, 408, 425, 429})  # a role, the topic or some room may be on its way


class UrlTransport(msgspec.Struct, frozen=True):
    """A URL, and what is sent along with each request."""

    url: str
    headers: dict[str, str]

    def connect(self) -> "UrlConnection":
        """See Transport."""
        return UrlConnection(self.url, self.headers)


class UrlConnection:
    """One request a message; through the proxy that the environment names, but never to loopback."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if urllib.parse.urlsplit(url).hostname in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)
        self._url = url
        self._headers = {**headers, "Content-Type": "application/json"}

    def publish(self, data: bytes) -> None:
        """See Connection."""
        body = b'{"messages":[{"data":"%b"}]}' % base64.b64encode(data)
        request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310 - see to_url
        try:
            with self._opener.open(request, timeout=ATTEMPT_SECONDS) as answer:
                answer.read(_REASON_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                raise _error_of(error.code, error.read(_REASON_BYTES)) from None

    def close(self) -> None:
        """See Connection."""
        self._opener.close()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Following one would turn the POST into a GET, and a page found there would pass for success."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """No other request: the answer that wanted one is an error."""


def _error_of(status: int, body: bytes) -> Refused | Unavailable:
    reason = f"{status}: {body.decode('utf-8', 'replace')}"
    is_for_good = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(reason) if is_for_good and status not in _WORTH_ANOTHER_TRY else Unavailable(reason)
