"""Trigger: an object was finalized in the bucket (CloudEvent, or a raw Pub/Sub push of a notification).

Declared as ``http`` because the framework's own event parser answers malformed bodies with 500, again and again.
"""

import flask
import functions_framework

from modeldrop import logs
from modeldrop.handlers.packages.take_upload import take_upload
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
@logs.traced
def model_uploaded(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Register, judge and roll out what was uploaded."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return {"status": take_upload(services(), headers, request.get_data())}
