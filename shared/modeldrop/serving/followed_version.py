"""The version that a pointer in the bucket names, swapped while requests are answered.

A new version is loaded beside the one that answers, has to pass its self-check, and only then takes its place, in one
assignment. Until then, and for good if it fails, the old one goes on. No request waits for a swap but the first ones of
a process, which have nothing to answer with yet.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from modeldrop.domain.serving_pointer import (
    POINTER_FOLDER,
    POINTER_LIMIT_BYTES,
    ServingPointer,
    pointer_name,
    read_pointer,
)
from modeldrop.errors import ConfigurationError, NotFound, Unavailable
from modeldrop.ports import Bucket
from modeldrop.serving.gemini.language_model import ConnectLlm
from modeldrop.serving.loading import load_runtime
from modeldrop.serving.served_version import NotServing, OpenArtifacts, Serving, attempt
from modeldrop.serving.shared_look import LookRules, SharedLook

logger = logging.getLogger(__name__)

RELOADS = LookRules()


class FailedSwap(msgspec.Struct, frozen=True):
    """What the pointer asked for and did not get. ``version`` is None where not even the pointer could be read."""

    version: str | None
    reason: str
    final: bool


class FollowedVersion:
    """Follows ``{root}/serving/{model}.json``, where ``root`` is a bucket or a folder in it.

    The pointer is looked at (one question for its generation while it does not change) every ``pause_seconds``, by a
    thread that the first request starts, so that it lives in the process that answers and not in one that forked it.
    Raises ConfigurationError if ``uri`` is not such an address.
    """

    def __init__(
        self,
        uri: str,
        open_artifacts: OpenArtifacts,
        connect_llm: ConnectLlm,
        *,
        pause_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        reloads: LookRules = RELOADS,
    ) -> None:
        root, separator, file_name = uri.rpartition(f"/{POINTER_FOLDER}")
        self._model = file_name.removesuffix(".json")
        if not separator or not root or not file_name.endswith(".json") or "/" in file_name:
            raise ConfigurationError(f"a pointer is …/{POINTER_FOLDER}{{model}}.json, not {uri!r}")
        self._root = root
        self._open_artifacts = open_artifacts
        self._connect_llm = connect_llm
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._reloads = SharedLook(self._look_anew, reloads)
        self._looking = threading.Lock()
        self._starting = threading.Lock()
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._bucket: tuple[Bucket, str] | None = None
        self._settled: tuple[int, FailedSwap | None] | None = None
        """The pointer's generation that is served, or has failed for good: there is nothing more to do about it."""
        self._looked_at = float("-inf")
        self._current: Serving | None = None
        self._failure: FailedSwap | None = None

    def now(self) -> Serving | NotServing:
        """See ``ServedVersion``."""
        current = self._current
        if current is None:
            return self._first()
        self._run_thread()
        if self._is_due():
            # Where the processor is taken away between requests the thread's own waiting is not to be relied on.
            self._due.set()
        return current

    def reload(self) -> Serving | NotServing:
        """Looks now, and tries again what failed before. Callers share a look, and wait for it within limits."""
        return self._reloads.outcome(lambda reason: NotServing(f"reload: {reason}", final=False))

    def facts(self) -> dict[str, Any]:
        """The model, and the swap that failed, if the last one did."""
        failure = self._failure
        return {"model": self._model} | ({"failed_swap": msgspec.structs.asdict(failure)} if failure else {})

    def _first(self) -> Serving | NotServing:
        with self._looking:
            if self._current is None and self._is_due():
                self._look()
            return self._outcome() if self._current is None else self._current

    def _look_anew(self) -> Serving | NotServing:
        with self._looking:
            self._settled = None
            self._look()
            return self._outcome()

    def _outcome(self) -> Serving | NotServing:
        if self._failure is not None:
            return NotServing(self._failure.reason, self._failure.final)
        assert self._current is not None
        return self._current

    def _is_due(self) -> bool:
        return self._clock() - self._looked_at >= self._pause_seconds

    def _run_thread(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="serving-pointer", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        while True:
            self._due.wait(self._pause_seconds)
            with self._looking:
                self._due.clear()
                if self._is_due():
                    self._look()

    # --- one look, under the lock ---

    def _look(self) -> None:
        seen = _Seen()
        outcome = attempt(lambda: self._newer(seen))
        self._looked_at = self._clock()
        if outcome is None:
            assert self._settled is not None
            self._failure = self._settled[1]
            return
        failure = None
        if isinstance(outcome, NotServing):
            failure = FailedSwap(seen.version, outcome.reason, outcome.final)
            self._log_once(failure)
        elif outcome is not self._current:
            logger.info("version %s of %s answers from now on", outcome.version, outcome.model)
            self._current = outcome
        self._failure = failure
        if seen.generation is not None and (failure is None or failure.final):
            self._settled = (seen.generation, failure)

    def _newer(self, seen: "_Seen") -> Serving | None:
        """What the pointer names, able to answer; None if that pointer is settled."""
        if self._bucket is None:
            self._bucket = self._open_artifacts(self._root)
        bucket, prefix = self._bucket
        name = f"{prefix}{pointer_name(self._model)}"
        status = bucket.stat(name)
        if status is None:
            raise NotFound(f"{bucket.uri}/{name} does not exist")
        if self._settled is not None and status.generation == self._settled[0]:
            return None
        found = bucket.read(name, limit_bytes=POINTER_LIMIT_BYTES)
        if found is None:
            raise Unavailable(f"{bucket.uri}/{name} was there, and is not any more")
        seen.generation = found[0].generation
        pointer = read_pointer(found[1], self._model)
        seen.version = pointer.version
        return self._loaded(bucket, prefix, pointer)

    def _loaded(self, bucket: Bucket, prefix: str, pointer: ServingPointer) -> Serving:
        """The pointer's version; what is served already is taken as it is."""
        current = self._current
        if current is not None and (current.version, current.digest) == (pointer.version, pointer.digest):
            return current
        folder = f"{prefix}{pointer.folder}"
        runtime = load_runtime(
            bucket, folder, pointer.digest, pointer.version, connect_llm=self._connect_llm, model=self._model
        )
        runtime.self_check()
        return Serving(pointer.model, pointer.version, pointer.digest, runtime)

    def _log_once(self, failure: FailedSwap) -> None:
        """It comes again with every look."""
        if failure != self._failure:
            what = f"version {failure.version}" if failure.version else "what the pointer names"
            logger.error("%s of %s is not served: %s", what, self._model, failure.reason)


@dataclass
class _Seen:
    """How far a look has come: what is known when it fails."""

    generation: int | None = None
    version: str | None = None
