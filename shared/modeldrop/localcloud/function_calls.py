"""How the embedded cloud calls its functions: over HTTP at its own address, as Eventarc, Pub/Sub and Scheduler do."""

import base64
import logging
import uuid
from datetime import UTC, datetime

import httpx
import msgspec
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent

from modeldrop.adapters.local.topic_queue import QueuedMessage
from modeldrop.events.storage_event import FINALIZED
from modeldrop.ports import BucketObject

log = logging.getLogger(__name__)

BUCKET_NAME = "modeldrop-local"
TIMEOUT_SECONDS = 60.0


class FunctionCaller:
    """Calls functions at ``url``; True means acknowledged."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def tell_upload(self, found: BucketObject) -> bool:
        """A finalized object, as Eventarc tells it: a CloudEvent in binary mode."""
        attributes = {
            "type": FINALIZED,
            "source": f"//storage.googleapis.com/projects/_/buckets/{BUCKET_NAME}",
            "subject": f"objects/{found.name}",
            "id": uuid.uuid4().hex,
            "time": datetime.now(UTC).isoformat(),
        }
        data = {
            "bucket": BUCKET_NAME,
            "name": found.name,
            "generation": str(found.generation),
            "size": str(found.size),
            "timeCreated": found.created_at.isoformat(),
        }
        headers, body = to_binary(CloudEvent({**attributes, "subject": ascii(attributes["subject"])[1:-1]}, data))
        return self._post("model_uploaded", headers | {"content-type": "application/json"}, body)

    def push(self, function: str, message: QueuedMessage) -> bool:
        """A message, as a Pub/Sub push subscription delivers it."""
        body = {
            "message": {
                "data": base64.b64encode(message.data).decode(),
                "attributes": dict(message.attributes),
                "messageId": message.id,
                "publishTime": message.publish_time.isoformat(),
            },
            "subscription": f"projects/local/subscriptions/{function}",
            "deliveryAttempt": message.attempts,
        }
        return self._post(function, {}, msgspec.json.encode(body))

    def tick(self, function: str) -> bool:
        """A tick, as Cloud Scheduler sends it."""
        return self._post(function, {"user-agent": "modeldrop-embedded-scheduler"}, b"{}")

    def _post(self, function: str, headers: dict[str, str], body: bytes) -> bool:
        headers = {"content-type": "application/json"} | headers
        try:
            response = self._client.post(f"/functions/{function}", headers=headers, content=body)
        except httpx.HTTPError as error:
            log.info("%s did not answer: %s", function, error)
            return False
        if response.is_success:
            return True
        log.warning("%s answered %d: %s", function, response.status_code, response.text[:500])
        return False
