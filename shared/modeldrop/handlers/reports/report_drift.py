"""The drift report of a version's window: the stored one while it is fresh, else a new look.

Whoever asks, the API or a tick, makes what is missing: at most once a window and ``report_interval_seconds``, and
written only where what it follows from changed or the interval is over. Two who look at once write the same.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, NotFound
from modeldrop.handlers.reports.choose_baseline import Look
from modeldrop.records.reports import DriftRecord, Reports
from modeldrop.records.stored import Stored
from modeldrop.records.windows import WindowRecord, Windows
from modeldrop.wiring import Services

LATEST_WINDOWS = 1_000
"""Among so many windows of a model the latest one of a version is looked for."""
MOST_LOOKS = 5
KEEPING_TRIES = 5
"""Reports on other versions or windows of the model may be kept at the same time: all are noted in one place."""
MOST_AT_A_TICK = 10
SETTLED_AFTER = timedelta(hours=1)
"""A tick looks no more at a window that it has seen so long after its end: hardly anything comes any more."""


def report_drift(
    services: Services, model: str, *, version: str | None = None, window: datetime | None = None
) -> DriftRecord:
    """The report on the window that starts then (None: the latest with rows) of a version (None: production).

    Raises NotFound where there is no such model, version or window.
    """
    head, known = asked_version(services, model, version)
    for record in asked_windows(services, model, known.version, window, MOST_LOOKS):
        found = _report(services, head, known, record, even_if_empty=window is not None)
        if found is not None:
            return found
    raise NotFound(f"{known.version} of {model} has no predictions in its latest windows")


def report_latest_windows(services: Services, head: ModelHead, windows_to_alarm: int) -> list[DriftRecord]:
    """Reports on the latest windows of every version that serves: for a tick. The oldest first.

    As many as an alarm takes and one more, which may not be over yet; ten at most.
    """
    count = min(MOST_AT_A_TICK, windows_to_alarm + 1)
    reports = []
    for version in serving_versions(head):
        latest = Windows(services.documents).records(head.model, version, page=2 * count)  # two versions serve at most
        found = None  # read where a report is to be made
        for record in reversed(list(islice(latest, count))):
            made = _settled(services, record)
            if made is None:
                found = found or services.registry.version(head.model, version)
                made = _report(services, head, found.value, record, even_if_empty=False) if found else None
            reports += [made] if made is not None else []
    return reports


def serving_versions(head: ModelHead) -> list[str]:
    """Production, and beside it the version that is rolling out."""
    production = [head.production.version] if head.production else []
    rolling_out = [head.desired] if head.rollout and head.desired else []
    return list(dict.fromkeys(production + rolling_out))


def asked_version(services: Services, model: str, version: str | None) -> tuple[ModelHead, ModelVersion]:
    """The model's head, and the version asked for; without a name production, else what is rolling out first."""
    head = services.registry.head(model)
    if head.revision is None:
        raise NotFound(f"there is no model {model}")
    name = version if version is not None else next(iter(serving_versions(head.value)), None)
    if name is None:
        raise NotFound(f"no version of {model} serves")
    found = services.registry.version(model, name)
    if found is None:
        raise NotFound(f"{model} has no version {name}")
    return head.value, found.value


def asked_windows(
    services: Services, model: str, version: str, window: datetime | None, most: int
) -> Iterator[WindowRecord]:
    """The window that starts then; without one the version's latest, ``most`` of them."""
    if window is None:
        yield from islice(windows_of(services, model, version), most)
        return
    record = Windows(services.documents).record(model, version, window)
    if record is None:
        raise NotFound(f"{version} of {model} has no window that starts at {window.isoformat()}")
    yield record


def windows_of(services: Services, model: str, version: str) -> Iterator[WindowRecord]:
    """The version's windows from the newest on, among the model's latest thousand."""
    latest = islice(Windows(services.documents).records(model), LATEST_WINDOWS)
    return (record for record in latest if record.version == version)


def is_fresh(services: Services, looked_at: datetime) -> bool:
    """Whether a report needs no second look yet."""
    interval = timedelta(seconds=services.settings.report_interval_seconds)
    return timedelta(0) <= services.clock() - looked_at < interval


def _settled(services: Services, window: WindowRecord) -> DriftRecord | None:
    """The report on a window that was looked at long enough after its end."""
    if services.clock() < window.end + SETTLED_AFTER:
        return None
    old = Reports(services.documents).drift(*window_key(window))
    is_settled = old is not None and old.value.complete and old.value.looked_at >= window.end + SETTLED_AFTER
    return old.value if old is not None and is_settled else None


def window_key(window: WindowRecord) -> tuple[str, str, datetime]:
    """Model, version and start of a window of predictions."""
    assert window.version is not None
    return window.model, window.version, window.start


def _report(
    services: Services, head: ModelHead, version: ModelVersion, window: WindowRecord, *, even_if_empty: bool
) -> DriftRecord | None:
    """The report; None where the window has no rows (it was opened, and what came after was lost)."""
    reports, now = Reports(services.documents), services.clock()
    old = reports.drift(version.model, version.version, window.start)
    if old is not None and is_fresh(services, old.value.looked_at) and (old.value.complete or now < window.end):
        return old.value
    sample = Windows(services.documents).sample(version.model, version.version, window.start)
    if sample is None or not (sample.rows or even_if_empty):
        return None
    new = _measured(services, head, version, Look(window, sample, now), old)
    return _kept(reports, new, old)


def _kept(reports: Reports, new: DriftRecord, old: Stored[DriftRecord] | None) -> DriftRecord:
    """The report that stands in the end."""
    for _ in range(KEEPING_TRIES):
        try:
            reports.keep_drift(new, old)
        except Conflict:
            other = reports.drift(new.model, new.version, new.window)
            if (other and other.revision) != (old and old.revision):
                # somebody looked at the same time, and saw the same or more
                return new if other is None else other.value
        else:
            break
    return new


def _measured(
    services: Services, head: ModelHead, version: ModelVersion, look: Look, old: Stored[DriftRecord] | None
) -> DriftRecord:
    from modeldrop.handlers.reports.measure_drift import measure_drift  # noqa: PLC0415 - loads numpy

    return measure_drift(services, head, version, look, old.value if old else None)
