"""A compiled pipeline, from the bytes of its file to what Vertex AI takes: the form that KFP 2 compiles to."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from modeldrop.errors import InvalidInput, Refused
from modeldrop.events.strict_json import decode

TEMPLATE_LIMIT_BYTES = 5 << 20
MOST_LEVELS = 32  # below the depth at which Google's own JSON reader stops
_OLD_FORMS = ("1.", "2.0.")  # schema versions whose parameters go another way


class PipelineTemplate(msgspec.Struct, frozen=True):
    """``parameters``: the declared types by name (``STRING``, …); ``required`` are those without a default.

    ``values``: parameter values that the file itself gives.
    """

    spec: dict[str, Any]
    parameters: dict[str, str]
    required: frozenset[str]
    values: dict[str, Any]


def read_template(name: str, data: bytes) -> PipelineTemplate:
    """The pipeline in a ``.json``, ``.yaml`` or ``.yml`` file, be it a pipeline spec or a whole pipeline job.

    Raises Refused for anything else.
    """
    document = _json(name, data) if name.endswith(".json") else _yaml(name, data)
    whole = document if isinstance(document, dict) else {}
    spec = whole.get("pipelineSpec", whole)
    declared = _inside(spec, "root", "inputDefinitions", "parameters")
    values = _inside(whole, "runtimeConfig", "parameterValues") if spec is not whole else {}
    if not _inside(spec, "root") or not all(isinstance(part, dict) for part in (spec["root"], declared, values)):
        raise Refused(f"{name} is no compiled pipeline: it has no root component")
    version = spec.get("schemaVersion")
    if not isinstance(version, str) or version.startswith(_OLD_FORMS):
        raise Refused(f"{name} has the schema version {str(version)[:32]!r}: it must be compiled with KFP 2")
    facts = {key: fact if isinstance(fact, dict) else {} for key, fact in declared.items()}
    return PipelineTemplate(
        spec=spec,
        parameters={key: str(fact.get("parameterType", "")) for key, fact in facts.items()},
        required=frozenset(key for key, fact in facts.items() if not fact.get("isOptional") and _has_no_default(fact)),
        values=values,
    )


def _has_no_default(fact: Mapping[str, Any]) -> bool:
    return "defaultValue" not in fact


def _inside(document: Any, *path: str) -> Any:
    """What is at the end of the path; an empty object where it, or anything before it, is missing."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return {} if document is None else document


def _json(name: str, data: bytes) -> Any:
    try:
        return decode(data, limit_bytes=TEMPLATE_LIMIT_BYTES)
    except InvalidInput as error:
        raise Refused(f"{name} is no JSON we read: {error}") from None


def _yaml(name: str, data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
        _check_events(text)
        # There and back: what JSON does not have (dates, NaN) is refused, and keys become texts.
        return json.loads(json.dumps(yaml.load(text, Loader=_SafeLoader), allow_nan=False))  # noqa: S506
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise Refused(f"{name} is no YAML we read: {' '.join(str(error).split())[:300]}") from None


class _SafeLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """The safe loader, in C where there is one: a template of some MiB takes the other one minutes."""


def _check_events(text: str) -> None:
    """Before anything is built: no aliases (a bomb needs them; the compiler writes none), no deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise ValueError(f"nested more than {MOST_LEVELS} levels deep")
