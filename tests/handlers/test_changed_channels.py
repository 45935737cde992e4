"""A policy's channels change while news are on their way to them."""

from collections.abc import Iterator

import pytest

from modeldrop.handlers.outbox.deliver_news import deliver_news
from modeldrop.records.outbox import Delivery
from tests.handlers.control import Control
from tests.handlers.test_deliver_news import hook, ids, notify, tell, told, waiting
from tests.servers.receiver import Receiver, Reply


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def deliveries(control: Control, name: str) -> list[Delivery]:
    """Of news that are in the log."""
    return told(control)[name].deliveries or []


def test_a_channel_taken_out_of_the_policy_is_not_told_any_more(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver), hook(other))
    receiver.always(Reply(500))
    name = tell(control, 1)
    deliver_news(control.services)
    notify(control, hook(other))
    assert deliver_news(control.services).dead == 1
    deliveries = told(control)[name].deliveries or []
    assert sorted((d.status, d.error) for d in deliveries) == [("dead", "no longer in the policy"), ("delivered", "")]
    deliver_news(control.services)
    assert (len(receiver.received), len(other.received)) == (1, 1)  # whoever took it out knows


def test_an_address_that_is_corrected_gets_what_waited(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver, path="/wrong"))
    receiver.always(Reply(503), path="/wrong")
    name = tell(control, 1)
    deliver_news(control.services)
    notify(control, hook(receiver, path="/right"))
    report = deliver_news(control.services)  # at once: nothing is known against it
    assert (report.delivered, report.dead) == (1, 1)
    assert [request.path for request in receiver.received] == ["/wrong", "/right"]
    assert ids(receiver) == [name, name]
    assert [(one.status, one.error) for one in deliveries(control, name)] == [
        ("dead", "no longer in the policy"),
        ("delivered", ""),
    ]
    assert waiting(control) == []


def test_only_who_wants_such_news_and_has_not_had_them_gets_what_waited(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver, path="/wrong"), hook(other))
    receiver.always(Reply(503), path="/wrong")
    name = tell(control, 1)
    deliver_news(control.services)
    notify(
        control,
        hook(other),
        hook(receiver, "drift", path="/a"),
        hook(receiver, "promoted", path="/b"),
        hook(receiver, "drift", "promoted", path="/c"),
    )
    deliver_news(control.services)
    assert sorted(request.path for request in receiver.received) == ["/a", "/c", "/wrong"]
    assert ids(other) == [name]
    assert [one.status for one in deliveries(control, name)] == ["dead", "delivered", "delivered", "delivered"]


def test_a_channel_that_is_added_gets_nothing_that_waits_for_another(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver))
    receiver.then(Reply(503))
    name = tell(control, 1)
    deliver_news(control.services)
    notify(control, hook(receiver), hook(other))
    control.clock.forward(60)
    deliver_news(control.services)
    assert (ids(receiver), ids(other)) == ([name, name], [])


def test_the_order_of_an_alarm_and_its_end_stays(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver, path="/wrong"), hook(other))
    receiver.always(Reply(503), path="/wrong")
    begins = tell(control, 9)
    control.clock.forward(1)
    ends = tell(control, 1, resolved=True)
    for _ in range(2):
        deliver_news(control.services)
    assert ids(other) == [begins, ends]
    asked = len(receiver.received)
    notify(control, hook(receiver, path="/right"), hook(other))
    receiver.then(Reply(503))
    for _ in range(3):
        deliver_news(control.services)
        control.clock.forward(60)
    assert ids(receiver)[asked:] == [begins, begins, ends]
    assert ids(other) == [begins, ends]
    assert waiting(control) == []


def test_an_alert_goes_to_the_corrected_address_as_well(control: Control, receiver: Receiver, other: Receiver) -> None:
    """Alerts are for all channels, whatever they chose."""
    notify(control, hook(receiver, "drift", path="/wrong"))
    receiver.always(Reply(503), path="/wrong")
    name = tell(control, 1, "undelivered")
    deliver_news(control.services)
    notify(control, hook(other, "promoted"))
    deliver_news(control.services)
    assert ids(other) == [name]


def test_a_recipient_more(control: Control) -> None:
    """Nothing is set up for mail here: what counts is for whom it waits."""
    mail = {"type": "email", "to": ["a@b.example"], "on": ["drift"]}
    notify(control, mail)
    tell(control, 1)
    deliver_news(control.services)
    notify(control, mail | {"to": ["a@b.example", "c@d.example"]})
    deliver_news(control.services)
    [item] = waiting(control)
    assert [(one.to, one.status) for one in item.deliveries or []] == [
        ("email a@b.example", "dead"),
        ("email a@b.example, c@d.example", "waiting"),
    ]
