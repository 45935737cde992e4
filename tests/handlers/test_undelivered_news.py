"""News that do not reach a channel: when they are given up, who hears of it, and that nothing else waits for them."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from modeldrop.domain.backoff import MOST_ATTEMPTS, MOST_REFUSALS
from modeldrop.handlers.outbox.deliver_news import deliver_news
from modeldrop.handlers.outbox.tally import DeliveryReport
from modeldrop.ports import Create, Replace
from modeldrop.records.outbox import Outbox, into_log
from tests.handlers.control import MODEL, Control
from tests.handlers.test_deliver_news import ALL, hook, ids, notify, statuses, tell, told, waiting
from tests.servers.receiver import Received, Receiver, Reply


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def rounds(control: Control, number: int, pause_seconds: float = 3600) -> list[DeliveryReport]:
    """Rounds far enough apart that whatever waits is due again."""
    reports = []
    for _ in range(number):
        reports.append(deliver_news(control.services))
        control.clock.forward(pause_seconds)
    return reports


# --- given up --------------------------------------------------------------------------------------------------


def test_what_fails_too_often_is_given_up_and_the_others_hear_of_it(
    control: Control, receiver: Receiver, other: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    notify(control, hook(receiver, "drift"), hook(other, "promoted"))
    receiver.always(Reply(500, body=b"out of order"))
    name = tell(control, 1)
    with caplog.at_level(logging.ERROR, "modeldrop"):
        rounds(control, MOST_ATTEMPTS)
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts) == ("dead", MOST_ATTEMPTS)
    assert "out of order" in delivery.error
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert name in caplog.text
    deliver_news(control.services)
    [request] = other.received
    alert = request.json()
    assert (alert["kind"], alert["version"], alert["resolved"]) == ("undelivered", "v1", False)
    assert "news are not told to webhook 127.0.0.1" in alert["what"]
    for part in ("out of order", "drift 1", "because"):
        assert part in alert["why"]
    assert alert["id"] != name
    assert len(receiver.received) == MOST_ATTEMPTS  # the alert is not for the one that is dead
    assert waiting(control) == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_is_refused_is_given_up_sooner_but_not_at_once(
    control: Control, receiver: Receiver, other: Receiver, status: int
) -> None:
    notify(control, hook(receiver, "drift"), hook(other, "promoted"))
    receiver.always(Reply(status))
    name = tell(control, 1)
    reports = rounds(control, MOST_REFUSALS + 1)
    assert [(report.failed, report.dead) for report in reports] == [*[(1, 0)] * (MOST_REFUSALS - 1), (0, 1), (0, 0)]
    assert statuses(told(control)[name]) == ["dead"]
    assert [request.json()["kind"] for request in other.received] == ["undelivered"]
    assert ids(receiver) == [name] * MOST_REFUSALS


def test_a_password_that_comes_late_is_no_loss(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    receiver.then(*[Reply(503)] * MOST_REFUSALS, Reply(401), Reply(404))
    name = tell(control, 1)
    rounds(control, MOST_REFUSALS + 3)
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts, delivery.refusals) == ("delivered", MOST_REFUSALS + 3, 2)


def test_a_secret_that_comes_late_is_no_loss(
    control: Control, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(control, hook(receiver) | {"secret": "env:MODELDROP_SECRET_LATE"})
    name = tell(control, 1)
    assert rounds(control, 1)[0].failed == 1
    assert receiver.received == []
    monkeypatch.setenv("MODELDROP_SECRET_LATE", "here it is")
    control.services = control.another_instance()
    rounds(control, 1)
    assert ids(receiver) == [name]


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ({"type": "email", "to": ["a@b.example"], "on": ALL}, "MODELDROP_SMTP_URL"),
        ({"type": "slack", "on": ALL}, "MODELDROP_SLACK_WEBHOOK"),
        ({"type": "slack", "on": ALL, "webhook": "env:MODELDROP_SECRET_NOT_THERE"}, "MODELDROP_SECRET_NOT_THERE"),
        ({"type": "webhook", "on": ALL, "url": "https://10.0.0.1/hook"}, "10.0.0.1"),
    ],
)
def test_what_is_not_set_up_says_so(control: Control, channel: dict[str, Any], reason: str) -> None:
    notify(control, channel)
    name = tell(control, 1)
    deliver_news(control.services)
    [item] = waiting(control)
    assert reason in (item.deliveries or [])[0].error
    rounds(control, MOST_REFUSALS)
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts) == ("dead", MOST_REFUSALS)
    assert reason in delivery.error


def test_an_alarm_that_is_given_up_holds_back_nothing(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    receiver.then(*[Reply(404)] * MOST_REFUSALS)
    tell(control, 1)
    over = tell(control, 2, resolved=True)
    rounds(control, MOST_REFUSALS)
    assert len(receiver.received) == MOST_REFUSALS
    deliver_news(control.services)
    assert ids(receiver)[MOST_REFUSALS:] == [over]


# --- the alert -------------------------------------------------------------------------------------------------


def test_an_alert_that_cannot_be_told_makes_no_further_one(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver, "drift"), hook(other, "promoted"))
    receiver.always(Reply(404))
    other.always(Reply(404))
    tell(control, 1)
    rounds(control, 3 * MOST_REFUSALS)
    assert (len(receiver.received), len(other.received)) == (MOST_REFUSALS, MOST_REFUSALS)
    assert waiting(control) == []
    assert sorted(item.news.kind for item in told(control).values()) == ["drift", "undelivered"]


def test_there_is_no_alert_where_nobody_else_could_hear_it(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    receiver.always(Reply(410))
    tell(control, 1)
    rounds(control, MOST_REFUSALS)
    assert waiting(control) == []
    assert len(told(control)) == 1


def test_a_dead_channel_is_told_of_once_a_day(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver, "drift"), hook(other, "promoted"))
    receiver.always(Reply(404))
    control.clock.now = control.clock.now.replace(hour=1)
    for day in (1, 2):
        for number in range(20):
            tell(control, 100 * day + number)
        rounds(control, MOST_REFUSALS + 1, pause_seconds=600)
        tell(control, 100 * day + 50)  # that comes after the alert was told has none of its own either
        rounds(control, MOST_REFUSALS + 1, pause_seconds=600)
        assert [request.json()["kind"] for request in other.received] == ["undelivered"] * day
        control.clock.now = control.clock.now.replace(hour=1) + timedelta(days=1)
    assert waiting(control) == []
    assert len(set(ids(other))) == 2


def test_two_dead_channels_are_two_alerts(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver, "drift"), hook(receiver, "drift", path="/b"), hook(other, "promoted"))
    receiver.always(Reply(404))
    for number in range(3):
        tell(control, number)
    rounds(control, MOST_REFUSALS + 1)
    assert len(ids(other)) == len(set(ids(other))) == 2
    assert waiting(control) == []


def test_an_alert_that_is_in_the_log_already_is_put_away_all_the_same(control: Control, receiver: Receiver) -> None:
    """Two instances that gave something up at the same moment."""
    notify(control, hook(receiver))
    tell(control, 1, "undelivered")
    [slot] = Outbox(control.services.documents).waiting()
    control.services.documents.commit([into_log(slot, slot.value)[0]])
    assert deliver_news(control.services).errors == {}
    assert waiting(control) == []


# --- whose turn it is ------------------------------------------------------------------------------------------


class Picky(Receiver):
    """Does not like the news of a model."""

    def _take(self, request: Received) -> Reply:
        reply = super()._take(request)
        return Reply(500) if request.json()["model"] == "aaa" else reply


def bring_policies(control: Control, **channels: dict[str, Any]) -> None:
    """Each model tells its channel."""
    for model, channel in channels.items():
        control.put(f"policies/{model}.yaml", json.dumps({"notify": [channel]}).encode())
        control.tell(f"policies/{model}.yaml")


def test_news_that_a_channel_does_not_like_do_not_keep_others_from_it(control: Control) -> None:
    with Picky() as picky:
        bring_policies(control, aaa=hook(picky), zzz=hook(picky))
        for number in range(15):
            tell(control, number, model="aaa")
            control.clock.forward(0.001)
        wanted = tell(control, 1, model="zzz")
        rounds(control, 2, pause_seconds=60)
        assert wanted in ids(picky)
        assert len(waiting(control)) == 15


def test_what_was_tried_least_comes_first_then_what_is_oldest(control: Control, receiver: Receiver) -> None:
    names = {}
    bring_policies(control, **{model: hook(receiver) for model in ("a", "b", "c")})
    for model in ("b", "a"):
        names[model] = tell(control, 1, model=model)
        control.clock.forward(1)
    receiver.then(Reply(500))
    deliver_news(control.services)
    control.clock.forward(60)
    names["c"] = tell(control, 1, model="c")
    receiver.then(Reply(200, kind="late", seconds=0.05))
    deliver_news(control.services)
    assert ids(receiver) == [names["b"], names["a"], names["c"], names["b"]]


# --- what cannot be read ---------------------------------------------------------------------------------------


def test_what_cannot_be_read_stops_nothing_else_and_is_said(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    before = tell(control, 1, model=MODEL)
    [slot] = Outbox(control.services.documents).waiting()
    later = msgspec.to_builtins(slot.value) | {"news": {"kind": "of a later release"}}
    control.services.documents.commit([Create(f"outbox/{name}~x", later) for name in ("aaa", MODEL, "zzz")])
    report = deliver_news(control.services)
    assert ids(receiver) == [before]
    assert report.errors.keys() == {"aaa~x", f"{MODEL}~x", "zzz~x"}
    assert "kind" in report.errors["aaa~x"]
    assert Outbox(control.services.documents).page().unreadable.keys() == report.errors.keys()  # it is still there


def test_more_unreadable_ones_than_a_page_holds(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    control.services.documents.commit([Create(f"outbox/aaa~{number}", {"no": "news"}) for number in range(250)])
    name = tell(control, 1)
    assert len(deliver_news(control.services).errors) == 250
    assert ids(receiver) == [name]


def test_a_policy_of_a_later_release_is_no_trouble_of_others(control: Control, receiver: Receiver) -> None:
    bring_policies(control, aaa=hook(receiver), zzz=hook(receiver))
    names = {model: tell(control, 1, model=model) for model in ("aaa", "zzz")}
    document = control.services.documents.get("policies/aaa")
    assert document is not None
    control.services.documents.commit([Replace(document.path, document.data | {"policy": 7}, document.revision)])
    report = deliver_news(control.services)
    assert (report.errors.keys(), ids(receiver)) == ({"aaa"}, [names["zzz"]])


def test_attempts_are_counted_each_for_itself(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver), hook(other))
    receiver.always(Reply(503))
    for number in range(3):
        tell(control, number)
    rounds(control, 4)
    left = [delivery for item in waiting(control) for delivery in item.deliveries or []]
    assert Counter((one.status, one.attempts) for one in left) == {("delivered", 1): 3, ("waiting", 4): 3}
