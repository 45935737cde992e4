"""Callers whose token Cloud Run has checked (``MODELDROP_AUTH=iam``), and those who need none."""

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from modeldrop.http.messages import Asked, Reply
from modeldrop.settings import Settings
from modeldrop.web.callers import Caller, identify
from modeldrop.web.roles import ALL_ROLES
from tests.servers.key_server import Issuer, claims, part, unsigned

REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"
IAM = Settings("local", data=Path("nowhere"), auth="iam", operators="ada@example.com", approvers="42")


def passed_on(signature: str = REMOVED, **changes: Any) -> str:
    """A token as Cloud Run hands it on."""
    return unsigned({"alg": "RS256", "kid": "1"}, claims(**{"iss": "https://accounts.google.com"} | changes), signature)


def who(settings: Settings, **headers: str) -> Caller | Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return identify(settings, Asked("GET", "/", {}, named, BytesIO(), "127.0.0.1", "127.0.0.1"))


def name_of(found: Caller | Reply) -> str | None:
    """None: 401."""
    if isinstance(found, Caller):
        return found.name
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, "Bearer")
    return None


def test_the_token_that_was_checked_says_who_calls() -> None:
    found = who(IAM, Authorization=f"Bearer {passed_on()}")
    assert found == Caller("ada@example.com", frozenset({"viewer", "operator"}))
    assert name_of(who(IAM, Authorization=f"bearer {passed_on(iss='accounts.google.com')}")) == "ada@example.com"
    assert who(IAM, Authorization=f"Bearer {passed_on(email='eve@example.com')}") == Caller(
        "eve@example.com", frozenset({"viewer"})
    )


def test_without_a_verified_email_the_subject_says_it() -> None:
    for changes in ({"email_verified": False}, {"email_verified": None}, {"email": None}):
        found = who(IAM, Authorization=f"Bearer {passed_on(**changes, sub='42')}")
        assert found == Caller("42", frozenset({"viewer", "approver"}))


@pytest.mark.parametrize(
    "token",
    [
        passed_on(""),
        passed_on("c2lnbmVk"),
        passed_on(f"{REMOVED}A"),
        Issuer.token(iss="https://accounts.google.com"),
        passed_on(iss="https://accounts.google.com.example.com"),
        passed_on(iss=None),
        passed_on(exp=int(time.time()) - 60),
        passed_on(exp=None),
        passed_on(exp="9999999999"),
        passed_on(iat=int(time.time()) + 3600),
        passed_on(nbf=int(time.time()) + 3600),
        passed_on(email=None, sub=None),
        passed_on(email=None, sub="ada@example.com"),
        f"e30.e30.{REMOVED}",
        f"e30.W10.{REMOVED}",
        f"e30.{part(b'{' * 900)}.{REMOVED}",
        f"e30.{part(b'[' * 9000)}.{REMOVED}",
        f"e30.A.{REMOVED}",
        f"e30.{'A' * 20_000}.{REMOVED}",
        f"e30.{part(bytes(range(256)))}.{REMOVED}",
    ],
)
def test_tokens_that_say_nothing(token: str) -> None:
    assert name_of(who(IAM, Authorization=f"Bearer {token}")) is None


def test_a_token_beside_the_one_that_was_checked_counts_for_nothing() -> None:
    """Cloud Run checks X-Serverless-Authorization alone, and hands the other on as it came: anybody can forge that."""
    forged, checked = f"Bearer {passed_on()}", passed_on(email="eve@example.com")
    both = who(IAM, Authorization=forged, X_Serverless_Authorization=f"Bearer {checked}")
    assert name_of(both) == "eve@example.com"
    assert name_of(who(IAM, Authorization=forged, X_Serverless_Authorization="Bearer nonsense")) is None
    assert name_of(who(IAM, X_Serverless_Authorization=f"Bearer {checked}")) == "eve@example.com"


@pytest.mark.parametrize(
    "text", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b", "a", "\x00", "Bearer \udcff.a.b"]
)
def test_what_is_no_token(text: str) -> None:
    assert name_of(who(IAM, Authorization=text)) is None


def test_locally_everybody_is_the_operator() -> None:
    for auth in (None, "none"):
        found = who(Settings("local", data=Path("nowhere"), auth=auth), Authorization="Bearer nonsense")
        assert found == Caller("local operator", ALL_ROLES)


@pytest.mark.parametrize("auth", [None, "none", "magic"])
def test_in_the_cloud_nobody_is_by_default(auth: str | None) -> None:
    assert name_of(who(Settings("gcp", project="p", bucket="b", auth=auth))) is None


def test_half_a_configuration_of_tokens_identifies_nobody() -> None:
    found = who(Settings("gcp", project="p", bucket="b", auth="jwt"), Authorization=f"Bearer {Issuer.token()}")
    assert isinstance(found, Reply)
    assert found.status == 503
