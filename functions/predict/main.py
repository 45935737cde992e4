"""The inference service: HTTP, also the standard container on Vertex AI."""

import functions_framework
from flask import Request

from modeldrop.handlers.predictions.answer_predictions import answer_request
from modeldrop.serving.served_version import ServedVersion
from modeldrop.settings import read_serving_settings
from modeldrop.wiring import open_artifacts

served = ServedVersion(read_serving_settings, open_artifacts)


@functions_framework.http
def predict(request: Request) -> tuple[bytes, int, dict[str, str]]:
    """Health, or predictions for ``{"instances":[…]}``."""
    reply = answer_request(served, request.method, request.path, request.stream)
    return reply.body, reply.status, dict(reply.headers)
