"""The inference service of one process: what it serves, and what stands around that."""

import threading
from dataclasses import dataclass

from modeldrop.errors import ConfigurationError
from modeldrop.handlers.serving.caller import Callers, callers_of
from modeldrop.handlers.serving.prediction_events import PredictionEvents
from modeldrop.handlers.serving.rate_limit import RateLimit
from modeldrop.handlers.serving.response_cache import KeptAnswers, ResponseCache
from modeldrop.serving.followed_version import FollowedVersion
from modeldrop.serving.gemini.language_model import ConnectLlm
from modeldrop.serving.served_version import NotServing, OpenArtifacts, PinnedVersion, ServedVersion
from modeldrop.settings import ServiceSettings, ServingSettings, read_service_settings, read_serving_settings


@dataclass(frozen=True)
class Service:
    """Everything a request is answered with."""

    settings: ServingSettings
    version: ServedVersion
    callers: Callers
    rate_limit: RateLimit | None = None
    cache: KeptAnswers | None = None
    events: PredictionEvents | None = None


def make_service(
    settings: ServingSettings, options: ServiceSettings, open_artifacts: OpenArtifacts, connect_llm: ConnectLlm
) -> Service:
    """The service the settings describe; raises ConfigurationError. Nothing is loaded yet."""
    version: ServedVersion = (
        FollowedVersion(settings.pointer, open_artifacts, connect_llm, pause_seconds=options.pointer_seconds)
        if settings.pointer
        else PinnedVersion(settings, open_artifacts, connect_llm)
    )
    per_second = options.instances_per_second
    return Service(
        settings,
        version,
        callers_of(options),
        RateLimit(per_second, options.instances_burst) if per_second else None,
        _cache(options),
        PredictionEvents(options.predictions_target) if options.predictions_target else None,
    )


def _cache(options: ServiceSettings) -> KeptAnswers | None:
    """In Redis where there is one; without a time to keep answers, nowhere."""
    if not options.response_cache_seconds:
        if options.response_cache_url is not None:
            raise ConfigurationError("MODELDROP_RESPONSE_CACHE_URL needs MODELDROP_RESPONSE_CACHE_SECONDS")
        return None
    if options.response_cache_url is None:
        return ResponseCache(options.response_cache_seconds, options.response_cache_bytes)
    from modeldrop.adapters.redis import shared_answers  # noqa: PLC0415 - not for those who do without

    return shared_answers.connect(options.response_cache_url, options.response_cache_seconds)


class LazyService:
    """Made by the first request: a process that is forked before it has a lock, thread or client of its own."""

    def __init__(self, open_artifacts: OpenArtifacts, connect_llm: ConnectLlm) -> None:
        self._open_artifacts = open_artifacts
        self._connect_llm = connect_llm
        self._lock = threading.Lock()
        self._made: Service | None = None

    def get(self) -> Service | NotServing:
        """The service; NotServing while the environment does not describe one."""
        if self._made is None:
            with self._lock:
                if self._made is None:
                    try:
                        self._made = make_service(
                            read_serving_settings(), read_service_settings(), self._open_artifacts, self._connect_llm
                        )
                    except ConfigurationError as error:
                        return NotServing(f"configuration: {error}", final=True)
        return self._made
