"""The composition root: which adapter plays which role, built when first used.

Cloud clients are imported and connected here on first use, never when a function is imported: that is cold start.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modeldrop.errors import ConfigurationError
from modeldrop.ports import Bucket, Clock, DocumentStore, MetricSource, ModelServer, Publisher
from modeldrop.records.registry import Registry
from modeldrop.settings import Settings, read_settings

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
        if self.settings.backend == "gcp":
            from modeldrop.adapters.gcp import vertex_model_server

            return vertex_model_server.connect(self.settings)
        from modeldrop.adapters.local.process_model_server import ProcessModelServer

        return ProcessModelServer(_data(self.settings) / "serving.sqlite")

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


def _native(settings: Settings, local: str, gcp: str) -> str:
    return {"local": local, "gcp": gcp}[settings.backend]


def _data(settings: Settings) -> Path:
    if settings.data is None:
        raise ConfigurationError("MODELDROP_DATA is required for a local store")
    settings.data.mkdir(parents=True, exist_ok=True)
    return settings.data
