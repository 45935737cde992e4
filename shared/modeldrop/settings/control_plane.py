"""Settings of the control plane: all functions but ``predict``, the command line, the embedded cloud."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from modeldrop.errors import ConfigurationError
from modeldrop.settings.consistency import LOG_LEVELS, inconsistent
from modeldrop.settings.serving import SERVING_VARIABLES, ServiceSettings
from modeldrop.settings.variables import SECRETS_PREFIX, typed_values, variable


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
    """Who may call the API: ``iam`` (Cloud Run checks callers), ``jwt`` (we do) or ``none`` (local only). No default in
    the cloud."""
    jwt_issuer: str | None = None
    """Issuer that tokens must come from (with ``jwt``)."""
    jwt_audience: str | None = None
    """Audience that tokens must be made for (with ``jwt``)."""
    jwt_jwks: str | None = None
    """Where the issuer's keys are, as a JSON Web Key Set (with ``jwt``). ``http://`` only on loopback."""
    jwt_algorithms: str = "RS256,ES256"
    """Algorithms that tokens may be signed with, separated by commas."""
    jwt_header: str = "Authorization"
    """Header that tokens are in: ``Authorization`` as ``Bearer``, any other bare (``X-Goog-IAP-JWT-Assertion``)."""
    viewers: str | None = None
    """Who may look, separated by commas: e-mails, ``@domain``, ``*`` (anybody known). Without it ``*`` with ``iam``, as
    Cloud Run lets nobody else in; with ``jwt`` operators and approvers alone."""
    operators: str = ""
    """Who may promote, roll back, pause and retrain, likewise; nobody else may. They may look, too."""
    approvers: str = ""
    """Who may approve, likewise; nobody else may, operators neither. They may look, too."""
    api_url: str | None = None
    """Where people reach the API, for links in what they are told. ``http://`` only on loopback."""
    smtp_url: str | None = None
    """Mail server: ``smtp://host[:587]`` (STARTTLS) or ``smtps://host[:465]`` (TLS from the start)."""
    smtp_user: str | None = None
    """Name to log in with at the mail server. Without it nobody logs in."""
    smtp_password: str | None = None
    """Reference to the secret that is its password."""
    mail_from: str | None = None
    """Sender of mail."""
    slack_webhook: str | None = None
    """Reference to the secret that is the address of a Slack webhook, for channels that name none."""
    health_tick_seconds: float = 60.0
    """How often ``health_tick`` is meant to come; later, it shows as stale."""
    outbox_tick_seconds: float = 60.0
    """The same for ``outbox_tick``."""
    retrain_tick_seconds: float = 3600.0
    """The same for ``retrain_tick``."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; raises ConfigurationError that names everything wrong at once.

    >>> read_settings({"MODELDROP_BACKEND": "local", "MODELDROP_DATA": "/tmp/md"}).region
    'us-central1'
    """
    values, problems = typed_values(Settings, environment)
    known = {variable(field.name) for kind in (Settings, ServiceSettings) for field in fields(kind)}
    known |= set(SERVING_VARIABLES.values())
    problems += [
        f"{name} is not a setting"
        for name in environment
        if name.startswith("MODELDROP_") and not name.startswith(SECRETS_PREFIX) and name not in known
    ]
    problems += inconsistent(values)
    if problems:
        raise ConfigurationError("; ".join(sorted(problems)))
    return Settings(**values)


def log_level(environment: Mapping[str, str] = os.environ) -> str:
    """The level to log at, known before the other settings are (their errors are logged, too)."""
    level = environment.get(variable("log_level"), "").strip() or Settings.log_level
    return level if level in LOG_LEVELS else "INFO"
