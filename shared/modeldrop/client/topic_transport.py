"""Publishing from an app with Google's client."""

import msgspec
from google.api_core.exceptions import InvalidArgument
from google.pubsub_v1 import PublisherClient

from modeldrop.errors import Refused

ATTEMPT_SECONDS = 10.0


class TopicTransport(msgspec.Struct, frozen=True):
    """A topic by its full name ``projects/{project}/topics/{topic}``."""

    topic: str

    def connect(self) -> "TopicConnection":
        """See Transport."""
        return TopicConnection(self.topic)


class TopicConnection:
    """One request a message; the client itself looks for PUBSUB_EMULATOR_HOST."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._client = PublisherClient()

    def publish(self, data: bytes) -> None:
        """See Connection. The client's own retries are off: the caller knows whether there is room to wait."""
        request = {"topic": self._topic, "messages": [{"data": data}]}
        try:
            self._client.publish(request=request, retry=None, timeout=ATTEMPT_SECONDS)
        except InvalidArgument as error:
            raise Refused(str(error)) from error

    def close(self) -> None:
        """See Connection."""
        self._client.transport.close()  # type: ignore[no-untyped-call]
