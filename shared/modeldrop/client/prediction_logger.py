"""What an app calls for each prediction."""

import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

from modeldrop.client.background_sender import MOST_BATCH_EVENTS, BackgroundSender, Pace
from modeldrop.client.event_ids import Uuid7Ids
from modeldrop.client.event_json import MODEL_NAME, VERSION_NAME, Prediction, encode_label, encode_prediction
from modeldrop.client.redaction import Redaction, Rule
from modeldrop.client.transports import Transport, transport_to
from modeldrop.errors import ConfigurationError, InvalidInput

CLOSE_SECONDS = 5.0


class PredictionLogger:
    """Reports predictions and labels of one version, in batches, from a thread of its own.

    Only the constructor raises (ConfigurationError). ``log`` and ``label`` never do, and never wait: what cannot be
    reported is counted in ``dropped``, and the first of each kind is logged by ``modeldrop.client``. At most
    ``queue_size`` events (and 64 MiB) wait. Each process has a queue of its own, also after a fork. At the end of the
    process up to two seconds are spent on what is still waiting. A process that is killed loses it; so does one that
    leaves by ``os._exit``, as children of multiprocessing do, unless it calls ``close``.

    ``target``: a URL, ``projects/{project}/topics/{topic}``, or what ``to_url`` or ``to_topic`` give. ``redact``: what
    must not leave the app as it is, ``{feature: "drop" | "hash"}``; for ``hash`` with the secret ``hash_key``.
    """

    def __init__(  # noqa: PLR0913 - one call sets up everything
        self,
        target: Transport | str,
        model: str,
        version: str,
        *,
        redact: Mapping[str, Rule] | None = None,
        hash_key: bytes | str | None = None,
        batch_size: int = 500,
        flush_seconds: float = 1.0,
        queue_size: int = 10_000,
    ) -> None:
        if not MODEL_NAME.fullmatch(model) or not VERSION_NAME.fullmatch(version):
            raise ConfigurationError(f"no model or version can be called {model!r}, {version!r}")
        if not 1 <= batch_size <= MOST_BATCH_EVENTS or queue_size < 1 or not flush_seconds >= 0:
            raise ConfigurationError(f"batch_size is 1 to {MOST_BATCH_EVENTS}, queue_size at least 1, flush_seconds 0")
        self._model = model
        self._version = version
        self._redaction = Redaction(redact or {}, hash_key)
        self._ids = Uuid7Ids()
        self._sender = BackgroundSender(
            transport_to(target), Pace(min(batch_size, queue_size), flush_seconds, queue_size)
        )
        # The thread holds the sender, not this object: when the app lets go of it, the thread may end.
        weakref.finalize(self, self._sender.begin_to_close).atexit = False

    def log(
        self,
        features: Mapping[str, Any],
        prediction: Any,
        *,
        prediction_id: str | UUID | None = None,
        latency_ms: float | None = None,
        status: Literal["ok", "error"] = "ok",
        timestamp: datetime | None = None,
    ) -> str:
        """Report one prediction; returns its id, to be given to ``label`` later.

        ``prediction``: a number, a text, True or False, None, or ``{"score", "decision"}``. ``timestamp`` (aware): now.
        A feature that is NaN or infinite is reported as missing.
        """
        name = ""
        try:
            moment = datetime.now(UTC) if timestamp is None else timestamp
            name = self._id(timestamp) if prediction_id is None else str(prediction_id)
            given = Prediction(
                name if prediction_id is None else prediction_id, moment, features, prediction, latency_ms, status
            )
            self._put(encode_prediction(self._model, self._version, given, self._redaction))
        except Exception as error:
            self._drop(error)
        return name

    def label(
        self,
        prediction_id: str | UUID,
        label: Any,
        predicted_at: datetime | None = None,
        *,
        labelled_at: datetime | None = None,
    ) -> None:
        """Report what turned out to be true; again with another ``label`` to correct it.

        Of several, that with the latest ``labelled_at`` (aware; now) stays. ``predicted_at`` is needed for ids that did
        not come from ``log``.
        """
        try:
            moment = datetime.now(UTC) if labelled_at is None else labelled_at
            self._put(encode_label(self._model, prediction_id, label, predicted_at, moment))
        except Exception as error:
            self._drop(error)

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Send now what is waiting; whether all of it was published or given up within ``timeout`` seconds."""
        return self._sender.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Flush, and stop; what is left after ``timeout`` seconds has failed, what is logged later is dropped."""
        return self._sender.close(timeout)

    @property
    def published(self) -> int:
        """Events that arrived."""
        return self._sender.published

    @property
    def failed(self) -> int:
        """Events that were sent or waited to be, and were given up."""
        return self._sender.failed

    @property
    def dropped(self) -> int:
        """Events that never waited: unusable, no room, or closed."""
        return self._sender.dropped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, event: bytes) -> None:
        if not self._sender.put(event):
            self._sender.warn_once("full", "predictions are dropped: the queue is full, or closed")

    def _drop(self, error: Exception) -> None:
        self._sender.drop()
        kind, reason = type(error).__name__, str(error) if isinstance(error, InvalidInput) else ""
        self._sender.warn_once(f"{kind} {reason}", "a prediction or label is dropped: %s: %s", kind, error)

    def _id(self, timestamp: object) -> str:
        """It carries the time of the prediction, whenever that is reported: labels need it."""
        return self._ids.of(timestamp) if isinstance(timestamp, datetime) else self._ids.new()
