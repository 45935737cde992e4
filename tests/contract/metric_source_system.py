"""What the contract suite of MetricSource needs to know of one implementation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from modeldrop.ports import Endpoint, MetricSource


class MetricSourceSystem(Protocol):
    """A metric source, ready for calls, and the traffic it measures. Nothing has been asked or answered at first.

    Every time the suite uses, for traffic and for spans, is a multiple of ``resolution_seconds`` since 1970. Methods
    may be called from many threads.
    """

    @property
    def source(self) -> MetricSource:
        """What is tested."""

    @property
    def resolution_seconds(self) -> int:
        """How finely the system tells times apart, in whole seconds: it measures spans between multiples of this."""

    @property
    def p95_tolerance(self) -> float:
        """Largest relative error of ``p95_ms`` against the nearest rank, for latencies from 1 ms to 30 s."""

    def endpoint(self, versions: Sequence[str], model: str = "fraud") -> Endpoint:
        """The model's endpoint with these versions behind it; asked again, a version has the same deployed id."""

    def answered(
        self,
        endpoint: Endpoint,
        version: str,
        at: datetime,
        status_ok: bool = True,
        latency_ms: float = 10.0,
        count: int = 1,
    ) -> None:
        """``count`` requests were answered within ``at`` <= time < ``at + resolution_seconds``.

        When this returns, the source knows them. Called again for the same version and time, requests are added.
        """

    def containers(self, endpoint: Endpoint, version: str, at: datetime, running: bool) -> None:
        """From ``at`` on the version's containers run, or do not; before the first call nothing tells."""

    def break_down(self) -> None:
        """From now on the source cannot reach what it reads from."""
