"""The outbox's delivery, with real receivers: once if all goes well, at least once whatever happens, never for ever."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.domain.news import AnyKind, Kind, News
from modeldrop.handlers.outbox.deliver_news import deliver_news
from modeldrop.handlers.outbox.tally import DeliveryReport
from modeldrop.records.outbox import Dispatch, Outbox, dispatch, numbered_dispatch
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.handlers.control import MODEL, Control
from tests.handlers.counted import counted
from tests.servers.receiver import HANG, Receiver, Reply

ALL = list(get_args(Kind))


@pytest.fixture
def other() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def hook(receiver: Receiver, *on: str, path: str = "/hook") -> dict[str, Any]:
    return {"type": "webhook", "url": f"{receiver.url}{path}", "on": list(on) or ALL}


def notify(control: Control, *channels: dict[str, Any]) -> None:
    """Put a policy with these channels into force."""
    control.policy(json.dumps({"notify": list(channels)}))  # JSON is YAML
    control.tell(f"policies/{MODEL}.yaml")


def tell(control: Control, number: int, kind: AnyKind = "drift", *, resolved: bool = False, model: str = MODEL) -> str:
    """Put news into the outbox, as happened now; their id."""
    news = News(kind, "v1", f"{kind} {number}", "because", resolved)
    write = numbered_dispatch("test", number, 0, dispatch(model, news, control.clock()))
    control.services.documents.commit([write])
    return write.path.rsplit("/", 1)[1]


def waiting(control: Control) -> list[Dispatch]:
    return [slot.value for slot in Outbox(control.services.documents).waiting(limit=1000)]


def told(control: Control, model: str = MODEL) -> dict[str, Dispatch]:
    """The delivery log, by the id the news had in the outbox."""
    log = Outbox(control.services.documents).log(model, limit=1000)
    return {name.split("~", 1)[1]: item for name, item in log}


def statuses(item: Dispatch) -> list[str]:
    return [delivery.status for delivery in item.deliveries or []]


def ids(receiver: Receiver) -> list[str]:
    return [request.json()["id"] for request in receiver.received]


def impatient(control: Control, seconds: float) -> Services:
    """Another instance, that waits less for those it calls."""
    services = control.another_instance()
    services.__dict__["http"] = GuardedClient(loopback=True, timeout_seconds=seconds)
    return services


def test_news_are_told_once_however_often_the_tick_comes(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    name = tell(control, 1)
    assert deliver_news(control.services) == DeliveryReport(1, 0, 0, {}, in_time=True)
    for _ in range(3):
        assert deliver_news(control.another_instance()).delivered == 0
    [request] = receiver.received
    assert request.headers["idempotency-key"] == name
    assert request.json() | {"at": ""} == {
        "id": name,
        "model": MODEL,
        "version": "v1",
        "kind": "drift",
        "what": "drift 1",
        "why": "because",
        "resolved": False,
        "at": "",
        "link": None,
    }
    assert waiting(control) == []
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts, delivery.at) == ("delivered", 1, control.clock())
    assert receiver.url not in str(delivery)


def test_links_lead_to_the_api(tmp_path: Path, receiver: Receiver) -> None:
    control = Control(tmp_path)
    notify(control, hook(receiver))
    tell(control, 1)
    settings = Settings(backend="local", data=tmp_path, api_url="https://drop.example.com/api/")
    deliver_news(Services(settings, control.clock))
    assert receiver.received[0].json()["link"] == f"https://drop.example.com/api/v1/models/{MODEL}"


def test_each_channel_hears_what_it_chose(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver, "drift"), hook(other, "promoted", "drift"))
    drift, promoted, rejected = tell(control, 1), tell(control, 2, "promoted"), tell(control, 3, "rejected")
    deliver_news(control.services)
    assert ids(receiver) == [drift]
    assert sorted(ids(other)) == [drift, promoted]
    assert waiting(control) == []
    assert {name: statuses(item) for name, item in told(control).items()} == {
        drift: ["delivered", "delivered"],
        promoted: ["delivered"],
        rejected: [],
    }


def test_a_channel_that_stands_there_twice_is_told_once(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver, "drift"), hook(receiver, "drift", "promoted"))
    tell(control, 1)
    deliver_news(control.services)
    assert len(receiver.received) == 1


def test_without_channels_news_go_straight_to_the_log(control: Control) -> None:
    names = [tell(control, number) for number in range(3)]
    assert deliver_news(control.services) == DeliveryReport(0, 0, 0, {}, in_time=True)
    assert waiting(control) == []
    assert {name: item.deliveries for name, item in told(control).items()} == {name: [] for name in names}


def test_two_ticks_at_once_tell_nobody_twice(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver), hook(other))
    names = [tell(control, number, "promoted") for number in range(40)]
    start = threading.Barrier(3)

    def tick() -> None:
        start.wait()
        reports.append(deliver_news(control.another_instance()))

    reports: list[DeliveryReport] = []
    ticks = [threading.Thread(target=tick) for _ in range(3)]
    for thread in ticks:
        thread.start()
    for thread in ticks:
        thread.join()
    assert sorted(ids(receiver)) == sorted(ids(other)) == names
    assert sum(report.delivered for report in reports) == 80
    assert waiting(control) == []
    assert [statuses(item) for item in told(control).values()] == [["delivered", "delivered"]] * 40


CHILD = """
import sys
from datetime import datetime
from pathlib import Path
from modeldrop.handlers.outbox.deliver_news import deliver_news
from modeldrop.settings import Settings
from modeldrop.wiring import Services
now = datetime.fromisoformat(sys.argv[2])
deliver_news(Services(Settings(backend="local", data=Path(sys.argv[1])), lambda: now))
"""


def test_an_instance_killed_between_sending_and_recording(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    name = tell(control, 1)
    receiver.then(HANG)
    arguments = [sys.executable, "-c", CHILD, str(control.data), control.clock().isoformat()]
    with subprocess.Popen(arguments) as child:
        receiver.wait_for(1, seconds=30)
        child.kill()
    [item] = waiting(control)
    assert item.claimed_until is not None
    control.clock.forward(59)
    assert deliver_news(control.another_instance()).delivered == 0
    assert len(receiver.received) == 1  # it may still be at it
    control.clock.forward(1)
    assert deliver_news(control.another_instance()).delivered == 1
    assert ids(receiver) == [name, name]
    assert waiting(control) == []


class Killed(BaseException):
    """The process is gone."""


class DiesAtCommit:
    """Documents whose instance ends just before, or just after, its so many-th commit."""

    def __init__(self, real: Any, number: int, *, after: bool) -> None:
        self._real, self._left, self._after = real, number, after
        self._guard = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit(self, writes: Any) -> None:
        with self._guard:
            self._left -= 1
            if self._left == 0 and self._after:
                self._real.commit(writes)
            if self._left <= 0:
                raise Killed
            self._real.commit(writes)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_whatever_commit_it_dies_at_all_is_told_in_the_end(
    control: Control, receiver: Receiver, number: int, after: bool
) -> None:
    notify(control, hook(receiver))
    name = tell(control, 1)
    services = control.another_instance()
    services.__dict__["documents"] = DiesAtCommit(services.documents, number, after=after)
    with pytest.raises(Killed):
        deliver_news(services)
    control.clock.forward(60)
    deliver_news(control.another_instance())
    sent_before_it_died = number == 2
    recorded = number == 2 and after
    assert ids(receiver) == [name] * (1 + (sent_before_it_died and not recorded))
    assert waiting(control) == []
    assert statuses(told(control)[name]) == ["delivered"]


def test_what_fails_comes_again_later_and_later(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    name = tell(control, 1)
    receiver.then(Reply(500), Reply(429), Reply(503))
    for attempt in (1, 2, 3):
        assert deliver_news(control.services).failed == 1
        [item] = waiting(control)
        [delivery] = item.deliveries or []
        assert (delivery.status, delivery.attempts, item.claimed_until) == ("waiting", attempt, None)
        assert delivery.next_at is not None
        pause = (delivery.next_at - control.clock()).total_seconds()
        assert 0 <= pause <= 5 * 2 ** (attempt - 1)
        if pause > 0.001:
            control.clock.forward(pause - 0.001)
            assert deliver_news(control.services).failed == 0  # not before its time
        control.clock.now = delivery.next_at
    assert deliver_news(control.services).delivered == 1
    assert ids(receiver) == [name] * 4
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts, delivery.error) == ("delivered", 4, "")


def test_a_channel_that_works_is_not_told_again_because_another_failed(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver), hook(other))
    name = tell(control, 1)
    receiver.then(Reply(500))
    deliver_news(control.services)
    control.clock.forward(5)
    deliver_news(control.services)
    assert (ids(receiver), ids(other)) == ([name, name], [name])


def test_a_channel_that_hangs_keeps_nobody_waiting(control: Control, receiver: Receiver, other: Receiver) -> None:
    notify(control, hook(receiver), hook(other))
    receiver.always(HANG)
    names = [tell(control, number, "promoted") for number in range(30)]
    seconds = 2.0
    tick = threading.Thread(target=deliver_news, args=(impatient(control, seconds),))
    began = time.monotonic()
    tick.start()
    other.wait_for(30)
    others_took = time.monotonic() - began
    tick.join()
    took = time.monotonic() - began
    assert sorted(ids(other)) == names
    assert others_took < seconds
    assert took < 2 * seconds  # one attempt, not thirty
    assert len(receiver.received) == 1
    left = [delivery for item in waiting(control) for delivery in item.deliveries or []]
    assert Counter(delivery.status for delivery in left) == {"delivered": 30, "waiting": 30}
    assert sum(delivery.attempts for delivery in left if delivery.status == "waiting") == 1
    receiver.always(Reply(200))
    control.clock.forward(5)
    assert deliver_news(control.services).delivered == 30
    assert len(other.received) == 30


def test_a_channel_that_chooses_otherwise_is_told_what_was_on_its_way(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver, "drift"))
    receiver.then(Reply(500))
    name = tell(control, 1)
    deliver_news(control.services)
    notify(control, hook(receiver, "promoted"))
    control.clock.forward(5)
    deliver_news(control.services)
    assert ids(receiver) == [name, name]


def test_that_it_is_over_is_not_told_before_it_was_told_that_it_is(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver), hook(other))
    # Ids that do not stand in the order of time, as of news from different sources.
    names = []
    for number, resolved in ((9, False), (5, True), (1, False)):
        names.append(tell(control, number, resolved=resolved))
        control.clock.forward(1)
    receiver.then(Reply(500), Reply(500))
    while waiting(control):
        deliver_news(control.services)
        control.clock.forward(10)
    assert ids(receiver) == [names[0]] * 3 + names[1:]
    assert ids(other) == names


def test_news_that_resolve_nothing_do_not_wait_for_each_other(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    first, unhealthy = tell(control, 1, "drift"), tell(control, 2, "unhealthy", resolved=True)
    receiver.then(Reply(500))
    deliver_news(control.services)
    control.clock.forward(5)
    second = tell(control, 3, "drift")
    deliver_news(control.services)
    assert Counter(ids(receiver)) == {first: 2, unhealthy: 1, second: 1}


def test_five_hundred_news_of_many_models(control: Control, receiver: Receiver) -> None:
    models = [f"model-{number}" for number in range(4)]
    for model in models:
        control.put(f"policies/{model}.yaml", json.dumps({"notify": [hook(receiver, path=f"/{model}")]}).encode())
        control.tell(f"policies/{model}.yaml")
    names = sorted(tell(control, number, model=models[number % 4]) for number in range(500))
    services, documents = counted(control, "documents")
    assert deliver_news(services) == DeliveryReport(500, 0, 0, {}, in_time=True)
    assert sorted(ids(receiver)) == names
    assert waiting(control) == []
    assert sum(len(told(control, model)) for model in models) == 500
    assert documents.calls == {"list": 6, "get": 500 + 4, "commit": 2 * 500}


def test_an_empty_outbox_costs_one_read(control: Control) -> None:
    services, documents = counted(control, "documents")
    assert deliver_news(services) == DeliveryReport(0, 0, 0, {}, in_time=True)
    assert documents.calls == {"list": 1}


def test_nothing_is_begun_once_the_time_is_over(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    names = [tell(control, number) for number in range(20)]
    assert deliver_news(control.services, budget_seconds=0).in_time is False
    assert receiver.received == []
    receiver.always(Reply(200, kind="late", seconds=0.3))
    report = deliver_news(control.services, budget_seconds=0.5)
    assert report.in_time is False
    assert 0 < report.delivered == len(receiver.received) < 20
    assert [item.claimed_until for item in waiting(control)] == [None] * (20 - report.delivered)
    receiver.always(Reply(200))
    assert deliver_news(control.services).in_time
    assert sorted(ids(receiver)) == names


def test_a_policy_that_cannot_be_read_is_no_trouble_of_others(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    names = [tell(control, 1), tell(control, 2, model="aaa"), tell(control, 3, model="zzz")]
    services = control.another_instance()
    services.__dict__["documents"] = FailsFor(services.documents, "policies/aaa")
    report = deliver_news(services)
    assert report.errors.keys() == {"aaa"}
    assert ids(receiver) == [names[0]]
    assert [item.model for item in waiting(control)] == ["aaa"]


class FailsFor:
    """Documents of which one cannot be read now."""

    def __init__(self, real: Any, path: str) -> None:
        self._real, self._path = real, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get(self, path: str) -> Any:
        from modeldrop.errors import Unavailable

        if path == self._path:
            raise Unavailable("not now")
        return self._real.get(path)


def test_an_item_somebody_else_has_claimed_is_theirs(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    tell(control, 1)
    [slot] = Outbox(control.services.documents).waiting()
    until: datetime = control.clock()
    claimed = msgspec.structs.replace(slot.value, claimed_until=until.replace(year=until.year + 1))
    control.services.documents.commit([slot.write(claimed)])
    assert deliver_news(control.services) == DeliveryReport(0, 0, 0, {}, in_time=True)
    assert receiver.received == []


def slow_tick(control: Control, reports: list[DeliveryReport]) -> threading.Thread:
    """A tick of another instance, on a thread that has begun."""
    thread = threading.Thread(target=lambda: reports.append(deliver_news(control.another_instance())))
    thread.start()
    return thread


def test_a_claim_that_runs_out_meanwhile_is_no_trouble(control: Control, receiver: Receiver) -> None:
    notify(control, hook(receiver))
    name = tell(control, 1)
    receiver.then(Reply(200, kind="late", seconds=0.5))
    reports: list[DeliveryReport] = []
    slow = slow_tick(control, reports)
    receiver.wait_for(1)
    control.clock.forward(61)
    assert deliver_news(control.another_instance()).delivered == 1
    slow.join()
    assert reports == [DeliveryReport(0, 0, 0, {}, in_time=True)]
    assert ids(receiver) == [name, name]
    assert waiting(control) == []
    [delivery] = told(control)[name].deliveries or []
    assert (delivery.status, delivery.attempts) == ("delivered", 1)


def test_of_two_that_were_at_it_the_first_result_that_is_for_good_stays(
    control: Control, receiver: Receiver, other: Receiver
) -> None:
    notify(control, hook(receiver), hook(other))
    tell(control, 1)
    receiver.then(Reply(404, kind="late", seconds=0.5))
    other.always(Reply(500))
    reports: list[DeliveryReport] = []
    slow = slow_tick(control, reports)
    receiver.wait_for(1)
    other.wait_for(1)
    control.clock.forward(61)
    assert deliver_news(control.another_instance()).delivered == 1
    slow.join()
    assert reports[0].dead == 0
    [item] = waiting(control)
    first, second = item.deliveries or []
    assert (first.status, first.attempts, first.error) == ("delivered", 1, "")
    assert (second.status, second.attempts) == ("waiting", 2)
