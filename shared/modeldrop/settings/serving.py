"""Settings of whoever runs ``functions/predict``: what to serve, and how to answer."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from modeldrop.errors import ConfigurationError
from modeldrop.settings.variables import typed_values, variable


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
    response_cache_url: str | None = None
    """Redis that keeps them for all processes instead: ``redis[s]://[:password@]host[:port][/database]``."""
    predictions_target: str | None = None
    """Where prediction events go: ``projects/{project}/topics/{topic}`` or a URL. Without it there are none."""
    pointer_seconds: float = 5.0
    """Between two looks at ``MODELDROP_SERVED_POINTER``."""


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
    values, problems = typed_values(ServiceSettings, environment)
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
