"""The API in a process as Cloud Run starts it: what its server makes of headers and of requests that break off."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_traced_logs import function
from tests.functions.api_calls import checked_token

ADA, VIC = (checked_token(f"{name}@example.com")["Authorization"] for name in ("ada", "vic"))
SERVERLESS = "X-Serverless-Authorization"
ROLLBACK = "POST /v1/models/fraud:rollback HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where it listens; ada is its operator, and Cloud Run is said to stand before it."""
    folder = tmp_path_factory.mktemp("api")
    settings = {"MODELDROP_AUTH": "iam", "MODELDROP_OPERATORS": "ada@example.com"}
    with function("api", folder, folder / "data", **settings) as (instance, _):
        place = urlsplit(instance.url)
        assert place.hostname and place.port
        yield place.hostname, place.port


def trail(address: tuple[str, int], *headers: tuple[str, str]) -> tuple[int, Any]:
    """The audit trail, asked for with these headers, as they are and as often as they are there."""
    connection = HTTPConnection(*address, timeout=30)
    connection.putrequest("GET", "/v1/audit")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", ADA)], 200),
        ([("authorization", VIC)], 403),
        ([], 401),
        ([("Authorization", VIC), (SERVERLESS, ADA)], 200),  # Cloud Run has checked the second
        ([("Authorization", ADA), (SERVERLESS, VIC)], 403),
        # To WSGI a header with underscores would be the one with hyphens, and Cloud Run has looked at none of these.
        ([("Authorization", VIC), ("X_Serverless_Authorization", ADA)], 403),
        ([("Authorization", VIC), ("X_Serverless-Authorization", ADA)], 403),
        ([("X_Serverless_Authorization", ADA)], 401),
        ([("Authorization", VIC), ("Authorization", ADA)], 401),
        ([(SERVERLESS, VIC), (SERVERLESS, ADA)], 401),
    ],
)
def test_nobody_takes_another_name_by_a_header(
    address: tuple[str, int], headers: list[tuple[str, str]], status: int
) -> None:
    assert trail(address, *headers)[0] == status


@pytest.mark.parametrize(
    "request_text",
    [
        f"{ROLLBACK}Content-Length: 20\r\n\r\n",
        f"{ROLLBACK}Content-Length: 20\r\n\r\n{{}}",
        f"{ROLLBACK}{CHUNKED}",
        f"{ROLLBACK}{CHUNKED}2\r\n{{}}\r\n",
        f"{ROLLBACK}{CHUNKED}8\r\n{{}}",
    ],
)
def test_what_breaks_off_is_not_carried_out(address: tuple[str, int], request_text: str) -> None:
    """Cut off at its beginning the body would be an empty one: a rollback to another version than was asked for."""
    head, _, rest = request_text.partition("\r\n")
    with socket.create_connection(address) as connection:
        connection.sendall(f"{head}\r\nAuthorization: {ADA}\r\nConnection: close\r\n{rest}".encode())
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        while connection.recv(65_536):
            """Until it was looked at."""
    entries = trail(address, ("Authorization", ADA))[1]["entries"]
    assert [entry for entry in entries if "rollback" in entry["call"]] == []
