"""The hour's tick: what the reports on every model say, which alarms begin or end, and which retraining is due.

It only decides and commits. Whoever must be told or asked is told and asked by ``outbox_tick``.
"""

import logging
import time
from collections.abc import Iterator
from itertools import takewhile
from zlib import crc32

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.errors import Conflict, ModeldropError
from modeldrop.handlers.heartbeat import beat
from modeldrop.handlers.reports.forget_expired import forget_expired
from modeldrop.handlers.retraining.watch_model import is_watched, watch_model
from modeldrop.records.heartbeats import Heartbeats
from modeldrop.records.registry import Registry
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 50.0
TICK = "retrain_tick"


class RetrainReport(msgspec.Struct, frozen=True):
    """What a tick did. ``status`` is ``ok``, or ``incomplete`` where a model could not be looked at or time ran out.

    ``opened``: episodes by model.
    """

    status: str
    models: int
    opened: dict[str, str]
    errors: dict[str, str]
    not_reached: int


def retrain_tick(services: Services) -> RetrainReport:
    """Look at every model that serves. One model's trouble never keeps the others waiting.

    Where time runs out, the next tick begins with those that were not reached. So where there are more models than one
    covers (200 to 1,400 that have new predictions, by their size), it is called more often: every ten minutes, say.
    """
    started = time.monotonic()
    before = Heartbeats(services.documents).find(TICK)
    opened: dict[str, str] = {}
    errors: dict[str, str] = {}
    models, not_reached, reached = 0, 0, before.stopped_at if before else None
    for head in in_turn(services.registry, reached):
        models += 1
        if not_reached or time.monotonic() - started > BUDGET_SECONDS:
            not_reached += 1
            continue
        _look(services, head, opened, errors)
        reached = head.model
    status = "incomplete" if errors or not_reached else "ok"
    stopped_at = reached if not_reached else None
    beat(services, TICK, started, status, models=models, errors=len(errors), stopped_at=stopped_at)
    return RetrainReport(status, models, opened, errors, not_reached)


def in_turn(registry: Registry, after: str | None) -> Iterator[ModelHead]:
    """All models, those first that the last tick did not reach."""
    yield from registry.heads(after=after)
    if after is not None:
        yield from takewhile(lambda head: head.model <= after, registry.heads())


def _look(services: Services, head: ModelHead, opened: dict[str, str], errors: dict[str, str]) -> None:
    try:
        if is_watched(services, head):
            episode = watch_model(services, head.model)
            opened |= {head.model: episode} if episode is not None else {}
        if _is_its_hour(services, head.model):
            forget_expired(services, head.model)
    except Conflict as error:  # another tick looks at the same
        log.info("%s: %s", head.model, error)
    except ModeldropError as error:
        log.warning("%s could not be looked at: %s", head.model, error)
        errors[head.model] = f"{type(error).__name__}: {error}"
    except Exception as error:  # a bug of ours at one model must not stop the clock for all
        log.exception("%s could not be looked at", head.model)
        errors[head.model] = f"{type(error).__name__}: {error}"


def _is_its_hour(services: Services, model: str) -> bool:
    """Once a day is enough to forget; the models take turns."""
    return crc32(model.encode()) % 24 == services.clock().hour
