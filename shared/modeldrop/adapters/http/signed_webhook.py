"""The requests that webhooks get: what is in them, and how they are signed (CONTRACT, "Webhooks").

The key is the same however often a request is sent: a receiver that keeps it takes nothing twice. The signature is of
the body's bytes as they are sent, so a receiver checks it before reading them.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop import __version__
from modeldrop.domain.notification import Notification
from modeldrop.domain.retraining.episode import TrainingRequest
from modeldrop.errors import Refused

KEY_HEADER = "Idempotency-Key"
SIGNATURE_HEADER = "X-Modeldrop-Signature"


class WebhookRequest(msgspec.Struct, frozen=True):
    """What is sent, apart from the address."""

    body: bytes
    headers: dict[str, str]


def webhook_request(content: Mapping[str, Any], *, key: str, secret: str | None) -> WebhookRequest:
    """The request with that content as JSON, signed where there is a secret. Raises Refused for an empty secret.

    >>> request = webhook_request({"id": "n1"}, key="n1", secret="s")
    >>> request.body, request.headers["X-Modeldrop-Signature"][:23]
    (b'{"id":"n1"}', 'sha256=dd0a1a0b777fb524')
    """
    body = msgspec.json.encode(content)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"modeldrop/{__version__}",
        KEY_HEADER: key,
    }
    if secret is not None:
        headers[SIGNATURE_HEADER] = signature(body, secret)
    return WebhookRequest(body, headers)


def signature(body: bytes, secret: str) -> str:
    """``sha256=`` and the HMAC-SHA256 of the body in lower-case hex; the key is the secret's UTF-8."""
    if not secret:
        raise Refused("the secret to sign with is empty: anybody could sign so")
    return f"sha256={hmac.new(secret.encode('utf-8'), body, hashlib.sha256).hexdigest()}"


def notification_content(notification: Notification) -> dict[str, Any]:
    """What a channel is told, as JSON values. ``at`` is an ISO time in UTC; ``link`` may be null."""
    news = notification.news
    return {
        "id": notification.id,
        "model": notification.model,
        "version": news.version,
        "kind": news.kind,
        "what": news.what,
        "why": news.why,
        "resolved": news.resolved,
        "at": msgspec.to_builtins(notification.at),
        "link": notification.link,
    }


def training_content(request: TrainingRequest) -> dict[str, Any]:
    """What a target is told, as JSON values: ``window`` is ``{"start", "end"}`` in ISO times in UTC, or null."""
    return {
        "episode": request.episode,
        "model": request.model,
        "version": request.version,
        "cause": request.cause,
        "report": request.report,
        "window": msgspec.to_builtins(request.window),
        "lineage": dict(request.lineage),
    }
