"""``metadata.json`` in every dialect, from bytes to one checked shape.

Dialects: modeldrop's own; the flat LLM metadata (``selected_model``, ``performance_score`` …); flat NLG metrics
(``bleu1`` … ``rougeL_precision``); entries of model registries (``model_type``, ``framework`` …: ``FOREIGN_LABELS``).
Unknown fields are left alone: training scripts write many of their own. So are a registry's ``status``, ``deployed_at``
and ``artifact_path``: the first two are for us to say, and the path's root is not known.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modeldrop.domain.packages import PackageLocation
from modeldrop.domain.scorecard import parse_scorecard
from modeldrop.domain.versions import Metadata
from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import field_problems

METADATA_LIMIT_BYTES = 1 << 20
EARLIEST_YEAR = 2000
MOST_PROBLEMS_IN_ALL = 1_000  # they must fit into a document
PINNED_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,255}@sha256:[0-9a-f]{64}")

LLM_METRICS = ("performance_score", "bias_score", "success_rate", "avg_response_time")
NLG_METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "rougeL_precision")

# Fields of other registries that are kept, where they are text: facts about a version that nothing here acts on.
FOREIGN_LABELS = ("name", "type", "model_type", "framework", "created_by")
FOREIGN_LINEAGE = {"training_data_version": "training_data"}

# Stores reserve field names of the form __x__, and none takes an empty one.
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^(?s:(?!__.*__$))")]
FeatureName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^(?s:(?!__.*__$))")]
LONGEST_TEXT = 1024
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Runtime = Literal["gemini", "scorecard", "onnx", "container"]


class _Feature(msgspec.Struct, frozen=True):
    type: Literal["numeric", "categorical", "boolean", "text"]


class _Fields(msgspec.Struct, frozen=True):
    """The fields we read, as they stand in the file."""

    model: str | None = None
    version: str | None = None
    runtime: Runtime | None = None
    created_at: Text | None = None
    selection_date: Text | None = None
    metrics: Annotated[dict[Name, float], Meta(max_length=200)] = {}
    hyperparameters: Annotated[dict[str, object], Meta(max_length=100)] | None = None
    prompt_template: Annotated[str, Meta(max_length=200_000)] | None = None
    image: Text | None = None
    artifact_uri: Text | None = None
    features: Annotated[dict[FeatureName, _Feature], Meta(max_length=1000)] = {}
    lineage: Annotated[dict[Name, Text | None], Meta(max_length=32)] = {}
    deployment_ready: bool = True
    labels: Annotated[dict[Name, Text], Meta(max_length=64)] = {}
    selected_model: Text | None = None
    composite_score: float | None = None
    performance_score: float | None = None
    bias_score: float | None = None
    success_rate: float | None = None
    avg_response_time: float | None = None
    bleu1: float | None = None
    bleu2: float | None = None
    bleu3: float | None = None
    bleu4: float | None = None
    rougeL_precision: float | None = None  # noqa: N815 - the field's name in the file


def read_metadata(data: bytes, location: PackageLocation, uploaded_at: datetime) -> Metadata:
    """The package's metadata; raises InvalidInput with everything that is wrong, its names included."""
    try:
        document = strict_json.decode(data, limit_bytes=METADATA_LIMIT_BYTES)
    except InvalidInput as error:
        raise InvalidInput([*location.problems, *error.problems]) from None
    if not isinstance(document, dict):
        raise InvalidInput([*location.problems, FieldProblem("$", "the metadata is not a JSON object")])
    wrong = _wrong_fields(document)
    broken = wrong.keys()
    problems = [*location.problems, *(problem for found in wrong.values() for problem in found)]
    fields = msgspec.convert({name: value for name, value in document.items() if name not in broken}, _Fields)
    problems += _wrong_names(fields, location)
    created_at, time_problems = _declared_time(fields, uploaded_at)
    problems += time_problems
    problems += _stated_twice(fields)
    runtime = fields.runtime or ("gemini" if fields.selected_model else None)
    if runtime is None and "runtime" not in broken:
        problems.append(FieldProblem("runtime", _no_runtime(document)))
    problems += _runtime_problems(runtime, fields, document, broken)
    if problems:
        more = len(problems) - MOST_PROBLEMS_IN_ALL
        rest = [FieldProblem("$", f"and {more} more problems")] if more > 0 else []
        raise InvalidInput([*problems[:MOST_PROBLEMS_IN_ALL], *rest])
    assert runtime is not None
    return _metadata(runtime, fields, document, created_at)


