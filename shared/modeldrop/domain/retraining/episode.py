"""An episode: one retraining, from its cause to the version that came of it."""

from datetime import datetime
from typing import Final, Literal

import msgspec

Cause = Literal["data_drift", "concept_drift", "prediction_drift", "unhealthy", "manual"]

REQUESTED: Final = "requested"  # the target has not accepted it yet
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"  # the run is over; the version has not been dropped yet
CLOSED: Final = "closed"  # a version came of it
FAILED: Final = "failed"  # the target said so, or would not take it
EXPIRED: Final = "expired"  # no version came in time
OPEN: Final = frozenset({REQUESTED, RUNNING, SUCCEEDED})

Status = Literal["requested", "running", "succeeded", "closed", "failed", "expired"]


class TimeRange(msgspec.Struct, frozen=True):
    """A time range, UTC: ``start`` <= time < ``end``."""

    start: datetime
    end: datetime


class TrainingRequest(msgspec.Struct, frozen=True):
    """What a target is told. ``episode`` is the key: asked twice, one run is started."""

    episode: str
    model: str
    version: str | None  # that serves; None: none does
    cause: Cause
    report: str | None  # address, or path, of the report that shows the cause
    window: TimeRange | None  # what the report is about
    lineage: dict[str, str] = {}  # of the version


class Run(msgspec.Struct, frozen=True):
    """A run at its target."""

    id: str | None = None  # None: the target gives none, or not yet
    url: str | None = None  # for people
    state: Literal["accepted", "running", "succeeded", "failed"] = "accepted"
    why: str = ""


class Episode(msgspec.Struct, frozen=True):
    """``closed_by``: the version that came of it; ``gain``: whether that went live (None: not known yet)."""

    request: TrainingRequest
    why: str
    by: str  # modeldrop, or who asked
    opened_at: datetime
    until: datetime  # it expires then
    target: str  # for people
    status: Status = REQUESTED
    run: Run = Run()
    accepted_at: datetime | None = None  # from then on the target may have been at it; None: it never took it
    ended_at: datetime | None = None
    closed_by: str | None = None
    gain: bool | None = None
    outcome: str = ""  # for people: how it ended

    @property
    def id(self) -> str:
        """The key at the target and in our records."""
        return self.request.episode

    @property
    def is_open(self) -> bool:
        """Whether a version may still come of it."""
        return self.status in OPEN


def episode_id(model: str, number: int, opened_at: datetime) -> str:
    """The id of a model's episode; it serves as an id at every target.

    >>> episode_id("fraud", 3, datetime(2026, 1, 2, 3, 4, 5))
    'fraud-20260102030405-3'
    """
    return f"{model}-{opened_at:%Y%m%d%H%M%S}-{number}"
