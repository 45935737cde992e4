"""Trigger: Cloud Scheduler, every minute; also ``gcloud functions call health_tick`` by hand."""

import flask
import functions_framework
import msgspec

from modeldrop import logs
from modeldrop.handlers import health_tick as use_case
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
@logs.traced
def health_tick(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Move on whatever is under way."""
    return msgspec.to_builtins(use_case.health_tick(services()))