def _wrong_fields(document: dict[str, object]) -> dict[str, list[FieldProblem]]:
    """The problems of each field that has any."""
    known = {field.name: field.type for field in msgspec.structs.fields(_Fields) if field.name in document}
    found = {name: field_problems(document[name], kind, name) for name, kind in known.items()}
    return {name: problems for name, problems in found.items() if problems}


def _metadata(runtime: str, fields: _Fields, document: dict[str, object], created_at: datetime | None) -> Metadata:
    lineage = {name: value for name, value in fields.lineage.items() if value is not None}
    foreign = {name: text for name in FOREIGN_LABELS if (text := _foreign(document, name)) is not None}
    inherited = {own: text for name, own in FOREIGN_LINEAGE.items() if (text := _foreign(document, name)) is not None}
    return Metadata(
        runtime=runtime,
        created_at=created_at,
        metrics=_flat_metrics(fields) | fields.metrics,
        stated_composite=fields.composite_score,
        features={name: feature.type for name, feature in fields.features.items()},
        lineage=inherited | lineage,
        labels=foreign | fields.labels,
        deployment_ready=fields.deployment_ready,
        llm=_llm(fields),
        image=fields.image,
        artifact_uri=fields.artifact_uri,
    )


def _flat_metrics(fields: _Fields) -> dict[str, float]:
    flat = {name: getattr(fields, name) for name in (*LLM_METRICS, *NLG_METRICS)}
    return {name: float(value) for name, value in flat.items() if value is not None}


def _stated_twice(fields: _Fields) -> list[FieldProblem]:
    """A figure that stands both at the top and in ``metrics`` must be the same: we do not choose."""
    return [
        FieldProblem(f"metrics.{name}", f"is {fields.metrics[name]:g}, but the field {name} says {value:g}")
        for name, value in _flat_metrics(fields).items()
        if fields.metrics.get(name, value) != value
    ]


def _foreign(document: dict[str, object], name: str) -> str | None:
    """The text of another registry's field; None where it is anything else than text of a label's length."""
    value = document.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT else None


def _no_runtime(document: dict[str, object]) -> str:
    """What is missing, and why what is there does not say it."""
    message = "missing: one of gemini, scorecard, onnx, container"
    if any(name in document for name in NLG_METRICS):
        return f"{message}. BLEU and ROUGE figures do not say what serves the model"
    if any(name in document for name in ("framework", "model_type")):
        return f"{message}. Framework and model type do not say what serves the model"
    return message


def _llm(fields: _Fields) -> str | None:
    named = (fields.hyperparameters or {}).get("model")
    return fields.selected_model or (named if isinstance(named, str) else None)


def _wrong_names(fields: _Fields, location: PackageLocation) -> list[FieldProblem]:
    pairs = [("model", fields.model, location.model), ("version", fields.version, location.version)]
    return [
        FieldProblem(field, f"{declared[:160]!a} is not the {field} of the path, {expected[:160]!a}")
        for field, declared, expected in pairs
        if declared is not None and declared != expected
    ]


def _declared_time(fields: _Fields, uploaded_at: datetime) -> tuple[datetime | None, list[FieldProblem]]:
    """``created_at``, else ``selection_date``. Times without an offset are UTC."""
    for name in ("created_at", "selection_date"):
        text = getattr(fields, name)
        if text is None:
            continue
        try:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return None, [FieldProblem(name, f"{text[:64]!a} is no ISO 8601 time")]
        if moment.year < EARLIEST_YEAR:
            return None, [FieldProblem(name, f"{text[:64]!a} lies before {EARLIEST_YEAR}")]
        # A declared time far ahead would stand before every later version: one day allows for any zone's mistake.
        if (moment - uploaded_at).total_seconds() > 86_400:
            return None, [FieldProblem(name, f"{text[:64]!a} lies in the future of the upload")]
        return moment, []
    return None, []


def _runtime_problems(
    runtime: str | None, fields: _Fields, document: dict[str, object], broken: Collection[str]
) -> list[FieldProblem]:
    """What the runtime needs and the package lacks."""
    if runtime == "scorecard" and "features" not in broken:
        try:
            parse_scorecard(document.get("parameters"), {n: f.type for n, f in fields.features.items()} or None)
        except InvalidInput as error:
            return list(error.problems)
    if runtime == "container" and not (fields.image and PINNED_IMAGE.fullmatch(fields.image)):
        return [FieldProblem("image", "a container needs an image by digest: name@sha256:…")]
    if fields.image and not PINNED_IMAGE.fullmatch(fields.image):
        return [FieldProblem("image", "is not pinned by digest: name@sha256:…")]
    if runtime == "gemini" and _llm(fields) is None:
        return [FieldProblem("selected_model", "missing: the runtime gemini needs the name of the LLM")]
    return []
