"""How the version that serves is doing."""

from datetime import datetime
from typing import Any

import msgspec


class HealthRecord(msgspec.Struct, frozen=True):
    """The form of a model's health: what it is, whether it is there, whether it can answer, and the figures."""

    model_type: str | None = None  # runtime
    version: str | None = None
    status: str = "unknown"  # healthy | degraded | unhealthy | unknown
    available: bool = False  # behind its endpoint, with traffic
    loadable: bool | None = None  # its containers answer; None: nothing tells
    why: str = ""
    since: datetime | None = None  # of the status
    checked_at: datetime | None = None
    failures: int = 0  # checks in a row; what could not be measured does not end the row
    alarmed: bool = False  # it was told that it is unhealthy, and not yet that it is well again
    metadata: dict[str, Any] = {}  # figures of the window


def health_path(model: str) -> str:
    """The document."""
    return f"models/{model}/health/live"
