"""An issuer of tokens: it signs them, and shows its public keys over HTTP as a JSON Web Key Set.

with Issuer() as issuer:
    issuer.token(email="ada@example.com")                   # signed by the first key, valid for an hour
    issuer.rotate("second")                                 # another key, and the first one gone
    issuer.api.inject(Fault("status", 500))                 # the next request for keys goes wrong
"""

import base64
import json
import time
from functools import cache
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.servers.json_api import Answered, Asked, JsonApi

NAME = "https://issuer.example.com"
AUDIENCE = "https://drop.example.com"

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey


def private_key(name: str, algorithm: str = "RS256", bits: int = 2048) -> PrivateKey:
    """One by name and kind; the same again for the same, as making one takes a while."""
    return _private_key(name, 0 if algorithm.startswith("ES") else bits)


@cache
def _private_key(name: str, bits: int) -> PrivateKey:
    if bits == 0:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public_jwk(name: str, algorithm: str = "RS256", bits: int = 2048) -> dict[str, Any]:
    """The public part of a key as an issuer shows it."""
    key = private_key(name, algorithm, bits).public_key()
    by_kind: Any = jwt.get_algorithm_by_name(algorithm)
    jwk: dict[str, Any] = by_kind.to_jwk(key, as_dict=True)
    return {**jwk, "kid": name, "alg": algorithm, "use": "sig"}


def claims(**changes: Any) -> dict[str, Any]:
    """What a token says; a claim that is None is left out."""
    now = int(time.time())
    content = {
        "iss": NAME,
        "aud": AUDIENCE,
        "sub": "1234567890",
        "email": "ada@example.com",
        "email_verified": True,
        "iat": now,
        "exp": now + 3600,
    } | changes
    return {name: value for name, value in content.items() if value is not None}


def part(content: Any) -> str:
    """A part of a token, without padding."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(header: dict[str, Any], content: Any, signature: str = "") -> str:
    """A token that nobody signed."""
    return f"{part(header)}.{part(content)}.{signature}"


class Issuer:
    """The server, up between entering and leaving the context."""

    def __init__(self) -> None:
        self.keys = [public_jwk("first")]
        self.api = JsonApi(self._answer)

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"{self.api.url}/keys"

    @property
    def times_asked(self) -> int:
        """How often somebody asked for them."""
        return len(self.api.asked)

    def rotate(self, name: str, algorithm: str = "RS256") -> None:
        """Show another key instead of those before."""
        self.keys = [public_jwk(name, algorithm)]

    @staticmethod
    def token(
        key: str = "first", algorithm: str = "RS256", headers: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A token of its own making, with other claims where ``changes`` says so."""
        return jwt.encode(claims(**changes), private_key(key, algorithm), algorithm, {"kid": key} | (headers or {}))

    def __enter__(self) -> "Issuer":
        self.api.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.__exit__(kind, error, trace)

    def _answer(self, asked: Asked) -> Answered:
        return Answered(body={"keys": self.keys}) if asked.path == "/keys" else Answered(404)
