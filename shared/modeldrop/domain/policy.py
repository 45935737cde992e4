"""A model's policy with its documented defaults: what ``policies/{model}.yaml`` may say."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modeldrop.domain.targets import Channel, Target

Ratio = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Percent = Annotated[int, Meta(ge=1, le=100)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Metric = Annotated[str, Meta(min_length=1, max_length=128)]
Scale = Annotated[list[Annotated[float, Meta(ge=-1e15, le=1e15)]], Meta(min_length=2, max_length=2)]  # worst, best


class GatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How candidates are judged. Scores run from 0 (worst) to 1 (best)."""

    preset: Literal["llm", "nlg", "classifier", "custom"] | None = None  # None: by what the package reports
    weights: dict[Metric, Annotated[float, Meta(ge=1e-6, le=1e6)]] = {}
    lower_is_better: list[Metric] = []
    scale: dict[Metric, Scale] = {}
    floors: dict[Metric, float] = {}
    ceilings: dict[Metric, float] = {}
    min_improvement: Ratio = 0.001
    composite_tolerance: Annotated[float, Meta(ge=0, le=100)] = 10.0  # points of 100
    late_seconds: Seconds = 3600.0
    require_signature: bool = False
    approval: Literal["none", "manual"] = "none"


class RolloutPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an approved version takes over."""

    strategy: Literal["canary", "blue_green", "all_at_once", "hot_swap"] = "canary"
    steps: Annotated[list[Percent], Meta(min_length=1, max_length=100)] = msgspec.field(
        default_factory=lambda: [5, 20, 50, 100]
    )
    bake_seconds: Seconds = 600.0
    min_requests: Count = 100
    max_error_rate: Ratio = 0.01
    max_p95_ms: Annotated[float, Meta(gt=0)] | None = None
    max_prediction_drift: Annotated[float, Meta(gt=0, le=1)] | None = None
    failure_limit: Count = 2
    error_limit: Count = 4
    inconclusive_limit: Count = 6
    keep_warm_seconds: Seconds = 3600.0
    deadline_seconds: Annotated[float, Meta(gt=0, le=31_536_000)] = 7200.0
    approve_steps: list[Annotated[int, Meta(ge=0, le=100)]] = []  # after these, somebody's word is needed as well
    out_of_band: Literal["pause", "repair"] = "pause"  # when somebody else edits traffic or deployments


class HealthPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the live version is watched. Limits that are left out are those of the rollout."""

    window_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 3600.0
    interval_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    min_requests: Count | None = None
    max_error_rate: Ratio | None = None
    max_p95_ms: Annotated[float, Meta(gt=0)] | None = None


class DriftPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How prediction logs are sampled and compared."""

    window_seconds: Annotated[int, Meta(ge=60, le=604_800)] = 3600
    sample_size: Annotated[int, Meta(ge=64, le=65_536)] = 4096
    min_rows: Count = 200
    tests: dict[Literal["numeric", "categorical"], Literal["psi", "ks", "wasserstein", "jensen_shannon"]] = (
        msgspec.field(default_factory=lambda: {"numeric": "psi", "categorical": "jensen_shannon"})
    )
    thresholds: dict[Literal["psi", "ks", "wasserstein", "jensen_shannon"], Annotated[float, Meta(gt=0)]] = (
        msgspec.field(default_factory=lambda: {"psi": 0.2, "ks": 0.1, "wasserstein": 0.1, "jensen_shannon": 0.1})
    )
    false_discovery_rate: Ratio = 0.05
    windows_to_alarm: Annotated[int, Meta(ge=1, le=100)] = 2
    redact: dict[str, Literal["drop", "hash"]] = {}


class QualityPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which quality the labels must show."""

    metric: Literal["accuracy", "precision", "recall", "f1", "auc", "mae", "mape"] | None = None
    positive: str | bool | int | None = None
    min: float | None = None
    max_drop: float | None = None
    min_labels: Count = 100


class RetrainPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a retraining is asked for, and where."""

    on: list[Literal["data_drift", "concept_drift", "prediction_drift", "unhealthy"]] = msgspec.field(
        default_factory=lambda: ["data_drift", "concept_drift", "prediction_drift", "unhealthy"]
    )
    cooldown_seconds: Seconds = 86_400.0
    max_per_week: Count = 3
    stop_after_no_gain: Count = 3
    deadline_seconds: Annotated[float, Meta(ge=60, le=31_536_000)] = 604_800.0  # for a version to come of it
    target: Target | None = None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Every field is optional; an unknown one is an error."""

    gate: GatePolicy = GatePolicy()
    rollout: RolloutPolicy = RolloutPolicy()
    health: HealthPolicy = HealthPolicy()
    drift: DriftPolicy = DriftPolicy()
    quality: QualityPolicy = QualityPolicy()
    retrain: RetrainPolicy = RetrainPolicy()
    notify: Annotated[list[Channel], Meta(max_length=20)] = []
