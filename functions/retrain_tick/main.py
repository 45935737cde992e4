"""Trigger: Cloud Scheduler, every hour; also ``gcloud functions call retrain_tick`` by hand."""

import flask
import functions_framework
import msgspec

from modeldrop import logs
from modeldrop.handlers import retrain_tick as use_case
from modeldrop.wiring import services

logs.set_up()


@functions_framework.http
@logs.traced
def retrain_tick(request: flask.Request) -> flask.typing.ResponseReturnValue:
    """Look at every model, and ask for retrainings that are due."""
    return msgspec.to_builtins(use_case.retrain_tick(services()))
