"""The embedded cloud's one HTTP server: real functions under ``/functions/``, endpoints, topics, and the API."""

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, cast

import functions_framework
import msgspec
from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from modeldrop.domain.messages import check_message
from modeldrop.errors import FieldProblem, InvalidInput, ModeldropError, NotFound, TooLarge
from modeldrop.events import strict_json
from modeldrop.http.messages import Asked
from modeldrop.ports import Publisher
from modeldrop.settings import Settings
from modeldrop.web import same_origin
from modeldrop.web.problem import MEDIA_TYPE, Problem, bad_request, not_found

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

PUBLISH_LIMIT_BYTES = 10 << 20
MOST_MESSAGES = 1_000
REQUEST_LIMIT_BYTES = 32 << 20  # as Cloud Run
THREADS_PER_FUNCTION = 8
_FUNCTION_PATH = re.compile(r"/functions/([^/]+)(/.*)?")
_API = "api"  # also has every path that is nobody else's
_OWN_PROCESS = "predict"  # runs in the workers behind the endpoints


def load_functions(folder: Path) -> dict[str, App]:
    """Every function of the folder, through functions-framework, by its name."""
    names = sorted(main.parent.name for main in folder.glob("*/main.py") if main.parent.name != _OWN_PROCESS)
    return {name: _load(name, folder / name / "main.py") for name in names}


def _load(name: str, source: Path) -> App:
    app = functions_framework.create_app(target=name, source=str(source))  # type: ignore[no-untyped-call]
    if isinstance(app, Starlette):  # an async function
        return app
    return cast("App", WSGIMiddleware(app, workers=THREADS_PER_FUNCTION))


class Front:
    """Sends each request where it belongs."""

    def __init__(
        self,
        functions: Mapping[str, App],
        routes: list[Route],
        publisher: Callable[[], Publisher],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._functions = functions

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            await close()

        publish = Route("/v1/projects/{project}/topics/{topic}:publish", _publish_with(publisher), methods=["POST"])
        handlers: dict[Any, Any] = {HTTPException: _http_problem}
        self._own = Starlette(routes=[*routes, publish], lifespan=lifespan, exception_handlers=handlers)
        self._own_paths = re.compile(r"/v1/(endpoints/[^/]+:predict|projects/[^/]+/topics/[^/]+:publish)")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            await self._own(scope, receive, send)
            return
        is_own, match = self._own_paths.fullmatch(scope["path"]), _FUNCTION_PATH.fullmatch(scope["path"])
        name, path = (match[1], match[2] or "/") if match else (_API, scope["path"])
        if _length(scope) > REQUEST_LIMIT_BYTES:
            await _respond(_TOO_LARGE, scope, receive, send)
        elif (is_own or name != _API) and (refusal := _refusal(scope)) is not None:
            await refusal(scope, receive, send)
        elif is_own:
            await self._own(scope, receive, send)
        else:
            await self._call_function(name, path, scope, receive, send)

    async def _call_function(self, name: str, path: str, scope: Scope, receive: Any, send: Any) -> None:
        app = self._functions.get(name)
        if app is None:
            problem = not_found(f"there is no function {name[:80]!a}; there are {', '.join(self._functions)}")
            await _respond(problem, scope, receive, send)
            return
        if _has_no_length(scope):
            try:
                receive = await _read_ahead(receive)
            except TooLarge:
                await _respond(_TOO_LARGE, scope, receive, send)
                return
            except ClientDisconnect:
                return  # what it would have asked is not known
        # As in the cloud, a function sees the path behind its own name.
        await app({**scope, "path": path, "raw_path": path.encode(), "root_path": ""}, receive, send)


def _refusal(scope: Scope) -> Response | None:
    """What pages of other sites are told, as nobody has to log in here. The API looks at that itself.

    Programs may call this machine what they like (``host.docker.internal``); what they send has neither field.
    """
    headers = Headers(scope=scope)
    is_of_a_page = bool(headers.get("sec-fetch-site", "") or headers.get("origin", ""))
    asked = Asked(scope["method"], scope["path"], {}, headers, BytesIO(), "", "")
    refusal = same_origin.refusal(Settings("local"), asked, changing=True) if is_of_a_page else None
    if refusal is None:
        return None
    assert isinstance(refusal.body, bytes)
    return Response(refusal.body, refusal.status, media_type=refusal.content_type)


_TOO_LARGE = Problem(413, "Too large", f"at most {REQUEST_LIMIT_BYTES} bytes")


def _has_no_length(scope: Scope) -> bool:
    return any(name == b"transfer-encoding" for name, _ in scope["headers"])


async def _read_ahead(receive: Receive) -> Receive:
    """A request sent in chunks, received before it is passed on. Raises TooLarge, ClientDisconnect."""
    messages: list[Any] = []
    size = 0
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
        if messages[-1]["type"] == "http.disconnect":
            raise ClientDisconnect
        size += len(messages[-1].get("body", b""))
        if size > REQUEST_LIMIT_BYTES:
            raise TooLarge(f"at most {REQUEST_LIMIT_BYTES} bytes")
    following = iter(messages)

    async def replay() -> Any:
        message = next(following, None)
        return await receive() if message is None else message

    return replay


async def _respond(problem: Problem, scope: Scope, receive: Any, send: Any) -> None:
    await _problem(problem)(scope, receive, send)


async def _http_problem(request: Request, error: HTTPException) -> Response:
    """What the router itself refuses, such as another method."""
    answer = _problem(Problem(error.status_code, error.detail, f"{request.method} {request.url.path}: {error.detail}"))
    answer.headers.update(error.headers or {})
    return answer


def _problem(problem: Problem) -> Response:
    return Response(msgspec.json.encode(problem), problem.status, media_type=MEDIA_TYPE)


def _length(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text.lstrip(b"0")[:12] or b"0") if text.isdigit() else 0


class _Message(msgspec.Struct, frozen=True):
    data: str = ""
    attributes: dict[str, str] = {}


class _PublishRequest(msgspec.Struct, frozen=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1, max_length=MOST_MESSAGES)]


