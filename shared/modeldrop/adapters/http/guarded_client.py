"""The one way out: every HTTP request to an address that a policy or a setting names goes through here.

Such an address is trusted to be told our news, and nothing more. So: https (http on loopback only, where that is
allowed), public addresses only, decided by what the name resolves to when it is called; no redirects, no proxies from
the environment, no cookies, no user names; a deadline for everything together, and a limit to what is read.

Built on httpcore, which httpx is made of: ``httpx.Client`` writes every address into the log at INFO, and in the
addresses of incoming webhooks the path *is* the secret. For the same reason our errors name the host alone.
"""

import base64
import logging
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import httpcore
import httpx

from modeldrop import __version__
from modeldrop.adapters.http.checked_network import CheckedNetwork, Deadline, Resolve, look_up
from modeldrop.adapters.http.public_addresses import check_addresses, check_name
from modeldrop.errors import InvalidInput, Refused, Unavailable
from modeldrop.events import strict_json

MOST_BODY = 256 * 1024
"""Bytes of an answer's body that are read."""

# At DEBUG httpcore logs the heads of answers, and what it could not read: a server that repeats what it was sent would
# put our secrets there.
logging.getLogger("httpcore").setLevel(logging.INFO)

_NOT_NOW = frozenset({408, 425, 429})
_EXCERPT_LENGTH = 200
_SHORTEST_HIDDEN = 6  # hiding shorter ones would hide words
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding"})
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class Answer:
    """What a server answered. ``hidden``: parts of the request that no error may repeat after it."""

    status: int
    headers: Mapping[str, str]  # lower-case names; of several with one name, the values joined by commas
    body: bytes  # at most 256 KiB, more is cut off; never decompressed
    hidden: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """The body as strict JSON; raises Unavailable if it is none: a proxy in between answers so, for a while."""
        try:
            return strict_json.decode(self.body, limit_bytes=MOST_BODY)
        except InvalidInput as error:
            raise Unavailable(f"an answer ({self.status}) that is no JSON: {error}") from None


def accepted(answer: Answer, what: str) -> Answer:
    """A 2xx answer as it is. ``what`` names the target for people.

    Raises Unavailable for 408, 425, 429 and 5xx, Refused for the rest: also for 3xx, as redirects are never followed.
    Both say the status and how the body begins.
    """
    if 200 <= answer.status < 300:
        return answer
    text = f"{what} answered {answer.status} {_excerpt(answer)}".rstrip()
    if answer.status in _NOT_NOW or 500 <= answer.status < 600:
        raise Unavailable(text)
    raise Refused(text)


