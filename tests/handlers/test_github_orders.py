"""Orders at GitHub over the wire: it knows no keys, so what was lost is waited for before it is asked again."""

from collections.abc import Iterator

import pytest

from modeldrop.adapters.http.github_trainer import LISTED_WITHIN
from modeldrop.domain.retraining.episode import RUNNING
from modeldrop.domain.targets import GithubTarget
from tests.handlers.control import Control
from tests.handlers.ordering import carry_out, episode, open_episode, orders
from tests.servers.github import GithubServer, Workflow
from tests.servers.json_api import Fault

LOST = "aaa"
TICK_SECONDS = 10


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, control: Control) -> Iterator[GithubServer]:
    monkeypatch.setenv("MODELDROP_SECRET_GITHUB", "secret")
    with GithubServer("acme/models", token="secret") as server:
        server.workflows["train.yml"] = Workflow()
        server.now = control.clock.now
        yield server


def target(github: GithubServer) -> GithubTarget:
    return GithubTarget("acme/models", "env:MODELDROP_SECRET_GITHUB", workflow="train.yml", url=github.url)


def events_sent(github: GithubServer) -> int:
    return sum(asked.method == "POST" for asked in github.asked)


def test_a_request_that_never_arrived_is_sent_again_when_two_minutes_are_over(
    control: Control, github: GithubServer
) -> None:
    """However often it is looked for meanwhile: that is no asking, and what it is looked for with stays the same."""
    opened, asked_at = open_episode(control, target(github), LOST), control.clock.now
    github.inject(Fault("drop", after_effect=False))
    carry_out(control.services)
    assert orders(control)[LOST].asked_at == asked_at
    for _ in range(int(LISTED_WITHIN.total_seconds()) // TICK_SECONDS - 1):
        control.clock.forward(TICK_SECONDS)
        said = carry_out(control.services).done.get(opened, "waiting: ")
        assert said.startswith("waiting: ")
        assert (orders(control)[LOST].asked_at, events_sent(github)) == (asked_at, 1)
    for _ in range(12):  # the pause of the last look
        control.clock.forward(TICK_SECONDS)
        carry_out(control.services)
    assert (episode(control, LOST).status, episode(control, LOST).accepted_at) == (RUNNING, asked_at)
    assert (events_sent(github), len(github.runs)) == (2, 1)


def test_one_that_is_waited_for_keeps_no_other_waiting(control: Control, github: GithubServer) -> None:
    others = [open_episode(control, target(github), f"m{number}") for number in range(5)]
    carry_out(control.services)
    control.clock.forward(30)
    opened = open_episode(control, target(github), LOST)
    github.inject(Fault("drop", after_effect=False))
    carry_out(control.services)
    control.clock.forward(30)  # it has been due for longer than the others: its turn comes first
    report = carry_out(control.services)
    assert ("was asked at" in report.done[opened], report.left) == (True, [])
    assert [report.done[other] for other in others] == ["running"] * 5


def test_a_run_that_is_listed_late_is_adopted(control: Control, github: GithubServer) -> None:
    open_episode(control, target(github), LOST)
    github.lists = False
    github.inject(Fault("drop", after_effect=True))
    carry_out(control.services)
    control.clock.forward(60)
    carry_out(control.services)
    github.list_all()
    control.clock.forward(30)
    carry_out(control.services)
    assert (episode(control, LOST).status, events_sent(github), len(github.runs)) == (RUNNING, 1, 1)
