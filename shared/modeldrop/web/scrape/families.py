"""Every metric there is, in one table: its name, what kind it is, its labels, and what it means.

Names, units and suffixes follow Prometheus' conventions: base units, shares from 0 to 1 as ``_ratio``, moments as
``_timestamp_seconds`` (the age is ``time() - …``), descriptions as ``_info`` with the value 1. What has one of several
states is 1 for the one it is in; the others have no sample, but for the health, which has all four.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["gauge", "counter", "info"]

MOST_MODELS: Final = 500
MOST_VERSIONS: Final = 20
MOST_FEATURES: Final = 50
MOST_NEWS_PAGES: Final = 5
MOST_QUARANTINED: Final = 20


class Family(msgspec.Struct, frozen=True):
    """A metric. ``name`` is that of its samples, with ``_total`` and ``_info``."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str


def _gauge(name: str, labels: str, about: str) -> Family:
    return Family(f"modeldrop_{name}", "gauge", tuple(labels.split()), about)


_OF_THE_CONTROL_PLANE: Final = (
    Family("modeldrop_build_info", "info", ("version", "backend"), "The release that answers, and where it runs."),
    _gauge("models", "", "Models that are told of here."),
    _gauge("models_left_out", "", f"Models beyond the first {MOST_MODELS} by name, which are not told of here."),
    _gauge("unread", "what", "What there is and could not be read for this scrape: its samples are missing."),
    _gauge("tick_seen", "tick", "Whether the tick has ever run: 1 or 0."),
    _gauge("tick_last_run_timestamp_seconds", "tick", "When the tick ended last."),
    _gauge("tick_interval_seconds", "tick", "How often the tick is meant to come."),
    _gauge("tick_duration_seconds", "tick", "How long its last run took."),
    _gauge("tick_complete", "tick", "Whether its last run did all its work: 1 or 0."),
    _gauge("tick_models", "tick", "Models it looked at in its last run."),
    _gauge("tick_errors", "tick", "Models, or other things to do, that failed in its last run."),
    _gauge("outbox_news", "", f"News that are still to be told, counted up to {MOST_NEWS_PAGES * 100}."),
    _gauge("outbox_unreadable_news", "", "Among these news, such as this release cannot read."),
    _gauge("outbox_oldest_news_timestamp_seconds", "", "When the oldest of them happened; no sample without news."),
    _gauge("quarantine_entries", "", f"Uploads and events in quarantine, counted up to {MOST_QUARANTINED}."),
    _gauge("quarantine_more", "", "Whether there are more of them than were counted: 1 or 0."),
    _gauge("quarantine_room", "", "How many more events the quarantine takes; it comes back over 90 days."),
    Family(
        "modeldrop_events_passed_over_total",
        "counter",
        (),
        "Prediction events that belong to nothing registered, came too late, or found no room in quarantine.",
    ),
)

_OF_A_MODEL: Final = (
    Family("modeldrop_model_live_info", "info", ("model", "version", "runtime"), "The version that serves."),
    _gauge("model_live_since_timestamp_seconds", "model", "Since when that version serves."),
    _gauge("model_settled", "model", "Whether nothing is left to do about the model: 1 or 0."),
    _gauge("model_paused", "model", "Whether the model is paused, and waits for somebody: 1 or 0."),
    _gauge("model_versions", "model status", f"Versions by status, among the model's latest {MOST_VERSIONS}."),
    _gauge("model_traffic_ratio", "model version", "Share of the endpoint's traffic; no sample without a share."),
    _gauge("model_health", "model status", "1 for the status its health has, 0 for the others."),
    _gauge("model_health_checked_timestamp_seconds", "model", "When the health was looked at last."),
    _gauge("model_health_failures", "model", "Checks of the health that have failed in a row."),
    _gauge("model_requests", "model", "Requests of the version that serves, in the health's window."),
    _gauge("model_errors_ratio", "model", "Share of these that ended in an error; no sample without requests."),
    _gauge("model_latency_p95_seconds", "model", "95th percentile of their latency."),
    _gauge("rollout_phase", "model version kind phase", "1 for the rollout under way and the phase it is in."),
    _gauge("rollout_phase_since_timestamp_seconds", "model", "Since when it is in that phase."),
    _gauge("rollout_step", "model", "The step it is at, from 1."),
    _gauge("rollout_steps", "model", "How many steps it has."),
    _gauge("rollout_held", "model version cause", "1 for a rollout that waits for somebody, and why."),
)

_OF_ITS_REPORTS: Final = (
    _gauge("drift_verdict", "model version verdict", "1 for the verdict of the latest drift report on what serves."),
    _gauge("drift_window_start_timestamp_seconds", "model", "When the window of that report begins."),
    _gauge("drift_rows", "model", "Rows of the window that were compared."),
    _gauge(
        "drift_value",
        "model version of name test",
        f"How far a feature, or the prediction, has moved. At most {MOST_FEATURES} features, the drifted ones first.",
    ),
    _gauge("drift_threshold", "model version of name test", "The value above which it counts as drifted."),
    _gauge(
        "drift_drifted",
        "model version of name",
        "Whether it has drifted, beyond chance: 1 or 0; no sample where that could not be judged.",
    ),
    _gauge("drift_features_left_out", "model", "Features of that report that are not told of here."),
    _gauge("quality_verdict", "model version verdict", "1 for the verdict of the latest quality report."),
    _gauge("quality_window_start_timestamp_seconds", "model", "When the window of that report begins."),
    _gauge("quality_value", "model version metric", "The policy's metric, measured on predictions with labels."),
    _gauge("quality_expected", "model version metric", "What it is compared with: measured before, or declared."),
    _gauge("quality_coverage_ratio", "model version", "Share of the window's predictions that have a label."),
    _gauge("quality_labelled", "model version", "Predictions with a label the metric was measured on."),
)

_OF_RETRAINING: Final = (
    _gauge("alarm", "model version kind", "1 for an alarm that stands: data, concept or prediction drift."),
    _gauge("alarm_since_timestamp_seconds", "model kind", "Since when it stands."),
    Family("modeldrop_episodes_total", "counter", ("model",), "Retrainings there have been."),
    _gauge("episode_status", "model cause status", "1 for the status of the latest retraining."),
    _gauge("episode_open", "model", "Whether a retraining is open: 1 or 0."),
    _gauge("episodes_without_gain", "model", "Retrainings in a row whose version was no gain."),
    _gauge("retraining_stopped", "model", "Whether no more retrainings are begun until somebody looks: 1 or 0."),
)

FAMILIES: Final[tuple[Family, ...]] = (*_OF_THE_CONTROL_PLANE, *_OF_A_MODEL, *_OF_ITS_REPORTS, *_OF_RETRAINING)
BY_NAME: Final = {family.name: family for family in FAMILIES}
