"""Samples of one model: what serves, how it is, what is under way, what its reports say, its retrainings."""

from datetime import datetime
from typing import Any

from modeldrop.domain.health import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN
from modeldrop.records.reports import DriftRecord, QualityRecord
from modeldrop.web.scrape.families import MOST_FEATURES
from modeldrop.web.scrape.reading import ModelSeen
from modeldrop.web.scrape.sheet import Sheet

_DRIFTED = {"drifted": 1.0, "ok": 0.0}


def add_model(sheet: Sheet, seen: ModelSeen) -> None:
    """All of them."""
    _add_serving(sheet, seen)
    _add_health(sheet, seen)
    _add_rollout(sheet, seen)
    if seen.drift is not None:
        _add_drift(sheet, seen.drift)
    if seen.quality is not None:
        _add_quality(sheet, seen.quality)
    _add_retraining(sheet, seen)


def _add_serving(sheet: Sheet, seen: ModelSeen) -> None:
    head = seen.head
    if head.production is not None:
        runtime = seen.health.model_type if seen.health and seen.health.version == head.production.version else None
        sheet.add("model_live_info", 1, head.model, head.production.version, runtime or "")
        sheet.add("model_live_since_timestamp_seconds", _moment(head.production.since), head.model)
    sheet.add("model_settled", head.is_settled, head.model)
    sheet.add("model_paused", head.paused is not None, head.model)
    for status, versions in sorted(seen.versions.items()):
        sheet.add("model_versions", versions, head.model, status)
    for version, percent in (seen.endpoint.traffic if seen.endpoint else {}).items():
        sheet.add("model_traffic_ratio", percent / 100, head.model, version)


def _add_health(sheet: Sheet, seen: ModelSeen) -> None:
    """The figures are those of the window the check looked at."""
    health, model = seen.health, seen.head.model
    if health is None or seen.head.production is None:
        return
    for status in (HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN):
        sheet.add("model_health", health.status == status, model, status)
    if health.checked_at is not None:
        sheet.add("model_health_checked_timestamp_seconds", _moment(health.checked_at), model)
    sheet.add("model_health_failures", health.failures, model)
    sheet.add_known("model_requests", _number(health.metadata.get("requests")), model)
    sheet.add_known("model_errors_ratio", _number(health.metadata.get("error_rate")), model)
    milliseconds = _number(health.metadata.get("p95_latency_ms"))
    sheet.add_known("model_latency_p95_seconds", None if milliseconds is None else milliseconds / 1000, model)


def _add_rollout(sheet: Sheet, seen: ModelSeen) -> None:
    rollout, model = seen.rollout, seen.head.model
    if rollout is None:
        return
    sheet.add("rollout_phase", 1, model, rollout.version, rollout.kind, rollout.phase)
    since = rollout.phase_since or rollout.opened_at
    sheet.add("rollout_phase_since_timestamp_seconds", _moment(since), model)
    sheet.add("rollout_step", rollout.step + 1, model)
    sheet.add("rollout_steps", len(rollout.steps), model)
    if rollout.held is not None:
        sheet.add("rollout_held", 1, model, rollout.version, rollout.held.cause)


def _add_drift(sheet: Sheet, report: DriftRecord) -> None:
    model, version = report.model, report.version
    sheet.add("drift_verdict", 1, model, version, report.verdict)
    sheet.add("drift_window_start_timestamp_seconds", _moment(report.window), model)
    sheet.add("drift_rows", report.rows, model)
    features = sorted(report.features, key=lambda feature: feature.get("verdict") != "drifted")
    left_out = len(features) - MOST_FEATURES + report.features_left_out
    sheet.add("drift_features_left_out", max(left_out, report.features_left_out), model)
    for feature in features[:MOST_FEATURES]:
        _add_column(sheet, (model, version, "feature"), feature)
    if report.prediction is not None:
        _add_column(sheet, (model, version, "prediction"), report.prediction)


def _add_column(sheet: Sheet, of: tuple[str, str, str], column: dict[str, Any]) -> None:
    name, test = str(column.get("name", "")), str(column.get("test", ""))
    sheet.add_known("drift_value", _number(column.get("value")), *of, name, test)
    sheet.add_known("drift_threshold", _number(column.get("threshold")), *of, name, test)
    sheet.add_known("drift_drifted", _DRIFTED.get(str(column.get("verdict"))), *of, name)


def _add_quality(sheet: Sheet, report: QualityRecord) -> None:
    model, version = report.model, report.version
    sheet.add("quality_verdict", 1, model, version, report.verdict)
    sheet.add("quality_window_start_timestamp_seconds", _moment(report.window), model)
    if report.metric is not None:
        sheet.add_known("quality_value", report.value, model, version, report.metric)
        sheet.add_known("quality_expected", report.expected, model, version, report.metric)
    sheet.add_known("quality_coverage_ratio", report.coverage, model, version)
    sheet.add("quality_labelled", report.n, model, version)


def _add_retraining(sheet: Sheet, seen: ModelSeen) -> None:
    state, model = seen.retraining, seen.head.model
    if state is None:
        return
    for kind, alarm in state.alarms.items():
        sheet.add("alarm", 1, model, alarm.version, kind)
        sheet.add("alarm_since_timestamp_seconds", _moment(alarm.since), model, kind)
    sheet.add("episodes_total", state.episodes, model)
    sheet.add("episode_open", state.open is not None, model)
    sheet.add("episodes_without_gain", state.without_gain, model)
    sheet.add("retraining_stopped", state.stopped, model)
    if seen.episode is not None:
        sheet.add("episode_status", 1, model, seen.episode.request.cause, seen.episode.status)


def _moment(moment: datetime) -> float:
    return moment.timestamp()


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
