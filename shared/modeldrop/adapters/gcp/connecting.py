"""Where Google's services listen, and who we are to them: for the adapters whose address is a setting."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import google.auth
import msgspec
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError

from modeldrop.errors import ConfigurationError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Address(msgspec.Struct, frozen=True):
    """A service's address. ``place`` is ``host[:port]``; ``is_plain`` means http, which never leaves this machine."""

    scheme: str
    place: str
    is_plain: bool

    @property
    def url(self) -> str:
        """``scheme://host[:port]``."""
        return f"{self.scheme}://{self.place}"


def read_address(text: str, setting: str) -> Address:
    """The address in a setting: https, or http on loopback; raises ConfigurationError for any other.

    >>> read_address("http://127.0.0.1:8080/", "MODELDROP_VERTEX_URL")
    Address(scheme='http', place='127.0.0.1:8080', is_plain=True)
    """
    wanted = f"{setting} must be scheme://host[:port], not {text!r}"
    try:
        parts = urlsplit(text)
        _ = parts.port  # read for its check: a number up to 65535
    except ValueError as error:
        raise ConfigurationError(wanted) from error
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(wanted)
    is_plain = parts.scheme == "http" and _is_loopback(parts.hostname)
    if not is_plain and parts.scheme != "https":
        raise ConfigurationError(f"{setting} must be https, or http on loopback: {parts.scheme}://{parts.hostname}")
    return Address(parts.scheme, parts.netloc, is_plain)


def credentials_for(address: Address) -> Any:
    """The machine's own for https; none at all for http. Raises ConfigurationError if the machine has none."""
    if address.is_plain:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except DefaultCredentialsError as error:
        raise ConfigurationError(f"no Google credentials: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
