"""Which page is shown at which path."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from modeldrop.http.messages import Asked, Reply
from modeldrop.web.answers.names import VERSION_PATTERN
from modeldrop.web.callers.caller import Caller
from modeldrop.web.commands import carry_out
from modeldrop.web.dashboard import rendering
from modeldrop.web.dashboard.assets import asset
from modeldrop.web.dashboard.forms import command_page
from modeldrop.web.dashboard.reader import Read, Reader, Unanswered
from modeldrop.web.dashboard.rendering import Viewer
from modeldrop.web.dashboard.views.actions import ROLE_OF, sure
from modeldrop.web.dashboard.views.audit import audit
from modeldrop.web.dashboard.views.decision import version_page
from modeldrop.web.dashboard.views.drift import Asked as AskedWindow
from modeldrop.web.dashboard.views.drift import drift
from modeldrop.web.dashboard.views.model import model_page
from modeldrop.web.dashboard.views.overview import overview
from modeldrop.web.problem import Problem
from modeldrop.wiring import Services

LONGEST_FILTER = 63
_CONFIRMED = ("promote", "rollback", "approve")
_TARGET = re.compile(VERSION_PATTERN)
Show = Callable[[Reader, Asked, Viewer, dict[str, str]], Reply]


def answer(services: Services, asked: Asked, caller: Caller, read: Read) -> Reply:
    """The page that is asked for, also where that is one about a problem.

    ``read(services, path, **query)`` says what the JSON API answers to GET of a path. Whether the caller may do what
    a form asks was seen to before.
    """
    viewer = Viewer(caller, services.clock())
    for method, pattern, show in _PAGES:
        found = pattern.fullmatch(asked.path)
        if found and (asked.method == method or (method, asked.method) == ("GET", "HEAD")):
            try:
                return show(Reader(services, read), asked, viewer, found.groupdict())
            except Unanswered as error:
                return problem_page(error.problem, viewer)
    found = _COMMAND.fullmatch(asked.path)
    if found and asked.method == "POST":
        said = _command(services, asked, viewer, found["model"], found["command"])
        return problem_page(said, viewer) if isinstance(said, Problem) else said
    return problem_page(Problem(404, "Not found", f"there is no page {asked.path[:200]}"), viewer)


def problem_page(problem: Problem, viewer: Viewer) -> Reply:
    """A problem as a page in the same design; without a caller it offers nothing but the way back."""
    return replace(rendering.page("problem.html", viewer, problem.status, problem=problem), said=problem.detail)


def _overview(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    wanted = asked.query.get("name", "").strip().lower()[:LONGEST_FILTER]
    shown = overview(reader, wanted, asked.query.get("before"), viewer.now)
    return rendering.page("overview.html", viewer, shown=shown)


def _model(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    model, command = names["model"], asked.query.get("confirm", "")
    if command in _CONFIRMED:
        return _confirmation(reader, asked, viewer, model, command)
    roles = viewer.caller.roles if viewer.caller else frozenset[str]()
    shown = model_page(reader, model, asked.query, roles, viewer.now)
    return rendering.page("model.html", viewer, shown=shown)


def _confirmation(reader: Reader, asked: Asked, viewer: Viewer, model: str, command: str) -> Reply:
    """ "Sure?" as a page, for browsers without the script."""
    about = reader.get(f"/v1/models/{model}")
    if viewer.caller is None or ROLE_OF[command] not in viewer.caller.roles:
        raise Unanswered(Problem(403, "Forbidden", f"you have no role that may {command}"))
    target = asked.query.get("to" if command == "rollback" else "version", "")
    if not _TARGET.fullmatch(target) and (target or command != "rollback"):  # nobody else's words in our question
        raise Unanswered(Problem(400, "Bad request", f"{command}: that is no name of a version"))
    fields = {name: asked.query.get(name, "") for name in ("version", "to", "falling", "why", "force")}
    question = sure(about, command, target)
    given = {name: value for name, value in fields.items() if value}
    return rendering.page("confirm.html", viewer, model=model, command=command, question=question, fields=given)


def _version(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    shown = version_page(reader, names["model"], names["version"], viewer.now)
    return rendering.page("version.html", viewer, shown=shown)


def _drift(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    reader.get(f"/v1/models/{names['model']}")  # 404: no report yet is another thing
    window = {name: asked.query.get(name) or None for name in ("window", "version", "windows_before")}
    about = {"paged": window["windows_before"] is not None, "asked": any(window.values())}
    shown = drift(reader, names["model"], AskedWindow(**window), viewer.now, glance=False)
    return rendering.page("drift.html", viewer, model=names["model"], shown=shown, **about)


def _audit(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    if viewer.caller is None or "operator" not in viewer.caller.roles:
        raise Unanswered(Problem(403, "Forbidden", "the audit trail is for operators"))
    return rendering.page("audit.html", viewer, shown=audit(reader, asked.query.get("before"), viewer.now))


def _static(reader: Reader, asked: Asked, viewer: Viewer, names: dict[str, str]) -> Reply:
    found = asset(names["name"])
    if found is None:
        raise Unanswered(Problem(404, "Not found", "there is no such file"))
    return found


def _command(services: Services, asked: Asked, viewer: Viewer, model: str, command: str) -> Reply | Problem:
    assert viewer.caller is not None
    carry = partial(_carried_out, services, model, command, viewer.caller.name)
    return command_page(asked, model, command, viewer, carry)


def _carried_out(services: Services, model: str, command: str, caller: str, body: bytes) -> dict[str, object] | Problem:
    return carry_out(services, model, command, body, caller)


_NAME = r"(?P<model>[a-z][a-z0-9-]{0,62})"
_VERSION = r"(?P<version>[A-Za-z0-9][A-Za-z0-9._-]{0,159})"
_COMMAND = re.compile(rf"/models/{_NAME}/(?P<command>{'|'.join(ROLE_OF)})")
_PAGES: tuple[tuple[str, re.Pattern[str], Show], ...] = tuple(
    (method, re.compile(pattern), show)
    for method, pattern, show in (
        ("GET", r"/", _overview),
        ("GET", rf"/models/{_NAME}", _model),
        ("GET", rf"/models/{_NAME}/versions/{_VERSION}", _version),
        ("GET", rf"/models/{_NAME}/drift", _drift),
        ("GET", r"/audit", _audit),
        ("GET", r"/assets/(?P<name>[a-z0-9.-]{1,80})", _static),
    )
)
