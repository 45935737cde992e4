"""The only reader of the environment: one frozen dataclass, read once, documented beside each field."""

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from modeldrop.errors import ConfigurationError

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SECRETS_PREFIX = "MODELDROP_SECRET_"
"""Variables that begin so are no settings: they hold the secrets of the local backend (``env:MODELDROP_SECRET_…``)."""


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
    pointer: str = ""
    """``MODELDROP_SERVED_POINTER``: follow ``gs://…/serving/{model}.json`` (or ``file:///…``); the first four are then
    neither needed nor looked at."""


SERVING_VARIABLES = {
    "storage_uri": "AIP_STORAGE_URI",
    "model": "MODELDROP_SERVED_MODEL",
    "version": "MODELDROP_SERVED_VERSION",
    "digest": "MODELDROP_SERVED_DIGEST",
    "health_route": "AIP_HEALTH_ROUTE",
    "predict_route": "AIP_PREDICT_ROUTE",
    "pointer": "MODELDROP_SERVED_POINTER",
}

PORT_VARIABLE = "AIP_HTTP_PORT"
"""Set by Vertex AI (and by the embedded cloud), who stand before the container and let nobody else in."""


@dataclass(frozen=True)
class ServiceSettings:
    """How ``functions/predict`` answers. The variable of a field is its name in capitals after ``MODELDROP_``."""

    serving_auth: str | None = None
    """Who may ask: ``none`` (somebody else checks callers), ``api_keys`` or ``oidc``. Without it: ``none`` on Vertex AI
    and on loopback, else nobody."""
    api_keys: Path | None = None
    """JSON file ``{"caller": "SHA-256 of the key in hex", …}``, read again when it changes."""
    oidc_audience: str | None = None
    """Audience that tokens must be made for."""
    oidc_callers: str = ""
    """E-mails or subjects of those who may ask, separated by commas."""
    oidc_issuer: str = "https://accounts.google.com"
    """Issuer that tokens must come from."""
    oidc_certificates: str = "https://www.googleapis.com/oauth2/v1/certs"
    """Where its certificates are (JSON, key id to X.509 in PEM). ``http://`` only on loopback."""
    instances_per_second: float = 0.0
    """How many instances a caller may ask for in the long run, by process; 0: no limit."""
    instances_burst: int = 100
    """How many at once after a rest."""
    response_cache_seconds: float = 0.0
    """How long an answer may be given again for the same input; 0: never."""
    response_cache_bytes: int = 32 * 1024 * 1024
    """What those answers may take in memory."""
    predictions_target: str | None = None
    """Where prediction events go: ``projects/{project}/topics/{topic}`` or a URL. Without it there are none."""
    pointer_seconds: float = 5.0
    """Between two looks at ``MODELDROP_SERVED_POINTER``."""


# Form, and what it is called; what a policy may say of the same things is in domain.targets.
_REFERENCE = (
    r"env:MODELDROP_SECRET_[A-Z0-9_]{1,100}"
    r"|projects/[a-z0-9.:-]{1,64}/secrets/[A-Za-z0-9_-]{1,255}(/versions/[a-z0-9-]{1,64})?",
    "a reference to a secret: projects/{project}/secrets/{name}, or locally env:MODELDROP_SECRET_…",
)
_FORMS = {
    "smtp_url": (r"smtps?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", "smtp[s]://host[:port]"),
    "mail_from": (r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,189}", "one address, without a name"),
    "smtp_password": _REFERENCE,
    "slack_webhook": _REFERENCE,
    "api_url": (
        r"(https://[^\s@#/?]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^\s#?]*)?",
        "an https address (http on loopback)",
    ),
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
    values, problems = _typed_values(Settings, environment)
    known = {variable(field.name) for kind in (Settings, ServiceSettings) for field in fields(kind)}
    known |= set(SERVING_VARIABLES.values())
    problems += [
        f"{name} is not a setting"
        for name in environment
        if name.startswith("MODELDROP_") and not name.startswith(SECRETS_PREFIX) and name not in known
    ]
    problems += _inconsistent(values)
    if problems:
        raise ConfigurationError("; ".join(sorted(problems)))
    return Settings(**values)


def read_serving_settings(environment: Mapping[str, str] = os.environ) -> ServingSettings:
    """What to serve; raises ConfigurationError that names every missing variable at once."""
    values = {field: environment[name] for field, name in SERVING_VARIABLES.items() if environment.get(name)}
    required = [f.name for f in fields(ServingSettings) if f.default is MISSING]
    if "pointer" in values:
        values = dict.fromkeys(required, "") | values
    missing = [SERVING_VARIABLES[name] for name in required if name not in values]
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}")
    return ServingSettings(**values)


