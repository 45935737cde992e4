"""Publishing to Pub/Sub."""

from collections.abc import Mapping

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient

from modeldrop.domain.messages import check_message, is_topic_name
from modeldrop.errors import NotFound, Refused, Unavailable
from modeldrop.settings import Settings

_ATTEMPT_SECONDS = 10.0
# A message may be stored twice after a lost answer: topics deliver at least once in any case.
_RETRY = Retry(
    predicate=if_exception_type(google_errors.ServiceUnavailable, google_errors.Aborted),
    initial=0.1,
    maximum=2.0,
    timeout=_ATTEMPT_SECONDS,  # an attempt that starts just before has its own limit on top: 20 s in all
)


def connect(settings: Settings) -> "PubsubPublisher":
    """The topics of the settings' project (the client itself looks for PUBSUB_EMULATOR_HOST)."""
    return PubsubPublisher(PublisherClient(), str(settings.project))


class PubsubPublisher:
    """A ports.Publisher on the generated client, one request a message.

    Not on the batching client: that one sends from a thread of its own, after a delay, can be left with messages nobody
    waits for, and takes attributes as keyword arguments, where one called ``timeout`` or ``topic`` is not an attribute.
    """

    def __init__(self, client: PublisherClient, project: str) -> None:
        self._client = client
        self._project = project

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str] | None = None) -> str:
        """See Publisher."""
        check_message(data, attributes or {})
        if not is_topic_name(topic):
            raise NotFound(f"no topic can be called {topic!r}")
        request = {
            "topic": f"projects/{self._project}/topics/{topic}",
            "messages": [{"data": data, "attributes": dict(attributes or {})}],
        }
        try:
            answer = self._client.publish(request=request, retry=_RETRY, timeout=_ATTEMPT_SECONDS)
        except google_errors.NotFound as error:
            raise NotFound(str(error)) from error
        except google_errors.InvalidArgument as error:
            raise Refused(str(error)) from error
        except (google_errors.GoogleAPIError, GoogleAuthError) as error:
            raise Unavailable(str(error)) from error
        return str(answer.message_ids[0])

    def close(self) -> None:
        """Closes the connection; later calls fail."""
        self._client.transport.close()  # type: ignore[no-untyped-call]
