"""Notifications to a channel of Slack, through an incoming webhook."""

import msgspec

from modeldrop.adapters.http.guarded_client import GuardedClient, accepted
from modeldrop.domain.notification import Notification

MOST_CHARACTERS = 3000
"""Of a message, before escaping: Slack advises at most 4,000."""

_SIGNS = {"promoted": ":rocket:", "retraining": ":repeat:"}
_TROUBLE = ":warning:"
_RESOLVED = ":white_check_mark:"


class SlackNotifier:
    """A ports.Notifier. ``address`` is the webhook's, and a secret: whoever has it can post.

    Slack knows no key: what is sent twice stands there twice.
    """

    def __init__(self, client: GuardedClient, address: str) -> None:
        self._client = client
        self._address = address

    def notify(self, notification: Notification) -> None:
        """See Notifier."""
        body = msgspec.json.encode({"text": slack_text(notification)})
        headers = {"Content-Type": "application/json"}
        accepted(self._client.send("POST", self._address, body=body, headers=headers), "slack")


def slack_text(notification: Notification) -> str:
    """The message: a sign, the news, the reason. Nothing in it is a mention, a link or a command of Slack's.

    Source: Slack's guide to formatting text: ``&``, ``<`` and ``>`` are its only control characters, and mentions
    are written with them (``<!channel>``, ``<@U…>``).
    """
    news = notification.news
    sign = _RESOLVED if news.resolved else _SIGNS.get(news.kind, _TROUBLE)
    text = f"{sign} {'resolved: ' if news.resolved else ''}{notification.text}"
    if len(text) > MOST_CHARACTERS:
        # What gives is the reason, in the middle; the time and the link stay.
        end = text.rindex(f"\nat {notification.at.isoformat(timespec='seconds')}")
        text = f"{text[: MOST_CHARACTERS - len(text) + end - 1]}…{text[end:]}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
