"""What was measured of a version that answers requests."""

import msgspec


class VersionMetrics(msgspec.Struct, frozen=True):
    """One version over a span of time. ``answering`` is about its containers; None: nothing tells."""

    requests: int = 0
    errors: int = 0  # requests not answered with success, whoever was to blame: stable gets the same mixture
    p95_ms: float | None = None  # None: no requests, or not known yet
    answering: bool | None = None

    @property
    def error_rate(self) -> float | None:
        """Share of requests that failed; None without requests."""
        return self.errors / self.requests if self.requests else None
