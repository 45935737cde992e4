"""Trigger: HTTP. The JSON API of the control plane."""

import flask
import functions_framework
import msgspec

from modeldrop import logs
from modeldrop.web.api import answer
from modeldrop.web.commands import Request
from modeldrop.web.identity import caller
from modeldrop.web.problem import MEDIA_TYPE, Problem
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
def api(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Answer one request."""
    who = caller(services().settings.auth, request.headers.get("Authorization", ""))
    command = Request(request.headers.get("Content-Type", ""), request.get_data(), who)
    result = answer(services(), request.method, request.path, request.args, command)
    if isinstance(result, Problem):
        return flask.Response(msgspec.json.encode(result), result.status, content_type=MEDIA_TYPE)
    return flask.Response(msgspec.json.encode(result), content_type="application/json")
