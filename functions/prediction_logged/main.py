"""Trigger: Pub/Sub push of the topic ``predictions`` (raw, or as a CloudEvent in either mode).

Declared as ``http`` because the framework's own event parser answers malformed bodies and raw pushes with 400 and 500,
again and again.
"""

from functools import cache

import functions_framework.aio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from modeldrop import logs
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.handlers.predictions.take_push import take_push
from modeldrop.wiring import services

logs.set_up()


@cache
def intake() -> PredictionIntake:
    """The one of this process."""
    return PredictionIntake(services(), services().settings.ingest_linger_seconds)


@functions_framework.aio.http
@logs.traced
async def prediction_logged(request: Request) -> Response:
    """Sample what was predicted."""
    answer, status = await take_push(intake(), request.headers, await request.body())
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
