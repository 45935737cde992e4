"""Callers by token (``MODELDROP_AUTH=jwt``): real keys, real signatures, an issuer that is asked over HTTP."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.adapters.http.signed_tokens import SignedTokens
from modeldrop.adapters.http.signing_keys import KEEP_SECONDS, PAUSE_SECONDS, STALE_SECONDS, SigningKeys
from modeldrop.errors import Refused, Unavailable
from modeldrop.http.messages import Asked, Reply
from modeldrop.settings import Settings
from modeldrop.web.callers import Caller, identify
from tests.servers.json_api import Fault
from tests.servers.key_server import AUDIENCE, NAME, Issuer, claims, part, private_key, public_jwk, unsigned

ALGORITHMS = ("RS256", "ES256")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def settings(issuer: Issuer, **changes: Any) -> Settings:
    named: dict[str, Any] = {
        "jwt_issuer": NAME,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": issuer.url,
        "operators": "ada@example.com",
        "approvers": "@example.org",
    }
    return Settings("local", data=Path("nowhere"), auth="jwt", **named | changes)


def asked(headers: dict[str, str]) -> Asked:
    return Asked("GET", "/v1/models", {}, headers, BytesIO(), "127.0.0.1", "127.0.0.1")


def who(settings: Settings, token: str, header: str = "Authorization") -> Caller | Reply:
    return identify(settings, asked({header: f"Bearer {token}" if header == "Authorization" else token}))


def known(found: Caller | Reply) -> Caller:
    assert isinstance(found, Caller), found
    return found


def refused(found: Caller | Reply) -> None:
    assert isinstance(found, Reply)
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert b"identity is not known" in found.body  # and nothing of why


# --- who is known ----------------------------------------------------------------------------------------------


def test_a_genuine_token_says_who_calls(issuer: Issuer) -> None:
    caller = known(who(settings(issuer), issuer.token(email="Ada@Example.com")))
    assert (caller.name, caller.roles) == ("ada@example.com", {"viewer", "operator"})
    caller = known(who(settings(issuer), issuer.token(email="bob@example.org")))
    assert (caller.name, caller.roles) == ("bob@example.org", {"viewer", "approver"})
    assert known(who(settings(issuer), issuer.token(email="eve@sub.example.org"))).roles == frozenset()
    assert issuer.times_asked == 1


def test_several_audiences_and_elliptic_curves(issuer: Issuer) -> None:
    issuer.keys = [public_jwk("curve", "ES256"), public_jwk("first")]
    found = who(settings(issuer), issuer.token("curve", "ES256", aud=["https://else.example.com", AUDIENCE]))
    assert known(found).name == "ada@example.com"


def test_an_email_counts_only_where_it_is_verified(issuer: Issuer) -> None:
    for verified in (None, False):
        caller = known(who(settings(issuer), issuer.token(email_verified=verified)))
        assert (caller.name, caller.roles) == ("1234567890", frozenset())
    refused(who(settings(issuer), issuer.token(email_verified="true")))
    # A subject that somebody chose for themselves is not taken for an e-mail.
    refused(who(settings(issuer), issuer.token(email=None, sub="ada@example.com")))
    refused(who(settings(issuer), issuer.token(email=None, sub=None)))


@pytest.mark.parametrize("email", ["ada@example.com\n", "x,ada@example.com", "ada@examp\u212ae.com", "a b@c.d", "@", 7])
def test_emails_that_are_none(issuer: Issuer, email: Any) -> None:
    refused(who(settings(issuer), issuer.token(email=email, sub=None)))


def test_the_proxys_header_and_its_tokens_without_verified(issuer: Issuer) -> None:
    issuer.rotate("proxy", "ES256")
    behind = settings(issuer, jwt_issuer="https://cloud.google.com/iap", jwt_header="X-Goog-IAP-JWT-Assertion")
    proxy: dict[str, Any] = {"iss": "https://cloud.google.com/iap", "email_verified": None}
    token = issuer.token("proxy", "ES256", **proxy)
    assert known(who(behind, token, "X-Goog-IAP-JWT-Assertion")).name == "ada@example.com"
    refused(who(behind, token))  # in Authorization, where anybody can put it
    federated = issuer.token("proxy", "ES256", **proxy, email="securetoken.google.com/p:ada@example.com", sub="p:1")
    assert known(who(behind, federated, "X-Goog-IAP-JWT-Assertion")).name == "p:1"


# --- who is not ------------------------------------------------------------------------------------------------


def by_public_key() -> str:
    """HS256 with the public key as the shared secret: for those who take the algorithm from the token."""
    pem = private_key("first").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims())}"
    hmac: Any = jwt.get_algorithm_by_name("HS256")
    return f"{signed}.{part(hmac.sign(signed.encode(), pem))}"


def another_payload() -> str:
    header, _, signature = Issuer.token().split(".")
    return f"{header}.{part(claims(email='eve@example.com'))}.{signature}"


FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: unsigned({"alg": "none", "kid": "first"}, claims()),
    "None": lambda: unsigned({"alg": "None", "kid": "first"}, claims(), "AAAA"),
    "no algorithm": lambda: unsigned({"kid": "first"}, claims(), "AAAA"),
    "an algorithm that is a list": lambda: unsigned({"alg": ["RS256"], "kid": "first"}, claims(), "AAAA"),
    "the platform's": lambda: unsigned({"alg": "RS256", "kid": "first"}, claims(), "SIGNATURE_REMOVED_BY_GOOGLE"),
    "the public key as secret": by_public_key,
    "a secret": lambda: jwt.encode(claims(), "k" * 64, "HS256", {"kid": "first"}),
    "another algorithm of the key": lambda: Issuer.token(algorithm="RS512"),
    "a key of the same name": lambda: jwt.encode(claims(), private_key("evil"), "RS256", {"kid": "first"}),
    "an unknown key": lambda: Issuer.token("evil"),
    "no key": lambda: jwt.encode(claims(), private_key("first"), "RS256"),
    "a key it brings along": lambda: Issuer.token(
        "evil", headers={"jwk": public_jwk("evil"), "jku": "https://e.example"}
    ),
    "what must be understood": lambda: Issuer.token(headers={"crit": ["exp"], "exp": 1}),
    "changed": another_payload,
    "expired": lambda: Issuer.token(iat=1, exp=2),
    "expired a minute ago": lambda: Issuer.token(exp=claims()["iat"] - 60),
    "from tomorrow": lambda: Issuer.token(iat=claims()["iat"] + 86_400),
    "valid later": lambda: Issuer.token(nbf=claims()["iat"] + 600),
    "for ever": lambda: Issuer.token(exp=None),
    "of no time": lambda: Issuer.token(iat=None),
    "an expiry that is text": lambda: Issuer.token(exp="never"),
    "an expiry beyond all": lambda: Issuer.token(exp=1e400),
    "another audience": lambda: Issuer.token(aud="https://else.example.com"),
    "no audience": lambda: Issuer.token(aud=None),
    "another issuer": lambda: Issuer.token(iss="https://else.example.com"),
    "no issuer": lambda: Issuer.token(iss=None),
    "no object": lambda: jwt.api_jws.encode(b"[1]", private_key("first"), "RS256", {"kid": "first"}),
    "deep": lambda: unsigned({"alg": "RS256", "kid": "first"}, b"[" * 6000, "AAAA"),
    "a deep header": lambda: f"{part(b'[' * 6000)}.{part(claims())}.AAAA",
}


@pytest.mark.parametrize("kind", FORGED)
def test_tokens_that_are_not_genuine(issuer: Issuer, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    token = FORGED[kind]()
    with caplog.at_level("INFO"):
        refused(who(settings(issuer), token))
    assert "a caller is not known" in caplog.text  # the log says why
    assert token.split(".")[1] not in caplog.text


NO_TOKENS = (
    "",
    "Bearer",
    "Bearer ",
    "Basic YTpi",
    "Bearer a.b",
    "Bearer a.b.c.d",
    "Bearer .a.b",
    "Bearer \xff.\xff.\xff",
)
NO_TOKENS += ("a.b.c", f"Bearer {'A' * 9000}.{'A' * 9000}.A", "Bearer %%.%%.%%", "Bearer a.b.c, Bearer a.b.c")


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_is_no_token(issuer: Issuer, text: str) -> None:
    refused(identify(settings(issuer), asked({"Authorization": text})))
    assert issuer.times_asked == 0  # nobody is asked about nonsense


def test_short_and_unfit_keys_are_not_used(issuer: Issuer) -> None:
    fit, rsa = public_jwk("first"), jwt.get_algorithm_by_name("RS256")
    private = fit | rsa.to_jwk(private_key("first"), as_dict=True)  # type: ignore[call-overload]
    unfit: list[Any] = [
        {**fit, "use": "enc"},
        private,
        {**fit, "n": "!"},
        {**fit, "kty": "EC"},
        {**fit, "alg": "RS512"},
        {"kty": "oct", "kid": "first", "k": part(b"secret")},
        "text",
        {"kid": 7},
    ]
    issuer.keys = [*unfit, public_jwk("short", bits=1024)]
    refused(who(settings(issuer), issuer.token()))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        short = jwt.encode(claims(), private_key("short", bits=1024), "RS256", {"kid": "short"})
    refused(who(settings(issuer), short))
    issuer.keys = [*unfit, fit]
    assert known(who(settings(issuer, approvers=""), issuer.token())).name == "ada@example.com"


# --- keys ------------------------------------------------------------------------------------------------------


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def keys_of(issuer: Issuer, time: Time, timeout_seconds: float = 5.0) -> SigningKeys:
    return SigningKeys(issuer.url, ALGORITHMS, GuardedClient(loopback=True, timeout_seconds=timeout_seconds), time)


def test_keys_are_kept_for_an_hour_and_asked_for_when_an_id_is_new(issuer: Issuer) -> None:
    time = Time()
    keys = keys_of(issuer, time)
    assert keys.find("first", "RS256") is not None
    for number in range(50):
        assert keys.find(f"made up {number}", "RS256") is None
    assert issuer.times_asked == 1
    issuer.rotate("second")
    assert keys.find("second", "RS256") is None  # asked a moment ago
    time.now += PAUSE_SECONDS
    assert keys.find("second", "RS256") is not None
    assert keys.find("first", "RS256") is None  # withdrawn
    assert issuer.times_asked == 2
    time.now += KEEP_SECONDS
    assert keys.find("second", "RS256") is not None
    assert issuer.times_asked == 3


@pytest.mark.parametrize("fault", [Fault("status", 500), Fault("status", 404), Fault("drop"), Fault("garble")])
def test_older_keys_are_used_on_while_the_issuer_is_down(issuer: Issuer, fault: Fault) -> None:
    time = Time()
    keys = keys_of(issuer, time)
    assert keys.find("first", "RS256") is not None
    issuer.api.inject(*[fault] * 100)
    time.now += KEEP_SECONDS
    assert keys.find("first", "RS256") is not None
    assert keys.find("first", "RS256") is not None
    assert issuer.times_asked == 2
    with pytest.raises(Unavailable):
        keys.find("new", "RS256")  # whether it is genuine nobody can tell
    time.now = STALE_SECONDS
    with pytest.raises(Unavailable):
        keys.find("first", "RS256")


def test_no_keys_at_all_is_no_answer_and_no_flood(issuer: Issuer) -> None:
    issuer.api.inject(*[Fault("status", 503)] * 100)
    for _ in range(5):
        found = who(settings(issuer), issuer.token())
        assert isinstance(found, Reply)
        assert (found.status, found.headers["Retry-After"]) == (503, "30")
    assert issuer.times_asked == 1


def test_a_key_set_that_is_too_large_is_not_read(issuer: Issuer) -> None:
    issuer.keys = [{**public_jwk("first"), "x5c": ["A" * 300_000]}]
    with pytest.raises(Unavailable):
        keys_of(issuer, Time()).find("first", "RS256")


def test_one_request_however_many_callers_come_first(issuer: Issuer) -> None:
    found_by = settings(issuer)
    token, together = issuer.token(), threading.Barrier(8)

    def call(_: int) -> str:
        together.wait()
        return known(who(found_by, token)).name

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(8))) == {"ada@example.com"}
    assert issuer.times_asked == 1


def test_who_has_a_key_does_not_wait_for_newer_ones(issuer: Issuer) -> None:
    time = Time()
    keys = keys_of(issuer, time, timeout_seconds=1.0)
    first = keys.find("first", "RS256")
    time.now += KEEP_SECONDS
    issuer.api.inject(Fault("hang"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(keys.find, "first", "RS256")
        assert issuer.api.hanging.wait(5)
        assert keys.find("first", "RS256") is first
        assert not waiting.done()
        assert waiting.result() is first  # when its patience was at an end


def test_an_address_that_may_not_be_called(issuer: Issuer) -> None:
    keys = SigningKeys("http://keys.example.com/keys", ALGORITHMS, GuardedClient(loopback=False))
    tokens = SignedTokens(NAME, AUDIENCE, ALGORITHMS, keys)
    with pytest.raises(Unavailable, match="https only"):
        tokens.claims(issuer.token())


def test_a_shared_secret_is_never_an_algorithm(issuer: Issuer) -> None:
    for algorithms in (["HS256", "none", "RS256"], ["RS256"]):
        tokens = SignedTokens(NAME, AUDIENCE, algorithms, keys_of(issuer, Time()))
        for kind in ("none", "the public key as secret", "a secret"):
            with pytest.raises(Refused):
                tokens.claims(FORGED[kind]())
    assert issuer.times_asked == 0
