"""``?stream=1``: an answer as it comes, as server-sent events (WHATWG HTML, 9.2).

``event: delta`` any number of times, with text to read while one waits; then one ``event: prediction``, the same as the
whole answer would have been, or ``event: error``. Which version answers is in the headers.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import msgspec

from modeldrop.handlers.serving.answering import version_headers
from modeldrop.handlers.serving.service import Service
from modeldrop.http.messages import Reply
from modeldrop.serving.served_version import Serving

logger = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"


def stream_answer(service: Service, serving: Serving, instance: object) -> Reply:
    """200 at once; what goes wrong later is an event of the stream."""
    # Proxies must pass each event on when it comes.
    headers = version_headers(serving) | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Reply(200, _events(service, serving, instance), headers, EVENT_STREAM)


def _events(service: Service, serving: Serving, instance: object) -> Iterator[bytes]:
    begin = time.perf_counter()
    answer: dict[str, Any] | None = None
    try:
        # Ended with us when the caller goes away: nobody reads what the model has yet to say.
        with closing(cast("Any", serving.runtime.stream(instance))) as parts:
            for part in parts:
                if "prediction" in part:
                    answer = part["prediction"]
                    break
                yield _event("delta", part)
    except Exception as error:
        logger.exception("a stream failed")
        answer = {"error": f"{type(error).__name__} in the runtime"}
    if answer is None:
        answer = {"error": "the runtime gave no prediction"}
    told = service.events.answered([instance], [answer], time.perf_counter() - begin) if service.events else []
    try:
        yield _event("error" if "error" in answer else "prediction", answer)
    finally:  # also where the reader goes away with it
        if service.events:
            service.events.tell(serving, told)


def _event(name: str, content: Any) -> bytes:
    # JSON has no line breaks of its own, so one data line holds all of it.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(content))
