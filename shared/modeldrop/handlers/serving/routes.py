"""The inference service's routes: health, predictions in two shapes, reload. Who asks, and how often, comes first."""

import math
import time
from typing import Any

from modeldrop.errors import ConfigurationError, InvalidInput, Unavailable
from modeldrop.handlers.serving.limits import BODY_LIMIT_BYTES
from modeldrop.handlers.serving.predict_query import answer_query, is_query, read_query
from modeldrop.handlers.serving.predict_vertex import answer_vertex, count_instances, read_instances
from modeldrop.handlers.serving.reload import answer_reload
from modeldrop.handlers.serving.service import LazyService, Service
from modeldrop.http.body import read_body
from modeldrop.http.messages import Asked, Reply, json_reply, problem
from modeldrop.serving.served_version import NotServing
from modeldrop.settings import ServingSettings

QUERY_ROUTE = "/predict"
RELOAD_ROUTE = "/reload"


def answer_request(lazy: LazyService, asked: Asked) -> Reply:
    """The answer to one request, whose body is read whatever the route."""
    body = read_body(asked.stream, BODY_LIMIT_BYTES)
    service = lazy.get()
    if isinstance(service, NotServing):
        return problem(503, service.reason)
    methods = _methods(service.settings, asked.path)
    if asked.method not in methods:
        return _wrong_way(asked.method, methods)
    if asked.method != "POST":
        return answer_health(service)
    caller = _admitted(service, asked)
    if isinstance(caller, Reply):
        return caller
    if asked.path == RELOAD_ROUTE:
        return answer_reload(service)
    return answer_predict(service, caller, body, stream=asked.query.get("stream") in ("1", "true"))


def answer_health(service: Service) -> Reply:
    """200 once a version can answer (loads it on the first call), 503 with the reason while none can."""
    serving = service.version.now()
    facts = service.version.facts()
    if isinstance(serving, NotServing):
        return json_reply(503, {"status": "unavailable"} | facts | {"error": serving.reason})
    return json_reply(200, {"status": "ok", "model": serving.model, "version": serving.version} | _news(facts))


def answer_predict(service: Service, caller: str, body: bytes, *, stream: bool) -> Reply:
    """The predictions for a request's body, by its shape; 400 and 413 for what is wrong with it as a whole."""
    serving = service.version.now()
    if isinstance(serving, NotServing):
        return problem(503, serving.reason)
    if len(body) > BODY_LIMIT_BYTES:
        return problem(413, f"a request may have {BODY_LIMIT_BYTES:,} bytes")
    try:
        if is_query(body):
            return answer_query(service, serving, read_query(body), stream=stream)
        _charge(service, caller, body)
        instances = read_instances(body)
    except InvalidInput as error:
        return problem(400, str(error), errors=error.problems)
    return answer_vertex(service, serving, instances, stream=stream)


def _methods(settings: ServingSettings, path: str) -> list[str]:
    """The methods of a path; empty where there is nothing."""
    methods = ["GET", "HEAD"] if path == settings.health_route else []
    return [*methods, "POST"] if path in (settings.predict_route, QUERY_ROUTE, RELOAD_ROUTE) else methods


def _wrong_way(method: str, methods: list[str]) -> Reply:
    if not methods:
        return problem(404, "there is nothing at this path")
    return problem(405, f"{method} is not answered here", headers={"Allow": ", ".join(methods)})


def _admitted(service: Service, asked: Asked) -> str | Reply:
    """The caller's name; or the answer to somebody who may not ask, or not now."""
    try:
        caller = service.callers.identify(asked)
    except (ConfigurationError, Unavailable) as error:
        return problem(503, str(error))
    if caller is None:
        return problem(401, "no valid credential", headers={"WWW-Authenticate": service.callers.challenge})
    if service.rate_limit is not None:
        wait_seconds = service.rate_limit.admit(caller, time.monotonic())
        if wait_seconds is not None:
            retry_after = str(math.ceil(wait_seconds))
            return problem(429, "this caller has asked for too much", headers={"Retry-After": retry_after})
    return caller


def _charge(service: Service, caller: str, body: bytes) -> None:
    """For all instances but the one that was paid to get in; before they are read, which is work as well."""
    if service.rate_limit is not None and (count := count_instances(body)) > 1:
        service.rate_limit.charge(caller, count - 1, time.monotonic())


def _news(facts: dict[str, Any]) -> dict[str, Any]:
    """What a healthy service says beside model and version."""
    return {name: value for name, value in facts.items() if name not in ("model", "version")}
