"""JSON Web Tokens that we check ourselves: signature, issuer, audience, times (``MODELDROP_AUTH=jwt``)."""

from collections.abc import Sequence
from typing import Any

import jwt

from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.adapters.http.signing_keys import SigningKeys
from modeldrop.errors import ConfigurationError, Refused
from modeldrop.settings import Settings

LEEWAY_SECONDS = 30
_REQUIRED = ["exp", "iat", "iss", "aud"]


def connect(settings: Settings) -> "SignedTokens":
    """For the settings' issuer, audience, algorithms and keys. Raises ConfigurationError where one is missing."""
    if not (settings.jwt_issuer and settings.jwt_audience and settings.jwt_jwks):
        raise ConfigurationError("MODELDROP_JWT_ISSUER, MODELDROP_JWT_AUDIENCE and MODELDROP_JWT_JWKS are required")
    algorithms = [name.strip() for name in settings.jwt_algorithms.split(",")]
    # Plain http is for loopback alone: what the setting says of an address is what the client is held to.
    loopback = settings.backend == "local" or settings.jwt_jwks.startswith("http://")
    keys = SigningKeys(settings.jwt_jwks, algorithms, GuardedClient(loopback=loopback))
    return SignedTokens(settings.jwt_issuer, settings.jwt_audience, algorithms, keys)


class SignedTokens:
    """Checks tokens of one issuer for one audience."""

    def __init__(self, issuer: str, audience: str, algorithms: Sequence[str], keys: SigningKeys) -> None:
        self._issuer = issuer
        self._audience = audience
        # Algorithms with a shared secret are never taken: the public key would be the secret.
        self._algorithms = frozenset(name for name in algorithms if name[:2] in ("RS", "PS", "ES", "Ed"))
        self._keys = keys

    def claims(self, token: str) -> dict[str, Any]:
        """What a genuine token says. Raises Refused for any other, Unavailable if the keys cannot be had."""
        try:
            header = jwt.get_unverified_header(token)
            key_id, algorithm = header.get("kid"), header.get("alg")
            if algorithm not in self._algorithms or not isinstance(algorithm, str):
                raise Refused("the token is signed with an algorithm that is not allowed, or not at all")
            if not isinstance(key_id, str):
                raise Refused("the token does not say which key signed it")
            key = self._keys.find(key_id, algorithm)
            if key is None:
                raise Refused("the token is signed with a key that is not the issuer's")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except (
            jwt.PyJWTError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            # Whatever stands in a token that the issuer did not make. The kind alone: texts may repeat the token.
            raise Refused(f"the token is not genuine: {type(error).__name__}") from None
        return claims
