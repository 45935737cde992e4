"""The rules of Vertex AI's pipeline jobs, as far as whoever starts and follows one meets them.

A job is there at once, PENDING, and moves only when a test says so (``VertexServer.move_job``).
"""

import re
from typing import Any

from tests.servers.vertex_state import ApiError, Effect, Json, VertexState

_JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,126}")
_LABEL = re.compile(r"[a-z0-9_-]{0,63}")
_REGISTRY = re.compile(r"https://[\w-]+-kfp\.pkg\.dev/[\w.-]+/[\w.-]+/[\w.-]+/[\w.:-]+")
_OF_TYPE: dict[str, type | tuple[type, ...]] = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "STRUCT": dict,
    "LIST": list,
}
_STATES = ("UNSPECIFIED", "QUEUED", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "PAUSED")


def create_job(state: VertexState, job_id: str, body: Json) -> Json:
    """pipelineJobs.create."""
    _require(_JOB_ID.fullmatch(job_id), f"pipeline_job_id {job_id!r} is not valid")
    _require(len(body.get("displayName", "")) <= 128, "display_name has more than 128 characters")
    labels = body.get("labels", {})
    _require(all(_LABEL.fullmatch(text) for pair in labels.items() for text in pair), f"labels {labels} are not valid")
    config = body.get("runtimeConfig", {})
    _require(str(config.get("gcsOutputDirectory", "")).startswith("gs://"), "gcs_output_directory is required")
    _require(not config.get("parameters"), "parameters are for schema version 2.0.0 or lower")
    _check_template(body, config.get("parameterValues", {}))
    if job_id in state.pipeline_jobs:
        raise ApiError("ALREADY_EXISTS", f"The PipelineJob {job_id!r} already exists.")
    name = f"projects/{state.project_number}/locations/{state.region}/pipelineJobs/{job_id}"
    state.pipeline_jobs[job_id] = body | {"name": name, "state": _STATES.index("PENDING")}
    state.effects.append(Effect("pipelineJobs.create", job_id, body))
    return state.pipeline_jobs[job_id]


def get_job(state: VertexState, job_id: str) -> Json:
    """pipelineJobs.get."""
    if job_id not in state.pipeline_jobs:
        raise ApiError("NOT_FOUND", f"The PipelineJob {job_id!r} does not exist.")
    return state.pipeline_jobs[job_id]


def move_job(state: VertexState, job_id: str, to: str | int, error: tuple[int, str] | None) -> Json:
    """The job is in another state from now on: ``RUNNING`` and the like, or a number no client knows yet."""
    number = to if isinstance(to, int) else _STATES.index(to)  # the client asks for enumerations as numbers
    status = {"error": {"code": error[0], "message": error[1]}} if error else {}
    state.pipeline_jobs[job_id] = get_job(state, job_id) | {"state": number} | status
    return state.pipeline_jobs[job_id]


def _check_template(body: Json, values: Json) -> None:
    spec, uri = body.get("pipelineSpec"), body.get("templateUri", "")
    _require((spec is None) != (not uri), "one of pipeline_spec and template_uri is required")
    if spec is None:
        _require(_REGISTRY.fullmatch(uri), f"template_uri {uri!r} is not in a template registry")
        return
    for name in ("schemaVersion", "root", "pipelineInfo", "deploymentSpec"):
        _require(spec.get(name), f"pipeline_spec.{name} is required")
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    _require(values.keys() <= declared.keys(), f"parameters {sorted(values.keys() - declared.keys())} are not declared")
    for name, fact in declared.items():
        _require(name in values or "defaultValue" in fact or fact.get("isOptional"), f"parameter {name!r} is required")
        kind = fact["parameterType"]
        _require(name not in values or isinstance(values[name], _OF_TYPE[kind]), f"parameter {name!r} is no {kind}")


def _require(condition: Any, message: str) -> None:
    if not condition:
        raise ApiError("INVALID_ARGUMENT", message)