def read_service_settings(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """How to answer; raises ConfigurationError that names everything wrong at once.

    >>> read_service_settings({"AIP_HTTP_PORT": "8080"}).serving_auth
    'none'
    """
    values, problems = _typed_values(ServiceSettings, environment)
    if environment.get(PORT_VARIABLE):
        values.setdefault("serving_auth", "none")
    problems += _unanswerable(values)
    if problems:
        raise ConfigurationError("; ".join(sorted(problems)))
    return ServiceSettings(**values)


def _unanswerable(values: Mapping[str, Any]) -> list[str]:
    needed = {"none": (), "api_keys": ("api_keys",), "oidc": ("oidc_audience", "oidc_callers")}
    auth = values.get("serving_auth")
    if auth is not None and auth not in needed:
        return [f"MODELDROP_SERVING_AUTH must be one of {', '.join(needed)}, not {auth!r}"]
    problems = [
        f"{variable(name)} is required with MODELDROP_SERVING_AUTH={auth}"
        for name in needed.get(auth or "", ())
        if name not in values
    ]
    lowest = {
        "instances_per_second": 0,
        "instances_burst": 1,
        "response_cache_seconds": 0,
        "response_cache_bytes": 1,
        "pointer_seconds": 0.01,
    }
    problems += [
        f"{variable(name)} must be from {least} to a billion"
        for name, least in lowest.items()
        if not least <= values.get(name, least) <= 1e9  # NaN is in no range
    ]
    return problems


def _typed_values(
    kind: type[Settings] | type[ServiceSettings], environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """What the environment says of the fields, and what of that is of a wrong type."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in fields(kind):
        text = environment.get(variable(field.name), "").strip()
        if not text:
            continue
        of = next(t for t in (get_args(hints[field.name]) or (hints[field.name],)) if t is not type(None))
        try:
            values[field.name] = of(text)
        except ValueError:
            problems.append(f"{variable(field.name)} is not a {of.__name__}: {text!r}")
    return values, problems


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
    problems += _mismatched(values) + _paces(values)
    if "smtp_url" in values and "mail_from" not in values:
        problems.append("MODELDROP_MAIL_FROM is required with MODELDROP_SMTP_URL")
    if ("smtp_user" in values) != ("smtp_password" in values):
        problems.append("MODELDROP_SMTP_USER and MODELDROP_SMTP_PASSWORD are set both or neither")
    if values.get("report_interval_seconds", 0.0) < 0:
        problems.append("MODELDROP_REPORT_INTERVAL_SECONDS must not be negative")
    if "data" not in values and (values.get("documents") == "sqlite" or values.get("messaging") == "local"):
        problems.append("MODELDROP_DATA is required with a local store")
    if "project" not in values and (values.get("documents") == "firestore" or values.get("messaging") == "pubsub"):
        problems.append("MODELDROP_PROJECT is required with Firestore or Pub/Sub")
    return problems


def _mismatched(values: Mapping[str, Any]) -> list[str]:
    """Settings that do not look like what they are; their values are not repeated: some may be secrets by mistake."""
    return [
        f"{variable(name)} must be {what}"
        for name, (pattern, what) in _FORMS.items()
        if name in values and re.fullmatch(pattern, values[name]) is None
    ]


def _paces(values: Mapping[str, Any]) -> list[str]:
    names = ("health_tick_seconds", "outbox_tick_seconds", "retrain_tick_seconds")
    return [
        f"{variable(name)} must be above 0 and at most a week"
        for name in names
        if name in values and not 0 < values[name] <= 604_800
    ]


def log_level(environment: Mapping[str, str] = os.environ) -> str:
    """The level to log at, known before the other settings are (their errors are logged, too)."""
    level = environment.get(variable("log_level"), "").strip() or Settings.log_level
    return level if level in LOG_LEVELS else "INFO"
