"""Who asks, where the service is used directly; behind Vertex AI or Cloud Run's IAM somebody else has checked."""

import hashlib
import hmac
import ipaddress
import re
from pathlib import Path
from typing import Protocol

import msgspec

from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.http.messages import Asked
from modeldrop.settings import ServiceSettings

KEY_HEADER = "X-API-Key"
LONGEST_CREDENTIAL = 16_384
KEYS_LIMIT_BYTES = 1_000_000

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Callers(Protocol):
    """Tells callers from strangers."""

    challenge: str
    """What ``WWW-Authenticate`` says to strangers."""

    def identify(self, asked: Asked) -> str | None:
        """The caller's name; None for a stranger. Raises Unavailable or ConfigurationError if that cannot be told."""


class Anybody:
    """Callers are told apart by where they come from, nothing else."""

    challenge = ""

    def identify(self, asked: Asked) -> str | None:
        """See ``Callers``."""
        return asked.remote


class AnybodyOnLoopback:
    """As ``Anybody``, as long as the process listens on this machine alone."""

    challenge = ""

    def identify(self, asked: Asked) -> str | None:
        """See ``Callers``. Raises ConfigurationError where others can reach us."""
        if not _is_loopback(asked.bound_to):
            raise ConfigurationError("MODELDROP_SERVING_AUTH is not set: none, api_keys or oidc")
        return asked.remote


class ApiKeys:
    """Keys in the header ``X-API-Key``, whose SHA-256 stand in a file with the names of their callers.

    The file is read again when it changes, so that a key that was withdrawn counts no more at once.
    """

    challenge = f'ApiKey header="{KEY_HEADER}"'

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[object, dict[str, str]] | None = None

    def identify(self, asked: Asked) -> str | None:
        """See ``Callers``. Every digest is compared, each in constant time: how long it takes tells nothing."""
        callers = self._callers()
        key = asked.headers.get(KEY_HEADER, "")
        if not 0 < len(key) <= LONGEST_CREDENTIAL:
            return None
        digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
        found = None
        for name, expected in callers.items():
            if hmac.compare_digest(digest, expected):
                found = name
        return found

    def _callers(self) -> dict[str, str]:
        try:
            status = self._path.stat()
            facts = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._read is None or self._read[0] != facts:
                self._read = (facts, _read_keys(self._path, status.st_size))
            return self._read[1]
        except OSError as error:
            raise Unavailable(f"the file of API keys cannot be read: {error.strerror}") from None


class Tokens(Protocol):
    """Checks OpenID Connect tokens."""

    def caller(self, token: str) -> str | None:
        """Whose it is; None unless it is genuine, valid now, and of somebody who may ask. Raises Unavailable."""


class TokenCallers:
    """Tokens in the header ``Authorization: Bearer …``."""

    challenge = "Bearer"

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def identify(self, asked: Asked) -> str | None:
        """See ``Callers``."""
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= LONGEST_CREDENTIAL:
            return None
        return self._tokens.caller(token.strip())


def callers_of(settings: ServiceSettings) -> Callers:
    """What the settings ask for; raises ConfigurationError where they make no sense."""
    match settings.serving_auth:
        case None:
            return AnybodyOnLoopback()
        case "none":
            return Anybody()
        case "api_keys":
            assert settings.api_keys is not None
            return ApiKeys(settings.api_keys)
        case "oidc":
            from modeldrop.adapters.gcp import identity_tokens  # noqa: PLC0415 - not for those who do without

            return TokenCallers(identity_tokens.connect(settings))
    raise ConfigurationError(f"MODELDROP_SERVING_AUTH is unknown: {settings.serving_auth!r}")


def _read_keys(path: Path, size: int) -> dict[str, str]:
    if size > KEYS_LIMIT_BYTES:
        raise Unavailable("the file of API keys is too large")
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Unavailable("the file of API keys is not a JSON object of name to text") from None
    if not all(name and _DIGEST.fullmatch(digest) for name, digest in keys.items()):
        raise Unavailable("the file of API keys holds something other than SHA-256 in 64 lower-case hex digits")
    return keys


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
