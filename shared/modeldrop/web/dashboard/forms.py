"""Commands from forms: the same as ``POST /v1/models/{model}:{command}``, answered with a page."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput
from modeldrop.http.body import read_body
from modeldrop.http.messages import Asked, Reply
from modeldrop.web.dashboard.marks import word_mark
from modeldrop.web.dashboard.rendering import Viewer, page
from modeldrop.web.problem import Problem

FORM_LIMIT_BYTES = 16 << 10
MOST_FIELDS = 10
FIELDS: Mapping[str, tuple[str, ...]] = {
    "promote": ("version", "force"),
    "rollback": ("to", "falling", "why"),
    "approve": ("version",),
    "pause": (),
    "resume": (),
    "retrain": ("why",),
}
FORM = "application/x-www-form-urlencoded"
CarryOut = Callable[[bytes], dict[str, Any] | Problem]
"""Carries a command out whose JSON body this is."""


def command_page(asked: Asked, model: str, command: str, viewer: Viewer, carry_out: CarryOut) -> Reply | Problem:
    """Carry the form out; a page that says what came of it: 200, or 409 where it was refused."""
    if asked.headers.get("Content-Type", "").split(";")[0].strip().lower() != FORM:
        return Problem(415, "Unsupported media type", f"a form is {FORM}")
    body = read_body(asked.stream, FORM_LIMIT_BYTES)
    if len(body) > FORM_LIMIT_BYTES:
        return Problem(413, "Too large", f"a form has at most {FORM_LIMIT_BYTES} bytes")
    try:
        content = body_of(command, body)
    except InvalidInput as error:
        return Problem(400, "Bad request", str(error))
    said = carry_out(msgspec.json.encode(content))
    if isinstance(said, Problem):
        return said
    status = 200 if said["status"] == "accepted" else 409
    mark = word_mark(said["status"])
    outcome = page("outcome.html", viewer, status, model=model, command=command, mark=mark, reason=said["reason"])
    return replace(outcome, said=str(said["reason"]))


def body_of(command: str, form: bytes) -> dict[str, str | bool]:
    """The command's JSON; fields left empty are left out. Raises InvalidInput.

    >>> body_of("promote", b"version=v3&force=yes"), body_of("rollback", b"to=&why=it+is+slow")
    ({'version': 'v3', 'force': True}, {'why': 'it is slow'})
    """
    try:
        given = parse_qsl(form.decode(), keep_blank_values=True, strict_parsing=bool(form), max_num_fields=MOST_FIELDS)
    except ValueError:  # also what is no UTF-8
        raise InvalidInput([FieldProblem("$", "is no form")]) from None
    unknown = [name for name, _ in given if name not in FIELDS[command]]
    if unknown or len({name for name, _ in given}) < len(given):
        raise InvalidInput([FieldProblem(name, "is unknown, or given twice") for name in unknown or ["$"]])
    return {name: (value == "yes") if name == "force" else value for name, value in given if value}
