"""The JSON API: which path is answered by what. Reads of the registry and the endpoint; commands are in commands.py."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from modeldrop import __version__
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import ModelVersion, Status
from modeldrop.errors import InvalidName, ModeldropError, TransientError
from modeldrop.web import reports, retraining
from modeldrop.web.commands import COMMANDS, Request, carry_out, replay
from modeldrop.web.problem import Problem, bad_request, not_found
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

MOST_ROWS = 200
Arguments = Mapping[str, str]


def answer(
    services: Services, method: str, path: str, query: Arguments, request: Request | None = None
) -> dict[str, Any] | Problem:
    """The answer to a request, or the problem with it. ``request`` is what a command needs besides."""
    try:
        route, arguments = ROUTES.bind("api").match("/" + path.strip("/"), method=method)
        limit, before = _page(query)
    except HTTPException as error:
        return Problem(error.code or 500, error.name, f"{method} {path}: {error.name.lower()}")
    except ValueError as error:
        return bad_request(str(error))
    try:
        if route not in HANDLERS:
            return _commanded(services, route, dict(arguments), request or Request("", b"", None))
        return HANDLERS[route](services, {**arguments, "before": before, "query": query}, limit)
    except InvalidName as error:  # a page after something that can be no id
        return bad_request(str(error))
    except TransientError as error:
        return Problem(503, "Unavailable", str(error))


def _commanded(services: Services, route: str, arguments: dict[str, Any], request: Request) -> dict[str, Any] | Problem:
    if route == "replay":
        return replay(services, request)
    return carry_out(services, arguments["model"], route, request)


def _page(query: Arguments) -> tuple[int, str | None]:
    text = query.get("limit", "50")
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ROWS):
        raise ValueError(f"limit must be a whole number from 1 to {MOST_ROWS}")
    return int(text), query.get("before")


def _about(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    return {"name": "modeldrop", "version": __version__, "links": ["/v1/models", "/v1/ticks", "/v1/quarantine"]}


def _models(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    heads = []
    for head in services.registry.heads(after=arguments["before"]):
        heads.append(_model_row(services, head))
        if len(heads) == limit:
            break
    following = heads[-1]["model"] if len(heads) == limit else None
    return {"models": heads, "ticks": retraining.late_ticks(services), "next": following}


def _model(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    head = services.registry.head(arguments["model"])
    if head.revision is None:
        return _no_model(arguments)
    latest = services.registry.versions(arguments["model"], limit=1)
    production, previous = head.value.production, head.value.previous
    aliases = {
        "production": production.version if production else None,
        "previous": previous.version if previous else None,
        "staging": _staging(services, head.value),
        "latest": latest[0].version if latest else None,
    }
    return _model_row(services, head.value) | {"aliases": aliases}


def _staging(services: Services, head: ModelHead) -> str | None:
    """What comes next: the version that is rolling out, else the newest that waits for approval."""
    if head.rollout is not None:
        return head.desired
    versions = services.registry.versions(head.model)
    return next((v.version for v in versions if v.status is Status.AWAITING_APPROVAL), None)


def _model_row(services: Services, head: ModelHead) -> dict[str, Any]:
    try:
        endpoint = services.model_server.observe(head.model)
    except ModeldropError as error:  # one endpoint that cannot be seen must not hide the others
        log.warning("the endpoint of %s cannot be seen: %s", head.model, error)
        endpoint = None
    return {
        "model": head.model,
        "production": head.production.version if head.production else None,
        "desired": head.desired,
        "endpoint": {"traffic": endpoint.traffic} if endpoint else None,
        "rollout": head.rollout,
        "paused": head.paused.why if head.paused else None,
        "health": services.registry.health(head.model).value.status if head.production else None,
        "drift": reports.latest_drift(services, head.model, head.production.version if head.production else None),
    }


def _versions(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    if services.registry.head(arguments["model"]).revision is None:
        return _no_model(arguments)
    versions = services.registry.versions(arguments["model"], before=arguments["before"], limit=limit)
    return {
        "versions": [_version_row(version) for version in versions],
        "next": versions[-1].key if len(versions) == limit else None,
    }


def _version_row(version: ModelVersion) -> dict[str, Any]:
    metadata = version.metadata
    return {
        "version": version.version,
        "status": version.status,
        "score": version.decision.score if version.decision else None,
        "digest": version.digest,
        "runtime": metadata.runtime if metadata else None,
        "metrics": metadata.metrics if metadata else {},
        "lineage": metadata.lineage if metadata else {},
        "labels": metadata.labels if metadata else {},
        "declared_at": version.declared_at.isoformat(),
        "received_at": version.received_at.isoformat(),
        "waiting_for": version.waiting_for,
        "fallen": version.fallen,
    }


def _version(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    found = services.registry.version(arguments["model"], arguments["version"])
    if found is None:
        return not_found(f"{arguments['model']} has no version {arguments['version']}")
    return _version_row(found.value) | {"decision": msgspec.to_builtins(found.value.decision)}


def _explain(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    found = services.registry.version(arguments["model"], arguments["version"])
    if found is None:
        return not_found(f"{arguments['model']} has no version {arguments['version']}")
    if found.value.decision is None:
        waiting = ", ".join(found.value.waiting_for) or "its turn"
        return not_found(f"{arguments['version']} has no decision yet: it waits for {waiting}")
    decision: dict[str, Any] = msgspec.to_builtins(found.value.decision)
    return {"model": arguments["model"], "version": arguments["version"], "status": found.value.status} | decision


def _standing(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    """What the next version would be judged by. A model nobody knows has a standing too: nobody to beat."""
    head = services.registry.head(arguments["model"]).value
    policy = services.registry.policy(arguments["model"]).value
    gate = {"digest": policy.digest, "gate": msgspec.to_builtins(policy.policy.gate)}
    return {"model": head.model, "policy": gate, **msgspec.to_builtins(head.last_standing)}


def _history(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    model, at = arguments["model"], arguments["query"].get("at")
    if services.registry.head(model).revision is None:
        return _no_model(arguments)
    if at is not None:
        try:
            moment = datetime.fromisoformat(at)
        except ValueError:
            return bad_request(f"at must be an ISO 8601 time, not {at[:64]!a}")
        served = services.registry.served_at(model, moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        return {"at": at, "served": msgspec.to_builtins(served)}
    entries = services.registry.history(model, before=arguments["before"], limit=limit)
    return {
        "history": [{"number": number, **msgspec.to_builtins(entry)} for number, entry in entries],
        "next": entries[-1][0] if len(entries) == limit else None,
    }


def _health(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    if services.registry.head(arguments["model"]).revision is None:
        return _no_model(arguments)
    record: dict[str, Any] = msgspec.to_builtins(services.registry.health(arguments["model"]).value)
    return {"model": arguments["model"], **record}


def _drift(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    return reports.drift(services, arguments["model"], arguments["query"])


def _quality(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    return reports.quality(services, arguments["model"], arguments["query"])


def _rollouts(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    if services.registry.head(arguments["model"]).revision is None:
        return _no_model(arguments)
    rollouts = services.registry.rollouts(arguments["model"], before=arguments["before"], limit=limit)
    return {
        "rollouts": [msgspec.to_builtins(rollout) for rollout in rollouts],
        "next": rollouts[-1].id if len(rollouts) == limit else None,
    }


def _rollout(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any] | Problem:
    found = services.registry.rollout(arguments["model"], arguments["rollout"])
    if found is None:
        return not_found(f"{arguments['model']} has no rollout {arguments['rollout']}")
    answer_: dict[str, Any] = msgspec.to_builtins(found.value)
    return answer_


def _quarantine(services: Services, arguments: dict[str, Any], limit: int) -> dict[str, Any]:
    found = services.registry.quarantine(after=arguments["before"], limit=limit)
    rows = [{"id": name, **msgspec.to_builtins(entry)} for name, entry in found]
    return {"quarantine": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


def _no_model(arguments: dict[str, Any]) -> Problem:
    return not_found(f"there is no model {arguments['model']}")


HANDLERS: dict[str, Callable[[Services, dict[str, Any], int], dict[str, Any] | Problem]] = {
    "about": _about,
    "models": _models,
    "model": _model,
    "versions": _versions,
    "version": _version,
    "explain": _explain,
    "standing": _standing,
    "history": _history,
    "health": _health,
    "drift": _drift,
    "quality": _quality,
    "rollouts": _rollouts,
    "rollout": _rollout,
    "retraining": retraining.retraining,
    "deliveries": retraining.deliveries,
    "ticks": retraining.ticks,
    "quarantine": _quarantine,
}

_MODEL = "regex('[a-z][a-z0-9-]{0,62}')"
_VERSION = "regex('[A-Za-z0-9][A-Za-z0-9._-]{0,159}')"


def _routes() -> Map:
    from werkzeug.routing import BaseConverter  # noqa: PLC0415 - its name is only needed here

    class Pattern(BaseConverter):
        def __init__(self, map: Map, pattern: str) -> None:  # noqa: A002 - werkzeug's name
            super().__init__(map)
            self.regex = pattern

    model = f"/v1/models/<{_MODEL}:model>"
    version = f"{model}/versions/<{_VERSION}:version>"
    rows = [
        ("/", "about"),
        ("/v1/models", "models"),
        ("/v1/ticks", "ticks"),
        ("/v1/quarantine", "quarantine"),
        (model, "model"),
        (f"{model}/versions", "versions"),
        (version, "version"),
        (f"{version}/explain", "explain"),
        (f"{model}/standing", "standing"),
        (f"{model}/history", "history"),
        (f"{model}/health", "health"),
        (f"{model}/drift", "drift"),
        (f"{model}/quality", "quality"),
        (f"{model}/rollouts", "rollouts"),
        (f"{model}/rollouts/<{_VERSION}:rollout>", "rollout"),
        (f"{model}/retraining", "retraining"),
        (f"{model}/deliveries", "deliveries"),
    ]
    rules = [Rule(rule, endpoint=name, methods=["GET"]) for rule, name in rows]
    rules.append(Rule("/v1/quarantine:replay", endpoint="replay", methods=["POST"]))
    rules += [Rule(f"{model}:{command}", endpoint=command, methods=["POST"]) for command in COMMANDS]
    return Map(rules, converters={"regex": Pattern}, merge_slashes=False)


ROUTES = _routes()
