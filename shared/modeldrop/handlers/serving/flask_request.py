"""The framework's request, answered by the service, as the framework's response."""

from http import HTTPStatus

import flask

from modeldrop.handlers.serving.process_tuning import set_aside_what_stays, take_turns
from modeldrop.handlers.serving.reply import Asked
from modeldrop.handlers.serving.routes import answer_request
from modeldrop.handlers.serving.service import LazyService


def answer_flask(service: LazyService, request: flask.Request) -> flask.Response:
    """The response; what is to be done afterwards is done when it is on its way."""
    take_turns()
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
