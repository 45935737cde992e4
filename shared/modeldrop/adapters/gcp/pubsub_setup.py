"""Topics and push subscriptions for a project that has none yet: the emulator's, for the embedded cloud.

In the cloud they are made by Terraform. Everything here may be repeated: what is there is adopted.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

from google.api_core import exceptions as google_errors
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PushConfig, SubscriberClient

from modeldrop.errors import Unavailable

ACKNOWLEDGE_SECONDS = 60
SHORTEST_RETRY_SECONDS = 1
LONGEST_RETRY_SECONDS = 60
_CALL_SECONDS = 20.0


def create_topics(project: str, topics: Collection[str]) -> None:
    """Make the topics that are not there. Raises Unavailable if Pub/Sub is."""
    with PublisherClient() as client, _errors():
        for topic in topics:
            with suppress(google_errors.AlreadyExists):
                client.create_topic(name=f"projects/{project}/topics/{topic}", timeout=_CALL_SECONDS)


def create_push_subscriptions(project: str, endpoints: Mapping[str, str]) -> None:
    """Have each topic pushed to its address (``topic: url``); an older subscription is led to the new address."""
    with SubscriberClient() as client, _errors():
        for topic, endpoint in endpoints.items():
            name = f"projects/{project}/subscriptions/{topic}-push"
            push = PushConfig(push_endpoint=endpoint)
            try:
                client.create_subscription(request=_subscription(project, topic, name, push), timeout=_CALL_SECONDS)
            except google_errors.AlreadyExists:
                client.modify_push_config(subscription=name, push_config=push, timeout=_CALL_SECONDS)


def _subscription(project: str, topic: str, name: str, push: PushConfig) -> dict[str, object]:
    return {
        "name": name,
        "topic": f"projects/{project}/topics/{topic}",
        "push_config": push,
        "ack_deadline_seconds": ACKNOWLEDGE_SECONDS,
        "expiration_policy": {},  # never, where the default would be 31 idle days
        "retry_policy": {
            "minimum_backoff": {"seconds": SHORTEST_RETRY_SECONDS},
            "maximum_backoff": {"seconds": LONGEST_RETRY_SECONDS},
        },
    }


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (google_errors.GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(f"Pub/Sub: {error}") from error
