"""Requests that pages of other sites make a browser send."""

from io import BytesIO
from pathlib import Path

import pytest

from modeldrop.http.messages import Asked, Reply
from modeldrop.settings import Settings
from modeldrop.web.same_origin import refusal

LOCAL = Settings("local", data=Path("nowhere"), auth="none")
CLOUD = Settings("gcp", project="p", bucket="b", auth="iam", api_url="https://drop.example.com/api")
JSON, FORM = "application/json", "application/x-www-form-urlencoded; charset=utf-8"


def status(settings: Settings, headers: dict[str, str], *, changing: bool = True) -> int | None:
    asked = Asked("POST" if changing else "GET", "/", {}, headers, BytesIO(), "127.0.0.1", "127.0.0.1")
    reply = refusal(settings, asked, changing)
    assert reply is None or isinstance(reply, Reply)
    return reply.status if reply else None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8080"])
def test_loopback_names_are_answered(host: str) -> None:
    assert status(LOCAL, {"Host": host}) is None
    assert status(LOCAL, {"Host": host}, changing=False) is None


FOREIGN = ("", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example:80", "0.0.0.0")
UNREADABLE = (
    "localhost:x",
    "::1",
    "localhost:80:80",
    "evil.example:80@localhost",
    "[::1].evil.example",
    "localhost, evil",
)


UNLIKE = ("notlocalhost:80", "not.localhost", "x127.0.0.1:80")


@pytest.mark.parametrize("host", (*FOREIGN, *UNREADABLE, *UNLIKE))
def test_without_authentication_no_other_name_is_answered(host: str) -> None:
    assert status(LOCAL, {"Host": host}, changing=False) == 421
    assert status(LOCAL, {"Host": host, "Sec-Fetch-Site": "same-origin"}) == 421
    assert status(CLOUD, {"Host": host}, changing=False) is None  # there people have to say who they are


@pytest.mark.parametrize(
    ("said", "media_type", "may"),
    [
        ({}, JSON, True),  # no browser
        ({}, FORM, False),
        ({"Sec-Fetch-Site": "same-origin"}, JSON, True),
        ({"Sec-Fetch-Site": "same-origin"}, FORM, True),
        ({"Sec-Fetch-Site": "none"}, JSON, True),
        ({"Sec-Fetch-Site": "none"}, FORM, False),
        ({"Sec-Fetch-Site": "same-site"}, JSON, False),
        ({"Sec-Fetch-Site": "cross-site"}, JSON, False),
        ({"Sec-Fetch-Site": "cross-site"}, FORM, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://run.example.com"}, JSON, False),
        ({"Sec-Fetch-Site": "same-origin, cross-site"}, JSON, False),
        ({"Origin": "https://run.example.com"}, FORM, True),
        ({"Origin": "https://run.example.com:443"}, FORM, True),
        ({"Origin": "HTTPS://Run.Example.com"}, JSON, True),
        ({"Origin": "https://drop.example.com"}, FORM, True),  # the address people know
        ({"Origin": "http://drop.example.com"}, FORM, False),
        ({"Origin": "https://run.example.com:8443"}, JSON, False),
        ({"Origin": "https://run.example.com.evil.example"}, JSON, False),
        ({"Origin": "https://evil.example"}, JSON, False),
        ({"Origin": "null"}, JSON, False),
        ({"Origin": "run.example.com"}, JSON, False),
        ({"Origin": "file://"}, JSON, False),
        ({"Origin": "https://"}, JSON, False),
    ],
)
def test_changing_calls_come_from_our_own_pages(said: dict[str, str], media_type: str, may: bool) -> None:
    headers = {"Host": "run.example.com", "Content-Type": media_type} | said
    assert status(CLOUD, headers) == (None if may else 403)
    assert status(CLOUD, headers, changing=False) is None


def test_no_host_is_no_origin_either() -> None:
    assert status(CLOUD, {"Origin": "https://"}) == 403
    assert status(CLOUD, {"Origin": "https://:443", "Host": ""}) == 403


def test_the_embedded_clouds_own_page() -> None:
    headers = {"Host": "127.0.0.1:8080", "Content-Type": FORM}
    assert status(LOCAL, headers | {"Origin": "http://127.0.0.1:8080"}) is None
    assert status(LOCAL, headers | {"Origin": "http://localhost:8080"}) == 403
    assert status(LOCAL, headers | {"Origin": "http://127.0.0.1:3000"}) == 403
