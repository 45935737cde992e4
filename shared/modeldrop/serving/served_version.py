"""Which version a process serves: one that the environment names, or (``followed_version``) what a pointer says."""

import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from modeldrop.errors import ConfigurationError, PermanentError, TransientError
from modeldrop.ports import Bucket
from modeldrop.serving.gemini.language_model import ConnectLlm
from modeldrop.serving.loading import load_runtime
from modeldrop.serving.runtime import Runtime
from modeldrop.settings import ServingSettings

logger = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")

OpenArtifacts = Callable[[str], tuple[Bucket, str]]
"""From an address (``gs://…``, ``file:///…``) to its bucket and the prefix in it; see ``wiring.open_artifacts``."""


class Serving(msgspec.Struct, frozen=True):
    """A version that can answer. Whoever took one answers with it to the end, whatever is swapped meanwhile."""

    model: str
    version: str
    digest: str
    runtime: Runtime


class NotServing(msgspec.Struct, frozen=True):
    """Why there is no runtime. ``final``: another attempt would end the same way."""

    reason: str
    final: bool


class ServedVersion(Protocol):
    """Used by many threads at once."""

    def now(self) -> Serving | NotServing:
        """What answers now. Only the first callers wait, for the first version to be loaded."""

    def reload(self) -> Serving | NotServing:
        """The same, after a look at whether there is something newer; NotServing says why that cannot be served."""

    def facts(self) -> dict[str, Any]:
        """What health says beside status, model and version."""


class PinnedVersion:
    """The one version the environment names. Its first caller loads it; callers that arrive meanwhile wait for that.

    A failure that may pass (storage out of reach) is tried again by the next caller; one that will not is kept.
    """

    def __init__(self, settings: ServingSettings, open_artifacts: OpenArtifacts, connect_llm: ConnectLlm) -> None:
        self._settings = settings
        self._open_artifacts = open_artifacts
        self._connect_llm = connect_llm
        self._lock = threading.Lock()
        self._outcome: Serving | NotServing | None = None
        self._attempts = 0

    def now(self) -> Serving | NotServing:
        """See ``ServedVersion``."""
        attempts_before = self._attempts
        if isinstance(self._outcome, Serving):
            return self._outcome
        with self._lock:
            if self._must_load(attempts_before):
                self._outcome = self._load()
                self._attempts += 1
            assert self._outcome is not None
            return self._outcome

    def reload(self) -> Serving | NotServing:
        """There is never anything newer."""
        return self.now()

    def facts(self) -> dict[str, Any]:
        """Which version it is when nothing could be loaded."""
        return {"model": self._settings.model, "version": self._settings.version}

    def _must_load(self, attempts_before: int) -> bool:
        """Not after a success or final failure, nor after an attempt that ended while this caller waited for it."""
        if self._outcome is None:
            return True
        failed_for_now = isinstance(self._outcome, NotServing) and not self._outcome.final
        return failed_for_now and self._attempts == attempts_before

    def _load(self) -> Serving | NotServing:
        settings = self._settings

        def load() -> Serving:
            bucket, prefix = self._open_artifacts(settings.storage_uri)
            runtime = load_runtime(bucket, prefix, settings.digest, settings.version, connect_llm=self._connect_llm)
            return Serving(settings.model, settings.version, settings.digest, runtime)

        outcome = attempt(load)
        if isinstance(outcome, NotServing):
            logger.error("version %s of %s is not served: %s", settings.version, settings.model, outcome.reason)
        return outcome


def attempt(load: Callable[[], Loaded]) -> Loaded | NotServing:
    """What loading ends with; no error leaves it."""
    try:
        return load()
    except (PermanentError, ConfigurationError) as error:
        return NotServing(str(error), final=True)
    except TransientError as error:
        return NotServing(str(error), final=False)
    except Exception as error:  # unforeseen: the process must still say why it is not healthy
        logger.exception("loading failed")
        return NotServing(f"{type(error).__name__} while loading", final=False)
