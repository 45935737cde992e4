"""How good a version's answers were in a window, from the labels known by now: a report beside that on drift.

``max_drop`` is measured from what the package declared of the metric; where it declares nothing, from the stable
version over the same window and labels.
"""

from datetime import datetime
from itertools import islice

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import QualityPolicy
from modeldrop.domain.quality.report import QualityReport, Yardsticks, quality_report
from modeldrop.domain.sampling.hashing import LARGEST_HASH
from modeldrop.domain.sampling.labels import LabelledSample, join_nearby
from modeldrop.domain.sampling.payload import read_label, read_prediction
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, NotFound
from modeldrop.handlers.reports.choose_baseline import stable_version
from modeldrop.handlers.reports.fingerprints import fingerprint, inputs_digest
from modeldrop.handlers.reports.report_drift import asked_version, asked_windows, is_fresh, serving_versions
from modeldrop.records.reports import QualityRecord, Reports, quality_path
from modeldrop.records.stored import Stored
from modeldrop.records.windows import WindowRecord, Windows
from modeldrop.wiring import Services

FORMAT = 2
MOST_LOOKS = 12
"""So many of the latest windows are looked at for one that has labels."""


class _Joined(msgspec.Struct, frozen=True):
    """A window's predictions with their labels; ``identity`` stands for both samples."""

    sample: WindowSample
    labelled: LabelledSample
    identity: str


def report_quality(
    services: Services, model: str, *, version: str | None = None, window: datetime | None = None
) -> list[QualityRecord]:
    """A report a version: those that serve, the one before, or ``version`` alone.

    On the window that starts at ``window``; without one on the version's latest that has labels, else its latest.
    Versions without predictions have none. Raises NotFound where there is no such model, version or window.
    """
    head, known = asked_version(services, model, version)
    names = [known.version] if version is not None else _versions(head, known.version)
    reports = []
    for name in names:
        found = services.registry.version(model, name)
        if found is None:
            continue
        try:
            made = _latest(services, head, found.value, window)
        except NotFound:
            if version is not None:
                raise
            continue
        reports += [made] if made is not None else []
    if not reports:
        raise NotFound(f"there are no predictions of {', '.join(names)} of {model} in that time")
    return reports


def latest_judged_qualities(services: Services, head: ModelHead, version: str, count: int) -> list[QualityRecord]:
    """Reports on the version's latest windows whose labels are enough for a verdict, the newest first.

    ``count`` at most. For a tick: only windows that labels have come for are looked at. Empty where there is no such
    version.
    """
    windows, judged = Windows(services.documents), list[QualityRecord]()
    found = None
    for labels in islice(windows.label_records(head.model), MOST_LOOKS):
        found = found or services.registry.version(head.model, version)
        record = windows.record(head.model, version, labels.start) if found else None
        if record is None or found is None:
            continue
        made = _report(services, head, found.value, record)
        judged += [made] if made.verdict != "insufficient_data" else []
        if len(judged) == count:
            break
    return judged


def _versions(head: ModelHead, first: str) -> list[str]:
    previous = [head.previous.version] if head.previous else []
    return list(dict.fromkeys([first, *serving_versions(head), *previous]))


def _latest(
    services: Services, head: ModelHead, version: ModelVersion, window: datetime | None
) -> QualityRecord | None:
    """The report on the first of the windows that has labels, else on the first one."""
    without = None
    for record in asked_windows(services, version.model, version.version, window, MOST_LOOKS):
        made = _report(services, head, version, record)
        if made.labelled or window is not None:
            return made
        without = without or made
    return without


def _report(services: Services, head: ModelHead, version: ModelVersion, window: WindowRecord) -> QualityRecord:
    reports = Reports(services.documents)
    old = reports.quality(version.model, version.version, window.start)
    if old is not None and is_fresh(services, old.value.looked_at):
        return old.value
    new = _measured(services, head, version, window, old.value if old else None)
    slot = old or Stored(quality_path(version.model, version.version, window.start), new)
    try:
        reports.commit(slot.write(new))
    except Conflict:  # somebody looked at the same time, and saw the same or more
        other = reports.quality(version.model, version.version, window.start)
        return new if other is None else other.value
    return new


def _measured(
    services: Services, head: ModelHead, version: ModelVersion, window: WindowRecord, old: QualityRecord | None
) -> QualityRecord:
    whole_policy = services.registry.policy(version.model).value.policy
    policy = whole_policy.quality
    labels = Windows(services.documents).labels_nearby(window, whole_policy.drift.window_seconds)
    joined = _joined(services, version.model, version.version, window, labels)
    yardsticks, whose = _yardsticks(services, head, version, window, labels, policy)
    inputs = inputs_digest([FORMAT, joined.identity, policy, yardsticks, whose])
    if old is not None and old.inputs == inputs:
        return msgspec.structs.replace(old, looked_at=services.clock())
    report = quality_report(_pairs(joined), policy, yardsticks, joined.labelled.coverage)
    return QualityRecord(
        model=version.model,
        version=version.version,
        window=window.start,
        window_seconds=window.seconds,
        rows=len(joined.sample.rows),
        estimated_events=joined.sample.estimated_events,
        labelled=len(joined.labelled.pairs),
        coverage=report.coverage,
        verdict=report.verdict,
        reasons=report.reasons,
        metrics=report.values,
        n=report.n,
        unusable=report.unusable,
        zero_labels=report.zero_labels,
        metric=report.metric,
        value=report.value,
        bounds=None if report.interval is None else list(report.interval),
        compared_with=report.compared_with,
        compared_version=None if report.compared_with is None else whose,
        expected=report.expected,
        inputs=inputs,
        looked_at=services.clock(),
        expire_at=window.expire_at,
    )


def _yardsticks(
    services: Services,
    head: ModelHead,
    version: ModelVersion,
    window: WindowRecord,
    labels: list[WindowSample],
    policy: QualityPolicy,
) -> tuple[Yardsticks, str | None]:
    """What the policy's metric is compared with, and which version that is of."""
    declared = version.metadata.metrics if version.metadata else {}
    stable = stable_version(head, version.version)
    if policy.metric in declared:
        return Yardsticks(declared={policy.metric: declared[policy.metric]}), version.version
    if policy.metric is None or policy.max_drop is None or stable is None:
        return Yardsticks(), None
    measured = _plain_report(_joined(services, version.model, stable, window, labels), policy)
    value, interval = measured.value, measured.interval
    if value is None or interval is None or measured.n < policy.min_labels:
        return Yardsticks(), None
    return Yardsticks(baseline={policy.metric: value}, intervals={policy.metric: interval}), stable


def _plain_report(joined: _Joined, policy: QualityPolicy) -> QualityReport:
    return quality_report(_pairs(joined), policy, Yardsticks(), joined.labelled.coverage)


def _joined(services: Services, model: str, version: str, window: WindowRecord, labels: list[WindowSample]) -> _Joined:
    sample = Windows(services.documents).sample(model, version, window.start) or _no_rows(window)
    return _Joined(sample, join_nearby(sample, labels), " ".join(map(fingerprint, [sample, *labels])))


def _no_rows(window: WindowRecord) -> WindowSample:
    return WindowSample(window.sample_size, LARGEST_HASH, ())


def _pairs(joined: _Joined) -> list[tuple[object, object]]:
    return [(read_prediction(said).prediction, read_label(known).label) for said, known in joined.labelled.pairs]
