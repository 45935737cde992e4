"""The verdicts of the newest drift reports on a model's versions, in one small document.

A list of models reads these. The reports themselves may have a megabyte each, and which window the newest is of is
known only to those who look through them.
"""

from datetime import datetime

import msgspec

MOST_VERSIONS = 20
"""So many are remembered: of those that were reported on last. At a time one or two serve."""


class LatestDrift(msgspec.Struct, frozen=True):
    """What the newest report on a version said; it may go when the report may."""

    window: datetime  # start of the window it is about, UTC
    verdict: str
    expire_at: datetime


class LatestDrifts(msgspec.Struct, frozen=True):
    """By version."""

    versions: dict[str, LatestDrift] = {}

    def noting(self, version: str, said: LatestDrift) -> "LatestDrifts":
        """With that report, unless there is one on a later window.

        >>> from datetime import UTC
        >>> first, second = (LatestDrift(datetime(2026, 1, day, tzinfo=UTC), "ok", datetime.max) for day in (1, 2))
        >>> noted = LatestDrifts().noting("v1", second)
        >>> noted.versions["v1"].window.day, noted.noting("v1", first) == noted
        (2, True)
        """
        known = self.versions.get(version)
        if known is not None and known.window > said.window:
            return self
        noted = {**self.versions, version: said}
        newest = sorted(noted, key=lambda name: (noted[name].window, name), reverse=True)[:MOST_VERSIONS]
        return LatestDrifts({name: noted[name] for name in sorted(newest)})

    def at(self, now: datetime) -> "LatestDrifts":
        """Without those that may go."""
        return LatestDrifts({name: said for name, said in self.versions.items() if now < said.expire_at})


def latest_drift_path(model: str) -> str:
    """The document."""
    return f"models/{model}/health/drift"
