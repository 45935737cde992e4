"""The watch itself: no effect escapes it, and what it interrupts is what it says."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pytest

from modeldrop.ports import BucketObject
from modeldrop.wiring import Services
from tests.crash import watched
from tests.crash.cases import Prepared
from tests.crash.interruptions import Crash, Interrupting, Listening, crash
from tests.crash.play import BrokenRule, played
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.watched import EFFECTS, READS, Watched, WatchedServices, check_table
from tests.handlers.control import START


@pytest.mark.parametrize("port", READS, ids=lambda port: port.__name__)
def test_every_method_of_a_port_is_known_as_read_or_effect(port: type) -> None:
    check_table(port)


def test_a_method_nobody_has_thought_of_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bigger(Protocol):
        def stat(self, name: str) -> BucketObject | None: ...
        def compose(self, target: str) -> BucketObject: ...

    monkeypatch.setitem(watched.READS, Bigger, frozenset({"stat"}))
    monkeypatch.setitem(watched.EFFECTS, Bigger, frozenset())
    with pytest.raises(AssertionError, match="compose"):
        check_table(Bigger)


def test_every_adapter_is_watched() -> None:
    made = {name: member for name, member in vars(Services).items() if isinstance(member, cached_property)}
    ports = {name: member.func.__annotations__["return"] for name, member in made.items()}
    of_others = {
        "registry",
        "http",
    }  # records over documents; the way out of notifiers and trainers, which no story has
    assert {name for name, port in ports.items() if port in READS} == made.keys() - of_others
    assert all(name in vars(WatchedServices) for name in made if name not in of_others)
    assert READS.keys() == EFFECTS.keys()


def test_what_is_not_in_the_port_is_not_there(tmp_path: Path) -> None:
    with played(tmp_path, START) as play:
        services = play.instance()
        assert isinstance(services.model_server, Watched)
        with pytest.raises(AttributeError, match="report_answering"):
            services.model_server.report_answering  # noqa: B018


def test_an_instance_that_crashed_does_nothing_more(story_of: Callable[[Scenario], Prepared]) -> None:
    story = story_of(SCENARIOS[0])
    with story.again() as play:
        services = play.instance(Interrupting(play, story.points[3], "after", crash))
        with pytest.raises(Crash):
            play.tell_version("v1", services)
        with pytest.raises(BrokenRule, match="after the crash"):
            play.settle(services)


def test_the_points_are_the_same_in_every_run(story_of: Callable[[Scenario], Prepared]) -> None:
    story = story_of(SCENARIOS[0])
    with story.again() as play:
        listening = Listening(play)
        services = play.instance(listening)
        play.tell_version("v1", services)
        play.settle(services)
        assert listening.points == story.points
        methods = {(point.effect.port, point.effect.method) for point in story.points}
    assert {("DocumentStore", "commit"), ("Bucket", "write"), ("ModelServer", "set_traffic")} <= methods


def test_all_effects_but_publishing_are_among_the_points(story_of: Callable[[Scenario], Prepared]) -> None:
    """No handler of the control plane publishes: news wait in the outbox."""
    seen = {(point.effect.port, point.effect.method) for scenario in SCENARIOS for point in story_of(scenario).points}
    known: Any = {(port.__name__, method) for port, methods in EFFECTS.items() for method in methods}
    assert known - seen == {("Publisher", "publish")}
