"""Trigger: Cloud Scheduler, every minute; also ``gcloud functions call outbox_tick`` by hand."""

import flask
import functions_framework
import msgspec

from modeldrop import logs
from modeldrop.handlers import outbox_tick as use_case
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
@logs.traced
def outbox_tick(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Tell what is to be told, start and follow retrainings."""
    return msgspec.to_builtins(use_case.outbox_tick(services()))
