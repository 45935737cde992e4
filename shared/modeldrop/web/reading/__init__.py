"""Reads of the control plane, by topic; each handler takes a call and gives a typed answer, or the problem with it."""

from typing import Any

from modeldrop.web.problem import Problem
from modeldrop.wiring import Services


def read(services: Services, path: str, **query: Any) -> dict[str, Any] | Problem:
    """Exactly the JSON that ``GET path`` answers, for whoever asks in this process; roles are not looked at."""
    from modeldrop.web.in_process import read as read_path  # noqa: PLC0415 - it needs what is below here

    return read_path(services, path, query)
