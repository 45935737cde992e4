"""Vertex AI as a ModelServer, over its REST API.

One Vertex endpoint per model, one Vertex model per (version, digest), one deployed model per version. Every id is
chosen by us (``vertex_ids``), so that a call repeated after a crash or a lost answer meets its own work and adopts it.
What is met is checked before it is adopted: labels on endpoints and models, the model's id behind a deployment.
Nothing is retried here: the reconciler asks again, and decides anew.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from google.cloud import aiplatform_v1 as vertex  # never ``google.cloud.aiplatform``: 3.4 s of imports

from modeldrop.adapters.gcp.connecting import credentials_for, read_address
from modeldrop.adapters.gcp.vertex_errors import code_name, vertex_errors
from modeldrop.adapters.gcp.vertex_ids import (
    MODEL_LABEL,
    deployed_id,
    endpoint_id,
    labels,
    model_id,
    model_of,
    model_prefix,
)
from modeldrop.errors import ConfigurationError, Conflict, NotFound, Refused
from modeldrop.ports import DeployedVersion, Endpoint, Operation, ServedVersion
from modeldrop.settings import SERVING_VARIABLES, ServingSettings, Settings

log = logging.getLogger(__name__)

CALL_SECONDS = 15.0
"""Longest wait for one answer. The longest of our calls makes three requests, within an invocation's 60 s."""

PAGE = 100
"""Endpoints in one answer."""

_DISPLAY_LENGTH = 128
_OPERATION_NAME = re.compile(r"projects/[^/]+/locations/[^/]+/([a-zA-Z]+/[^/]+/)?operations/[^/]+")


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

    def observe_many(self, models: Sequence[str]) -> dict[str, Endpoint]:
        """See ModelServer. Reads the list of all endpoints that carry our label, page by page, until all are found."""
        wanted = {endpoint_id(model): model for model in models}
        seen: dict[str, Endpoint] = {}
        pages = self._labelled_endpoints()
        while wanted and (page := next(pages, None)) is not None:
            for found in page:
                model = wanted.pop(found.name.rpartition("/")[2], None)
                if model is not None and (endpoint := _shown(model, found)) is not None:
                    seen[model] = endpoint
        return seen

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
                service_account=_account(version, self._settings),
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
            with vertex_errors():
                # The clients of both services poll at the same address, so one serves all operations.
                polled = self._endpoints.transport.operations_client.get_operation(
                    name, retry=None, timeout=self._call_seconds
                )
        except NotFound:
            return None
        return _operation(polled)

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        with vertex_errors():
            return method(request=request, retry=None, timeout=self._call_seconds)

    def _endpoint(self, model: str) -> Any:
        try:
            found = self._call(self._endpoints.get_endpoint, vertex.GetEndpointRequest(name=self._endpoint_name(model)))
        except NotFound:
            return None
        return _ours(model, found)

    def _labelled_endpoints(self) -> Iterator[Any]:
        """Pages of endpoints; each is asked for when it is taken."""
        request = vertex.ListEndpointsRequest(parent=self._parent, filter=f"labels.{MODEL_LABEL}:*", page_size=PAGE)
        while True:
            # A page's own answer only: the client's pager would go on to the next ones outside of ``_call``.
            page = next(iter(self._call(self._endpoints.list_endpoints, request).pages))
            yield page.endpoints
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _create_endpoint(self, model: str) -> Operation:
        request = vertex.CreateEndpointRequest(
            parent=self._parent,
            endpoint_id=endpoint_id(model),
            endpoint=vertex.Endpoint(display_name=model, labels={MODEL_LABEL: model}),
        )
        return _started(self._call(self._endpoints.create_endpoint, request))

    def _is_uploaded(self, version: ServedVersion) -> bool:
        try:
            found = self._call(self._models.get_model, vertex.GetModelRequest(name=self._model_name(version)))
        except NotFound:
            return False
        if not labels(version).items() <= dict(found.labels).items():
            raise Refused(f"model {found.name!r} is in the way: its labels say it holds something else")
        return True

    def _endpoint_name(self, model: str) -> str:
        return f"{self._parent}/endpoints/{endpoint_id(model)}"

    def _model_name(self, version: ServedVersion) -> str:
        return f"{self._parent}/models/{model_id(version)}"


# --- between our words and Vertex AI's -------------------------------------------------------------------------


def _ours(model: str, endpoint: Any) -> Any:
    if endpoint.labels.get(MODEL_LABEL) != model:
        raise Refused(f"endpoint {endpoint.name!r} is in the way: its label says it is not that of {model!r}")
    return endpoint


