"""Notifications as messages on a topic."""

import msgspec

from modeldrop.adapters.http.signed_webhook import notification_content
from modeldrop.adapters.messages.sending import send
from modeldrop.domain.notification import Notification
from modeldrop.ports import Publisher


class TopicNotifier:
    """A ports.Notifier: the JSON that a webhook would get; the attribute ``id`` is the key."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        self._publisher = publisher
        self._topic = topic

    def notify(self, notification: Notification) -> None:
        """See Notifier. Taken once the message is stored, whether anybody subscribes or not."""
        attributes = {"id": notification.id, "model": notification.model, "kind": notification.news.kind}
        send(self._publisher, self._topic, msgspec.json.encode(notification_content(notification)), attributes)
