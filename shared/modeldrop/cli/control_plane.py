"""The control plane that commands ask: its address, how long they wait, and who they say they are."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from modeldrop.cli.ending import fail
from modeldrop.cli.identity_tokens import IdentityTokens
from modeldrop.errors import Unavailable

if TYPE_CHECKING:
    import httpx

EMBEDDED_URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 60.0
MOST_BYTES = 32 << 20
"""Of one answer."""


@dataclass(frozen=True)
class ControlPlane:
    """An address and how it is asked.

    ``https://`` requests carry an identity token, always made for this address; ``http://`` ones, which only go to
    this machine, carry none. A redirect is an answer like any other: nothing follows it anywhere.
    """

    url: str = EMBEDDED_URL
    timeout_seconds: float = TIMEOUT_SECONDS
    tokens: IdentityTokens = field(default_factory=IdentityTokens, compare=False)

    def __str__(self) -> str:
        return self.url

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")

    def client(self) -> "httpx.Client":
        """Connections to it; ``told_plainly`` says what their errors mean."""
        import httpx

        from modeldrop.cli.bounded_answers import bounded

        def signed(request: httpx.Request) -> httpx.Request:
            if request.url.scheme == "https":
                request.headers["authorization"] = f"Bearer {self.tokens.token(self.url)}"
            return request

        # http:// stays on this machine: no proxy of the environment stands between.
        return httpx.Client(
            auth=signed,
            timeout=self.timeout_seconds,
            trust_env=self.url.startswith("https:"),
            headers={"accept-encoding": "identity"},
            event_hooks={"response": [bounded(self.timeout_seconds)]},
        )

    @contextmanager
    def told_plainly(self) -> Iterator[None]:
        """Raises Unavailable where the block got no answer."""
        import httpx

        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            hint = "Is modeldrop up running?" if self.is_here else "Is it the address of the API?"
            said = str(error) or f"no answer in time ({type(error).__name__})"
            raise Unavailable(f"{self.url} cannot be reached: {said}. {hint}") from None

    @contextmanager
    def connected(self) -> "Iterator[httpx.Client]":
        """A client for it. Raises Unavailable where the block got no answer."""
        with self.told_plainly(), self.client() as client:
            yield client


DEFAULT_URL = ControlPlane()
"""The embedded cloud's."""


def checked_url(text: str) -> str:
    """The address of a control plane, without a slash at its end. Ends the command where it is none."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        fail(f"{text!a} is no address")
    if parts.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        fail(f"{text!a} is no address: https://…, or http://127.0.0.1:PORT on this machine")
    if parts.username is not None or parts.query or parts.fragment:
        fail("an address has no user, no ? and no #")
    if parts.scheme == "http" and not is_loopback(host):
        fail(f"{host} is not this machine: over http:// everybody on the way could read along, use https://")
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "example.com", "127.0.0.1.example.com")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
