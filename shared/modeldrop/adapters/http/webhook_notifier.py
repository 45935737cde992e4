"""Notifications to a webhook."""

from modeldrop.adapters.http.guarded_client import GuardedClient, accepted
from modeldrop.adapters.http.signed_webhook import notification_content, webhook_request
from modeldrop.domain.notification import Notification
from modeldrop.domain.targets import WebhookChannel, describe


class WebhookNotifier:
    """A ports.Notifier; ``secret``: what its requests are signed with, None: they are not."""

    def __init__(self, client: GuardedClient, channel: WebhookChannel, secret: str | None) -> None:
        self._client = client
        self._channel = channel
        self._secret = secret

    def notify(self, notification: Notification) -> None:
        """See Notifier. Any 2xx is taken as delivered."""
        request = webhook_request(notification_content(notification), key=notification.id, secret=self._secret)
        answer = self._client.send("POST", self._channel.url, body=request.body, headers=request.headers)
        accepted(answer, describe(self._channel))
