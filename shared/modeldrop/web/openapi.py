"""The description of the API (OpenAPI 3.1), made from the table of routes and the types of its answers.

``python -m modeldrop.web.openapi > docs/openapi.json`` writes the copy that a test holds to the table.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from modeldrop import __version__
from modeldrop.http.messages import JSON, PROBLEM
from modeldrop.web.answers.operations import CommandReply
from modeldrop.web.problem import Problem
from modeldrop.web.routes import DESCRIBED, PARAMETERS, Route

Json = dict[str, Any]

_SCHEMAS: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "The control plane of modeldrop. Errors are `application/problem+json` (RFC 9457); lists come by pages: give `next`"
    " of one as `before` for the following one. Reads have an `ETag`: with `If-None-Match` an answer that is still"
    " right is not sent again. Commands that change something stand in the audit trail, with the caller's name."
)
_PARAMETERS: Final[Mapping[str, str]] = {
    "model": "Name of a model.",
    "version": "Name of a version.",
    "rollout": "Id of a rollout.",
}
_PROBLEMS: Final[Mapping[int, str]] = {
    400: "Something is wrong with the request; `errors` has all of it, field by field.",
    401: "It is not known who asks.",
    403: "The caller has not the role for it, or a page of another site sent it.",
    404: "There is no such thing.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    421: "Without authentication only names of this machine are answered.",
    500: "Something went wrong; the log says what.",
    503: "Not at the moment; later it may work.",
}
_EXAMPLES: Final[Mapping[str, Json]] = {
    "promote": {"version": "v3", "force": False},
    "approve": {"version": "v3"},
    "rollback": {"to": "v2", "why": "customers complain"},
    "retrain": {"why": "new data"},
    "call": {"call": "GET /v1/models?limit=10"},
}


@cache
def document() -> bytes:
    """The description as JSON with sorted keys, the same each time."""
    return (json.dumps(_document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _document() -> Json:
    paths: Json = {}
    for route in DESCRIBED:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "modeldrop", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": _schemas(DESCRIBED),
            "responses": {str(status): _problem(text) for status, text in _PROBLEMS.items()},
            "headers": _HEADERS,
            "securitySchemes": {"bearer": bearer | {"description": "Not needed with `MODELDROP_AUTH=none`."}},
        },
    }


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Role: {route.role}.",
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        media: Json = {"schema": _reference(route.body)}
        if route.name in _EXAMPLES:
            media["example"] = _EXAMPLES[route.name]
        operation["requestBody"] = {"required": True, "content": {JSON: media}}
    return operation


def _path_parameters(route: Route) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", route.path):
        schema = {"type": "string", "pattern": f"^{PARAMETERS[name]}$"}
        yield {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name], "schema": schema}


def _query_parameters(route: Route) -> Iterator[Json]:
    if route.query is None:
        return
    _, components = msgspec.json.schema_components([route.query], ref_template=_SCHEMAS)
    for name, schema in components[route.query.__name__]["properties"].items():
        given = _without_null(schema)
        described = {"description": given.pop("description")} if "description" in given else {}
        yield {"name": name, "in": "query", "required": False, "schema": given, **described}


def _without_null(schema: Json) -> Json:
    """The schema of a parameter: it is left out rather than null."""
    plain = {name: value for name, value in schema.items() if name not in ("anyOf", "default") or value is not None}
    choices = [choice for choice in plain.pop("anyOf", []) if choice != {"type": "null"}]
    return {**plain, **(choices[0] if choices else {})}


def _responses(route: Route) -> Json:
    content = {"schema": _answer_schema(route)} if route.content_type == JSON else {"schema": {"type": "string"}}
    headers = {"Cache-Control": {"$ref": "#/components/headers/Cache-Control"}}
    responses: Json = {
        "200": {"description": route.summary, "headers": headers, "content": {route.content_type: content}}
    }
    if route.method == "GET":
        headers["ETag"] = {"$ref": "#/components/headers/ETag"}
        responses["304"] = {"description": "What the caller has is still right."}
    if route.query is not None and "before" in route.query.__struct_fields__:
        headers["Link"] = {"$ref": "#/components/headers/Link"}
    return responses | {str(status): {"$ref": f"#/components/responses/{status}"} for status in _statuses(route)}


def _statuses(route: Route) -> Iterator[int]:
    """The problems that a call may have."""
    for status in _PROBLEMS:
        if status == 404 and "{" not in route.path:
            continue
        if status in (413, 415) and route.body is None:
            continue
        yield status


def _answer_schema(route: Route) -> Json:
    if not route.answer:
        return {"type": "object"}
    references = [_reference(kind) for kind in route.answer]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _reference(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": _SCHEMAS.format(name=kind.__name__)}


# --- schemas ---------------------------------------------------------------------------------------------------


def _schemas(routes: Sequence[Route]) -> Json:
    """Schemas of all bodies and answers, by name. What an answer may hold it always holds, bodies may be shorter."""
    answers = {kind for route in routes for kind in route.answer} | {Problem, CommandReply}
    bodies = {route.body for route in routes if route.body is not None}
    _, sent = msgspec.json.schema_components(_by_name(answers), ref_template=_SCHEMAS)
    _, taken = msgspec.json.schema_components(_by_name(bodies), ref_template=_SCHEMAS)
    whole = {name: _whole(schema) for name, schema in sent.items()}
    return whole | taken


def _by_name(kinds: set[Any]) -> list[Any]:
    return sorted(kinds, key=lambda kind: str(kind.__name__))


def _whole(schema: Json) -> Json:
    """The schema of something that is always sent whole: every field is there, so that defaults say nothing."""
    if "properties" not in schema:
        return schema
    properties = {
        name: {part: value for part, value in field.items() if part != "default"}
        for name, field in schema["properties"].items()
    }
    optional = {"errors"} if schema.get("title") == Problem.__name__ else set()
    return schema | {"properties": properties, "required": sorted(properties.keys() - optional)}


def _problem(description: str) -> Json:
    return {"description": description, "content": {PROBLEM: {"schema": _reference(Problem)}}}


_HEADERS: Final[Json] = {
    "ETag": {"description": "Tag of this answer.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "How long it may be kept.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}},
}

if __name__ == "__main__":
    sys.stdout.buffer.write(document())
