"""``{"user_query", "dataset_name", "dataset_metadata"}`` → the bare prediction: one question of an app."""

from dataclasses import replace
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.events import strict_json
from modeldrop.handlers.serving.answering import afterwards, answer_instances, version_headers
from modeldrop.handlers.serving.limits import BODY_LIMIT_BYTES
from modeldrop.handlers.serving.service import Service
from modeldrop.handlers.serving.streaming import stream_answer
from modeldrop.http.messages import Reply, json_reply, problem
from modeldrop.serving.served_version import Serving


def is_query(body: bytes) -> bool:
    """Whether the body looks like a question: an object with ``user_query`` and without ``instances``.

    >>> is_query(b'{"user_query": "how many?"}'), is_query(b'{"instances": []}'), is_query(b"[")
    (True, False, False)
    """
    if b'"user_query"' not in body:
        return False  # as most are: they need not be read twice
    try:
        fields = msgspec.json.decode(strict_json.without_mark(body), type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False  # what is wrong with it is said by whoever reads it
    return "user_query" in fields and "instances" not in fields


def read_query(body: bytes) -> dict[str, Any]:
    """The question, as it came; raises InvalidInput with all that is wrong with its three fields."""
    query = strict_json.decode(body, limit_bytes=BODY_LIMIT_BYTES)
    assert isinstance(query, dict)  # is_query
    problems = [
        FieldProblem(name, "must be text, and not empty")
        for name in ("user_query", "dataset_name")
        if not isinstance(query.get(name), str) or not query[name].strip()
    ]
    if not isinstance(query.get("dataset_metadata"), dict | str):
        problems.append(FieldProblem("dataset_metadata", "must be an object, or one as JSON in a text"))
    if problems:
        raise InvalidInput(problems)
    return query


def answer_query(service: Service, serving: Serving, query: dict[str, Any], *, stream: bool) -> Reply:
    """200 with the prediction (a refusal is one, too); where there is none, the reason: 422 for the question's, 502."""
    if stream:
        return stream_answer(service, serving, query)
    found = answer_instances(service, serving, [query])
    (answer,) = found.answers
    headers = version_headers(serving, found)
    if "error" not in answer:
        reply = json_reply(200, answer, headers)
    else:
        was_question = serving.runtime.describe(query, answer, 0.0) is not None
        reply = problem(502 if was_question else 422, str(answer["error"]), headers=headers)
    return replace(reply, afterwards=afterwards(service, serving, found.told))
