"""Vertex AI as a ModelServer, over its REST API.

One Vertex endpoint per model, one Vertex model per (version, digest), one deployed model per version. Every id is
chosen here and derived from what it stands for, so that a call repeated after a crash or a lost answer meets its own
work and adopts it. What is met is checked before it is adopted: labels on endpoints and models, the model's id behind
a deployment. Nothing is retried here: the reconciler asks again, and decides anew.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

import google.auth
import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import aiplatform_v1 as vertex  # never ``google.cloud.aiplatform``: 3.4 s of imports
from google.protobuf.json_format import ParseError
from google.rpc.code_pb2 import Code

from modeldrop.errors import ConfigurationError, Conflict, ModeldropError, NotFound, Refused, Unavailable
from modeldrop.ports import DeployedVersion, Endpoint, Operation, ServedVersion
from modeldrop.settings import SERVING_VARIABLES, ServingSettings, Settings

CALL_SECONDS = 15.0
"""Longest wait for one answer. The longest of our calls makes three requests, within an invocation's 60 s."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MODEL_LABEL = "modeldrop-model"
_DIGEST_LABEL = "modeldrop-digest"
_LABEL_LENGTH = 63
_DISPLAY_LENGTH = 128
_OPERATION_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/([a-zA-Z]+/[^/]+/)?operations/[^/]+")
# FAILED_PRECONDITION says both "never" and "not now"; only the words tell them apart. An old etag is ABORTED in the
# API guidelines since 2021 and FAILED_PRECONDITION in services older than that.
_NOT_NOW = re.compile(r"etag|other operations? |in progress|under way|concurrent", re.IGNORECASE)


# --- ids -------------------------------------------------------------------------------------------------------


def endpoint_id(model: str) -> str:
    """The endpoint of a model: at most 63 of ``[a-z0-9-]``, a letter first, a letter or digit last.

    >>> endpoint_id("fraud")
    'modeldrop-fraud-f2a2593513'
    """
    return f"modeldrop-{model[:40]}-{_hash(model)[:10]}"


def model_id(version: ServedVersion) -> str:
    """The Vertex model of a version with this very content: 63 of ``[a-z0-9-]``, a letter first."""
    return f"{_model_prefix(version.model, version.version)}{version.digest[:40]}"


def deployed_id(version: ServedVersion) -> str:
    """The deployment of a version: ten digits, the first of them no zero."""
    number = int(_hash(version.model, version.version, version.digest), 16)
    return str(1_000_000_000 + number % 9_000_000_000)


def _model_prefix(model: str, version: str) -> str:
    return f"modeldrop-{_hash(model, version)[:12]}-"


def _hash(*parts: str) -> str:
    # No name holds a NUL, so that different parts never join to the same text.
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


# --- errors ----------------------------------------------------------------------------------------------------


@contextmanager
def _vertex_errors() -> Iterator[None]:
    """Raise what the Google client raises as an error of ours. Wrap nothing but the client's call in it."""
    try:
        yield
    except GoogleAPICallError as error:
        raise _translated(error) from error
    except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        raise Unavailable(f"no answer from Vertex AI: {error}") from error
    except (ParseError, AttributeError) as error:
        # The client reads an error answer without looking at its shape first: ``{"error": "text"}``, as proxies
        # write it, ends in an AttributeError.
        raise Unavailable(f"an answer that is not Vertex AI's: {error}") from error


def _translated(error: GoogleAPICallError) -> ModeldropError:
    code = int(error.code or 500)
    status = _canonical_status(error)
    text = f"Vertex AI says {status or code}: {str(error.message)[:1000]}"
    if code == 404:
        return NotFound(text)
    if code in (409, 412) or (status == "FAILED_PRECONDITION" and _NOT_NOW.search(str(error.message))):
        return Conflict(text)
    # 403 may pass as well: an administrator mends the account's roles, and no version should have failed for them.
    if 400 <= code < 500 and code not in (401, 403, 408, 429, 499):
        return Refused(text)
    return Unavailable(text)


