"""Who may ask the service, and how much: keys, tokens, loopback, rate."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from flask.testing import FlaskClient
from google.auth import crypt, jwt
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.adapters.gcp.identity_tokens import Certificates, IdentityTokens
from modeldrop.errors import InvalidInput, Unavailable
from modeldrop.handlers.serving.predict_vertex import MOST_INSTANCES, count_instances, read_instances
from tests.functions.predict_system import ANSWER, GOOD, client_of, package, process
from tests.servers.receiver import Receiver, Reply

BODY = {"instances": [GOOD]}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


# --- keys ------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"app": digest("app's key"), "other": digest("other key")}))
    return path


@pytest.fixture
def guarded(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    auth = {"MODELDROP_SERVING_AUTH": "api_keys", "MODELDROP_API_KEYS": str(keys)}
    return client_of(package(tmp_path / "package") | auth, monkeypatch)


def asked_with(client: FlaskClient, key: str | None, path: str = "/predict") -> int:
    headers = {} if key is None else {"X-API-Key": key}
    status: int = client.post(path, json=BODY, headers=headers).status_code
    return status


def test_a_key_lets_in_and_nothing_else_does(guarded: FlaskClient) -> None:
    assert [asked_with(guarded, key) for key in ("app's key", "other key")] == [200, 200]
    strangers = [None, "", "App's key", "app's key ", digest("app's key"), "app", "x" * 20_000, "\xff\xfe"]
    assert [asked_with(guarded, key) for key in strangers if key != "app's key "] == [401] * 7
    answer = guarded.post("/predict", json=BODY)
    assert answer.headers["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'
    assert answer.content_type == "application/problem+json"


def test_reload_is_guarded_and_health_is_not(guarded: FlaskClient) -> None:
    assert asked_with(guarded, None, "/reload") == 401
    assert asked_with(guarded, "app's key", "/reload") == 200
    assert guarded.get("/health").status_code == 200


def test_a_key_that_is_withdrawn_counts_no_more(guarded: FlaskClient, keys: Path) -> None:
    assert asked_with(guarded, "app's key") == 200
    keys.write_text(json.dumps({"other": digest("other key"), "new": digest("new key")}))
    assert [asked_with(guarded, key) for key in ("app's key", "other key", "new key")] == [401, 200, 200]


@pytest.mark.parametrize("content", ["", "[]", '{"a": "secret"}', '{"": "%s"}' % ("0" * 64), '{"a": 1}', None])
def test_a_damaged_file_lets_nobody_in(guarded: FlaskClient, keys: Path, content: str | None) -> None:
    keys.unlink() if content is None else keys.write_text(content)
    answer = guarded.post("/predict", json=BODY, headers={"X-API-Key": "app's key"})
    assert answer.status_code == 503
    assert "file of API keys" in answer.json["detail"]
    assert "secret" not in answer.text


# --- loopback --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("0.0.0.0", 503)])
def test_without_a_setting_only_this_machine_is_answered(host: str, status: int, tmp_path: Path) -> None:
    """The second process listens everywhere, though it is asked over loopback, in the name of loopback."""
    with process(package(tmp_path / "package"), tmp_path / "log", host) as address:
        answer = httpx.post(f"{address}/predict", json=BODY, headers={"Host": "localhost"}, timeout=30)
        assert answer.status_code == status, answer.text
        assert httpx.get(f"{address}/health", timeout=30).status_code == 200
    if status != 200:
        assert "MODELDROP_SERVING_AUTH" in answer.json()["detail"]


def test_behind_vertex_everybody_who_gets_through_is_answered(tmp_path: Path) -> None:
    environment = package(tmp_path / "package") | {"AIP_HTTP_PORT": "8080"}
    with process(environment, tmp_path / "log", "0.0.0.0") as address:
        assert httpx.post(f"{address}/predict", json=BODY, timeout=30).json() == {"predictions": [ANSWER]}


# --- tokens ----------------------------------------------------------------------------------------------------


class Issuer:
    """Keys and certificates as Google publishes them, and tokens made with them."""

    URL = "https://accounts.google.com"

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def certificates(self) -> bytes:
        return json.dumps({key_id: self._certificate(key) for key_id, key in self.keys.items()}).encode()

    def token(self, key_id: str = "k1", key: rsa.RSAPrivateKey | None = None, **claims: object) -> str:
        now = datetime.now(UTC)
        content: dict[str, Any] = {
            "iss": self.URL,
            "aud": "https://predict.example.com",
            "sub": "1234",
            "email": "app@project.iam.gserviceaccount.com",
            "email_verified": True,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(hours=1)).timestamp()),
        }
        pem = (key or self.keys[key_id]).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signer = crypt.RSASigner.from_string(pem, key_id)
        return jwt.encode(signer, content | claims).decode()

    def _certificate(self, key: rsa.RSAPrivateKey) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def published(issuer: Issuer) -> Iterator[Receiver]:
    with Receiver() as receiver:
        receiver.always(Reply(200, issuer.certificates()), path="/certs")
        yield receiver


@pytest.fixture
def with_tokens(tmp_path: Path, published: Receiver, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    auth = {
        "MODELDROP_SERVING_AUTH": "oidc",
        "MODELDROP_OIDC_AUDIENCE": "https://predict.example.com",
        "MODELDROP_OIDC_CALLERS": "app@project.iam.gserviceaccount.com, 5678",
        "MODELDROP_OIDC_CERTIFICATES": f"{published.url}/certs",
    }
    return client_of(package(tmp_path / "package") | auth, monkeypatch)


def status_with(client: FlaskClient, authorization: str) -> int:
    status: int = client.post("/predict", json=BODY, headers={"Authorization": authorization}).status_code
    return status


def test_a_genuine_token_of_somebody_who_may_ask(with_tokens: FlaskClient, published: Receiver, issuer: Issuer) -> None:
    for claims in ({}, {"iss": "accounts.google.com"}, {"email": None, "sub": "5678"}):
        assert status_with(with_tokens, f"Bearer {issuer.token(**claims)}") == 200
    assert len(published.received) == 1  # the certificates are kept


HOUR_AGO = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
REFUSED: dict[str, Callable[[Issuer], str]] = {
    "another audience": lambda issuer: issuer.token(aud="https://other.example.com"),
    "another issuer": lambda issuer: issuer.token(iss="https://issuer.example.com"),
    "expired": lambda issuer: issuer.token(iat=HOUR_AGO - 3600, exp=HOUR_AGO),
    "of the future": lambda issuer: issuer.token(iat=HOUR_AGO + 7200, exp=HOUR_AGO + 9000),
    "somebody else": lambda issuer: issuer.token(email="else@example.com"),
    "an e-mail nobody verified": lambda issuer: issuer.token(email_verified=False),
    "an e-mail verified in words": lambda issuer: issuer.token(email_verified="true"),
    "signed by another key": lambda issuer: issuer.token(key=rsa.generate_private_key(65537, 2048)),
    "a changed body": lambda issuer: ".".join(
        [issuer.token().split(".")[0], *issuer.token(sub="5678").split(".")[1:2], issuer.token().split(".")[2]]
    ),
    "no signature": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "no token": lambda issuer: "a.b.c",
    "nothing": lambda issuer: "",
    "not even text": lambda issuer: "\xff.\xff.\xff",
    "a header that is a list": lambda issuer: "W10.W10.W10",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_is_refused(with_tokens: FlaskClient, issuer: Issuer, token: Callable[[Issuer], str]) -> None:
    assert status_with(with_tokens, f"Bearer {token(issuer)}") == 401
    assert status_with(with_tokens, f"Bearer {issuer.token()}") == 200


def test_no_scheme_or_another(with_tokens: FlaskClient, issuer: Issuer) -> None:
    assert [status_with(with_tokens, text) for text in ("", issuer.token(), f"Basic {issuer.token()}")] == [401] * 3


def test_certificates_that_cannot_be_read_are_nobodys_fault(
    with_tokens: FlaskClient, published: Receiver, issuer: Issuer
) -> None:
    published.always(Reply(500), path="/certs")
    for _ in range(3):
        assert status_with(with_tokens, f"Bearer {issuer.token()}") == 503
    assert len(published.received) == 1  # and are not asked for with every request


def test_a_new_key_of_the_issuer_is_found_but_not_sought_without_end() -> None:
    issuer, now = Issuer(), [0.0]
    with Receiver() as receiver:
        receiver.always(Reply(200, issuer.certificates()), path="/certs")
        certificates = Certificates(f"{receiver.url}/certs", clock=lambda: now[0])
        callers = frozenset({"1234"})
        tokens = IdentityTokens(issuer.URL, "https://predict.example.com", callers, certificates)
        assert tokens.caller(issuer.token()) == "1234"
        issuer.keys["k2"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        receiver.always(Reply(200, issuer.certificates()), path="/certs")
        assert [tokens.caller(issuer.token("k2")) for _ in range(3)] == [None] * 3
        assert len(receiver.received) == 1
        now[0] = 31.0
        assert [tokens.caller(issuer.token(key)) for key in ("k2", "k1")] == ["1234"] * 2
        assert len(receiver.received) == 2
        receiver.always(Reply(503), path="/certs")
        now[0] = 100.0
        unknown = issuer.token("k3", issuer.keys["k1"])
        assert tokens.caller(unknown) is None  # those we have are good for their hour
        assert tokens.caller(issuer.token()) == "1234"
        now[0] = 4_000.0
        with pytest.raises(Unavailable):
            tokens.caller(issuer.token())


@pytest.mark.parametrize("url", ["http://certs.example.com/x", "ftp://127.0.0.1/x", "certs"])
def test_certificates_come_over_https(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = {
        "MODELDROP_SERVING_AUTH": "oidc",
        "MODELDROP_OIDC_AUDIENCE": "a",
        "MODELDROP_OIDC_CALLERS": "c",
        "MODELDROP_OIDC_CERTIFICATES": url,
    }
    health = client_of(package(tmp_path) | auth, monkeypatch).get("/health")
    assert health.status_code == 503
    assert "MODELDROP_OIDC_CERTIFICATES" in health.json["detail"]


# --- rate ------------------------------------------------------------------------------------------------------


def test_the_rate_is_each_callers_own(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {
        "MODELDROP_SERVING_AUTH": "api_keys",
        "MODELDROP_API_KEYS": str(keys),
        "MODELDROP_INSTANCES_PER_SECOND": "0.01",
        "MODELDROP_INSTANCES_BURST": "3",
    }
    client = client_of(package(tmp_path / "package") | limits, monkeypatch)
    assert [asked_with(client, "app's key") for _ in range(4)] == [200, 200, 200, 429]
    answer = client.post("/predict", json=BODY, headers={"X-API-Key": "app's key"})
    assert 90 <= int(answer.headers["Retry-After"]) <= 100
    batch = {"instances": [GOOD] * 10}
    assert client.post("/predict", json=batch, headers={"X-API-Key": "other key"}).status_code == 200
    answer = client.post("/predict", json=BODY, headers={"X-API-Key": "other key"})
    assert (answer.status_code, 700 <= int(answer.headers["Retry-After"]) <= 800) == (429, True)
    assert client.get("/health").status_code == 200


def test_a_batch_is_paid_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a million bytes is work, whether they are in order (here: a key twice) or not."""
    limits = {"MODELDROP_INSTANCES_PER_SECOND": "0.01", "MODELDROP_INSTANCES_BURST": "5", "AIP_HTTP_PORT": "1"}
    client = client_of(package(tmp_path) | limits, monkeypatch)
    twice = b'{"a": 1, "a": 2, "instances": [%s]}' % b", ".join([json.dumps(GOOD).encode()] * 10)
    assert client.post("/predict", data=twice).status_code == 400
    assert 500 <= int(client.post("/predict", json=BODY).headers["Retry-After"]) <= 600


