"""The outbox tick through functions-framework: news told, a retraining asked for, whatever becomes of the other."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from modeldrop.domain.targets import WebhookTarget
from modeldrop.errors import Unavailable
from modeldrop.handlers.outbox_tick import outbox_tick
from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.wiring import services
from tests.handlers.control import FAST, Control
from tests.handlers.ordering import episode, impatient, open_episode
from tests.servers.receiver import HANG, Receiver, Reply

SOURCE = Path(__file__).parents[2] / "functions" / "outbox_tick" / "main.py"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> Iterator[Control]:
    """v1 went live, which is to be told, and an episode is open; the function works on the same folder."""
    for name, value in {"BACKEND": "local", "DATA": str(tmp_path), "AUTH": "none"}.items():
        monkeypatch.setenv(f"MODELDROP_{name}", value)
    services.cache_clear()
    control = Control(tmp_path)
    control.policy(f"{FAST}notify: [{{type: webhook, url: '{receiver.url}/tell', on: [promoted]}}]\n")
    control.make_live("v1", 0.7, day=1)
    open_episode(control, WebhookTarget(f"{receiver.url}/train"))
    yield control
    services.cache_clear()


@pytest.fixture
def client(control: Control) -> Any:
    return functions_framework.create_app(target="outbox_tick", source=str(SOURCE)).test_client()


def paths(receiver: Receiver) -> list[str]:
    return sorted(request.path for request in receiver.received)


def heartbeat(control: Control) -> Heartbeat:
    found = Heartbeats(control.services.documents).find("outbox_tick")
    assert found is not None
    return found


def test_what_is_due_is_done_once(client: Any, control: Control, receiver: Receiver) -> None:
    opened = episode(control).id
    report = client.post("/", json={}).json
    assert (report["status"], report["errors"], report["orders"]["done"]) == ("ok", {}, {opened: "started"})
    assert report["news"]["delivered"] == 1
    assert paths(receiver) == ["/tell", "/train"]
    again = client.post("/", json={}).json
    assert (again["status"], again["orders"]["done"], again["news"]["delivered"]) == ("ok", {}, 0)
    assert paths(receiver) == ["/tell", "/train"]
    assert heartbeat(control).interval_seconds == 60.0


def test_the_heartbeat_says_how_it_went(control: Control) -> None:
    outbox_tick(control.services)
    found = heartbeat(control)
    assert (found.tick, found.at, found.status, found.models, found.errors) == (
        "outbox_tick",
        control.clock.now,
        "ok",
        1,
        0,
    )


def test_targets_and_channels_that_fail_are_no_trouble_of_the_tick(control: Control, receiver: Receiver) -> None:
    receiver.always(Reply(500))
    report = outbox_tick(control.services)
    assert (report.status, report.news and report.news.failed, heartbeat(control).status) == ("ok", 1, "ok")


@pytest.mark.parametrize("hangs", ["/tell", "/train"])
def test_neither_waits_for_the_other(control: Control, receiver: Receiver, hangs: str) -> None:
    receiver.always(HANG, path=hangs)
    tick = threading.Thread(target=outbox_tick, args=(impatient(control, 2.0),))
    tick.start()
    try:
        receiver.wait_for(2, seconds=1.5)
        assert tick.is_alive()
    finally:
        tick.join()
    assert paths(receiver) == ["/tell", "/train"]
    assert heartbeat(control).status == "ok"


@pytest.mark.parametrize(("collection", "what"), [("outbox", "news"), ("training", "orders")])
@pytest.mark.parametrize("error", [Unavailable("busy"), RuntimeError("a bug")])
def test_trouble_of_ours_with_one_leaves_the_other_alone_and_shows(
    control: Control, receiver: Receiver, collection: str, what: str, error: Exception
) -> None:
    broken = control.another_instance()
    broken.__dict__["documents"] = Without(broken.documents, collection, error)
    report = outbox_tick(broken)
    assert (report.status, list(report.errors)) == ("incomplete", [what])
    assert paths(receiver) == (["/train"] if what == "news" else ["/tell"])
    assert (heartbeat(control).status, heartbeat(control).errors) == ("incomplete", 1)


class Without:
    """Documents one of whose collections cannot be listed."""

    def __init__(self, real: Any, collection: str, error: Exception) -> None:
        self._real, self._collection, self._error = real, collection, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def list(self, collection: str, **options: Any) -> Any:
        if collection == self._collection:
            raise self._error
        return self._real.list(collection, **options)
