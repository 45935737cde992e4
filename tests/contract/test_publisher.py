"""What ports.Publisher promises, on the local queue and on Pub/Sub's official emulator."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from modeldrop.adapters.gcp.pubsub_publisher import PubsubPublisher
from modeldrop.adapters.local.topic_queue import LocalPublisher
from modeldrop.domain.messages import MAX_MESSAGE_BYTES
from modeldrop.errors import InvalidInput, NotFound, TooLarge
from modeldrop.ports import Publisher

Received = tuple[bytes, dict[str, str]]
TOPIC = "predictions"


@dataclass(frozen=True)
class TopicSystem:
    """A publisher, and how to read what arrived on its one topic: (data, attributes) by message id."""

    publisher: Publisher
    receive: Callable[[int], Mapping[str, Received]]


@pytest.fixture(params=["local", pytest.param("pubsub", marks=pytest.mark.emulator("pubsub"))])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TopicSystem]:
    if request.param == "local":
        yield from local_system(tmp_path / "topics.sqlite")
    else:
        yield from pubsub_system(request.getfixturevalue("pubsub_host"), f"p-{uuid.uuid4().hex[:20]}")


def local_system(path: Path) -> Iterator[TopicSystem]:
    queue = LocalPublisher(path, [TOPIC])

    def receive(count: int) -> dict[str, Received]:
        messages = queue.lease(TOPIC, count + 1, 60, datetime.now(UTC))
        return {message.id: (message.data, message.attributes) for message in messages}

    yield TopicSystem(queue, receive)
    queue.close()


def pubsub_system(host: str, project: str) -> Iterator[TopicSystem]:
    subscription, topic = f"projects/{project}/subscriptions/all", f"projects/{project}/topics/{TOPIC}"
    # The client's own channel takes answers of 4 MiB at most, less than the largest message.
    channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
    transport = SubscriberGrpcTransport(channel=channel)
    with PublisherClient() as client, SubscriberClient(transport=transport) as subscriber:
        client.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)

        def receive(count: int) -> dict[str, Received]:
            found: dict[str, Received] = {}
            while len(found) < count:
                pulled = subscriber.pull(subscription=subscription, max_messages=100, timeout=20)
                for received in pulled.received_messages:
                    message = received.message
                    found[message.message_id] = (message.data, dict(message.attributes))
            return found

        yield TopicSystem(PubsubPublisher(client, project), receive)


def test_a_message_arrives_as_it_was_sent(system: TopicSystem) -> None:
    data, attributes = bytes(range(256)), {"source": "app", "größe": "☃ 😀", "empty": ""}
    name = system.publisher.publish(TOPIC, data, attributes)
    assert system.receive(1) == {name: (data, attributes)}


def test_either_data_or_attributes_may_be_left_out(system: TopicSystem) -> None:
    first = system.publisher.publish(TOPIC, b"{}")
    second = system.publisher.publish(TOPIC, b"", {"only": "this"})
    assert system.receive(2) == {first: (b"{}", {}), second: (b"", {"only": "this"})}


def test_attributes_may_be_called_like_the_words_of_a_client(system: TopicSystem) -> None:
    attributes = dict.fromkeys(("topic", "data", "timeout", "retry", "ordering_key", "self", "request"), "x")
    name = system.publisher.publish(TOPIC, b"{}", attributes)
    assert system.receive(1) == {name: (b"{}", attributes)}


def test_many_at_once_each_get_an_id_of_their_own(system: TopicSystem) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda n: system.publisher.publish(TOPIC, b"%d" % n), range(80)))
    received = system.receive(80)
    assert {name: data for name, (data, _) in received.items()} == {name: b"%d" % n for n, name in enumerate(names)}


@pytest.mark.parametrize("topic", ["unknown", "", "a/b", "predictions ", "../x", "\ud800", "goog-x", "x" * 300])
def test_an_unknown_topic_is_not_found(system: TopicSystem, topic: str) -> None:
    with pytest.raises(NotFound):
        system.publisher.publish(topic, b"{}")


def test_the_largest_message_arrives_and_a_larger_one_is_refused(system: TopicSystem) -> None:
    with pytest.raises(TooLarge):
        system.publisher.publish(TOPIC, b"x" * 10_000_001)
    attributes = {f"{n:0256}": "v" * 1_024 for n in range(100)}
    with pytest.raises(TooLarge):
        system.publisher.publish(TOPIC, b"x" * (MAX_MESSAGE_BYTES - 100_000), attributes)
    largest = b"x" * MAX_MESSAGE_BYTES
    name = system.publisher.publish(TOPIC, largest)
    assert system.receive(1) == {name: (largest, {})}


def test_as_many_and_as_long_attributes_as_allowed(system: TopicSystem) -> None:
    attributes = {f"{n:0256}": "v" * 1_024 for n in range(100)}
    name = system.publisher.publish(TOPIC, b"", attributes)
    assert system.receive(1) == {name: (b"", attributes)}


WRONG: list[tuple[Any, Any]] = [
    (b"", {}),
    (b"", None),
    ("text", None),
    (bytearray(b"x"), None),
    (b"x", {f"k{n}": "" for n in range(101)}),
    (b"x", {"k" * 257: ""}),
    (b"x", {"é" * 129: ""}),
    (b"x", {"": "v"}),
    (b"x", {"k": "v" * 1_025}),
    (b"x", {"k": "é" * 513}),
    (b"x", {"k": 1}),
    (b"x", {"k": b"v"}),
    (b"x", {"k": None}),
    (b"x", {1: "v"}),
    (b"x", {"\ud800": "v"}),
    (b"x", {"k": "\ud800"}),
    (b"x", {"googclient": "v"}),
]


@pytest.mark.parametrize(("data", "attributes"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_message_no_topic_takes_is_refused(system: TopicSystem, data: Any, attributes: Any) -> None:
    with pytest.raises(InvalidInput):
        system.publisher.publish(TOPIC, data, attributes)
