"""What operators and approvers may ask of a model: ``POST /v1/models/{model}:{command}``.

The use cases are imported when they are asked for: most instances of the API only ever read.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.web.problem import Problem, bad_request
from modeldrop.wiring import Services

if TYPE_CHECKING:
    from modeldrop.handlers.promote_version import Reply

BODY_LIMIT_BYTES = 64 << 10
JSON = "application/json"

Version = Annotated[str, msgspec.Meta(min_length=1, max_length=160)]


class Promotion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:promote``."""

    version: Version
    force: bool = False


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``:approve``."""

    version: Version


class Request(msgspec.Struct, frozen=True):
    """The part of a request that a command needs. ``caller``: who asks; None: nobody knows."""

    content_type: str
    body: bytes
    caller: str | None


def carry_out(services: Services, model: str, command: str, request: Request) -> dict[str, Any] | Problem:
    """The reply to a command, or the problem with the request."""
    if request.caller is None:
        return Problem(401, "Unauthorized", "the caller's identity is not known")
    if not _may(services, command, request.caller):
        return Problem(403, "Forbidden", f"{request.caller} may not {command}")
    if request.content_type.split(";")[0].strip().lower() != JSON:
        # A web page can send other types to any address without asking; JSON it cannot.
        return Problem(415, "Unsupported media type", f"commands are {JSON}")
    try:
        body = strict_json.decode(request.body, limit_bytes=BODY_LIMIT_BYTES)
        reply = COMMANDS[command](services, model, body, request.caller)
    except InvalidInput as error:
        return bad_request(str(error))
    answer: dict[str, Any] = msgspec.to_builtins(reply)
    return answer


def _may(services: Services, command: str, caller: str) -> bool:
    """Locally everybody is operator and approver; in the cloud those who are named."""
    settings = services.settings
    named = {"promote": settings.operators, "approve": settings.approvers}[command]
    return settings.auth != "iam" or caller in {name.strip() for name in named.split(",")}


def _promote(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.promote_version import promote_version

    asked = convert(body, Promotion)
    return promote_version(services, model, asked.version, force=asked.force, by=caller)


def _approve(services: Services, model: str, body: object, caller: str) -> "Reply":
    from modeldrop.handlers.approve_version import approve_version

    return approve_version(services, model, convert(body, Approval).version, by=caller)


COMMANDS: dict[str, Callable[[Services, str, object, str], "Reply"]] = {"promote": _promote, "approve": _approve}
