"""Vertex AI pipelines as a Trainer, over their REST API.

The job's id is the episode's, so that a creation repeated after a crash or a lost answer meets its own job and adopts
it, once the job's label has shown that it is that episode's. Nothing is retried here: whoever asked asks again.

A template in Cloud Storage is read, and of the episode's fields the pipeline gets those it declares as parameters:
``episode``, ``model``, ``version``, ``cause``, ``report``, ``window_start``, ``window_end`` (STRING), ``window`` and
``lineage`` (STRUCT, or STRING with JSON in it). A template in Artifact Registry is read by Vertex AI: what it declares
is not known here, and it gets ``episode`` alone. The policy's own parameters go along, and win where both name one.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from google.cloud import aiplatform_v1 as vertex  # never ``google.cloud.aiplatform``: 3.4 s of imports
from google.protobuf.json_format import ParseDict
from google.protobuf.json_format import ParseError as NoMessage
from google.protobuf.struct_pb2 import Struct, Value

from modeldrop.adapters.gcp.connecting import credentials_for, read_address
from modeldrop.adapters.gcp.pipeline_template import TEMPLATE_LIMIT_BYTES, PipelineTemplate, read_template
from modeldrop.adapters.gcp.storage_bucket import StorageBucket, open_bucket
from modeldrop.adapters.gcp.vertex_errors import code_name, vertex_errors
from modeldrop.adapters.gcp.vertex_ids import MODEL_LABEL
from modeldrop.domain.retraining.episode import Run, TrainingRequest
from modeldrop.domain.targets import VertexPipelineTarget
from modeldrop.errors import ConfigurationError, Conflict, NotFound, PermanentError, Refused, Unavailable
from modeldrop.settings import Settings

CALL_SECONDS = 10.0
"""Longest wait for one answer. ``start`` waits for three at most, and for the template."""

EPISODE_LABEL = "modeldrop-episode"
_LABEL_LENGTH = 63
_WHY_LENGTH = 500

State = Literal["accepted", "running", "succeeded", "failed"]
_STATES: Final[Mapping[int, State]] = {
    vertex.PipelineState.PIPELINE_STATE_UNSPECIFIED: "accepted",  # as in the answer to a creation
    vertex.PipelineState.PIPELINE_STATE_QUEUED: "accepted",
    vertex.PipelineState.PIPELINE_STATE_PENDING: "accepted",
    vertex.PipelineState.PIPELINE_STATE_RUNNING: "running",
    vertex.PipelineState.PIPELINE_STATE_CANCELLING: "running",
    vertex.PipelineState.PIPELINE_STATE_PAUSED: "running",
    vertex.PipelineState.PIPELINE_STATE_SUCCEEDED: "succeeded",
    vertex.PipelineState.PIPELINE_STATE_FAILED: "failed",
    vertex.PipelineState.PIPELINE_STATE_CANCELLED: "failed",
}
_REMARKS: Final[Mapping[int, str]] = {
    vertex.PipelineState.PIPELINE_STATE_CANCELLING: "it is being cancelled",
    vertex.PipelineState.PIPELINE_STATE_PAUSED: "it is paused",
    vertex.PipelineState.PIPELINE_STATE_FAILED: "it failed",
    vertex.PipelineState.PIPELINE_STATE_CANCELLED: "it was cancelled",
}


class VertexPipelineTrainer:
    """The Trainer port on Vertex AI pipelines. Safe for use by several threads."""

    def __init__(
        self,
        client: vertex.PipelineServiceClient,
        target: VertexPipelineTarget,
        settings: Settings,
        *,
        open_templates: Callable[[str], StorageBucket],
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._client = client
        self._target = target
        self._settings = settings
        self._open_templates = open_templates
        self._call_seconds = call_seconds
        self._parent = f"projects/{settings.project}/locations/{settings.region}"

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """Create the job whose id is the episode, or adopt it."""
        # Looked for first where it may be there: what became of the template meanwhile does not matter then.
        job = self._job(request) if again else None
        return self._run(request, job or self._created(request))

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """How the job stands; one that is not there any more has failed."""
        job = self._job(request)
        if job is None:
            return msgspec.structs.replace(run, state="failed", why="the pipeline job is not there any more")
        return self._run(request, job)

    def close(self) -> None:
        """Close the connections kept for the next call."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _created(self, request: TrainingRequest) -> Any:
        creation = vertex.CreatePipelineJobRequest(
            parent=self._parent, pipeline_job_id=request.episode, pipeline_job=self._wanted(request)
        )
        try:
            return self._call(self._client.create_pipeline_job, creation)
        except Conflict as error:
            job = self._job(request)
            if job is None:  # the conflict was another one, or the job was deleted since
                raise Unavailable(str(error)) from error
            return job
        except NotFound as error:
            raise Refused(str(error)) from error

    def _job(self, request: TrainingRequest) -> Any:
        """The episode's job, or None. Raises Refused if the job of that name is not the episode's."""
        try:
            found = self._call(self._client.get_pipeline_job, vertex.GetPipelineJobRequest(name=self._name(request)))
        except NotFound:
            return None
        if found.labels.get(EPISODE_LABEL) != _label(request):
            raise Refused(f"pipeline job {found.name!r} is in the way: its label says it is not the episode's")
        return found

    def _wanted(self, request: TrainingRequest) -> Any:
        target = self._target
        job = vertex.PipelineJob(
            display_name=f"modeldrop {request.episode}",
            labels={EPISODE_LABEL: _label(request), MODEL_LABEL: request.model},
            service_account=target.service_account or "",
        )
        parameters: dict[str, Any] = {"episode": request.episode}
        try:
            if target.template.startswith("gs://"):
                template = self._template()
                parameters = template.values | _fields_declared(request, template)
                job.pipeline_spec = ParseDict(template.spec, Struct())
            else:
                job.template_uri = target.template
            values = {name: ParseDict(value, Value()) for name, value in (parameters | target.parameters).items()}
        except (NoMessage, OverflowError, RecursionError) as error:
            raise Refused(f"{target.template} is no pipeline that Vertex AI can be sent: {error}") from error
        job.runtime_config = vertex.PipelineJob.RuntimeConfig(gcs_output_directory=target.root, parameter_values=values)
        return job

    def _template(self) -> PipelineTemplate:
        bucket, _, name = self._target.template.removeprefix("gs://").partition("/")
        try:
            with closing(self._open_templates(bucket)) as templates:
                found = templates.read(name, limit_bytes=TEMPLATE_LIMIT_BYTES)
        except (PermanentError, ConfigurationError) as error:
            raise Refused(f"{self._target.template} cannot be read: {error}") from error
        if found is None:
            raise Refused(f"{self._target.template} is not there")
        return read_template(name, found[1])

    def _run(self, request: TrainingRequest, job: Any) -> Run:
        message = vertex.PipelineJob.pb(job)  # a state unknown to the client is a number there, and no warning
        why = _REMARKS.get(message.state, "")
        if message.state not in _STATES:
            why = f"Vertex AI says state {message.state}, which is not known here"
        if message.HasField("error"):
            why = f"{code_name(message.error.code)}: {message.error.message}"
        # What is not known is no end: it is followed on, until the episode expires.
        state = _STATES.get(message.state, "running")
        return Run(id=request.episode, url=self._page(request), state=state, why=why[:_WHY_LENGTH])

    def _page(self, request: TrainingRequest) -> str:
        """The job in the console."""
        runs = f"https://console.cloud.google.com/vertex-ai/locations/{self._settings.region}/pipelines/runs"
        return f"{runs}/{request.episode}?{urlencode({'project': self._settings.project})}"

    def _name(self, request: TrainingRequest) -> str:
        return f"{self._parent}/pipelineJobs/{request.episode}"

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        with vertex_errors():
            return method(request=request, retry=None, timeout=self._call_seconds)


