"""An issuer's public keys, from the address where it keeps its JSON Web Key Set (RFC 7517)."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
import msgspec

from modeldrop.adapters.http.guarded_client import GuardedClient, accepted
from modeldrop.errors import Refused, Unavailable

log = logging.getLogger(__name__)

KEEP_SECONDS = 3_600.0
STALE_SECONDS = 86_400.0
"""So long the keys read last are used on while the issuer gives no others."""
PAUSE_SECONDS = 30.0
"""Between two requests for keys: nobody can cause more of them with key ids that do not exist."""
MOST_KEYS = 100

Keys = Mapping[tuple[str, str], jwt.PyJWK]
"""By key id and algorithm."""


class _Kept(msgspec.Struct, frozen=True):
    keys: Keys = {}
    fetched_at: float = float("-inf")


class SigningKeys:
    """Keys by id, kept for an hour; asked for again when an id is not among them. Safe for use by several threads.

    One request at a time: who needs a key that is not there waits for it, who has one does not.
    """

    def __init__(
        self, url: str, algorithms: Sequence[str], client: GuardedClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._algorithms = tuple(algorithms)
        self._client = client
        self._clock = clock
        self._request = threading.Lock()
        self._asked_at = float("-inf")
        self._kept = _Kept()

    def find(self, key_id: str, algorithm: str) -> jwt.PyJWK | None:
        """The key; None if the issuer has none of that id for that algorithm. Raises Unavailable if none can be had."""
        wanted = (key_id, algorithm)
        key, is_fresh = self._look(wanted)
        if key is not None and is_fresh:
            return key
        if not self._request.acquire(blocking=key is None):
            return key  # somebody else is asking for newer ones
        try:
            return self._asked_again(wanted)
        finally:
            self._request.release()

    def _look(self, wanted: tuple[str, str]) -> tuple[jwt.PyJWK | None, bool]:
        """The key that is kept, unless it is too old, and whether what is kept is fresh."""
        kept, now = self._kept, self._clock()
        age = now - kept.fetched_at
        return (kept.keys.get(wanted) if age < STALE_SECONDS else None), age < KEEP_SECONDS

    def _asked_again(self, wanted: tuple[str, str]) -> jwt.PyJWK | None:
        key, is_fresh = self._look(wanted)  # it may have come while we waited
        if key is not None and is_fresh:
            return key
        now = self._clock()
        if now - self._asked_at < PAUSE_SECONDS:
            if key is None and not is_fresh:
                raise Unavailable("the issuer's keys could not be read a moment ago")
            return key
        self._asked_at = now
        try:
            self._kept = _Kept(self._fetch(), now)
        except Unavailable as error:
            if key is None:
                raise
            log.warning("older keys are used on: %s", error)
            return key
        return self._kept.keys.get(wanted)

    def _fetch(self) -> Keys:
        try:
            content = accepted(self._client.send("GET", self._url), "the issuer's key server").json()
        except Refused as error:
            raise Unavailable(f"the issuer's keys cannot be read: {error}") from error
        listed = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise Unavailable("the issuer's keys cannot be read: that is no key set")
        keys: dict[tuple[str, str], jwt.PyJWK] = {}
        for data in listed[:MOST_KEYS]:
            for algorithm in self._algorithms:
                key = _key(data, algorithm)
                if key is not None:
                    keys.setdefault((data["kid"], algorithm), key)
        if not keys:
            raise Unavailable("the issuer's keys cannot be read: there is none for the algorithms that are allowed")
        return keys


def _key(data: Any, algorithm: str) -> jwt.PyJWK | None:
    """The public key for signatures with that algorithm, if it is one."""
    if not isinstance(data, dict) or not isinstance(data.get("kid"), str):
        return None
    if data.get("kty") not in ("RSA", "EC", "OKP") or "d" in data:  # never a shared secret or a private key
        return None
    if data.get("use", "sig") != "sig" or data.get("alg", algorithm) != algorithm:
        return None
    try:
        return jwt.PyJWK(data, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None  # of another kind, as sets hold keys for several algorithms
