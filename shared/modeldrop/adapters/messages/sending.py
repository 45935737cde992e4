"""One message to a topic that a policy names."""

from collections.abc import Mapping

from modeldrop.errors import PermanentError, Refused
from modeldrop.ports import Publisher


def send(publisher: Publisher, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
    """Publish it. Raises Refused where the topic never will take it (there is none of that name), or Unavailable."""
    try:
        publisher.publish(topic, data, attributes)
    except PermanentError as error:
        raise Refused(f"pubsub {topic}: {error}") from error
