"""The composition root: which adapter plays which role, built when first used.

Cloud clients are imported and connected here on first use, never when a function is imported: that is cold start.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modeldrop.domain.serving_pointer import Swappable
from modeldrop.domain.targets import (
    AirflowTarget,
    Channel,
    EmailChannel,
    GithubTarget,
    PubsubChannel,
    PubsubTarget,
    SlackChannel,
    Target,
    VertexPipelineTarget,
    WebhookChannel,
    WebhookTarget,
)
from modeldrop.errors import ConfigurationError, Refused
from modeldrop.ports import (
    Bucket,
    Clock,
    DocumentStore,
    MetricSource,
    ModelServer,
    Notifier,
    Publisher,
    Secrets,
    Trainer,
)
from modeldrop.records.registry import Registry
from modeldrop.settings import Settings, read_settings

if TYPE_CHECKING:
    from modeldrop.adapters.http.guarded_client import GuardedClient
    from modeldrop.serving.gemini.configuration import GeminiConfiguration
    from modeldrop.serving.gemini.language_model import LanguageModel

TOPICS = ("predictions",)


def utc_now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """Everything a handler works with. Each adapter is made on first use and kept."""

    settings: Settings
    clock: Clock = utc_now

    @cached_property
    def documents(self) -> DocumentStore:
        """State."""
        if (self.settings.documents or _native(self.settings, "sqlite", "firestore")) == "firestore":
            from modeldrop.adapters.gcp import firestore_documents

            return firestore_documents.connect(self.settings)
        from modeldrop.adapters.local.sqlite_documents import SqliteDocuments

        return SqliteDocuments(_data(self.settings) / "documents.sqlite")

    @cached_property
    def registry(self) -> Registry:
        """Typed records over the documents."""
        return Registry(self.documents)

    @cached_property
    def bucket(self) -> Bucket:
        """Packages, policies, decision records."""
        if self.settings.backend == "gcp":
            from modeldrop.adapters.gcp import storage_bucket

            return storage_bucket.connect(self.settings)
        from modeldrop.adapters.local.folder_bucket import FolderBucket

        return FolderBucket(_data(self.settings) / "bucket")

    @cached_property
    def model_server(self) -> ModelServer:
        """Where versions are deployed."""
        from modeldrop.adapters.hot_swap.model_server import HotSwapModelServer

        return HotSwapModelServer(self._machines(), self.bucket, self._self_check, image=self.settings.predict_image)

    def _machines(self) -> ModelServer:
        if self.settings.backend == "gcp":
            from modeldrop.adapters.gcp import vertex_model_server

            return vertex_model_server.connect(self.settings)
        from modeldrop.adapters.local.process_model_server import ProcessModelServer

        return ProcessModelServer(_data(self.settings) / "serving.sqlite")

    def _self_check(self, one: Swappable) -> None:
        """As the service does it once more before it swaps: see ``serving.followed_version``."""
        from modeldrop.serving.loading import load_runtime

        load_runtime(self.bucket, one.folder, one.digest, one.version, connect_llm=connect_llm).self_check()

    @cached_property
    def metrics(self) -> MetricSource:
        """How deployed versions answer."""
        if self.settings.backend == "gcp":
            from modeldrop.adapters.gcp import monitoring_metrics

            return monitoring_metrics.connect(self.settings)
        from modeldrop.adapters.local.router_metrics import RouterMetrics

        return RouterMetrics(_data(self.settings) / "router-metrics.sqlite", _data(self.settings) / "serving.sqlite")

    @cached_property
    def publisher(self) -> Publisher:
        """Topics."""
        if (self.settings.messaging or _native(self.settings, "local", "pubsub")) == "pubsub":
            from modeldrop.adapters.gcp import pubsub_publisher

            return pubsub_publisher.connect(self.settings)
        from modeldrop.adapters.local.topic_queue import LocalPublisher

        return LocalPublisher(_data(self.settings) / "topics.sqlite", TOPICS)

    @cached_property
    def policy_topics(self) -> Publisher:
        """Topics that policies name. Pub/Sub has those that were made there; the local queue has each of them."""
        if (self.settings.messaging or _native(self.settings, "local", "pubsub")) == "pubsub":
            return self.publisher
        from modeldrop.adapters.local.topic_queue import LocalPublisher

        return LocalPublisher(_data(self.settings) / "topics.sqlite", TOPICS, any_topic=True)

    @cached_property
    def secrets(self) -> Secrets:
        """What policies and settings refer to."""
        if self.settings.backend == "gcp":
            from modeldrop.adapters.gcp import secret_manager

            return secret_manager.connect(self.settings)
        from modeldrop.adapters.local.environment_secrets import EnvironmentSecrets

        return EnvironmentSecrets(os.environ)

    @cached_property
    def http(self) -> "GuardedClient":
        """The one way out to addresses that policies name."""
        from modeldrop.adapters.http.guarded_client import GuardedClient

        return GuardedClient(loopback=self.settings.backend == "local")

    def notifier(self, channel: Channel) -> Notifier:
        """Who tells a channel. Raises what reading its secret raises; ConfigurationError where a setting is missing."""
        match channel:
            case WebhookChannel():
                from modeldrop.adapters.http.webhook_notifier import WebhookNotifier

                return WebhookNotifier(self.http, channel, self._secret(channel.secret))
            case SlackChannel():
                from modeldrop.adapters.http.slack_notifier import SlackNotifier

                return SlackNotifier(self.http, self._slack_address(channel))
            case EmailChannel():
                from modeldrop.adapters.mail import smtp_notifier

                return smtp_notifier.connect(self.settings, channel, self._secret(self.settings.smtp_password))
            case PubsubChannel():
                from modeldrop.adapters.messages.topic_notifier import TopicNotifier

                return TopicNotifier(self.policy_topics, channel.topic)

    def trainer(self, target: Target) -> Trainer:
        """Who starts runs at a target. Raises what reading its secrets raises; Refused where there is no such thing."""
        match target:
            case WebhookTarget():
                from modeldrop.adapters.http.webhook_trainer import WebhookTrainer

                return WebhookTrainer(self.http, target, self._secret(target.secret))
            case AirflowTarget():
                from modeldrop.adapters.http.airflow_trainer import AirflowTrainer

                return AirflowTrainer(self.http, target, self._secret(target.password), self._secret(target.token))
            case GithubTarget():
                from modeldrop.adapters.http.github_trainer import GithubTrainer

                return GithubTrainer(self.http, target, self.secrets.read(target.token), clock=self.clock)
            case PubsubTarget():
                from modeldrop.adapters.messages.topic_trainer import TopicTrainer

                return TopicTrainer(self.policy_topics, target.topic)
            case VertexPipelineTarget():
                return self._vertex_pipeline(target)

    def _vertex_pipeline(self, target: VertexPipelineTarget) -> Trainer:
        if self.settings.backend == "local" and not (self.settings.vertex_url and self.settings.project):
            raise Refused("a vertex_pipeline runs on Google Cloud: there is none on this machine")
        from modeldrop.adapters.gcp import vertex_pipeline_trainer

        return vertex_pipeline_trainer.connect(self.settings, target)

    def _slack_address(self, channel: SlackChannel) -> str:
        if channel.webhook is None and channel.url is not None:
            return channel.url
        reference = channel.webhook or self.settings.slack_webhook
        if reference is None:
            raise ConfigurationError("the channel names no webhook, and MODELDROP_SLACK_WEBHOOK is not set")
        return self.secrets.read(reference)

    def _secret(self, reference: str | None) -> str | None:
        return None if reference is None else self.secrets.read(reference)


@cache
def services() -> Services:
    """The services of this process, from its environment."""
    return Services(read_settings())


def open_artifacts(storage_uri: str) -> tuple[Bucket, str]:
    """The bucket an artifact folder is in, and the folder's prefix in it (empty, or ending with a slash)."""
    parts = urlsplit(storage_uri)
    if parts.scheme == "file" and parts.netloc == "":
        from modeldrop.adapters.local.folder_bucket import FolderBucket

        return FolderBucket(Path(unquote(parts.path))), ""
    if parts.scheme == "gs" and parts.netloc:
        from modeldrop.adapters.gcp import storage_bucket

        prefix = storage_uri.removeprefix(f"gs://{parts.netloc}").strip("/")  # object names are not percent-encoded
        return storage_bucket.open_bucket(parts.netloc), f"{prefix}/" if prefix else ""
    raise ConfigurationError(f"artifacts are read from gs:// and file:///, not from {storage_uri!r}")


def connect_llm(configuration: "GeminiConfiguration") -> "LanguageModel":
    """The LLM that a ``gemini`` version calls. Raises ConfigurationError without a key."""
    from modeldrop.adapters.gcp import gemini_connection

    return gemini_connection.connect(configuration)


def _native(settings: Settings, local: str, gcp: str) -> str:
    return {"local": local, "gcp": gcp}[settings.backend]


def _data(settings: Settings) -> Path:
    if settings.data is None:
        raise ConfigurationError("MODELDROP_DATA is required for a local store")
    settings.data.mkdir(parents=True, exist_ok=True)
    return settings.data
