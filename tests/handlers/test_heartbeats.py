"""Every tick leaves a heartbeat, however it went; without one it shows as stale."""

from datetime import timedelta
from typing import Any

import pytest

from modeldrop.errors import Unavailable
from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.handlers.control import Control


def heartbeat(control: Control) -> Heartbeat:
    found = Heartbeats(control.services.documents).find("health_tick")
    assert found is not None
    return found


def test_a_tick_says_that_it_ran(control: Control) -> None:
    control.make_live("v1", 0.7, day=1)
    control.clock.forward(1)
    control.tick()
    found = heartbeat(control)
    assert (found.at, found.status, found.models, found.errors) == (control.clock.now, "ok", 1, 0)
    assert 0 < found.seconds < 10
    assert found.interval_seconds == 60.0


def test_a_tick_with_trouble_says_so(control: Control) -> None:
    control.drop("v1", 0.7, day=1)
    control.tell_version("v1")
    control.services.__dict__["model_server"] = Out()
    report = control.tick()
    assert (report.status, len(report.errors)) == ("incomplete", 1)
    assert (heartbeat(control).status, heartbeat(control).errors) == ("incomplete", 1)


class Out:
    """A server that is not there."""

    def __getattr__(self, name: str) -> Any:
        raise Unavailable("the server is out")


@pytest.mark.parametrize("error", [Unavailable("busy"), RuntimeError("a bug")])
def test_a_heartbeat_that_cannot_be_kept_is_no_reason_to_fail(control: Control, error: Exception) -> None:
    services = control.another_instance()
    services.__dict__["documents"] = WithoutHeartbeats(services.documents, error)
    control.services = services
    assert control.tick().status == "ok"
    assert Heartbeats(control.another_instance().documents).all() == []


class WithoutHeartbeats:
    """Documents that have no room for heartbeats."""

    def __init__(self, real: Any, error: Exception) -> None:
        self._real, self._error = real, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get(self, path: str) -> Any:
        if path.startswith("heartbeats/"):
            raise self._error
        return self._real.get(path)


def test_the_interval_is_the_one_that_is_set_and_stale_is_what_stays_away(control: Control) -> None:
    settings = Settings(backend="local", data=control.data, auth="none", health_tick_seconds=10.0)
    control.services = Services(settings, control.clock)
    control.tick()
    assert heartbeat(control).interval_seconds == 10.0
    assert not heartbeat(control).is_stale(control.clock.now + timedelta(seconds=60))
    assert heartbeat(control).is_stale(control.clock.now + timedelta(seconds=60.1))


def test_a_clock_that_was_ahead_does_not_keep_the_tick_from_showing(control: Control) -> None:
    control.clock.forward(86_400)
    control.tick()
    control.clock.forward(-86_400)
    assert heartbeat(control).is_stale(control.clock.now)  # until it comes again
    control.tick()
    assert heartbeat(control).at == control.clock.now
    assert not heartbeat(control).is_stale(control.clock.now)


def test_of_two_that_end_at_once_the_later_stays(control: Control) -> None:
    control.tick()
    latest = heartbeat(control)
    control.clock.forward(-latest.interval_seconds)
    control.tick()
    assert heartbeat(control) == latest
