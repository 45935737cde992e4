"""What settings of the control plane may be, and which of them go together."""

import re
from collections.abc import Mapping
from typing import Any

from modeldrop.settings.variables import variable

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

# Form, and what it is called; what a policy may say of the same things is in domain.targets.
_REFERENCE = (
    r"env:MODELDROP_SECRET_[A-Z0-9_]{1,100}"
    r"|projects/[a-z0-9.:-]{1,64}/secrets/[A-Za-z0-9_-]{1,255}(/versions/[a-z0-9-]{1,64})?",
    "a reference to a secret: projects/{project}/secrets/{name}, or locally env:MODELDROP_SECRET_…",
)
_ADDRESS = (
    r"(https://[^\s@#/?]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^\s#?]*)?",
    "an https address (http on loopback)",
)
_TOKEN_TEXT = (r"[!-~]{1,500}", "at most 500 signs without white space")
_ALGORITHM = r"\s*([RPE]S(256|384|512)|EdDSA)\s*"
_PERSON = r"\s*(\*|[^\s@,*]{0,64}@[A-Za-z0-9.-]{1,189}|[A-Za-z0-9._:|/-]{1,255})?\s*"
_PEOPLE = (rf"{_PERSON}(,{_PERSON})*", "e-mails, @domain or *, separated by commas")
_FORMS = {
    "smtp_url": (r"smtps?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", "smtp[s]://host[:port]"),
    "mail_from": (r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,189}", "one address, without a name"),
    "smtp_password": _REFERENCE,
    "slack_webhook": _REFERENCE,
    "api_url": _ADDRESS,
    "jwt_jwks": _ADDRESS,
    "jwt_issuer": _TOKEN_TEXT,
    "jwt_audience": _TOKEN_TEXT,
    "jwt_algorithms": (rf"{_ALGORITHM}(,{_ALGORITHM})*", "algorithms with public keys (RS256,ES256,…), no others"),
    "jwt_header": (r"[A-Za-z][A-Za-z0-9-]{0,63}", "the name of a header"),
    "viewers": _PEOPLE,
    "operators": _PEOPLE,
    "approvers": _PEOPLE,
}


def inconsistent(values: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with settings of the control plane that are of their types."""
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
        "auth": ("iam", "jwt", "none"),
        "log_level": LOG_LEVELS,
    }
    problems += [
        f"{variable(name)} must be one of {', '.join(allowed)}, not {values[name]!r}"
        for name, allowed in choices.items()
        if name in values and values[name] not in allowed
    ]
    if backend == "gcp" and values.get("auth") not in ("iam", "jwt"):
        problems.append("MODELDROP_AUTH must be iam or jwt with MODELDROP_BACKEND=gcp")
    if not 0 <= values.get("ingest_linger_seconds", 0.0) <= 1:
        problems.append("MODELDROP_INGEST_LINGER_SECONDS must be from 0 to 1")
    problems += _mismatched(values) + _paces(values) + _callers(values)
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


def _callers(values: Mapping[str, Any]) -> list[str]:
    """Half a configuration of tokens would look like one that checks them."""
    required = ("jwt_issuer", "jwt_audience", "jwt_jwks")
    if values.get("auth") == "jwt":
        return [f"{variable(name)} is required with MODELDROP_AUTH=jwt" for name in required if name not in values]
    named = [name for name in (*required, "jwt_algorithms", "jwt_header") if name in values]
    return [f"{variable(name)} is for MODELDROP_AUTH=jwt alone" for name in named]
