"""Trigger: HTTP. The control plane: JSON API, dashboard and figures."""

import flask
import functions_framework

from modeldrop import logs
from modeldrop.http.flask_messages import asked_of, response_of
from modeldrop.web.application import answer
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
@logs.traced
def api(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Answer one request."""
    return response_of(answer(services(), asked_of(request)))
