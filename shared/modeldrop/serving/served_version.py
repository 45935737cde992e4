"""The one version a process serves: loaded once, when it is first asked for."""

import logging
import threading
from collections.abc import Callable

import msgspec

from modeldrop.errors import ConfigurationError, PermanentError, TransientError
from modeldrop.ports import Bucket
from modeldrop.serving.loading import load_runtime
from modeldrop.serving.runtime import Runtime
from modeldrop.settings import ServingSettings

logger = logging.getLogger(__name__)


class NotServing(msgspec.Struct, frozen=True):
    """Why there is no runtime. ``final``: another attempt would end the same way."""

    reason: str
    final: bool


class ServedVersion:
    """The runtime of this process. Its first caller loads it; callers that arrive meanwhile wait for that attempt.

    A failure that may pass (storage out of reach) is tried again by the next caller; one that will not is kept.
    """

    def __init__(
        self, read_settings: Callable[[], ServingSettings], open_artifacts: Callable[[str], tuple[Bucket, str]]
    ) -> None:
        self._read_settings = read_settings
        self._open_artifacts = open_artifacts
        self._lock = threading.Lock()
        self._settings: ServingSettings | None = None
        self._outcome: Runtime | NotServing | None = None
        self._attempts = 0

    def settings(self) -> ServingSettings | NotServing:
        """What to serve, read once; NotServing while the environment does not say."""
        if self._settings is None:
            try:
                self._settings = self._read_settings()
            except ConfigurationError as error:
                return NotServing(f"configuration: {error}", final=True)
        return self._settings

    def runtime(self) -> Runtime | NotServing:
        """The loaded runtime, or why there is none."""
        settings = self.settings()
        if isinstance(settings, NotServing):
            return settings
        attempts_before = self._attempts
        with self._lock:
            if self._must_load(attempts_before):
                self._outcome = self._load(settings)
                self._attempts += 1
            assert self._outcome is not None
            return self._outcome

    def _must_load(self, attempts_before: int) -> bool:
        """Not after a success or final failure, nor after an attempt that ended while this caller waited for it."""
        if self._outcome is None:
            return True
        failed_for_now = isinstance(self._outcome, NotServing) and not self._outcome.final
        return failed_for_now and self._attempts == attempts_before

    def _load(self, settings: ServingSettings) -> Runtime | NotServing:
        try:
            bucket, prefix = self._open_artifacts(settings.storage_uri)
            return load_runtime(bucket, prefix, settings.digest)
        except (PermanentError, ConfigurationError) as error:
            failure = NotServing(str(error), final=True)
        except TransientError as error:
            failure = NotServing(str(error), final=False)
        except Exception as error:  # unforeseen: the process must still say why it is not healthy
            logger.exception("loading %s failed", settings.storage_uri)
            failure = NotServing(f"{type(error).__name__} while loading", final=False)
        logger.error("version %s of %s is not served: %s", settings.version, settings.model, failure.reason)
        return failure
