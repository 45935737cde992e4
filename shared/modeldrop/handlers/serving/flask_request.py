"""The framework's request, answered by the service, as the framework's response."""

from http import HTTPStatus

import flask

from modeldrop.handlers.serving.process_tuning import set_aside_what_stays, take_turns
from modeldrop.handlers.serving.routes import answer_request
from modeldrop.handlers.serving.service import LazyService
from modeldrop.http.flask_messages import asked_of, response_of


def answer_flask(service: LazyService, request: flask.Request) -> flask.Response:
    """The response to one request."""
    take_turns()
    reply = answer_request(service, asked_of(request))
    if reply.status == HTTPStatus.OK:  # as only with a version that is loaded
        set_aside_what_stays()
    return response_of(reply)
