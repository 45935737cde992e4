"""A Pub/Sub push on the topic ``predictions``: unwrap it, and have its events taken."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from modeldrop.errors import InvalidInput, TransientError
from modeldrop.events.plain_push import data_of_plain_push
from modeldrop.events.pubsub_push import read_pubsub_push
from modeldrop.handlers.predictions.log_predictions import INLINE_LIMIT_BYTES, PredictionIntake
from modeldrop.handlers.quarantine import quarantine_event
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

UNAVAILABLE = 503


async def take_push(
    services: Services, intake: PredictionIntake, headers: Mapping[str, str], body: bytes
) -> tuple[dict[str, Any], int]:
    """What came of a push, and the HTTP status: 200 acknowledges it, 503 has it delivered again.

    Headers are asked for in lower case. What can never succeed is quarantined with its reason and acknowledged.
    """
    try:
        data = data_of_plain_push(body) if len(body) <= INLINE_LIMIT_BYTES else None
        if data is None:
            data = (await asyncio.to_thread(read_pubsub_push, headers, body)).data
        taken = await intake.take(data)
    except InvalidInput as error:
        return {"status": await asyncio.to_thread(quarantine_event, services, body, error.problems)}, 200
    except TransientError as error:
        log.warning("a message of predictions has to come again: %s", error)
        return {"status": "unavailable"}, UNAVAILABLE
    return {"status": "taken", **msgspec.structs.asdict(taken)}, 200
