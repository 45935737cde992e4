"""How what happened is told: rollouts that wait or fell, retraining that is under way, news that do not arrive."""

import re
from pathlib import Path
from typing import Any

import pytest

from modeldrop.domain.versions import Status
from modeldrop.web.dashboard.reader import Reader
from modeldrop.web.dashboard.views.history import deliveries
from modeldrop.web.dashboard.views.retraining import retraining
from modeldrop.web.reading import read as read_registry
from modeldrop.wiring import Services
from tests.browser.in_process import InProcess
from tests.browser.stage import POLICY
from tests.browser.test_hostile_texts import EPISODE
from tests.handlers.control import MODEL, Control

PATH = f"/models/{MODEL}"
NEWS = {"id": "n", "at": "2026-03-01T10:00:00Z", "kind": "drift", "version": "v1", "what": "drift", "why": ""}


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Control:
    """v2 has 5 % of the traffic, and hardly anybody asks it."""
    control = Control(tmp_path_factory.mktemp("canary"))
    control.policy(POLICY)
    control.make_live("v1", 0.5, day=1)
    control.drop("v2", 0.9, 2)
    control.tell_version("v2")
    control.serve()
    control.tick()
    control.minutes(40, v1=(100, 0), v2=(0, 0))
    return control


def article_of(control: Control) -> str:
    """The newest rollout on the model's page."""
    page = InProcess(control.services).text(PATH)
    return page[page.index("<article") : page.index("</article>")]


def answering(services: Services, answer: dict[str, Any]) -> Reader:
    """Reads this, whatever is asked."""
    return Reader(services, lambda services, path, **query: answer)


def test_measurements_that_say_the_same_are_told_once(canary: Control) -> None:
    rollout = canary.rollout
    assert rollout.held is not None and len(rollout.measurements) > 9
    article = article_of(canary)
    rows = re.findall(r'<tr class="measured">.*?</tr>', article, re.DOTALL)
    times = [re.search(r"<b>([0-9]+) times</b> since", row) for row in rows]
    assert len(rows) < 5
    assert sum(int(found[1]) if found else 1 for found in times) == len(rollout.measurements)
    assert 'aria-current="step"' in article


def test_a_step_at_which_a_rollout_fell_is_no_step_to_come(canary: Control) -> None:
    canary.minutes(30, v1=(200, 0), v2=(200, 200))
    canary.settle()
    assert canary.version("v2").status is Status.ROLLED_BACK
    steps = re.findall(r"([0-9]+) %<span class=\"unseen\"> ([a-z ]+)<", article_of(canary))
    assert steps == [("5", "went no further"), ("20", "not begun"), ("50", "not begun"), ("100", "not begun")]


def test_news_that_failed_to_arrive_are_not_just_waiting(canary: Control) -> None:
    channel = {"channel": "c", "to": "webhook a.example", "at": None, "next_at": None, "refusals": 0}
    tried = [channel | {"status": "waiting", "attempts": number, "error": "refused" * number} for number in (0, 3)]
    waiting = {"waiting": [NEWS | {"deliveries": tried}], "deliveries": [], "next": None}
    rows = deliveries(answering(canary.services, waiting), MODEL, None, canary.clock.now).rows
    assert [row.mark.word for row in rows] == ["waiting", "trying again"]


def test_the_cause_of_the_open_episode_is_not_said_to_have_none(filled_folder: Path) -> None:
    control = Control(filled_folder)
    found = read_registry(control.services, f"/v1{PATH}/retraining")
    assert isinstance(found, dict)
    declined = {"data_drift": "the episode fraud-1 is open", "prediction_drift": "the episode fraud-1 is open"}
    state = found["state"] | {"open": "fraud-1", "declined": declined}
    shown = retraining(
        answering(control.services, found | {"state": state, "episodes": [EPISODE]}), MODEL, None, control.clock.now
    )
    assert shown.declined == [("prediction drift", "the episode fraud-1 is open")]
