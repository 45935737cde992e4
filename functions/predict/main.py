"""Trigger: HTTP. The inference service; also the container of a version on Vertex AI."""

import flask
import functions_framework

from modeldrop import logs
from modeldrop.handlers.serving.flask_request import answer_flask
from modeldrop.handlers.serving.service import LazyService
from modeldrop.wiring import connect_llm, open_artifacts

logs.set_up()
service = LazyService(open_artifacts, connect_llm)


@functions_framework.http
@logs.traced
def predict(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Answer one request."""
    return answer_flask(service, request)
