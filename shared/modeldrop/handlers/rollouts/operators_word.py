"""What an operator asked for, carried out once however many others change the model meanwhile."""

from collections.abc import Callable

import msgspec

from modeldrop.errors import Conflict
from modeldrop.handlers.packages.register_package import follow_up
from modeldrop.wiring import Services

_ATTEMPTS = 20


class Reply(msgspec.Struct, frozen=True):
    """What came of a command: ``accepted`` or ``refused``, and why."""

    status: str
    reason: str


def accepted(reason: str) -> Reply:
    """It is done, or was already."""
    return Reply("accepted", reason)


def refused(reason: str) -> Reply:
    """It is not done."""
    return Reply("refused", reason)


def carry_out(services: Services, model: str, attempt: Callable[[], Reply]) -> Reply:
    """Try until no race is lost, then do what follows from it. Raises Conflict after too many lost races."""
    for _ in range(_ATTEMPTS):
        try:
            reply = attempt()
        except Conflict:
            continue
        follow_up(services, model)
        return reply
    raise Conflict(f"{model}: lost {_ATTEMPTS} races")