def _canonical_status(error: GoogleAPICallError) -> str:
    """``FAILED_PRECONDITION`` and the like. Over REST the client keeps the HTTP code only; the name is in the body."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


# --- the server ------------------------------------------------------------------------------------------------


class VertexModelServer:
    """The ModelServer port on Vertex AI. Safe for use by several threads."""

    def __init__(
        self,
        endpoints: vertex.EndpointServiceClient,
        models: vertex.ModelServiceClient,
        settings: Settings,
        *,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._endpoints = endpoints
        self._models = models
        self._settings = settings
        self._call_seconds = call_seconds
        self._parent = f"projects/{settings.project}/locations/{settings.region}"

    def observe(self, model: str) -> Endpoint | None:
        """The endpoint as it is now. Raises Refused if a deployment that is not ours has traffic on it."""
        endpoint = self._endpoint(model)
        return None if endpoint is None else _observed(model, endpoint)

    def upload(self, version: ServedVersion) -> Operation | None:
        """Register the version with its container. The image is fixed by the first upload of these contents."""
        if self._is_uploaded(version):
            return None
        request = vertex.UploadModelRequest(
            parent=self._parent, model_id=model_id(version), model=_model(version, self._settings)
        )
        try:
            return _started(self._call(self._models.upload_model, request))
        except Conflict:
            if self._is_uploaded(version):
                return None
            raise

    def deploy(self, version: ServedVersion) -> Operation | None:
        """Deploy at 0 %, on machines of our own. Raises NotFound if the version was not uploaded."""
        endpoint = self._endpoint(version.model)
        if endpoint is None:
            return self._create_endpoint(version.model)
        if _is_deployed(endpoint, version):
            return None
        request = vertex.DeployModelRequest(
            endpoint=self._endpoint_name(version.model),
            deployed_model=vertex.DeployedModel(
                id=deployed_id(version),
                model=self._model_name(version),
                display_name=version.version,
                service_account=self._settings.serving_account or "",
                dedicated_resources=_machines(self._settings),
            ),
            traffic_split={},  # a split given here would overwrite the endpoint's, whatever it has become
        )
        return _started(self._call(self._endpoints.deploy_model, request))

    def set_traffic(self, model: str, split: Mapping[str, int], etag: str) -> Endpoint:
        """Replace the split. Raises NotFound without an endpoint, Refused for a split it can never have."""
        _check_split(split)
        endpoint = self._endpoint(model)
        if endpoint is None:
            raise NotFound(f"model {model!r} has no endpoint")
        if endpoint.etag != etag:
            raise Conflict(f"the endpoint of {model!r} has changed: etag {etag!r} is now {endpoint.etag!r}")
        ids = {deployed.version: deployed.deployed_id for deployed in _observed(model, endpoint).deployed}
        if missing := sorted(split.keys() - ids.keys()):
            raise Refused(f"not behind the endpoint of {model!r}: {', '.join(missing)}")
        update = vertex.Endpoint(
            name=self._endpoint_name(model),
            etag=etag,
            traffic_split={ids[version]: percent for version, percent in split.items() if percent},
        )
        request = vertex.UpdateEndpointRequest(endpoint=update, update_mask={"paths": ["traffic_split"]})
        return _observed(model, self._call(self._endpoints.update_endpoint, request))

    def undeploy(self, model: str, version: str) -> Operation | None:
        """Take a version off its endpoint."""
        seen = self.observe(model)
        deployed = next((d for d in seen.deployed if d.version == version), None) if seen else None
        if deployed is None:
            return None
        if deployed.traffic_percent:
            raise Refused(f"version {version!r} of {model!r} has {deployed.traffic_percent} % of the traffic")
        request = vertex.UndeployModelRequest(
            endpoint=self._endpoint_name(model), deployed_model_id=deployed.deployed_id
        )
        try:
            return _started(self._call(self._endpoints.undeploy_model, request))
        except NotFound:
            return None  # somebody took it off since we looked

    def operation(self, name: str) -> Operation | None:
        """How the operation stands. Vertex AI forgets finished ones after a while: None."""
        if not _OPERATION_NAME.fullmatch(name):
            return None
        try:
            with _vertex_errors():
                # The clients of both services poll at the same address, so one serves all operations.
                polled = self._endpoints.transport.operations_client.get_operation(
                    name, retry=None, timeout=self._call_seconds
                )
        except NotFound:
            return None
        return _operation(polled)

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        with _vertex_errors():
            return method(request=request, retry=None, timeout=self._call_seconds)

    def _endpoint(self, model: str) -> Any:
        try:
            found = self._call(self._endpoints.get_endpoint, vertex.GetEndpointRequest(name=self._endpoint_name(model)))
        except NotFound:
            return None
        if found.labels.get(_MODEL_LABEL) != model:
            raise Refused(f"endpoint {found.name!r} is in the way: its label says it is not that of {model!r}")
        return found

    def _create_endpoint(self, model: str) -> Operation:
        request = vertex.CreateEndpointRequest(
            parent=self._parent,
            endpoint_id=endpoint_id(model),
            endpoint=vertex.Endpoint(display_name=model, labels={_MODEL_LABEL: model}),
        )
        return _started(self._call(self._endpoints.create_endpoint, request))

    def _is_uploaded(self, version: ServedVersion) -> bool:
        try:
            found = self._call(self._models.get_model, vertex.GetModelRequest(name=self._model_name(version)))
        except NotFound:
            return False
        if not _labels(version).items() <= dict(found.labels).items():
            raise Refused(f"model {found.name!r} is in the way: its labels say it holds something else")
        return True

    def _endpoint_name(self, model: str) -> str:
        return f"{self._parent}/endpoints/{endpoint_id(model)}"

    def _model_name(self, version: ServedVersion) -> str:
        return f"{self._parent}/models/{model_id(version)}"


# --- between our words and Vertex AI's -------------------------------------------------------------------------


def _observed(model: str, endpoint: Any) -> Endpoint:
    """The endpoint in the port's words; a deployed model is listed by Vertex AI once its deployment has succeeded."""
    ours = []
    for deployed in endpoint.deployed_models:
        percent = endpoint.traffic_split.get(deployed.id, 0)
        if _model_of(deployed).startswith(_model_prefix(model, deployed.display_name)):
            ours.append(DeployedVersion(deployed.display_name, deployed.id, percent))
        elif percent:
            raise Refused(f"{percent} % of the traffic of {model!r} goes to {deployed.id}, which is not ours")
    return Endpoint(model, endpoint.etag, tuple(sorted(ours, key=lambda d: d.version)))


