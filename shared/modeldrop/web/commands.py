"""What operators and approvers may ask of a model: ``POST /v1/models/{model}:{command}``.

The use cases are imported when they are asked for: most instances of the API only ever read.
"""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.web.problem import Problem, bad_request
from modeldrop.wiring import Services

if TYPE_CHECKING:
    from modeldrop.handlers.rollouts.operators_word import Reply

BODY_LIMIT_BYTES = 64 << 10
JSON = "application/json"

Version = Annotated[str, msgspec.Meta(min_length=1, max_length=160)]


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is put back: the entries whose ids follow this one; None: all."""

    after: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:promote``."""

    version: Version
    force: bool = False


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:approve``."""

    version: Version


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:rollback``. Without ``to``: to the version before."""

    to: Version | None = None
    why: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Retraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:retrain``."""

    why: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of commands that need none."""


class Request(msgspec.Struct, frozen=True):
    """The part of a request that a command needs. ``caller``: who asks; None: nobody knows."""

    content_type: str
    body: bytes
    caller: str | None


def carry_out(services: Services, model: str, command: str, request: Request) -> dict[str, Any] | Problem:
    """The reply to a command, or the problem with the request."""
    refusal = _refusal(services, command, request)
    if refusal is not None or request.caller is None:
        return refusal or Problem(401, "Unauthorized", "the caller's identity is not known")
    try:
        body = strict_json.decode(request.body or b"{}", limit_bytes=BODY_LIMIT_BYTES)
        reply = COMMANDS[command](services, model, body, request.caller)
    except InvalidInput as error:
        return bad_request(str(error))
    answer: dict[str, Any] = msgspec.to_builtins(reply)
    return answer


def replay(services: Services, request: Request) -> dict[str, Any] | Problem:
    """``POST /v1/quarantine:replay``: what came of putting quarantined prediction events back.

    As many as there is time for; ``{"after": next}`` of the last answer goes on from there.
    """
    refusal = _refusal(services, "replay", request)
    if refusal is not None:
        return refusal
    from modeldrop.handlers.predictions.log_predictions import PredictionIntake
    from modeldrop.handlers.predictions.replay_quarantine import replay_quarantine

    try:
        asked = convert(strict_json.decode(request.body or b"{}", limit_bytes=BODY_LIMIT_BYTES), Replay)
    except InvalidInput as error:
        return bad_request(str(error))
    with closing(PredictionIntake(services, linger_seconds=0.0)) as intake:
        answer: dict[str, Any] = msgspec.to_builtins(replay_quarantine(services, intake, after=asked.after))
    return answer


def _refusal(services: Services, command: str, request: Request) -> Problem | None:
    """Why the caller cannot have it carried out, if so."""
    if request.caller is None:
        return Problem(401, "Unauthorized", "the caller's identity is not known")
    if not _may(services, command, request.caller):
        return Problem(403, "Forbidden", f"{request.caller} may not {command}")
    if request.content_type.split(";")[0].strip().lower() != JSON:
        # A web page can send other types to any address without asking; JSON it cannot.
        return Problem(415, "Unsupported media type", f"commands are {JSON}")
    return None


def _may(services: Services, command: str, caller: str) -> bool:
    """Locally everybody is operator and approver; in the cloud those who are named."""
    settings = services.settings
    named = settings.approvers if command == "approve" else settings.operators
    return settings.auth != "iam" or caller in {name.strip() for name in named.split(",")}


def _promote(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.promote_version import promote_version

    asked = convert(body, Promotion)
    return promote_version(services, model, asked.version, force=asked.force, by=caller)


def _approve(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.approve_version import approve_version

    return approve_version(services, model, convert(body, Approval).version, by=caller)


def _rollback(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.roll_back import roll_back

    asked = convert(body, Rollback)
    return roll_back(services, model, to=asked.to, by=caller, why=asked.why)


def _pause(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.pause_model import pause_model

    convert(body, Nothing)
    return pause_model(services, model, by=caller)


def _resume(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.resume_model import resume_model

    convert(body, Nothing)
    return resume_model(services, model, by=caller)


def _retrain(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.retraining.ask_retraining import ask_retraining

    return ask_retraining(services, model, by=caller, why=convert(body, Retraining).why)


COMMANDS: dict[str, Callable[[Services, str, object, str], "Reply"]] = {
    "promote": _promote,
    "approve": _approve,
    "rollback": _rollback,
    "pause": _pause,
    "resume": _resume,
    "retrain": _retrain,
}