def _publish_with(publisher: Callable[[], Publisher]) -> Callable[[Request], Awaitable[Response]]:
    """``POST …:publish`` with the body of the Pub/Sub REST API."""

    async def publish(request: Request) -> Response:
        try:
            messages = _messages(await _read_body(request))
            topic = request.path_params["topic"]
            ids = await run_in_threadpool(lambda: [publisher().publish(topic, d, a) for d, a in messages])
        except (ModeldropError, msgspec.ValidationError) as error:
            return _problem(_publish_problem(error))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        return Response(msgspec.json.encode({"messageIds": ids}), media_type="application/json")

    return publish


def _publish_problem(error: Exception) -> Problem:
    if isinstance(error, NotFound):
        return not_found(str(error))
    if isinstance(error, TooLarge):
        return Problem(413, "Too large", str(error))
    if isinstance(error, InvalidInput | msgspec.ValidationError):
        return bad_request(str(error))
    return Problem(503, "Unavailable", str(error))


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > 2 * PUBLISH_LIMIT_BYTES:
            raise TooLarge(f"at most {2 * PUBLISH_LIMIT_BYTES} bytes a request")
    return bytes(body)


def _messages(body: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """Data and attributes of each message, all of them checked: none is sent if one cannot be."""
    document = strict_json.decode(body, limit_bytes=2 * PUBLISH_LIMIT_BYTES)
    messages = msgspec.convert(document, _PublishRequest).messages
    decoded = [(_from_base64(number, m.data), m.attributes) for number, m in enumerate(messages)]
    for data, attributes in decoded:
        check_message(data, attributes)
    return decoded


def _from_base64(number: int, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # also where it is not ASCII
        raise InvalidInput([FieldProblem(f"messages[{number}].data", "is not base64")]) from None