def _label(request: TrainingRequest) -> str:
    """The episode as a label's value: its end, which tells episodes apart, where the whole is too long."""
    return request.episode[-_LABEL_LENGTH:]


def _fields_declared(request: TrainingRequest, template: PipelineTemplate) -> dict[str, Any]:
    """The episode's fields that the pipeline declares; one that is not known only where the pipeline insists on it."""
    values: dict[str, Any] = {}
    for name, value in _fields(request).items():
        kind = template.parameters.get(name)
        if value is None and name not in template.required:
            continue
        if kind == "STRING":
            values[name] = value if isinstance(value, str) else _text(value)
        elif kind == "STRUCT" and not isinstance(value, str):
            values[name] = value or {}
    return values


def _fields(request: TrainingRequest) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(request)
    window = fields["window"] or {}
    return fields | {"window_start": window.get("start"), "window_end": window.get("end")}


def _text(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


# --- connecting ------------------------------------------------------------------------------------------------


def connect(
    settings: Settings, target: VertexPipelineTarget, *, call_seconds: float = CALL_SECONDS
) -> VertexPipelineTrainer:
    """A trainer from the settings. Raises ConfigurationError if they, or the machine's credentials, do not allow it."""
    if not settings.project:
        raise ConfigurationError("MODELDROP_PROJECT is required to run pipelines on Vertex AI")
    own = f"https://{settings.region}-aiplatform.googleapis.com"
    address = read_address(settings.vertex_url or own, "MODELDROP_VERTEX_URL")
    client = vertex.PipelineServiceClient(
        credentials=credentials_for(address), transport="rest", client_options={"api_endpoint": address.url}
    )
    return VertexPipelineTrainer(
        client,
        target,
        settings,
        open_templates=lambda name: open_bucket(name, settings.project),
        call_seconds=call_seconds,
    )
