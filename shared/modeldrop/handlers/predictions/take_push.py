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

log = logging.getLogger(__name__)

UNAVAILABLE = 503


async def take_push(intake: PredictionIntake, headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], int]:
    """What came of a push, and the HTTP status: 200 acknowledges it, 503 has it delivered again.

    Headers are asked for in lower case. What is no push is quarantined with its reason and acknowledged. Poison inside
    is looked after by the intake; whatever else it raises is no fault of the events, and they come again.
    """
    try:
        try:
            data = data_of_plain_push(body) if len(body) <= INLINE_LIMIT_BYTES else None
            if data is None:
                data = (await asyncio.to_thread(read_pubsub_push, headers, body)).data
        except InvalidInput as error:
            await intake.refuse(body, error.problems)
            return {"status": "quarantined"}, 200
        taken = await intake.take(data)
    except TransientError as error:
        log.warning("a message of predictions has to come again: %s", error)
        return {"status": "unavailable"}, UNAVAILABLE
    return {"status": "taken", **msgspec.structs.asdict(taken)}, 200
