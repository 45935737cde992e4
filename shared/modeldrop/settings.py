"""The only reader of the environment: one frozen dataclass, read once, documented beside each field."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from modeldrop.errors import ConfigurationError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class Settings:
    """How this process is set up. The variable of a field is its name in capitals after ``MODELDROP_``."""

    backend: str
    """``local`` (folders, SQLite, processes) or ``gcp``. No default."""
    data: Path | None = None
    """Folder of the local backend: bucket, documents, topics, logs."""
    project: str | None = None
    """Google Cloud project id."""
    region: str = "us-central1"
    """Region of Vertex AI."""
    bucket: str | None = None
    """Name of the bucket (gcp)."""
    firestore_database: str = "(default)"
    """Firestore database id."""
    documents: str | None = None
    """``sqlite`` or ``firestore``, where it differs from the backend's own."""
    messaging: str | None = None
    """``local`` or ``pubsub``, where it differs from the backend's own."""
    vertex_url: str | None = None
    """Address of Vertex AI, where it is not the region's own. ``http://`` only on loopback, without credentials."""
    monitoring_url: str | None = None
    """Address of Cloud Monitoring, where it is not Google's own. ``http://`` only on loopback, without credentials."""
    default_model: str | None = None
    """Model of packages in ``models/{timestamp}_{commit}/``. Without it such packages are rejected."""
    predict_image: str | None = None
    """Container image that runs ``functions/predict`` on Vertex AI, by digest."""
    serving_account: str | None = None
    """Service account of the containers on Vertex AI."""
    machine_type: str = "n1-standard-2"
    """Machine of a deployed version on Vertex AI."""
    min_replicas: int = 1
    """Smallest number of machines of a deployed version."""
    max_replicas: int = 3
    """Largest number of machines of a deployed version."""
    artifact_wait_seconds: int = 900
    """How long a package may wait for artifacts that are not there yet before it is rejected."""
    signing_keys: Path | None = None
    """JSON file ``{"key id": "secret in base64", …}`` that signatures of packages are checked with."""
    ingest_linger_seconds: float = 0.2
    """How long sampled predictions wait for others before they are stored together; at most 1."""
    report_interval_seconds: float = 60.0
    """Between two looks at the same window for a drift or quality report."""
    redaction_key: Path | None = None
    """File whose bytes (16 at least) are the key that features are hashed with, where a policy says so."""
    auth: str | None = None
    """Who may call the API: ``iam`` (Cloud Run checks callers) or ``none`` (local only). No default in the cloud."""
    operators: str = ""
    """E-mails of those who may promote, separated by commas (with ``iam``; nobody else may)."""
    approvers: str = ""
    """E-mails of those who may approve, separated by commas (with ``iam``; nobody else may)."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""


@dataclass(frozen=True)
class ServingSettings:
    """What a container or process that runs ``functions/predict`` is told, by Vertex AI (``AIP_…``) and by us."""

    storage_uri: str
    """``AIP_STORAGE_URI``: folder with metadata.json and artifacts, ``gs://…`` or ``file:///…``."""
    model: str
    """``MODELDROP_SERVED_MODEL``: name of the model."""
    version: str
    """``MODELDROP_SERVED_VERSION``: the version, as the answer's ``modelVersionId`` names it."""
    digest: str
    """``MODELDROP_SERVED_DIGEST``: SHA-256 the metadata must have."""
    health_route: str = "/health"
    """``AIP_HEALTH_ROUTE``."""
    predict_route: str = "/predict"
    """``AIP_PREDICT_ROUTE``."""


SERVING_VARIABLES = {
    "storage_uri": "AIP_STORAGE_URI",
    "model": "MODELDROP_SERVED_MODEL",
    "version": "MODELDROP_SERVED_VERSION",
    "digest": "MODELDROP_SERVED_DIGEST",
    "health_route": "AIP_HEALTH_ROUTE",
    "predict_route": "AIP_PREDICT_ROUTE",
}


def variable(field_name: str) -> str:
    """The environment variable of a field.

    >>> variable("default_model")
    'MODELDROP_DEFAULT_MODEL'
    """
    return f"MODELDROP_{field_name.upper()}"


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; raises ConfigurationError that names everything wrong at once.

    >>> read_settings({"MODELDROP_BACKEND": "local", "MODELDROP_DATA": "/tmp/md"}).region
    'us-central1'
    """
    hints = get_type_hints(Settings)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in fields(Settings):
        text = environment.get(variable(field.name), "").strip()
        if not text:
            continue
        kind = next(t for t in (get_args(hints[field.name]) or (hints[field.name],)) if t is not type(None))
        try:
            values[field.name] = kind(text)
        except ValueError:
            problems.append(f"{variable(field.name)} is not a {kind.__name__}: {text!r}")
    known = {variable(field.name) for field in fields(Settings)} | set(SERVING_VARIABLES.values())
    problems += [
        f"{name} is not a setting" for name in environment if name.startswith("MODELDROP_") and name not in known
    ]
    problems += _inconsistent(values)
    if problems:
        raise ConfigurationError("; ".join(sorted(problems)))
    return Settings(**values)


def read_serving_settings(environment: Mapping[str, str] = os.environ) -> ServingSettings:
    """What to serve; raises ConfigurationError that names every missing variable at once."""
    values = {field: environment[name] for field, name in SERVING_VARIABLES.items() if environment.get(name)}
    required = [f.name for f in fields(ServingSettings) if f.default is MISSING]
    missing = [SERVING_VARIABLES[name] for name in required if name not in values]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    return ServingSettings(**values)


def _inconsistent(values: Mapping[str, Any]) -> list[str]:
    backend = values.get("backend")
    required = {"local": ("data",), "gcp": ("project", "bucket")}
    if backend not in required:
        return [f"MODELDROP_BACKEND must be local or gcp, not {backend!r}"]
    problems = [
        f"{variable(n)} is required with MODELDROP_BACKEND={backend}" for n in required[backend] if n not in values
    ]
    choices = {
        "documents": ("sqlite", "firestore"),
        "messaging": ("local", "pubsub"),
        "auth": ("iam", "none"),
        "log_level": LOG_LEVELS,
    }
    problems += [
        f"{variable(name)} must be one of {', '.join(allowed)}, not {values[name]!r}"
        for name, allowed in choices.items()
        if name in values and values[name] not in allowed
    ]
    if backend == "gcp" and values.get("auth") != "iam":
        problems.append("MODELDROP_AUTH must be iam with MODELDROP_BACKEND=gcp")
    if not 0 <= values.get("ingest_linger_seconds", 0.0) <= 1:
        problems.append("MODELDROP_INGEST_LINGER_SECONDS must be from 0 to 1")
    if values.get("report_interval_seconds", 0.0) < 0:
        problems.append("MODELDROP_REPORT_INTERVAL_SECONDS must not be negative")
    if "data" not in values and (values.get("documents") == "sqlite" or values.get("messaging") == "local"):
        problems.append("MODELDROP_DATA is required with a local store")
    if "project" not in values and (values.get("documents") == "firestore" or values.get("messaging") == "pubsub"):
        problems.append("MODELDROP_PROJECT is required with Firestore or Pub/Sub")
    return problems


def log_level(environment: Mapping[str, str] = os.environ) -> str:
    """The level to log at, known before the other settings are (their errors are logged, too)."""
    level = environment.get(variable("log_level"), "").strip() or Settings.log_level
    return level if level in LOG_LEVELS else "INFO"
