"""Every answer becomes a prediction event, told to the ``predictions`` topic as an app would tell it.

The events are made after the answer has gone out, and sent by the client's own thread: no answer waits for one, and
none fails because of one.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from modeldrop.client import PredictionLogger, Transport
from modeldrop.client.event_ids import Uuid7Ids
from modeldrop.client.transports import transport_to
from modeldrop.serving.served_version import Serving

logger = logging.getLogger(__name__)

_VERSIONS_AT_ONCE = 2
"""A swap leaves some requests with the old one."""


class Answered(msgspec.Struct, frozen=True):
    """One instance and its answer. ``prediction_id`` is what a label must name later; ``seconds``: how long it took."""

    instance: object
    answer: Mapping[str, Any]
    prediction_id: str
    seconds: float
    moment: datetime


class PredictionEvents:
    """Tells what was answered. Raises ConfigurationError where ``target`` is no place to tell it."""

    def __init__(self, target: str, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._transport: Transport = transport_to(target)
        self._clock = clock
        self._ids = Uuid7Ids()
        self._lock = threading.Lock()
        self._loggers: OrderedDict[tuple[str, str], PredictionLogger] = OrderedDict()

    def answered(
        self, instances: Sequence[object], answers: Sequence[Mapping[str, Any]], seconds: float
    ) -> list[Answered]:
        """What is to be told later of answers that go out now."""
        moment = self._clock()
        return [
            Answered(instance, answer, self._ids.of(moment), seconds, moment)
            for instance, answer in zip(instances, answers, strict=True)
        ]

    def tell(self, serving: Serving, answered: Sequence[Answered]) -> None:
        """Queue the events of one version's answers. Never raises, never waits for the network."""
        try:
            client = self._logger(serving)
            for one in answered:
                said = serving.runtime.describe(one.instance, one.answer, one.seconds)
                if said is not None:
                    client.log(
                        said["features"],
                        said["prediction"],
                        prediction_id=one.prediction_id,
                        latency_ms=said["latency_ms"],
                        status="error" if said["status"] == "error" else "ok",
                        timestamp=one.moment,
                    )
        except Exception:  # whatever it was, the answer was right and is out
            logger.exception("prediction events are lost")

    def flush(self, timeout_seconds: float) -> bool:
        """Send what is waiting; whether all of it has settled within the time."""
        with self._lock:
            clients = list(self._loggers.values())
        settled = [client.flush(timeout_seconds) for client in clients]
        return all(settled)

    def _logger(self, serving: Serving) -> PredictionLogger:
        key = (serving.model, serving.version)
        with self._lock:
            if key not in self._loggers:
                self._loggers[key] = PredictionLogger(self._transport, *key)
                while len(self._loggers) > _VERSIONS_AT_ONCE:
                    self._loggers.popitem(last=False)  # nobody holds it any more: it sends what it has, and ends
            return self._loggers[key]
