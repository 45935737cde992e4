"""Who may publish, predict and call functions in the embedded cloud, where nobody logs in: no page of another site."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from modeldrop.adapters.local.topic_queue import LocalPublisher
from modeldrop.localcloud.front import REQUEST_LIMIT_BYTES, Front

PATHS = ("/v1/projects/p/topics/predictions:publish", "/v1/endpoints/fraud:predict", "/functions/health_tick")
OURS = "127.0.0.1:8080"
MESSAGE = b'{"messages":[{"data":"e30="}]}'
FORM = "application/x-www-form-urlencoded"


async def answered(request: Request) -> Response:
    return PlainTextResponse("done")


async def function(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("done")(scope, receive, send)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    publisher = LocalPublisher(tmp_path / "topics.sqlite", ["predictions"])

    async def close() -> None:
        """Nothing is open."""

    endpoint = Route("/v1/endpoints/{model}:predict", answered, methods=["POST"])
    yield Front({"health_tick": function, "api": function}, [endpoint], lambda: publisher, close)
    publisher.close()


def post(front: Front, path: str, headers: dict[str, str], method: str = "POST") -> int:
    """The status of the answer to what a client, or a page, sends."""

    async def ask() -> int:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{OURS}") as client:
            answer = await client.request(method, path, content=MESSAGE, headers=headers)
            return answer.status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": FORM},  # what curl -d says
        {"Content-Type": "application/json", "Host": "localhost:8080"},
        {"Content-Type": "application/json", "Host": "host.docker.internal:8080"},
        {"Content-Type": "application/json", "Host": "[::1]:8080"},
        {"Content-Type": "application/json", "Origin": f"http://{OURS}"},
        {"Content-Type": "text/plain", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_programs_and_our_own_pages_may(front: Front, path: str, headers: dict[str, str]) -> None:
    assert post(front, path, headers) == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"http://{OURS}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9090"},
    ],
)
@pytest.mark.parametrize("media_type", ["text/plain", FORM, "application/json"])
def test_pages_of_other_sites_may_not(front: Front, path: str, headers: dict[str, str], media_type: str) -> None:
    assert post(front, path, headers | {"Content-Type": media_type}) == 403


@pytest.mark.parametrize("path", PATHS)
def test_a_name_that_somebody_points_at_this_machine_is_not_ours(front: Front, path: str) -> None:
    name = {"Host": "evil.example:8080", "Origin": "http://evil.example:8080", "Sec-Fetch-Site": "same-origin"}
    assert post(front, path, name) == 421
    del name["Origin"]
    assert post(front, path, name) == 421


def test_a_picture_in_a_page_calls_no_function(front: Front) -> None:
    assert post(front, "/functions/health_tick", {"Sec-Fetch-Site": "cross-site"}, method="GET") == 403


@pytest.mark.parametrize("path", ["/", "/v1/models", "/functions/api/v1/models"])
def test_the_api_looks_at_that_itself(front: Front, path: str) -> None:
    assert post(front, path, {"Sec-Fetch-Site": "cross-site"}) == 200


@pytest.mark.parametrize("length", [str(REQUEST_LIMIT_BYTES + 1), "9" * 12, "9" * 40, "0" * 20 + "9" * 12])
def test_what_says_it_is_too_large_is_not_begun(front: Front, length: str) -> None:
    assert post(front, PATHS[2], {"Content-Length": length}) == 413
    assert post(front, PATHS[2], {"Content-Length": "0" * 20 + "30"}) == 200


def test_what_was_cut_off_calls_no_function(front: Front) -> None:
    said: list[Any] = []
    messages = iter([{"type": "http.request", "body": b"{}", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"host", OURS.encode()), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": PATHS[2], "headers": headers, "query_string": b""}
    asyncio.run(front(scope, receive, send))
    assert said == []
