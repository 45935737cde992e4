"""OpenID Connect tokens, checked with Google's own library: signature, audience, expiry; and here issuer and caller.

An audience alone says little: whoever has a Google account can have a token made for any audience. So the callers are
named, and an e-mail counts only where the issuer has verified it.
"""

import binascii
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import google.auth.transport.requests
import msgspec
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from modeldrop.adapters.gcp.connecting import read_address
from modeldrop.errors import ConfigurationError, Unavailable
from modeldrop.settings import ServiceSettings

KEEP_SECONDS = 3_600.0
PAUSE_SECONDS = 30.0
"""Between two requests for certificates: nobody can cause more of them with key ids that do not exist."""
TIMEOUT_SECONDS = 10.0
CLOCK_SKEW_SECONDS = 10


def connect(settings: ServiceSettings) -> "IdentityTokens":
    """For the settings' issuer, audience and callers. Raises ConfigurationError for an address that is neither."""
    parts = urlsplit(settings.oidc_certificates)
    read_address(f"{parts.scheme}://{parts.netloc}", "MODELDROP_OIDC_CERTIFICATES")
    callers = frozenset(name.strip() for name in settings.oidc_callers.split(",") if name.strip())
    if settings.oidc_audience is None or not callers:
        raise ConfigurationError("MODELDROP_OIDC_AUDIENCE and MODELDROP_OIDC_CALLERS are required")
    certificates = Certificates(settings.oidc_certificates)
    return IdentityTokens(settings.oidc_issuer, settings.oidc_audience, callers, certificates)


class Certificates:
    """The issuer's certificates by key id, kept for an hour; asked for again when a key id is not among them."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._request = google.auth.transport.requests.Request()

    def with_key(self, key_id: str) -> Mapping[str, str]:
        """Those of the issuer. Raises Unavailable if there are none to be had."""
        with self._lock:
            now = self._clock()
            is_fresh = now - self._fetched_at < KEEP_SECONDS
            if is_fresh and (key_id in self._kept or now - self._asked_at < PAUSE_SECONDS):
                return self._kept
            if not is_fresh and now - self._asked_at < PAUSE_SECONDS:
                raise Unavailable("the issuer's certificates could not be read a moment ago")
            self._asked_at = now
            try:
                self._kept = self._fetch()
            except Unavailable:
                if is_fresh:
                    return self._kept
                raise
            self._fetched_at = now
            return self._kept

    def _fetch(self) -> dict[str, str]:
        try:
            answer = self._request(self._url, method="GET", timeout=TIMEOUT_SECONDS)
            if answer.status != HTTPStatus.OK:
                raise Unavailable(f"the issuer's certificates cannot be read: status {answer.status}")
            return msgspec.json.decode(answer.data, type=dict[str, str])
        except (GoogleAuthError, OSError, msgspec.MsgspecError) as error:
            raise Unavailable(f"the issuer's certificates cannot be read: {type(error).__name__}") from error


class IdentityTokens:
    """The ``Tokens`` of the inference service."""

    def __init__(self, issuer: str, audience: str, callers: frozenset[str], certificates: Certificates) -> None:
        # Google itself writes its name in both ways.
        self._issuers = {issuer, issuer.removeprefix("https://")}
        self._audience = audience
        self._callers = callers
        self._certificates = certificates

    def caller(self, token: str) -> str | None:
        """The e-mail or subject of a genuine token of somebody who may ask, else None. Raises Unavailable."""
        try:
            header: Any = jwt.decode_header(token)  # type: ignore[no-untyped-call]
            key_id = header.get("kid")
            if not isinstance(key_id, str):
                return None
            certificates = self._certificates.with_key(key_id)
            if key_id not in certificates:
                return None
            claims = jwt.decode(  # type: ignore[no-untyped-call]
                token,
                certs=dict(certificates),
                audience=self._audience,
                clock_skew_in_seconds=CLOCK_SKEW_SECONDS,
            )
        except (GoogleAuthError, ValueError, TypeError, AttributeError, KeyError, binascii.Error, RecursionError):
            return None  # whatever stands in a token that was not made by the issuer
        return self._known(claims)

    def _known(self, claims: Mapping[str, Any]) -> str | None:
        if claims.get("iss") not in self._issuers:
            return None
        email = claims.get("email") if claims.get("email_verified") is True else None
        return next(
            (name for name in (email, claims.get("sub")) if isinstance(name, str) and name in self._callers), None
        )
