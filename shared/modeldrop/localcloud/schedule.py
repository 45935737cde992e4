"""Cloud Scheduler and push subscriptions of the embedded cloud: threads that call functions until they are stopped."""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from modeldrop.adapters.local.topic_queue import LocalPublisher, QueuedMessage

log = logging.getLogger(__name__)

PUSH_PAUSE_SECONDS = 0.05
MESSAGES_AT_ONCE = 100
LEASE_SECONDS = 60.0
RETRY_SECONDS = 1.0


class Repeating:
    """Runs ``work`` every ``seconds``, never twice at the same time; a failure is logged and the next run comes."""

    def __init__(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        self._seconds = seconds
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with the first run after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End after the run under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._work()
            except Exception:
                log.exception("%s failed; the next run comes", threading.current_thread().name)


def push_messages(
    publisher: LocalPublisher, subscriptions: Mapping[str, str | None], push: Callable[[str, QueuedMessage], bool]
) -> None:
    """Deliver what waits in each topic to its function; without one it is dropped, as Pub/Sub does."""
    for topic, function in subscriptions.items():
        now = datetime.now(UTC)
        messages = publisher.lease(topic, MESSAGES_AT_ONCE, LEASE_SECONDS, now)
        acknowledged = [m.id for m in messages if function is None or push(function, m)]
        publisher.acknowledge(acknowledged)
        for message in messages:
            if message.id not in acknowledged:
                publisher.release(message.id, now + timedelta(seconds=RETRY_SECONDS), attempt=message.attempts)
