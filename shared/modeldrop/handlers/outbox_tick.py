"""The tick that calls out: news are delivered, retrainings are started and followed.

It is a function of its own because those it calls may take their time, or never answer: no rollout waits for them.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from modeldrop.errors import ModeldropError
from modeldrop.handlers.heartbeat import beat
from modeldrop.handlers.outbox.deliver_news import deliver_news
from modeldrop.handlers.outbox.tally import DeliveryReport
from modeldrop.handlers.retraining.carry_out_orders import OrdersReport, carry_out_orders
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

BUDGET_SECONDS = 45.0
TICK = "outbox_tick"

Report = TypeVar("Report", DeliveryReport, OrdersReport)


class OutboxReport(msgspec.Struct, frozen=True):
    """What a tick did. ``status`` is ``ok``, or ``incomplete`` where something of ours went wrong or time ran out.

    That a target or channel fails is told in its own place, and no trouble of the tick.
    """

    status: str
    news: DeliveryReport | None  # None: see errors
    orders: OrdersReport | None
    errors: dict[str, str]


def outbox_tick(services: Services) -> OutboxReport:
    """Tell what is to be told, ask for what is to be asked for; each whatever becomes of the other."""
    began = time.monotonic()
    errors: dict[str, str] = {}
    with ThreadPoolExecutor(1, thread_name_prefix=TICK) as pool:
        told = pool.submit(deliver_news, services, BUDGET_SECONDS)
        orders = _attempt("orders", lambda: carry_out_orders(services, BUDGET_SECONDS), errors)
        news = _attempt("news", told.result, errors)
    found = errors | (news.errors if news else {}) | (orders.errors if orders else {})
    in_time = (news is None or news.in_time) and (orders is None or orders.in_time)
    status = "ok" if in_time and not found else "incomplete"
    models = len(orders.done) + len(orders.errors) + len(orders.left) if orders else 0  # a model has one order at most
    beat(services, TICK, began, status, models=models, errors=len(found))
    return OutboxReport(status, news, orders, errors)


def _attempt(what: str, work: Callable[[], Report], errors: dict[str, str]) -> Report | None:
    """What it reports; None, and an error, if it cannot."""
    try:
        return work()
    except ModeldropError as error:
        log.warning("%s: %s", what, error)
        errors[what] = f"{type(error).__name__}: {error}"
    except Exception as error:  # a bug of ours in one must not keep the other's outcome from being told
        log.exception("%s", what)
        errors[what] = f"{type(error).__name__}: {error}"
    return None
