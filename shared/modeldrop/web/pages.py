"""Calls whose answers are no JSON of ours: pages for people, figures for Prometheus, the API's own description.

What they need is imported when it is asked for.
"""

from dataclasses import replace
from typing import Any

import msgspec

from modeldrop.http.messages import JSON, Asked, Reply
from modeldrop.web.calls import Call
from modeldrop.web.problem import Problem
from modeldrop.wiring import Services


def dashboard_page(services: Services, call: Call[Any]) -> Reply:
    """A page of the dashboard, or what a form of it leads to."""
    from modeldrop.web.dashboard import pages as dashboard  # noqa: PLC0415 - see above
    from modeldrop.web.in_process import reader_for  # noqa: PLC0415 - it needs the table that names this

    assert call.asked is not None
    return dashboard.answer(services, call.asked, call.caller, reader_for(call.caller))


def metrics(services: Services, call: Call[Any]) -> Reply:
    """Figures in Prometheus' text format."""
    from modeldrop.web import prometheus  # noqa: PLC0415 - see above

    accept = call.asked.headers.get("Accept", "") if call.asked else ""
    content, content_type = prometheus.negotiated(services, accept)
    return Reply(200, content, {}, content_type)


def openapi(services: Services, call: Call[Any]) -> Reply:
    """The description of the API."""
    from modeldrop.web.openapi import document  # noqa: PLC0415 - see above

    return Reply(200, document(), {}, JSON)


def wants_page(asked: Asked) -> bool:
    """Whether it is a person with a browser who would read a problem: nothing under ``/v1`` is for those."""
    is_api = asked.path == "/v1" or asked.path.startswith("/v1/") or asked.path == "/metrics"
    return not is_api and "text/html" in asked.headers.get("Accept", "")


def as_page(services: Services, reply: Reply) -> Reply:
    """A problem as a page of the dashboard; its headers stay."""
    from modeldrop.web.dashboard import pages as dashboard  # noqa: PLC0415 - see above
    from modeldrop.web.dashboard.rendering import Viewer  # noqa: PLC0415

    assert isinstance(reply.body, bytes)
    problem = msgspec.json.decode(reply.body, type=Problem)
    page = dashboard.problem_page(problem, Viewer(None, services.clock()))
    return replace(page, headers={**reply.headers, **page.headers})


def not_routed(services: Services, call: Call[Any]) -> Problem:
    """``POST /`` is taken apart before routes are looked for; inside itself it has no place."""
    return Problem(404, "Not found", "a call inside a call names a path under /v1, or /metrics")