def test_a_list_too_long_costs_no_more_than_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MODELDROP_INSTANCES_PER_SECOND": "1", "MODELDROP_INSTANCES_BURST": "1", "AIP_HTTP_PORT": "1"}
    client = client_of(package(tmp_path) | limits, monkeypatch)
    assert client.post("/predict", json={"instances": [1] * 100_000}).status_code == 400
    assert 990 <= int(client.post("/predict", json=BODY).headers["Retry-After"]) <= MOST_INSTANCES


BODIES = st.binary() | st.builds(
    lambda mark, before, count, after: mark + before + json.dumps({"instances": [GOOD] * count}).encode()[1:] + after,
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf"]),
    st.sampled_from([b"{", b" {", b'{"a": [1, {"instances": 3}], ', b"{{", b'{"instances": [1], ', b"["]),
    st.integers(0, 1_005),
    st.sampled_from([b"", b" ", b"}", b"x"]),
)


@given(body=BODIES)
def test_whatever_can_be_read_is_counted_as_it_is(body: bytes) -> None:
    counted = count_instances(body)
    try:
        assert counted == len(read_instances(body))
    except InvalidInput:
        assert 0 <= counted <= MOST_INSTANCES


def test_no_more_are_answered_at_once_than_the_burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MODELDROP_INSTANCES_PER_SECOND": "0.001", "MODELDROP_INSTANCES_BURST": "10", "AIP_HTTP_PORT": "1"}
    client = client_of(package(tmp_path) | limits, monkeypatch)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(asked_with(client, None))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(statuses) == [200] * 10 + [429] * 10
