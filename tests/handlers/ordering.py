"""Episodes whose runs are to be started, and what becomes of them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.domain.retraining.episode import Episode, TrainingRequest, episode_id
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.targets import Target, WebhookTarget, describe
from modeldrop.handlers.retraining.carry_out_orders import OrdersReport, carry_out_orders
from modeldrop.records.outbox import Dispatch
from modeldrop.records.registry import PolicyRecord
from modeldrop.records.retraining import Order, Retraining, new_episode
from modeldrop.records.stored import Stored
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.servers.receiver import Receiver

BUDGET_SECONDS = 30.0
PATIENCE_SECONDS = 0.4


def impatient(control: Control, seconds: float = PATIENCE_SECONDS) -> Services:
    """Another instance, that does not wait long for targets."""
    services = control.another_instance()
    services.__dict__["http"] = GuardedClient(loopback=True, timeout_seconds=seconds)
    return services


def set_target(control: Control, target: Target | None, model: str = MODEL) -> None:
    """The policy's target from now on."""
    slot = control.services.registry.policy(model)
    retrain = msgspec.structs.replace(slot.value.policy.retrain, target=target)
    policy = msgspec.structs.replace(slot.value.policy, retrain=retrain)
    control.services.registry.commit([slot.write(PolicyRecord(policy))])


def open_episode(control: Control, target: Target, model: str = MODEL, number: int = 1) -> str:
    """An episode of a model that has that target; its id."""
    set_target(control, target, model)
    now, records = control.clock.now, Retraining(control.services.documents)
    asked = TrainingRequest(episode_id(model, number, now), model, "v1", "data_drift", None, None, {"commit": "abc"})
    episode = Episode(asked, "amount moved", "modeldrop", now, now + timedelta(days=7), describe(target))
    slot = records.state(model)
    opened = msgspec.structs.replace(slot.value, episodes=number, open=episode.id)
    records.commit_about(slot, opened, new_episode(number, episode))
    return episode.id


def carry_out(services: Services, budget_seconds: float = BUDGET_SECONDS) -> OrdersReport:
    """One tick's part; nothing of it may be an error of ours."""
    report = carry_out_orders(services, budget_seconds)
    assert report.errors == {}
    return report


def stored_episode(control: Control, model: str = MODEL, number: int = 1) -> Stored[Episode]:
    """Where the episode stands, to be changed."""
    slot = Retraining(control.services.documents).episode(model, number)
    assert slot is not None
    return slot


def episode(control: Control, model: str = MODEL, number: int = 1) -> Episode:
    """The episode as it is now."""
    return stored_episode(control, model, number).value


def orders(control: Control) -> dict[str, Order]:
    """What is to be started or followed, by model."""
    return {slot.value.model: slot.value for slot in Retraining(control.services.documents).orders(limit=300)}


def state(control: Control, model: str = MODEL) -> RetrainingState:
    """What the governor remembers."""
    return Retraining(control.services.documents).state(model).value


def told(control: Control, model: str = MODEL) -> list[Dispatch]:
    """News of retrainings of the model."""
    waiting = [slot.value for slot in control.services.registry.outbox()]
    return [item for item in waiting if item.news.kind == "retraining" and item.model == model]


def webhook(receiver: Receiver, path: str = "/train?key=hidden", **fields: Any) -> WebhookTarget:
    """A target there."""
    return WebhookTarget(f"{receiver.url}{path}", **fields)


def keys(receiver: Receiver) -> list[str]:
    """The episodes it was asked for, as often as it was."""
    return [request.headers["idempotency-key"] for request in receiver.received]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until it does, ten seconds at most."""
    pause = threading.Event()
    for _ in range(500):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError(f"not in time: {what}")
