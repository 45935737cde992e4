"""What the contract suite of ModelServer needs to know of one implementation, and a reconciler's steps through it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from modeldrop.errors import Conflict
from modeldrop.ports import DeployedVersion, Endpoint, ModelServer, Operation, ServedVersion

DEADLINE_SECONDS = 20.0
_PAUSE_SECONDS = 0.01

T = TypeVar("T")


@dataclass(frozen=True)
class ModelServerSystem:
    """A model server, ready for calls, and versions of model ``fraud`` that behave in a known way on it."""

    server: ModelServer
    loadable: Callable[[str], ServedVersion]
    """A version of that name whose artifacts exist and can be served; asked again, it is the same one."""
    broken: Callable[[str], ServedVersion]
    """A version of that name that is taken up, but whose deployment ends in an error."""


def until(look: Callable[[], T | None], what: str) -> T:
    """The first look that is not None; fails after ``DEADLINE_SECONDS``. The port can only be polled."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (seen := look()) is None:
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:.0f} s: {what}"
        time.sleep(_PAUSE_SECONDS)
    return seen


def finished(server: ModelServer, operation: Operation) -> Operation:
    """The operation once it is done."""

    def look() -> Operation | None:
        now = server.operation(operation.name)
        assert now is not None, f"{operation.name} is unknown"
        return now if now.done else None

    return until(look, f"{operation.name} is done")


def carry_out(server: ModelServer, ask: Callable[[], Operation | None]) -> None:
    """Ask until there is nothing left to do, as every call of the port promises; every operation must succeed."""

    def look() -> bool | None:
        try:
            operation = ask()
        except Conflict:
            return None  # under way: ask again
        if operation is None:
            return True
        assert finished(server, operation).error is None, finished(server, operation)
        return None

    until(look, "nothing is left to do")


def bring_up(server: ModelServer, *versions: ServedVersion) -> Endpoint:
    """The endpoint with these versions uploaded and behind it."""
    for version in versions:
        carry_out(server, partial(server.upload, version))
        carry_out(server, partial(server.deploy, version))
    return observed(server, versions[0].model)


def observed(server: ModelServer, model: str = "fraud") -> Endpoint:
    """The endpoint, which must be there."""
    endpoint = server.observe(model)
    assert endpoint is not None
    return endpoint


def listed(server: ModelServer, model: str = "fraud") -> dict[str, DeployedVersion]:
    """What is behind the endpoint, by version; nothing where there is no endpoint."""
    endpoint = server.observe(model)
    if endpoint is None:
        return {}
    names = [deployed.version for deployed in endpoint.deployed]
    assert len(names) == len(set(names)), f"listed twice: {names}"
    return {deployed.version: deployed for deployed in endpoint.deployed}
