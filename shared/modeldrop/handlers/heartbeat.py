"""A tick says that it ran, so that one that no longer comes is noticed."""

import logging
import time

from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


def beat(  # noqa: PLR0913 - a line of a record
    services: Services,
    tick: str,
    started: float,
    status: str,
    *,
    models: int,
    errors: int,
    stopped_at: str | None = None,
) -> None:
    """Write the heartbeat of a tick that began at ``started`` (monotonic seconds), which went like this.

    A store that does not take it is no reason for the tick to fail.
    """
    seconds = time.monotonic() - started
    interval = float(getattr(services.settings, f"{tick}_seconds"))
    heartbeat = Heartbeat(tick, services.clock(), seconds, status, models, errors, interval, stopped_at)
    try:
        Heartbeats(services.documents).beat(heartbeat)
    except Exception as error:
        log.warning("the heartbeat of %s could not be written: %s", tick, error)
