"""What the reports on the version in production say now: drift of the data, of the predictions, of the concept."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from modeldrop.domain.drift.alarm import DRIFTED, OK
from modeldrop.domain.health import UNHEALTHY
from modeldrop.domain.retraining.alarms import Sighting
from modeldrop.domain.retraining.episode import TimeRange
from modeldrop.domain.retraining.governor import Reason
from modeldrop.records.reports import DriftRecord, QualityRecord
from modeldrop.records.windows import start_text
from modeldrop.wiring import Services

MOST_FEATURES_NAMED = 10


def drift_sightings(services: Services, report: DriftRecord, latest: Sequence[DriftRecord]) -> list[Sighting]:
    """Of the features, and of the predictions. A window that is not over yet may begin an alarm, but ends none.

    ``latest``: reports on the latest windows, from which it follows whether an alarm is over.
    """
    link = report_address(services, report.model, "drift", report.version, report.window)
    moved = [feature for feature in report.features if feature["verdict"] == DRIFTED]
    predictions = report.prediction or {}
    data = _is_alarmed(report, report.alarm.data, report.verdict)
    outputs = _is_alarmed(report, report.alarm.prediction, _of_predictions(report))
    return [
        Sighting(
            "data_drift",
            report.version,
            data,
            time_range(report),
            _why(report, moved),
            link,
            _well([(each, each.verdict) for each in latest]),
        ),
        Sighting(
            "prediction_drift",
            report.version,
            outputs,
            time_range(report),
            _why(report, [predictions] if outputs else []),
            link,
            _well([(each, _of_predictions(each)) for each in latest]),
        ),
    ]


def quality_sighting(services: Services, reports: Sequence[QualityRecord], windows_to_alarm: int) -> Sighting:
    """Of the concept: answers that are no longer as good as they were. ``reports``: judged ones, the newest first."""
    latest = reports[0]
    link = report_address(services, latest.model, "quality", latest.version, latest.window)
    bad = [report.verdict == "degraded" for report in reports[:windows_to_alarm]]
    alarmed = len(bad) == windows_to_alarm and all(bad)
    window = TimeRange(reports[len(bad) - 1].window, latest.window + timedelta(seconds=latest.window_seconds))
    why = f"{'; '.join(latest.reasons)} (over {latest.n} labelled predictions from {start_text(latest.window)} on)"
    well = {report.window.isoformat(): report.verdict != "degraded" for report in reports}
    return Sighting("concept_drift", latest.version, alarmed, window, why, link, well)


def health_reason(services: Services, model: str, production: str) -> Reason | None:
    """The version in production is unhealthy."""
    record = services.registry.health(model).value
    if record.version != production or record.status != UNHEALTHY:
        return None
    since = record.since or services.clock()
    window = TimeRange(since, record.checked_at or since)
    return Reason("unhealthy", record.why, f"{_base(services)}/v1/models/{model}/health", window)


def report_address(services: Services, model: str, kind: str, version: str, window: datetime) -> str:
    """Where the API has the report: an address, or where none is configured a path."""
    return f"{_base(services)}/v1/models/{model}/{kind}?version={version}&window={start_text(window)}"


def _base(services: Services) -> str:
    return (services.settings.api_url or "").rstrip("/")


def _is_alarmed(report: DriftRecord, alarmed: bool, verdict: str) -> bool:
    """Whether the alarm that the report tells of is this window's, too."""
    return alarmed and (report.complete or verdict == DRIFTED)


def _of_predictions(report: DriftRecord) -> str:
    return str((report.prediction or {}).get("verdict"))


def _well(judged: Sequence[tuple[DriftRecord, str]]) -> dict[str, bool]:
    """Whether each window was well, by its start: those that are over, and could be judged."""
    return {
        report.window.isoformat(): verdict == OK
        for report, verdict in judged
        if report.complete and verdict in (OK, DRIFTED)
    }


def _why(report: DriftRecord, moved: Sequence[Mapping[str, Any]]) -> str:
    """The features that moved, those farthest beyond their thresholds first."""
    if not moved:
        return f"what came from {start_text(report.window)} on is like its reference again"
    farthest = sorted(moved, key=lambda feature: -_times_over(feature))[:MOST_FEATURES_NAMED]
    named = ", ".join(
        f"{feature['name']} ({feature['test']} {feature['value']:.2f} > {feature['threshold']:.2f})"
        for feature in farthest
        if feature["value"] is not None and feature["threshold"] is not None
    )
    more = len(moved) - len(farthest)
    return (
        f"{named}{f' and {more} more' if more else ''} moved in {report.rows} rows from {start_text(report.window)} on"
    )


def _times_over(feature: Mapping[str, Any]) -> float:
    value, threshold = feature["value"], feature["threshold"]
    return value / threshold if value is not None and threshold else 0.0


def time_range(report: DriftRecord) -> TimeRange:
    """From the first of the drifted windows in a row that led here, to the end of this one."""
    start = report.window
    for moment, verdict in sorted(report.alarm.windows.items(), reverse=True):
        if verdict == OK:
            break
        if verdict == DRIFTED:
            start = min(start, datetime.fromisoformat(moment))
    return TimeRange(start, report.window + timedelta(seconds=report.window_seconds))