def _is_deployed(endpoint: Any, version: ServedVersion) -> bool:
    wanted = (version.version, deployed_id(version), model_id(version))
    for deployed in endpoint.deployed_models:
        if deployed.display_name == version.version or deployed.id == deployed_id(version):
            if (deployed.display_name, deployed.id, _model_of(deployed)) == wanted:
                return True
            raise Refused(f"version {version.version!r} of {version.model!r} is deployed with other contents")
    return False


def _model_of(deployed: Any) -> str:
    """The model's id alone: Vertex AI answers with the project's number in its names, and may add ``@version``."""
    name: str = deployed.model
    return name.rpartition("/")[2].partition("@")[0]


def _labels(version: ServedVersion) -> dict[str, str]:
    return {_MODEL_LABEL: version.model, _DIGEST_LABEL: version.digest[:_LABEL_LENGTH]}


def _model(version: ServedVersion, settings: Settings) -> Any:
    image = version.image or settings.predict_image
    if not image:
        raise Refused("no container image: the package names none, and MODELDROP_PREDICT_IMAGE is not set")
    if not version.artifact_uri.startswith("gs://"):
        raise Refused(f"Vertex AI reads artifacts from gs:// only, not from {version.artifact_uri!r}")
    container = vertex.ModelContainerSpec(
        image_uri=image,
        ports=[vertex.Port(container_port=8080)],
        health_route=ServingSettings.health_route,
        predict_route=ServingSettings.predict_route,
        env=[
            vertex.EnvVar(name=SERVING_VARIABLES[name], value=getattr(version, name))
            for name in ("model", "version", "digest")
        ],
    )
    return vertex.Model(
        display_name=f"{version.model} {version.version}"[:_DISPLAY_LENGTH],
        version_description=f"version {version.version} of {version.model}, sha256 {version.digest}",
        artifact_uri=version.artifact_uri,
        container_spec=container,
        labels=_labels(version),
    )


def _machines(settings: Settings) -> Any:
    return vertex.DedicatedResources(
        machine_spec=vertex.MachineSpec(machine_type=settings.machine_type),
        min_replica_count=settings.min_replicas,
        max_replica_count=settings.max_replicas,
    )


def _check_split(split: Mapping[str, int]) -> None:
    whole = all(type(percent) is int and 0 <= percent <= 100 for percent in split.values())
    if not whole or sum(split.values()) != 100:
        raise Refused(f"a split is whole numbers from 0 to 100 that sum to 100, not {dict(split)!r}")


def _started(future: Any) -> Operation:
    """The operation a call has just answered with, inside the client's future for it."""
    return _operation(future.operation)


def _operation(polled: Any) -> Operation:
    error = f"{_code_name(polled.error.code)}: {polled.error.message}" if polled.HasField("error") else None
    return Operation(polled.name, bool(polled.done), error if polled.done else None)


def _code_name(code: int) -> str:
    return str(Code.Name(code)) if code in Code.values() else f"code {code}"


# --- connecting ------------------------------------------------------------------------------------------------


def connect(settings: Settings, *, call_seconds: float = CALL_SECONDS) -> VertexModelServer:
    """A server from the settings. Raises ConfigurationError if they, or the machine's credentials, do not allow it."""
    if not settings.project:
        raise ConfigurationError("MODELDROP_PROJECT is required to serve from Vertex AI")
    address = settings.vertex_url or f"https://{settings.region}-aiplatform.googleapis.com"
    parts = urlsplit(address)
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigurationError(f"MODELDROP_VERTEX_URL must be scheme://host[:port], not {address!r}")
    options = {"api_endpoint": f"{parts.scheme}://{parts.netloc}"}
    credentials = _credentials(parts.scheme, parts.hostname)
    return VertexModelServer(
        vertex.EndpointServiceClient(credentials=credentials, transport="rest", client_options=options),
        vertex.ModelServiceClient(credentials=credentials, transport="rest", client_options=options),
        settings,
        call_seconds=call_seconds,
    )


def _credentials(scheme: str, host: str) -> Any:
    """The machine's own for https; none at all for http, which never leaves this machine."""
    if scheme == "http" and _is_loopback(host):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    if scheme != "https":
        raise ConfigurationError(f"MODELDROP_VERTEX_URL must be https, or http on loopback: {scheme}://{host}")
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except DefaultCredentialsError as error:
        raise ConfigurationError(f"no Google credentials: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
