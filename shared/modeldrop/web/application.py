"""The control plane over HTTP: the order in which a request is looked at, and what every answer carries.

Is it meant for us, and from no page of somebody else; who asks; what for; may they; then it is done, with an entry in
the audit trail before and after if it changes anything.
"""

import logging
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from modeldrop.errors import ModeldropError
from modeldrop.http.body import is_cut_off, read_body
from modeldrop.http.messages import JSON, PROBLEM, Asked, Reply, json_reply
from modeldrop.web import roles, same_origin
from modeldrop.web.answers.operations import CallReply
from modeldrop.web.callers import identify
from modeldrop.web.callers.audited import audited, refused
from modeldrop.web.callers.caller import Caller
from modeldrop.web.calls import Call, NoQuery, read_query
from modeldrop.web.commands import BODY_LIMIT_BYTES, Forwarded, read_body_as
from modeldrop.web.finishing import finished, next_page
from modeldrop.web.pages import as_page, wants_page
from modeldrop.web.problem import Problem, not_found, problem_of, problem_with
from modeldrop.web.routes import Answer, Found, Route, find_route
from modeldrop.wiring import Services

NOBODY = Caller("nobody", frozenset())
log = logging.getLogger(__name__)


def answer(services: Services, asked: Asked) -> Reply:
    """The answer to a request. Whatever goes wrong is answered as well, and stands in the log."""
    try:
        body = read_body(asked.stream, BODY_LIMIT_BYTES)
        if is_cut_off(body, asked.headers, BODY_LIMIT_BYTES):
            reply = problem_of(400, "the request ended before its body did").reply()
        else:
            reply = _forwarded(services, asked, body) if _is_call(asked) else _answered(services, asked, body)
    except Exception:
        log.exception("%s %s failed", asked.method, asked.path)
        reply = problem_of(500, "something went wrong here; the log says what").reply()
    if reply.content_type == PROBLEM and wants_page(asked):
        reply = as_page(services, reply)
    return finished(asked, reply)


def _answered(services: Services, asked: Asked, body: bytes) -> Reply:
    """The answer, by whoever has the first objection, or by the route's handler."""
    asked = replace(asked, path=asked.path.rstrip("/") or "/", stream=BytesIO(body))
    settings, call = services.settings, f"{asked.method} {asked.path}"
    found = find_route("GET" if asked.method == "HEAD" else asked.method, asked.path)
    if not _is_of_a_browser(asked) and (wrong := _wrong_type(asked, found)) is not None:
        return wrong
    refusal = same_origin.refusal(settings, asked, asked.method not in ("GET", "HEAD", "OPTIONS"))
    if refusal is not None:
        return refused(services, None, call, refusal)
    public = isinstance(found, tuple) and found[0].public
    caller = NOBODY if public else identify(settings, asked)
    if isinstance(caller, Reply):
        return refused(services, None, call, caller)
    if not isinstance(found, tuple):
        return _wrong_way(asked, found)
    route, arguments = found
    refusal = None if public else roles.refusal(settings, caller, route.role_for(arguments))
    if refusal is not None:
        return refused(services, caller, call, refusal)
    return _routed(services, route, Call(arguments, NoQuery(), caller, body, asked))


def _wrong_type(asked: Asked, found: Found) -> Reply | None:
    """415 for a command that is no JSON: pages can send other types to any address without asking, JSON they cannot."""
    if not isinstance(found, tuple) or found[0].body is None or _media_type(asked) == JSON:
        return None
    return problem_of(415, f"commands are {JSON}").reply({"Accept-Post": JSON})


def _is_of_a_browser(asked: Asked) -> bool:
    """Whether a page may have sent it: where that comes from is looked at before anything else."""
    return bool(asked.headers.get("Sec-Fetch-Site", "") or asked.headers.get("Origin", ""))


def _media_type(asked: Asked) -> str:
    return asked.headers.get("Content-Type", "").split(";")[0].strip().lower()


def _routed(services: Services, route: Route, call: Call[Any]) -> Reply:
    """The handler's answer, once the form of the request is right."""
    assert call.asked is not None
    if (wrong := _wrong_type(call.asked, (route, {}))) is not None:
        return wrong
    try:
        query = call.query if route.query is None else read_query(call.asked.query, route.query)
    except ModeldropError as error:
        return _reply_of(_problem_or_raise(error))
    if route.changes:
        name, said = f"{route.method} {call.asked.path}", call.body.decode(errors="replace")
        return audited(services, call.caller, name, lambda: _handled(services, route, call), said)
    return _handled(services, route, replace(call, query=query))


def _handled(services: Services, route: Route, call: Call[Any]) -> Reply:
    assert call.asked is not None
    try:
        done = route.handler(services, call)
    except ModeldropError as error:
        done = _problem_or_raise(error)
    return next_page(call.asked, _reply_of(done), getattr(done, "next", None))


def _reply_of(done: Answer) -> Reply:
    if isinstance(done, Reply):
        return done
    if isinstance(done, Problem):
        return done.reply({"Retry-After": "5"} if done.status == 503 else None)
    return json_reply(200, done)


def _problem_or_raise(error: ModeldropError) -> Problem:
    problem = problem_with(error)
    if problem is None:
        raise error
    return problem


def _wrong_way(asked: Asked, methods: frozenset[str]) -> Reply:
    """What is said where the path has no such method: which ones it has, if any."""
    if not methods:
        return not_found(f"{asked.method} {asked.path[:200]}: there is nothing at this path").reply()
    allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    headers = {"Allow": ", ".join(sorted(allowed))}
    if asked.method == "OPTIONS":
        return Reply(204, b"", headers)
    return problem_of(405, f"{asked.method} {asked.path[:200]}: not answered at this path").reply(headers)


# --- a call inside a call --------------------------------------------------------------------------------------


def _is_call(asked: Asked) -> bool:
    return asked.method == "POST" and asked.path in ("", "/")


def _forwarded(services: Services, asked: Asked, body: bytes) -> Reply:
    """Another call as the body of this one, with the same checks: ``gcloud functions call`` can only post to the root.

    HTTP 200 whatever comes of it: gcloud prints no answer that has another status.
    """
    inner = _inner(asked, body)
    reply = inner.reply() if isinstance(inner, Problem) else _answered(services, inner, inner.stream.read())
    assert isinstance(reply.body, bytes)
    is_json = reply.content_type.split(";")[0].endswith("json")
    content = reply.body if is_json and reply.body else msgspec.json.encode(reply.body.decode(errors="replace"))
    return json_reply(200, CallReply(reply.status, msgspec.Raw(content)))


def _inner(asked: Asked, body: bytes) -> Asked | Problem:
    if _media_type(asked) != JSON:
        return problem_of(415, f"a call is {JSON}")
    forwarded = read_body_as(body, Forwarded)
    if isinstance(forwarded, Problem):
        return forwarded
    method, _, target = forwarded.call.partition(" ")
    parts = urlsplit(target)
    query = {name: ",".join(texts) for name, texts in parse_qs(parts.query, keep_blank_values=True).items()}
    content = msgspec.json.encode(forwarded.body) if method == "POST" else b""
    return replace(asked, method=method, path=parts.path, query=query, stream=BytesIO(content))