def _shown(model: str, endpoint: Any) -> Endpoint | None:
    """One of many: None for one that cannot be shown, which must not hide the others."""
    try:
        return _observed(model, _ours(model, endpoint))
    except Refused as error:
        log.warning("the endpoint of %s cannot be seen: %s", model, error)
        return None


def _observed(model: str, endpoint: Any) -> Endpoint:
    """The endpoint in the port's words; a deployed model is listed by Vertex AI once its deployment has succeeded."""
    ours = []
    for deployed in endpoint.deployed_models:
        percent = endpoint.traffic_split.get(deployed.id, 0)
        if model_of(deployed).startswith(model_prefix(model, deployed.display_name)):
            ours.append(DeployedVersion(deployed.display_name, deployed.id, percent))
        elif percent:
            raise Refused(f"{percent} % of the traffic of {model!r} goes to {deployed.id}, which is not ours")
    return Endpoint(model, endpoint.etag, tuple(sorted(ours, key=lambda d: d.version)))


def _is_deployed(endpoint: Any, version: ServedVersion) -> bool:
    wanted = (version.version, deployed_id(version), model_id(version))
    for deployed in endpoint.deployed_models:
        if deployed.display_name == version.version or deployed.id == deployed_id(version):
            if (deployed.display_name, deployed.id, model_of(deployed)) == wanted:
                return True
            raise Refused(f"version {version.version!r} of {version.model!r} is deployed with other contents")
    return False


def _model(version: ServedVersion, settings: Settings) -> Any:
    image = version.image or settings.predict_image
    if not image:
        raise Refused("no container image: the package names none, and MODELDROP_PREDICT_IMAGE is not set")
    if not (version.pointer or version.artifact_uri).startswith("gs://"):
        raise Refused(f"Vertex AI reads artifacts from gs:// only, not from {version.artifact_uri!r}")
    # Of a version that is named by a pointer nothing is known here: its container reads the bucket itself.
    told = ("pointer",) if version.pointer else ("model", "version", "digest")
    container = vertex.ModelContainerSpec(
        image_uri=image,
        ports=[vertex.Port(container_port=8080)],
        health_route=ServingSettings.health_route,
        predict_route=ServingSettings.predict_route,
        env=[
            *[vertex.EnvVar(name=SERVING_VARIABLES[name], value=getattr(version, name)) for name in told],
            *[vertex.EnvVar(name=name, value=value) for name, value in _of_the_llm(version, settings).items()],
        ],
    )
    return vertex.Model(
        display_name=f"{version.model} {version.version}"[:_DISPLAY_LENGTH],
        version_description=f"version {version.version} of {version.model}, sha256 {version.digest}",
        artifact_uri="" if version.pointer else version.artifact_uri,
        container_spec=container,
        labels=labels(version),
    )


def _of_the_llm(version: ServedVersion, settings: Settings) -> dict[str, str]:
    """What tells google-genai to ask Gemini on Vertex AI, in our project; a pointer may come to name such a version."""
    if version.runtime != "gemini" and version.pointer is None:
        return {}
    place = {"GOOGLE_CLOUD_PROJECT": str(settings.project), "GOOGLE_CLOUD_LOCATION": settings.region}
    return {"GOOGLE_GENAI_USE_VERTEXAI": "true"} | place


def _account(version: ServedVersion, settings: Settings) -> str:
    """What its containers run as; "": Vertex AI's own account, which reads the version's artifacts and nothing else.

    An image that a package brings is somebody else's code: it gets none of what our own image may do.
    """
    return "" if version.image is not None else settings.serving_account or ""


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
    error = f"{code_name(polled.error.code)}: {polled.error.message}" if polled.HasField("error") else None
    return Operation(polled.name, bool(polled.done), error if polled.done else None)


# --- connecting ------------------------------------------------------------------------------------------------


def connect(settings: Settings, *, call_seconds: float = CALL_SECONDS) -> VertexModelServer:
    """A server from the settings. Raises ConfigurationError if they, or the machine's credentials, do not allow it."""
    if not settings.project:
        raise ConfigurationError("MODELDROP_PROJECT is required to serve from Vertex AI")
    own = f"https://{settings.region}-aiplatform.googleapis.com"
    address = read_address(settings.vertex_url or own, "MODELDROP_VERTEX_URL")
    options = {"api_endpoint": address.url}
    credentials = credentials_for(address)
    return VertexModelServer(
        vertex.EndpointServiceClient(credentials=credentials, transport="rest", client_options=options),
        vertex.ModelServiceClient(credentials=credentials, transport="rest", client_options=options),
        settings,
        call_seconds=call_seconds,
    )
