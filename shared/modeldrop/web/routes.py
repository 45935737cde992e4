"""Every call of the API in one table: the dispatcher, the OpenAPI document and the tests are made from it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from modeldrop.domain.rollout import Rollout
from modeldrop.http.messages import Reply
from modeldrop.web import commands, pages
from modeldrop.web.answers import audit, models, operations, reports, versions
from modeldrop.web.answers.names import MODEL_PATTERN, VERSION_PATTERN
from modeldrop.web.calls import Call, HistoryQuery, NoQuery, Page, TrendQuery, WindowQuery
from modeldrop.web.problem import Problem
from modeldrop.web.reading import audit as audit_reads
from modeldrop.web.reading import models as model_reads
from modeldrop.web.reading import operations as operation_reads
from modeldrop.web.reading import reports as report_reads
from modeldrop.web.reading import ticks as tick_reads
from modeldrop.web.reading import versions as version_reads
from modeldrop.web.roles import Role
from modeldrop.wiring import Services

Answer = msgspec.Struct | Problem | Reply
Handler = Callable[[Services, Call[Any]], Answer]

PARAMETERS: Final[Mapping[str, str]] = {
    "model": MODEL_PATTERN,
    "version": VERSION_PATTERN,
    "rollout": VERSION_PATTERN,
    "command": "promote|approve|rollback|pause|resume|retrain",
    "name": "[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
}
"""What the parts of a path in braces may be: regular expressions for the whole part."""


@dataclass(frozen=True)
class Route:
    """A call. ``answer`` has its types (none: a page for people, or another format), ``body`` that of its JSON body."""

    method: str
    path: str
    name: str
    role: Role | Mapping[str, Role]  # by command, where the path has one
    summary: str
    handler: Handler
    answer: tuple[type[msgspec.Struct], ...] = ()
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = NoQuery  # None: the handler looks at it
    content_type: str = "application/json"  # of the answer
    public: bool = False  # answered whoever asks: also the page that says 401 has a style

    @property
    def changes(self) -> bool:
        """Whether it changes anything: then it stands in the audit trail."""
        return self.method == "POST"

    def role_for(self, arguments: Mapping[str, str]) -> Role:
        """The role that a call needs."""
        return self.role if isinstance(self.role, str) else self.role[arguments["command"]]


def _read(  # one row a call: what it is first, then what it gives
    path: str,
    name: str,
    summary: str,
    handler: Handler,
    *answers: type[msgspec.Struct],
    query: type[msgspec.Struct] = NoQuery,
) -> Route:
    return Route("GET", path, name, "viewer", summary, handler, answers, query=query)


def _page(path: str, name: str, summary: str) -> Route:
    return Route("GET", path, name, "viewer", summary, pages.dashboard_page, query=None, content_type="text/html")


_MODEL = "/v1/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"

READS = (
    _read("/v1", "about", "Who answers, and where to go from here", model_reads.about, models.About),
    _read("/v1/models", "models", "Models at a glance", model_reads.models, models.Models, query=Page),
    _read(_MODEL, "model", "One model, with its aliases", model_reads.model, models.Model),
    _read(
        *(f"{_MODEL}/versions", "versions", "Versions of a model, the newest first"),
        *(version_reads.versions, versions.Versions),
        query=Page,
    ),
    _read(
        *(_VERSION, "version", "A version with the gate's decision"),
        *(version_reads.version, versions.VersionAnswer),
    ),
    _read(
        *(f"{_VERSION}/explain", "explain", "Why a version was approved, held or rejected"),
        *(version_reads.explain, versions.Explained),
    ),
    _read(
        *(f"{_MODEL}/standing", "standing", "What the next version will be judged by"),
        *(model_reads.standing, models.WhatToBeat),
    ),
    _read(
        *(f"{_MODEL}/history", "history", "What happened to a model; with `at`, what served then"),
        *(model_reads.history, models.History, models.ServedAt),
        query=HistoryQuery,
    ),
    _read(f"{_MODEL}/health", "health", "How the version that serves is doing", model_reads.health, models.Health),
    _read(
        *(f"{_MODEL}/drift", "drift", "How far a window of a version is from its reference"),
        *(report_reads.drift, reports.DriftAnswer),
        query=WindowQuery,
    ),
    _read(
        *(f"{_MODEL}/drift/windows", "drift_windows", "Drift over windows, the newest first"),
        *(report_reads.drift_windows, reports.DriftWindows),
        query=TrendQuery,
    ),
    _read(
        *(f"{_MODEL}/quality", "quality", "How well versions predict, by the labels that have come"),
        *(report_reads.quality, reports.QualityAnswer),
        query=WindowQuery,
    ),
    _read(
        *(f"{_MODEL}/quality/windows", "quality_windows", "Quality over windows, the newest first"),
        *(report_reads.quality_windows, reports.QualityWindows),
        query=TrendQuery,
    ),
    _read(
        *(f"{_MODEL}/rollouts", "rollouts", "Rollouts of a model, the newest first"),
        *(version_reads.rollouts, versions.Rollouts),
        query=Page,
    ),
    _read(
        *(f"{_MODEL}/rollouts/{{rollout}}", "rollout", "A rollout: steps, measurements, verdicts"),
        *(version_reads.rollout, Rollout),
    ),
    _read(
        *(f"{_MODEL}/retraining", "retraining", "Retrainings of a model, and what came of them"),
        *(operation_reads.retraining, operations.Retrainings),
        query=Page,
    ),
    _read(
        *(f"{_MODEL}/deliveries", "deliveries", "News of a model, and whom they reached"),
        *(operation_reads.deliveries, operations.Deliveries),
        query=Page,
    ),
    _read("/v1/ticks", "ticks", "When each tick ran last", tick_reads.ticks, operations.Ticks),
    _read(
        *("/v1/quarantine", "quarantine", "What came in and could not be taken"),
        *(operation_reads.quarantine, operations.Quarantine),
        query=Page,
    ),
    replace(
        _read(
            *("/v1/audit", "audit", "Changing and refused calls, the newest first"),
            *(audit_reads.audit, audit.Audit),
            query=Page,
        ),
        role="operator",
    ),
)

COMMANDS = (
    *(
        Route(
            *("POST", f"{_MODEL}:{name}", name, command.role, command.summary),
            *(commands.command_handler(name), (operations.CommandReply,), command.body),
        )
        for name, command in commands.COMMANDS.items()
    ),
    Route(
        *("POST", "/v1/quarantine:replay", "replay", "operator", "Put quarantined prediction events back"),
        *(commands.replay, (operations.ReplayReply,), commands.Replay),
    ),
)

OTHERS = (
    Route(
        *("POST", "/", "call", "viewer", "Another call as the body of this one, for clients that can only post here"),
        *(pages.not_routed, (operations.CallReply,), commands.Forwarded),
    ),
    _read("/v1/openapi.json", "openapi", "This description", pages.openapi),
    replace(_read("/metrics", "metrics", "Figures for Prometheus", pages.metrics), content_type="text/plain"),
)

PAGES = (
    _page("/", "page_models", "Models at a glance"),
    _page("/models/{model}", "page_model", "A model"),
    _page("/models/{model}/versions/{version}", "page_version", "A version and the gate's decision"),
    _page("/models/{model}/drift", "page_drift", "Drift, feature by feature"),
    _page("/audit", "page_audit", "Changing and refused calls"),
    replace(_page("/assets/{name}", "asset", "Styles and script of the pages"), public=True),
    Route(
        *("POST", "/models/{model}/{command}", "page_command"),
        {name: command.role for name, command in commands.COMMANDS.items()},
        *("A command given by a form", pages.dashboard_page),
        query=None,
        content_type="text/html",
    ),
)

DESCRIBED: Final = (*READS, *COMMANDS, *OTHERS, PAGES[0])
"""Those that programs call, and that therefore stand in the OpenAPI document."""
ROUTES: Final = (*READS, *COMMANDS, *OTHERS, *PAGES)
Found = tuple[Route, dict[str, str]] | frozenset[str]
"""A route and the names in its path; or the methods of a path that has not the one asked for."""
_PATTERNS: Final = tuple(
    (re.compile(re.sub(r"\{(\w+)\}", lambda part: f"(?P<{part[1]}>{PARAMETERS[part[1]]})", route.path)), route)
    for route in ROUTES
)


def find_route(method: str, path: str) -> Found:
    """The route of a call with the names in its path; else the methods of that path, none where nothing is.

    >>> route, arguments = find_route("GET", "/v1/models/fraud/versions/v3")
    >>> route.name, arguments
    ('version', {'model': 'fraud', 'version': 'v3'})
    >>> sorted(find_route("PUT", "/v1/models/fraud")), sorted(find_route("GET", "/v2"))
    (['GET'], [])
    """
    matches = [(route, match) for pattern, route in _PATTERNS if (match := pattern.fullmatch(path))]
    for route, match in matches:
        if route.method == method:
            return route, match.groupdict()
    return frozenset(route.method for route, _ in matches)
