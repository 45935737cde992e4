"""Reports on windows: what drifted, and how good the answers were, over any DocumentStore.

| path | holds |
|---|---|
| ``models/{model}/drift/{start}~{version}`` | DriftRecord |
| ``models/{model}/quality/{start}~{version}`` | QualityRecord |
| ``models/{model}/health/drift`` | LatestDrifts: what the newest reports said |
| ``models/{model}/baselines/{version}`` | FirstWindow: which of its own windows a version is compared with |

Reports say in ``expire_at`` when they may go: with the window they are about.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem
from modeldrop.ports import Delete, DocumentStore, Write
from modeldrop.records.latest_drift import LatestDrift, LatestDrifts, latest_drift_path
from modeldrop.records.stored import Stored, stored
from modeldrop.records.windows import WindowRecord, start_text

PAGE = 200


class Reference(msgspec.Struct, frozen=True):
    """What a window is compared with, and why if there is nothing, or nothing that can be read."""

    kind: str  # package | stable_version | first_window | none
    why: str = ""
    version: str | None = None  # whose rows they are
    window: datetime | None = None  # start of the window they are of
    since: datetime | None = None  # where only the rows of a shared time are compared, of both sides: from then
    until: datetime | None = None
    file: str | None = None  # object in the bucket
    digest: str | None = None  # SHA-256 of the file
    file_rows: int | None = None  # more than are compared: those are a sample of them
    problems: list[FieldProblem] = []


class Alarm(msgspec.Struct, frozen=True):
    """Whether the latest windows that are over and could be judged, up to this one, all drifted.

    ``windows``: verdicts on the features by the start of the window, the oldest first; one that is not over yet says
    nothing here.
    """

    windows_to_alarm: int = 0
    data: bool = False
    prediction: bool = False
    windows: dict[str, str] = {}


class DriftRecord(msgspec.Struct, frozen=True):
    """The drift report of a version's window. ``features`` and ``prediction`` are ``FeatureDrift`` as plain values.

    ``complete``: the window was over when somebody looked. Else it is what there was so far, which may be another part
    of the day than the reference is of: no alarm follows from it.
    """

    model: str
    version: str
    window: datetime  # its start, UTC
    window_seconds: int
    reference: Reference
    rows: int  # compared, as are
    reference_rows: int
    estimated_events: int
    relative_error: float | None  # one standard error of the estimate
    conflicts: int  # events told more than once, and differently
    verdict: str  # ok | drifted | insufficient_data
    features: list[dict[str, Any]]
    prediction: dict[str, Any] | None
    inputs: str  # digest of all that the report follows from
    looked_at: datetime
    expire_at: datetime
    complete: bool = False
    alarm: Alarm = Alarm()
    features_left_out: int = 0  # beyond those a row, or a report, has room for
    distributions_left_out: int = 0  # features shown without their picture, since the report had no room for it
    problems: list[FieldProblem] = []  # why nothing could be compared


class QualityRecord(msgspec.Struct, frozen=True):
    """The quality of a version in a window, from predictions whose labels are known."""

    model: str
    version: str
    window: datetime
    window_seconds: int
    rows: int
    estimated_events: int
    labelled: int
    coverage: float | None
    verdict: str  # ok | degraded | insufficient_data
    reasons: list[str]
    metrics: dict[str, float]
    n: int  # labelled predictions the metric was measured on
    unusable: int
    zero_labels: int  # which MAPE leaves out
    metric: str | None
    value: float | None
    compared_with: str | None  # declared | baseline
    compared_version: str | None
    expected: float | None
    inputs: str
    looked_at: datetime
    expire_at: datetime
    bounds: list[float] | None = None  # one-sided 95 % bounds of the value: how far chance may have moved it


class FirstWindow(msgspec.Struct, frozen=True):
    """A version's first window with enough rows; None: none up to ``searched`` (a window's start) has them.

    ``replaced``: there was an earlier one, which is gone.
    """

    window: datetime | None = None
    searched: datetime | None = None
    replaced: bool = False


class Reports:
    """Reads and keeps reports."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def drift(self, model: str, version: str, start: datetime) -> Stored[DriftRecord] | None:
        """The drift report of a window."""
        document = self._documents.get(drift_path(model, version, start))
        return stored(document, DriftRecord) if document else None

    def drifts(self, model: str, version: str, starts: Sequence[datetime]) -> list[DriftRecord]:
        """Those of several windows, as far as they were ever made, in the order of ``starts``."""
        found = self._documents.get_many([drift_path(model, version, start) for start in starts])
        return [stored(document, DriftRecord).value for document in found if document is not None]

    def latest_drifts(self, versions: Mapping[str, str]) -> dict[str, str]:
        """The verdict of the newest report on a version of each model, as far as there is one: one round trip."""
        found = self._documents.get_many([latest_drift_path(model) for model in versions]) if versions else []
        noted = {
            model: stored(document, LatestDrifts).value.versions.get(version)
            for (model, version), document in zip(versions.items(), found, strict=True)
            if document is not None
        }
        return {model: said.verdict for model, said in noted.items() if said is not None}

    def keep_drift(self, record: DriftRecord, old: Stored[DriftRecord] | None) -> None:
        """Store the report in place of ``old``, and note it where none is on a later window of its version.

        Raises Conflict if either changed meanwhile.
        """
        slot = old or Stored(drift_path(record.model, record.version, record.window), record)
        known = self._noted(record.model)
        noted = known.value.noting(record.version, LatestDrift(record.window, record.verdict, record.expire_at))
        self._documents.commit([slot.write(record), *([known.write(noted)] if noted != known.value else [])])

    def qualities(self, model: str, version: str, starts: Sequence[datetime]) -> list[QualityRecord]:
        """Quality reports of several windows, as far as they were ever made, in the order of ``starts``."""
        found = self._documents.get_many([quality_path(model, version, start) for start in starts])
        return [stored(document, QualityRecord).value for document in found if document is not None]

    def quality(self, model: str, version: str, start: datetime) -> Stored[QualityRecord] | None:
        """The quality report of a window."""
        document = self._documents.get(quality_path(model, version, start))
        return stored(document, QualityRecord) if document else None

    def first_window(self, model: str, version: str) -> Stored[FirstWindow]:
        """The version's own baseline; one that is not stored yet where there is none."""
        path = f"models/{model}/baselines/{version}"
        document = self._documents.get(path)
        return stored(document, FirstWindow) if document else Stored(path, FirstWindow())

    def windows_from(self, model: str, version: str, start: datetime | None) -> Iterator[WindowRecord]:
        """The version's windows of predictions from ``start`` on, the oldest first, read page by page as taken."""
        after = None if start is None else start_text(start)  # sorts before every id of a window that begins then
        while True:
            page = self._documents.list(f"models/{model}/windows", after=after, limit=PAGE)
            for document in page:
                if document.data["version"] == version:
                    yield stored(document, WindowRecord).value
            if len(page) < PAGE:
                return
            after = page[-1].path.rsplit("/", 1)[1]

    def commit(self, write: Write) -> None:
        """Raises Conflict if what it replaces changed meanwhile."""
        self._documents.commit([write])

    def forget_expired(self, model: str, now: datetime, *, most: int = 100) -> int:
        """Delete reports past their time, at most ``most`` of each kind, the oldest first; how many were deleted.

        What they said is no longer noted then, whoever deleted them.
        """
        deletions: list[Write] = [
            Delete(document.path, document.revision)
            for kind in ("drift", "quality")
            for document in islice(self._documents.list(f"models/{model}/{kind}", limit=most), most)
            if msgspec.convert(document.data["expire_at"], datetime) <= now
        ]
        known = self._noted(model)
        noted = known.value.at(now)
        writes = [*deletions, *([known.write(noted)] if noted != known.value else [])]
        if writes:
            self._documents.commit(writes)
        return len(deletions)

    def _noted(self, model: str) -> Stored[LatestDrifts]:
        path = latest_drift_path(model)
        document = self._documents.get(path)
        return stored(document, LatestDrifts) if document else Stored(path, LatestDrifts())


def drift_path(model: str, version: str, start: datetime) -> str:
    """The document of a drift report.

    >>> from datetime import UTC
    >>> drift_path("fraud", "v1", datetime(2026, 1, 1, tzinfo=UTC))
    'models/fraud/drift/2026-01-01T00:00:00Z~v1'
    """
    return f"models/{model}/drift/{start_text(start)}~{version}"


def quality_path(model: str, version: str, start: datetime) -> str:
    """The document of a quality report."""
    return f"models/{model}/quality/{start_text(start)}~{version}"