class GuardedClient:
    """Sends requests, each over a connection of its own. Safe for use by several threads.

    ``loopback``: loopback may be called as well, and over plain http (the embedded cloud). ``timeout_seconds`` is for
    everything together: resolving, connecting, TLS, the request, the whole answer. ``resolve`` and ``tls`` are the
    resolver and the authorities trusted, where these are not the system's.
    """

    def __init__(
        self,
        *,
        loopback: bool,
        timeout_seconds: float = 10.0,
        resolve: Resolve = look_up,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loopback = loopback
        self._timeout_seconds = timeout_seconds
        self._resolve = resolve
        self._given_tls = tls

    def send(self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
        """One request, one answer, whatever its status.

        Raises Refused for an address that must not be called (nothing was sent then), Unavailable where no whole
        answer came in time: whether the request arrived is unknown.
        """
        deadline = Deadline(self._timeout_seconds)
        place = _place(url)
        plain = place.scheme == "http"
        if plain and not self._loopback:
            raise Refused(f"{place.host} is called over https only")

        def check(host: str, addresses: Sequence[str]) -> None:
            check_addresses(host, addresses, loopback=self._loopback, plain=plain)

        network = CheckedNetwork(self._resolve, check, deadline)
        with _errors_of(place.host, self._timeout_seconds):
            request = httpcore.Request(method, _target(place), headers=_all_headers(place, headers, body), content=body)
            return self._exchange(request, network, _hidden(place, headers))

    def close(self) -> None:
        """Nothing is kept open between calls, so there is nothing left to end."""

    def _exchange(self, request: httpcore.Request, network: CheckedNetwork, hidden: tuple[str, ...]) -> Answer:
        tls = self._tls if request.url.scheme == b"https" else None
        connection = httpcore.HTTPConnection(request.url.origin, ssl_context=tls, network_backend=network)
        try:
            response = connection.handle_request(request)
            body = bytearray()
            for piece in response.iter_stream():
                body += piece
                if len(body) >= MOST_BODY:
                    break
            return Answer(response.status, _readable(response.headers), bytes(body[:MOST_BODY]), hidden)
        finally:
            connection.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or ssl.create_default_context()


def _place(url: str) -> httpx.URL:
    """The address, read; raises Refused, without quoting it, if it cannot be called whoever is behind it."""
    try:
        place = httpx.URL(url)
        host = place.raw_host.decode("ascii").rstrip(".")  # certificates are made out without the root's dot
        place = place.copy_with(host=host)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise Refused("an address that cannot be read") from None
    if place.scheme not in ("http", "https"):
        raise Refused("an address that is not https")
    if not host or host.startswith("."):
        raise Refused("an address without a host")
    if place.userinfo:
        raise Refused(f"{host} is called without a user's name in the address")
    if place.port is not None and not 0 < place.port < 65_536:
        raise Refused(f"{host} has no port {place.port}")
    check_name(host)
    return place


def _target(place: httpx.URL) -> httpcore.URL:
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    return httpcore.URL(scheme=place.raw_scheme, host=place.raw_host, port=port, target=place.raw_path)


def _all_headers(place: httpx.URL, headers: Mapping[str, str], body: bytes | None) -> list[tuple[bytes, bytes]]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise Refused(f"a header that is not sent: {name!r}")
        if not _HEADER_VALUE.fullmatch(value):
            raise Refused(f"the header {name} has a value that no header can have")
    lines = {"user-agent": f"modeldrop/{__version__}", "accept": "*/*"}
    lines |= {name.lower(): value for name, value in headers.items()}
    lines |= {"host": place.netloc.decode("ascii"), "accept-encoding": "identity", "connection": "close"}
    if body is not None:
        lines["content-length"] = str(len(body))
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in lines.items()]


def _readable(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@contextmanager
def _errors_of(host: str, seconds: float) -> Iterator[None]:
    """What httpcore raises, as an error of ours that names the host."""
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise Unavailable(f"{host} gave no whole answer within {seconds:g} s") from error
    except httpcore.LocalProtocolError:
        raise Refused(f"a request to {host} that cannot be written") from None
    except httpcore.ProtocolError:  # its text repeats what came, and what came may repeat what was sent
        raise Unavailable(f"no whole answer from {host}: the connection ended, or it does not speak HTTP") from None
    except (httpcore.NetworkError, OSError) as error:
        raise Unavailable(f"no answer from {host}: {str(error)[:_EXCERPT_LENGTH]}") from error


def _hidden(place: httpx.URL, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What must not come back in an error: servers like to say which path they do not have. Longest first.

    The words alone as well: servers repeat parts of a path, or write its slashes in another way.
    """
    parts = [place.raw_path.decode("ascii"), place.path, place.query.decode("ascii")]
    parts += [value for _, value in parse_qsl(place.query.decode("ascii"))]
    parts += [part for name, value in headers.items() if name.lower() == "authorization" for part in _login(value)]
    parts += [piece for part in parts for piece in part.split("/")]
    parts += [word for part in parts for word in _WORD.findall(part)]
    return tuple(sorted({part for part in parts if len(part) >= _SHORTEST_HIDDEN}, key=len, reverse=True))


def _login(value: str) -> list[str]:
    """What is secret in an Authorization header: all but its scheme; of Basic also what it stands for."""
    words = value.split()
    plain: list[str] = []
    if value.lower().startswith("basic "):
        with suppress(ValueError):
            user_and_password = base64.b64decode(words[-1]).decode("utf-8")
            plain = [user_and_password, user_and_password.partition(":")[2]]
    return [*(words[1:] or words), *plain]


def _excerpt(answer: Answer) -> str:
    text = answer.body.decode("utf-8", "replace")
    for part in answer.hidden:
        text = re.sub(re.escape(part), "…", text, flags=re.IGNORECASE)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_EXCERPT_LENGTH]
