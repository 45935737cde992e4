"""The rules of Vertex AI's models, endpoints and operations, as far as a model server meets them.

Resources are kept as the JSON the REST API speaks. Everything happens under the lock of ``VertexState.handle``.
"""

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from threading import Lock
from typing import Any

Json = dict[str, Any]

HTTP_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1"
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_ENDPOINT_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}")
_DEPLOYED_ID = re.compile(r"[0-9]{1,10}")
_IMAGE = re.compile(r"[a-z0-9.-]+/\S+")


class ApiError(Exception):
    """An answer of the API that is an error, by its canonical status."""

    def __init__(self, status: str, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{status}: {message}")

    def json(self) -> Json:
        """The body of the answer."""
        return {"error": {"code": HTTP_CODES[self.status], "message": self.message, "status": self.status}}


@dataclass(frozen=True)
class Plan:
    """How one operation will go."""

    polls: int = 2
    """How many looks find it running before the one that finds it finished."""
    error: tuple[int, str] | None = None
    """The google.rpc code and message it ends with, without any effect."""
    vanishes: bool = False
    """Whether it is forgotten (404) instead of found finished."""
    effect: bool = True
    """Whether what was asked for happens; False only makes sense for one that vanishes."""


@dataclass(frozen=True)
class Effect:
    """One call that was accepted and changes something."""

    call: str
    resource: str
    """Id of the model, endpoint, or ``endpoint/deployed model``."""
    body: Json
    """What was asked for, as it came over the wire."""


@dataclass
class Running:
    """An operation, and what finishing it does."""

    name: str
    call: str
    claims: frozenset[str]
    """Ids that nobody else can take meanwhile, as ``models/x``, ``endpoints/x``, ``deployed/x/1``."""
    plan: Plan
    finish: Callable[[], Json]
    looks_left: int
    done: bool = False
    response: Json | None = None

    def json(self) -> Json:
        """The operation as the API shows it."""
        kind = self.call.partition(".")[2]
        shown: Json = {"name": self.name, "metadata": {"@type": f"{_TYPES}.{_METADATA[kind]}"}}
        if self.done and self.plan.error:
            shown |= {"done": True, "error": {"code": self.plan.error[0], "message": self.plan.error[1]}}
        elif self.done:
            shown |= {"done": True, "response": self.response}
        return shown


_METADATA = {
    "upload": "UploadModelOperationMetadata",
    "delete": "DeleteOperationMetadata",
    "create": "CreateEndpointOperationMetadata",
    "deployModel": "DeployModelOperationMetadata",
    "undeployModel": "UndeployModelOperationMetadata",
}


@dataclass
class VertexState:
    """All resources of one project and region."""

    project: str
    project_number: str
    region: str
    operation_polls: int = 2
    etag_mismatch: str = "ABORTED"
    """Status of the answer to an old etag: ``ABORTED``, or ``FAILED_PRECONDITION`` as older services say."""
    broken_artifacts: set[str] = field(default_factory=set)
    """Artifact URIs whose containers never become healthy: deploying them fails."""
    models: dict[str, Json] = field(default_factory=dict)
    endpoints: dict[str, Json] = field(default_factory=dict)
    pipeline_jobs: dict[str, Json] = field(default_factory=dict)
    operations: dict[str, Running] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    pages_read: list[int] = field(default_factory=list)
    """How many resources each page had that was answered."""
    plans: defaultdict[str, deque[Plan]] = field(default_factory=lambda: defaultdict(deque))
    _count: int = 0
    _lock: Lock = field(default_factory=Lock)

    def handle(self, action: Callable[["VertexState"], Json]) -> Json:
        """Run one call alone, as the API's own storage would."""
        with self._lock:
            return action(self)

    # --- models

    def upload_model(self, body: Json) -> Json:
        """models.upload: claims the id at once, shows the model when the operation is done."""
        model_id, model = body.get("modelId", ""), dict(body.get("model", {}))
        _require(_MODEL_ID.fullmatch(model_id), f"modelId {model_id!r} is not valid")
        _require(0 < len(model.get("displayName", "")) <= 128, "displayName must have 1 to 128 characters")
        _require(str(model.get("artifactUri", "gs://")).startswith("gs://"), "artifactUri must be in Cloud Storage")
        container = model.pop("containerSpec", {})  # input only: it is never shown again
        _require(_IMAGE.fullmatch(container.get("imageUri", "")), "containerSpec.imageUri is required")
        _check_labels(model.get("labels", {}))
        claim = f"models/{model_id}"
        self._refuse_taken(claim, exists=model_id in self.models)

        def finish() -> Json:
            shown = model | {"name": self._name(claim), "versionId": "1", "containerSpec": {"imageUri": "ingested"}}
            self.models[model_id] = shown | {"createTime": _now(), "etag": self._etag()}
            return {"@type": f"{_TYPES}.UploadModelResponse", "model": shown["name"], "modelVersionId": "1"}

        self._note("models.upload", model_id, body)
        return self._start("models.upload", claim, {claim}, finish)

    def get_model(self, model_id: str) -> Json:
        """models.get."""
        return self._found("models", model_id)

    def delete_model(self, model_id: str) -> Json:
        """models.delete: refused while it is deployed anywhere."""
        name = self._found("models", model_id)["name"]
        if any(d["model"] == name for e in self.endpoints.values() for d in e["deployedModels"]):
            raise ApiError("FAILED_PRECONDITION", f"Model {name} is deployed and cannot be deleted.")
        claim = f"models/{model_id}"
        self._refuse_taken(claim, exists=False)

        def finish() -> Json:
            del self.models[model_id]
            return {"@type": "type.googleapis.com/google.protobuf.Empty"}

        self._note("models.delete", model_id, {})
        return self._start("models.delete", claim, {claim}, finish)

    # --- endpoints

    def create_endpoint(self, endpoint_id: str, body: Json) -> Json:
        """endpoints.create: claims the id at once, shows the endpoint when the operation is done."""
        _require(_ENDPOINT_ID.fullmatch(endpoint_id), f"endpoint_id {endpoint_id!r} is not valid")
        _require(0 < len(body.get("displayName", "")) <= 128, "displayName must have 1 to 128 characters")
        _check_labels(body.get("labels", {}))
        claim = f"endpoints/{endpoint_id}"
        self._refuse_taken(claim, exists=endpoint_id in self.endpoints)

        def finish() -> Json:
            shown: Json = {key: body[key] for key in ("displayName", "labels", "description") if key in body}
            shown |= {"name": self._name(claim), "deployedModels": [], "trafficSplit": {}, "createTime": _now()}
            self.endpoints[endpoint_id] = shown | {"etag": self._etag()}
            return {"@type": f"{_TYPES}.Endpoint", "name": shown["name"]}

        self._note("endpoints.create", endpoint_id, body)
        return self._start("endpoints.create", claim, {claim}, finish)

    def get_endpoint(self, endpoint_id: str) -> Json:
        """endpoints.get."""
        return self._found("endpoints", endpoint_id)

    def patch_endpoint(self, endpoint_id: str, mask: str, body: Json) -> Json:
        """endpoints.patch: guarded by the etag if the body has one, else a blind overwrite."""
        endpoint = self._found("endpoints", endpoint_id)
        if body.get("etag") not in (None, "", endpoint["etag"]):
            raise ApiError(self.etag_mismatch, "The etag does not match that of the Endpoint.")
        fields = [name for name in mask.split(",") if name]
        allowed = {"displayName", "description", "labels", "trafficSplit"}
        _require(fields and set(fields) <= allowed, f"updateMask {mask!r} is not valid")
        if "trafficSplit" in fields:
            _check_split(body.get("trafficSplit", {}), {d["id"] for d in endpoint["deployedModels"]})
        changes = {name: body.get(name, {} if name in ("labels", "trafficSplit") else "") for name in fields}
        self.endpoints[endpoint_id] = endpoint | changes | {"etag": self._etag(), "updateTime": _now()}
        self._note("endpoints.patch", endpoint_id, body)
        return self.endpoints[endpoint_id]

    def deploy_model(self, endpoint_id: str, body: Json) -> Json:
        """endpoints.deployModel: the deployed model is listed when the operation has succeeded."""
        endpoint = self._found("endpoints", endpoint_id)
        deployed = dict(body.get("deployedModel", {}))
        model = self._found("models", deployed.get("model", "").rpartition("/")[2])
        deployed_id, split = deployed.get("id", ""), body.get("trafficSplit", {})
        _require(_DEPLOYED_ID.fullmatch(deployed_id), f"deployedModel.id {deployed_id!r} is not valid")
        _check_machines(deployed.get("dedicatedResources", {}))
        present = {d["id"] for d in endpoint["deployedModels"]}
        _check_split(split, present | {"0"})
        claims = {f"deployed/{endpoint_id}/{deployed_id}", f"busy/{endpoint_id}"}
        self._refuse_taken(f"deployed/{endpoint_id}/{deployed_id}", exists=deployed_id in present)
        self._refuse_busy(endpoint_id)
        deployed |= {"model": model["name"], "modelVersionId": "1", "createTime": _now()}
        deployed.setdefault("displayName", model["displayName"])

        def finish() -> Json:
            now = self.endpoints[endpoint_id]
            new_split = {(deployed_id if key == "0" else key): value for key, value in split.items()}
            self.endpoints[endpoint_id] = now | {
                "deployedModels": [*now["deployedModels"], deployed],
                "trafficSplit": new_split or now["trafficSplit"],
                "etag": self._etag(),
            }
            return {"@type": f"{_TYPES}.DeployModelResponse", "deployedModel": {"id": deployed_id}}

        broken = model.get("artifactUri") in self.broken_artifacts
        failing = Plan(self.operation_polls, error=(9, "Model server never became ready.")) if broken else None
        self._note("endpoints.deployModel", f"{endpoint_id}/{deployed_id}", body)
        return self._start("endpoints.deployModel", f"endpoints/{endpoint_id}", claims, finish, failing)

    def undeploy_model(self, endpoint_id: str, body: Json) -> Json:
        """endpoints.undeployModel: refused while there is traffic on it."""
        endpoint = self._found("endpoints", endpoint_id)
        deployed_id = body.get("deployedModelId", "")
        if deployed_id not in {d["id"] for d in endpoint["deployedModels"]}:
            raise ApiError("NOT_FOUND", f"DeployedModel {deployed_id} is not in the Endpoint.")
        if endpoint["trafficSplit"].get(deployed_id):
            raise ApiError("FAILED_PRECONDITION", f"DeployedModel {deployed_id} still has traffic.")
        self._refuse_busy(endpoint_id)

        def finish() -> Json:
            now = self.endpoints[endpoint_id]
            left = [d for d in now["deployedModels"] if d["id"] != deployed_id]
            split = {key: value for key, value in now["trafficSplit"].items() if key != deployed_id}
            self.endpoints[endpoint_id] = now | {"deployedModels": left, "trafficSplit": split, "etag": self._etag()}
            return {"@type": f"{_TYPES}.UndeployModelResponse"}

        self._note("endpoints.undeployModel", f"{endpoint_id}/{deployed_id}", body)
        return self._start("endpoints.undeployModel", f"endpoints/{endpoint_id}", {f"busy/{endpoint_id}"}, finish)

    # --- operations

    def get_operation(self, name: str) -> Json:
        """operations.get: a look at the operation."""
        running = self.operations.get(name.replace(f"projects/{self.project}/", f"projects/{self.project_number}/"))
        if running is None:
            raise ApiError("NOT_FOUND", f"Operation {name} is not found.")
        self._look(running)
        if running.done and running.plan.vanishes:
            raise ApiError("NOT_FOUND", f"Operation {name} is not found.")
        return running.json()

    def _start(
        self, call: str, parent: str, claims: Iterable[str], finish: Callable[[], Json], plan: Plan | None = None
    ) -> Json:
        scripted = self.plans[call]
        plan = scripted.popleft() if scripted else plan or Plan(self.operation_polls)
        name = f"{self._name(parent)}/operations/{self._next()}"
        self.operations[name] = Running(name, call, frozenset(claims), plan, finish, plan.polls)
        return self.operations[name].json()

    def _look(self, running: Running) -> None:
        """Time passes for an operation only by being met: asked for, or in the way of another call."""
        if running.done:
            return
        if running.looks_left > 0:
            running.looks_left -= 1
            return
        running.done = True
        if running.plan.error is None and running.plan.effect:
            running.response = running.finish()

    def _refuse_taken(self, claim: str, *, exists: bool) -> None:
        if exists or self._meets(claim):
            raise ApiError("ALREADY_EXISTS", f"{claim} already exists.")

    def _refuse_busy(self, endpoint_id: str) -> None:
        if names := self._meets(f"busy/{endpoint_id}"):
            raise ApiError(
                "FAILED_PRECONDITION",
                f"There are other operations running on the Endpoint. Operation(s) are: {', '.join(names)}.",
            )

    def _meets(self, claim: str) -> list[str]:
        met = [running for running in self.operations.values() if claim in running.claims and not running.done]
        for running in met:
            self._look(running)
        return [running.name for running in met]

    # --- names and numbers

    def _found(self, kind: str, resource_id: str) -> Json:
        found: Json | None = getattr(self, kind).get(resource_id)
        if found is None:
            raise ApiError("NOT_FOUND", f"{kind}/{resource_id} is not found.")
        return found

    def _name(self, path: str) -> str:
        # Answers carry the project's number, whatever the request called the project.
        return f"projects/{self.project_number}/locations/{self.region}/{path}"

    def _note(self, call: str, resource: str, body: Json) -> None:
        self.effects.append(Effect(call, resource, body))

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _etag(self) -> str:
        return "AMEw9y" + blake2b(str(self._next()).encode(), digest_size=12).hexdigest()


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ApiError("INVALID_ARGUMENT", message)


def _check_labels(labels: Json) -> None:
    _require(all(_LABEL.fullmatch(text) for pair in labels.items() for text in pair), f"labels {labels} are not valid")


def _check_split(split: Json, known: set[str]) -> None:
    _require(split.keys() <= known, f"trafficSplit {split} names models that are not deployed")
    whole = all(isinstance(value, int) and 0 <= value <= 100 for value in split.values())
    _require(not split or (whole and sum(split.values()) == 100), "trafficSplit must add up to 100, or be empty")


def _check_machines(resources: Json) -> None:
    least, most = resources.get("minReplicaCount", 0), resources.get("maxReplicaCount", 0)
    _require(resources.get("machineSpec", {}).get("machineType"), "machineSpec.machineType is required")
    _require(least >= 1 and most >= least, "minReplicaCount must be at least 1 and at most maxReplicaCount")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
