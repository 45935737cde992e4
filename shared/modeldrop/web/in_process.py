"""Reads for those who are asked in this process: the dashboard, and figures for Prometheus."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from modeldrop.errors import ModeldropError
from modeldrop.http.messages import Reply
from modeldrop.web.callers.caller import Caller
from modeldrop.web.calls import Call, NoQuery, read_query
from modeldrop.web.problem import Problem, not_found, problem_of, problem_with
from modeldrop.web.roles import ALL_ROLES
from modeldrop.web.routes import find_route
from modeldrop.wiring import Services

OURSELVES = Caller("modeldrop", ALL_ROLES)

Reader = Callable[..., dict[str, Any] | Problem]


def reader_for(caller: Caller) -> Reader:
    """``reading.read`` with the caller's roles: what the caller may not ask for is a problem here as well."""

    def read_as(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
        return read(services, path, query, caller)

    return read_as


def read(
    services: Services, path: str, query: Mapping[str, Any], caller: Caller = OURSELVES
) -> dict[str, Any] | Problem:
    """The JSON that ``GET path`` answers. Parameters that are None are left out."""
    found = find_route("GET", path)
    if not isinstance(found, tuple) or not found[0].answer:
        return not_found(f"there is nothing to read at {path}")
    route, arguments = found
    role = route.role_for(arguments)
    if role not in caller.roles:
        return problem_of(403, f"{caller.name} is no {role}")
    given = {name: str(value) for name, value in query.items() if value is not None}
    try:
        asked = read_query(given, route.query or NoQuery)
        answer = route.handler(services, Call(arguments, asked, caller))
    except ModeldropError as error:
        problem = problem_with(error)
        if problem is None:
            raise
        return problem
    assert not isinstance(answer, Reply)
    if isinstance(answer, Problem):
        return answer
    content: dict[str, Any] = msgspec.to_builtins(answer)
    return content
