"""Topics as channels and targets: on the local queue, and on Pub/Sub's official emulator."""

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from modeldrop.adapters.gcp.pubsub_publisher import PubsubPublisher
from modeldrop.adapters.local.topic_queue import LocalPublisher
from modeldrop.adapters.messages.topic_notifier import TopicNotifier
from modeldrop.adapters.messages.topic_trainer import TopicTrainer
from modeldrop.domain.news import News
from modeldrop.domain.notification import Notification
from modeldrop.domain.retraining.episode import Run, TimeRange, TrainingRequest
from modeldrop.domain.targets import PubsubChannel, PubsubTarget
from modeldrop.errors import NotFound, Refused, Unavailable
from modeldrop.ports import Publisher
from modeldrop.settings import Settings
from modeldrop.wiring import TOPICS, Services

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOPIC = "team-news"
NEWS = News("drift", "v5", "data drift", "amount moved: psi 0.31 > 0.2", resolved=True)
NOTIFICATION = Notification("fraud~1~drift", "fraud", NEWS, NOW, "https://drop.example.com/v1/models/fraud")
REQUEST = TrainingRequest(
    "fraud-20260102030405-1",
    "fraud",
    "v5",
    "data_drift",
    "https://drop.example.com/v1/models/fraud/drift",
    TimeRange(NOW - timedelta(hours=1), NOW),
    {"commit": "abc"},
)
Received = tuple[Any, dict[str, str]]


@dataclass(frozen=True)
class TopicSystem:
    """A publisher, and what arrived on its one topic: (content, attributes)."""

    publisher: Publisher
    receive: Callable[[int], list[Received]]


@pytest.fixture(params=["local", pytest.param("pubsub", marks=pytest.mark.emulator("pubsub"))])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TopicSystem]:
    if request.param == "local":
        yield from local_system(tmp_path / "topics.sqlite")
    else:
        yield from pubsub_system(request.getfixturevalue("pubsub_host"), f"p-{uuid.uuid4().hex[:20]}")


def local_system(path: Path) -> Iterator[TopicSystem]:
    queue = LocalPublisher(path, [], any_topic=True)

    def receive(count: int) -> list[Received]:
        found = queue.lease(TOPIC, count + 1, 60, datetime.now(UTC))
        return [(json.loads(message.data), message.attributes) for message in found]

    yield TopicSystem(queue, receive)
    queue.close()


def pubsub_system(host: str, project: str) -> Iterator[TopicSystem]:
    subscription, topic = f"projects/{project}/subscriptions/all", f"projects/{project}/topics/{TOPIC}"
    with PublisherClient() as client, SubscriberClient() as subscriber:
        client.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)

        def receive(count: int) -> list[Received]:
            found: list[Received] = []
            while len(found) < count:
                pulled = subscriber.pull(subscription=subscription, max_messages=100, timeout=20)
                found += [(json.loads(m.message.data), dict(m.message.attributes)) for m in pulled.received_messages]
            return found

        yield TopicSystem(PubsubPublisher(client, project), receive)


def test_a_subscriber_gets_the_news_with_their_key(system: TopicSystem) -> None:
    TopicNotifier(system.publisher, TOPIC).notify(NOTIFICATION)
    [(content, attributes)] = system.receive(1)
    assert attributes == {"id": "fraud~1~drift", "model": "fraud", "kind": "drift"}
    assert content == {
        "id": "fraud~1~drift",
        "model": "fraud",
        "version": "v5",
        "kind": "drift",
        "what": "data drift",
        "why": "amount moved: psi 0.31 > 0.2",
        "resolved": True,
        "at": "2026-01-02T03:04:05Z",
        "link": "https://drop.example.com/v1/models/fraud",
    }


def test_a_subscriber_gets_the_request_with_the_episode_however_often_it_is_asked(system: TopicSystem) -> None:
    trainer = TopicTrainer(system.publisher, TOPIC)
    run = trainer.start(REQUEST, again=None)
    assert run == Run(id=None, state="accepted")
    assert trainer.observe(REQUEST, run) is None
    assert trainer.start(REQUEST, again=NOW) == run
    first, second = system.receive(2)
    assert first == second
    assert first[1] == {"episode": "fraud-20260102030405-1", "model": "fraud", "cause": "data_drift"}
    assert first[0] == {
        "episode": "fraud-20260102030405-1",
        "model": "fraud",
        "version": "v5",
        "cause": "data_drift",
        "report": "https://drop.example.com/v1/models/fraud/drift",
        "window": {"start": "2026-01-02T02:04:05Z", "end": "2026-01-02T03:04:05Z"},
        "lineage": {"commit": "abc"},
    }


def test_a_topic_that_cannot_be_refuses(system: TopicSystem) -> None:
    with pytest.raises(Refused, match="goog-news"):
        TopicNotifier(system.publisher, "goog-news").notify(NOTIFICATION)


@pytest.mark.emulator("pubsub")
def test_a_topic_that_nobody_made_refuses(pubsub_host: str) -> None:
    with PublisherClient() as client:
        publisher = PubsubPublisher(client, f"p-{uuid.uuid4().hex[:20]}")
        with pytest.raises(Refused, match=TOPIC):
            TopicNotifier(publisher, TOPIC).notify(NOTIFICATION)
        with pytest.raises(Refused, match=TOPIC):
            TopicTrainer(publisher, TOPIC).start(REQUEST, again=None)


def test_a_queue_that_is_out_of_reach_is_unavailable(tmp_path: Path) -> None:
    queue = LocalPublisher(tmp_path / "topics.sqlite", [], any_topic=True)
    queue.close()
    with pytest.raises(Unavailable):
        TopicNotifier(queue, TOPIC).notify(NOTIFICATION)


def test_policies_may_name_any_topic_and_apps_may_not(tmp_path: Path) -> None:
    services = Services(Settings(backend="local", data=tmp_path))
    services.notifier(PubsubChannel(TOPIC, ["drift"])).notify(NOTIFICATION)
    services.trainer(PubsubTarget(TOPIC)).start(REQUEST, again=None)
    with pytest.raises(NotFound):
        services.publisher.publish(TOPIC, b"{}")
    reader = LocalPublisher(tmp_path / "topics.sqlite", TOPICS, any_topic=True)
    assert len(reader.lease(TOPIC, 10, 60, datetime.now(UTC))) == 2
    reader.close()


def test_what_nobody_takes_is_dropped_after_a_week_and_other_topics_are_left_alone(tmp_path: Path) -> None:
    now = NOW
    queue = LocalPublisher(tmp_path / "topics.sqlite", ["predictions"], any_topic=True, clock=lambda: now)
    for topic in (TOPIC, "other", "predictions"):
        queue.publish(topic, b"old")
    now = NOW + timedelta(days=7)
    queue.publish(TOPIC, b"new")
    now += timedelta(seconds=1)
    queue.publish(TOPIC, b"newer")
    queue.publish("predictions", b"new")
    kept = {topic: [m.data for m in queue.lease(topic, 10, 60, now)] for topic in (TOPIC, "other", "predictions")}
    assert kept == {TOPIC: [b"new", b"newer"], "other": [b"old"], "predictions": [b"old", b"new"]}
    queue.close()


def test_a_topic_comes_into_being_once_however_many_publish_at_once(tmp_path: Path) -> None:
    queue = LocalPublisher(tmp_path / "topics.sqlite", [], any_topic=True)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: TopicNotifier(queue, TOPIC).notify(NOTIFICATION), range(40)))
    assert len(queue.lease(TOPIC, 100, 60, datetime.now(UTC))) == 40
    queue.close()
