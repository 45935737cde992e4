"""Ways out of the app: to a Pub/Sub topic through Google's client, or to a URL that takes the same body.

What a way needs is imported when it is chosen: not with the package, and not later in the background thread either. A
fork while a thread imports leaves the child with a module that nobody will ever finish, and a lock on it.
"""

import urllib.parse
from collections.abc import Mapping
from typing import Protocol

from modeldrop.errors import ConfigurationError


class Connection(Protocol):
    """Sends messages; used by one thread."""

    def publish(self, data: bytes) -> None:
        """Send one message. Raises Refused if that can never succeed; any other error means: try again."""

    def close(self) -> None:
        """Let go of what is held."""


class Transport(Protocol):
    """Where messages go. It holds nothing open itself, so that it outlives a fork."""

    def connect(self) -> Connection:
        """A connection for this process. Any error means: try again."""


def to_url(url: str, *, headers: Mapping[str, str] | None = None) -> Transport:
    """To a URL that takes the body of the Pub/Sub REST API's ``publish``, as the embedded cloud does.

    ``headers`` are added to each request. Raises ConfigurationError unless the URL is one of http or https.

    >>> to_url("ftp://127.0.0.1")
    Traceback (most recent call last):
    modeldrop.errors.ConfigurationError: not a URL of http or https: 'ftp://127.0.0.1'
    """
    if not _is_web_address(url):
        raise ConfigurationError(f"not a URL of http or https: {url!r}")
    from modeldrop.client.url_transport import UrlTransport  # noqa: PLC0415 - a tenth of a second, with ssl

    return UrlTransport(url, dict(headers or {}))


def to_topic(project: str, topic: str) -> Transport:
    """To a Pub/Sub topic, or to the emulator's where PUBSUB_EMULATOR_HOST names one.

    Raises ConfigurationError where the package google-cloud-pubsub is not installed.
    """
    try:
        from modeldrop.client.topic_transport import TopicTransport  # noqa: PLC0415 - half a second, not everywhere
    except ImportError as error:
        raise ConfigurationError(f"to_topic needs google-cloud-pubsub, to_url does without: {error}") from error
    return TopicTransport(f"projects/{project}/topics/{topic}")


def transport_to(target: Transport | str) -> Transport:
    """The transport itself, or the one for a URL or for ``projects/{project}/topics/{topic}``."""
    if not isinstance(target, str):
        return target
    match target.split("/"):
        case ["projects", project, "topics", topic]:
            return to_topic(project, topic)
    return to_url(target)


def _is_web_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False
