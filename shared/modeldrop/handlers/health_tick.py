"""The minute's tick: whatever is under way at any model is looked at and moved on, and what serves is looked after."""

import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.errors import Conflict, ModeldropError
from modeldrop.handlers.heartbeat import beat
from modeldrop.handlers.packages.decision_records import publish_decisions
from modeldrop.handlers.packages.register_package import register_package
from modeldrop.handlers.rollouts.check_health import check_health
from modeldrop.handlers.rollouts.reconcile import reconcile
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 50.0


class TickReport(msgspec.Struct, frozen=True):
    """What a tick did. ``status`` is ``ok``, or ``incomplete`` where a model could not be moved or time ran out."""

    status: str
    models: int
    moved: list[str]
    errors: dict[str, str]
    not_reached: list[str]


def health_tick(services: Services) -> TickReport:
    """Move every model on that is not settled. One model's trouble never keeps the others waiting."""
    started = time.monotonic()
    models, moved, not_reached = 0, [], []
    errors: dict[str, str] = {}
    for head in services.registry.heads():
        models += 1
        if head.is_settled and head.rollouts == 0:
            continue
        if time.monotonic() - started > BUDGET_SECONDS:
            not_reached.append(head.model)
            continue
        problems = _move_on(services, head)
        if problems:
            errors[head.model] = "; ".join(problems)
        elif not head.is_settled:
            moved.append(head.model)
    status = "incomplete" if errors or not_reached else "ok"
    beat(services, "health_tick", started, status, models=models, errors=len(errors))
    return TickReport(status, models, moved, errors, not_reached)


def _move_on(services: Services, head: ModelHead) -> list[str]:
    """Everything that is due at one model; each by itself, so that one trouble does not keep the rest waiting."""
    due: list[Callable[[], object]] = []
    for name in head.waiting:
        location = locate(name, services.settings.default_model)
        if isinstance(location, PackageLocation):
            due.append(partial(register_package, services, location))
    if not head.is_settled:
        due += [partial(reconcile, services, head.model), partial(publish_decisions, services, head.model)]
    if head.rollouts:
        due.append(partial(check_health, services, head.model))
    problems = []
    for work in due:
        try:
            work()
        except Conflict as error:  # somebody else is at the same model
            log.info("%s: %s", head.model, error)
        except ModeldropError as error:
            log.warning("%s could not be moved on: %s", head.model, error)
            problems.append(f"{type(error).__name__}: {error}")
        except Exception as error:  # a bug of ours at one model must not stop the clock for all
            log.exception("%s could not be moved on", head.model)
            problems.append(f"{type(error).__name__}: {error}")
    return problems
