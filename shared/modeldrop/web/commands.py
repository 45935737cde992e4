"""What operators and approvers may ask of a model: ``POST /v1/models/{model}:{command}``.

The use cases are imported when they are asked for: most instances of the API only ever read.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.web.answers.names import END, Version
from modeldrop.web.answers.operations import CommandReply, ReplayReply
from modeldrop.web.calls import Call, NoQuery
from modeldrop.web.problem import Problem, bad_request, problem_of
from modeldrop.web.roles import Role
from modeldrop.wiring import Services

if TYPE_CHECKING:
    from modeldrop.handlers.rollouts.operators_word import Reply

BODY_LIMIT_BYTES = 64 << 10

Why = Annotated[str, Meta(max_length=1000, description="Stands in the history.")]


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is put back: the entries whose ids follow this one; null: all."""

    after: Annotated[str, Meta(pattern=f"^[0-9a-f]{{64}}{END}")] | None = None


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version is champion from now on; with ``force`` whatever the gate says of it."""

    version: Version
    force: bool = False


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version, or proposal, may pass."""

    version: Version


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version to serve again; without ``to`` the one before.

    ``falling``: what is to be taken back; refused where another has taken over since.
    """

    to: Version | None = None
    falling: Version | None = None
    why: Why = ""


class Retraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a retraining is asked for."""

    why: Why = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands that need to know nothing more."""


class Forwarded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another call: its method and address, such as ``GET /v1/models?limit=10``, and its JSON body."""

    call: Annotated[
        str,
        Meta(pattern=f"^(GET|POST) /(v1[!-~]*|metrics){END}", max_length=2000, examples=["GET /v1/models?limit=10"]),
    ]
    body: dict[str, Any] = {}


@dataclass(frozen=True)
class Command:
    """What a command needs, and what it does."""

    body: type[msgspec.Struct]
    role: Role
    summary: str
    use_case: Callable[[Services, str, Any, str], "Reply"]


def carry_out(services: Services, model: str, command: str, body: bytes, caller_name: str) -> dict[str, Any] | Problem:
    """The reply to a command, ``{"status": "accepted|refused", "reason"}``, or the problem with its body."""
    chosen = COMMANDS[command]
    asked = read_body_as(body, chosen.body)
    if isinstance(asked, Problem):
        return asked
    reply: dict[str, Any] = msgspec.to_builtins(chosen.use_case(services, model, asked, caller_name))
    return reply


def read_body_as(body: bytes, kind: type[msgspec.Struct]) -> Any:
    """The JSON body as ``kind``, an empty one as ``{}``; or the problem with it."""
    if len(body) > BODY_LIMIT_BYTES:
        return problem_of(413, f"a body may have {BODY_LIMIT_BYTES:,} bytes")
    try:
        return convert(strict_json.decode(body or b"{}", limit_bytes=BODY_LIMIT_BYTES), kind)
    except InvalidInput as error:
        return bad_request(str(error), error.problems)


def command_handler(command: str) -> Callable[[Services, Call[NoQuery]], CommandReply | Problem]:
    """The handler of a command's route."""

    def handle(services: Services, call: Call[NoQuery]) -> CommandReply | Problem:
        done = carry_out(services, call.model, command, call.body, call.caller.name)
        return done if isinstance(done, Problem) else msgspec.convert(done, CommandReply)

    return handle


def replay(services: Services, call: Call[NoQuery]) -> ReplayReply | Problem:
    """``POST /v1/quarantine:replay``: what came of putting quarantined prediction events back.

    As many as there is time for; ``{"after": next}`` of the last answer goes on from there.
    """
    from modeldrop.handlers.predictions.log_predictions import PredictionIntake
    from modeldrop.handlers.predictions.replay_quarantine import replay_quarantine

    asked = read_body_as(call.body, Replay)
    if isinstance(asked, Problem):
        return asked
    with closing(PredictionIntake(services, linger_seconds=0.0)) as intake:
        done = replay_quarantine(services, intake, after=asked.after)
    return ReplayReply(**msgspec.structs.asdict(done))


def _promote(services: Services, model: str, asked: Promotion, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.promote_version import promote_version

    return promote_version(services, model, asked.version, force=asked.force, by=caller)


def _approve(services: Services, model: str, asked: Approval, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.approve_version import approve_version

    return approve_version(services, model, asked.version, by=caller)


def _rollback(services: Services, model: str, asked: Rollback, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.roll_back import roll_back

    return roll_back(services, model, to=asked.to, by=caller, why=asked.why, falling=asked.falling)


def _pause(services: Services, model: str, asked: Nothing, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.pause_model import pause_model

    return pause_model(services, model, by=caller)


def _resume(services: Services, model: str, asked: Nothing, caller: str) -> "Reply":
    from modeldrop.handlers.rollouts.resume_model import resume_model

    return resume_model(services, model, by=caller)


def _retrain(services: Services, model: str, asked: Retraining, caller: str) -> "Reply":
    from modeldrop.handlers.retraining.ask_retraining import ask_retraining

    return ask_retraining(services, model, by=caller, why=asked.why)


COMMANDS: dict[str, Command] = {
    "promote": Command(Promotion, "operator", "Make a version the champion from now on", _promote),
    "approve": Command(Approval, "approver", "Let a version pass that waits for approval", _approve),
    "rollback": Command(Rollback, "operator", "Serve an earlier version again at once", _rollback),
    "pause": Command(Nothing, "operator", "Let nothing go forward until it is resumed", _pause),
    "resume": Command(Nothing, "operator", "Go on after a pause, or after a rollout was held", _resume),
    "retrain": Command(Retraining, "operator", "Ask for a retraining now", _retrain),
}
