"""Trigger: HTTP. The inference service; also the container of a version on Vertex AI."""

import sys
from http import HTTPStatus

import flask
import functions_framework

from modeldrop import logs
from modeldrop.handlers.serving.garbage import set_aside_what_stays
from modeldrop.handlers.serving.reply import Asked
from modeldrop.handlers.serving.routes import answer_request
from modeldrop.handlers.serving.service import LazyService
from modeldrop.wiring import connect_llm, open_artifacts

# Many threads with a millisecond of work each: at Python's own 5 ms one of them may keep all others waiting.
SWITCH_SECONDS = 0.0005

logs.set_up()
sys.setswitchinterval(SWITCH_SECONDS)
service = LazyService(open_artifacts, connect_llm)


@functions_framework.http
def predict(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Answer one request."""
    asked = Asked(
        request.method,
        request.path,
        request.args,
        request.headers,
        request.stream,
        request.environ.get("SERVER_NAME", ""),
        request.remote_addr or "",
    )
    reply = answer_request(service, asked)
    if reply.status == HTTPStatus.OK:  # as only with a version that is loaded
        set_aside_what_stays()
    response = flask.Response(reply.body, reply.status, reply.headers, content_type=reply.content_type)
    if reply.afterwards is not None:
        response.call_on_close(reply.afterwards)
    return response
