"""Answers about drift and quality: the report on one window, and what was reported on many."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from modeldrop.domain.drift.distribution import Distribution
from modeldrop.domain.scorecard import FeatureType
from modeldrop.errors import FieldProblem
from modeldrop.records.reports import Alarm, QualityRecord, Reference
from modeldrop.web.answers.names import Next

DriftVerdict = Literal["ok", "drifted", "insufficient_data"]
QualityVerdict = Literal["ok", "degraded", "insufficient_data"]


class FeatureAnswer(msgspec.Struct, frozen=True):
    """What a report says of a feature, or of the predictions; figures that could not be measured are null."""

    name: str
    type: FeatureType
    test: Annotated[str, Meta(description="psi, ks, wasserstein, jensen_shannon or missing_values.")]
    value: float | None
    threshold: Annotated[float | None, Meta(description="In effect: the policy's, or the noise floor above it.")]
    p_value: float | None
    missing: Annotated[float, Meta(description="Share of the current rows without a value.")]
    verdict: DriftVerdict
    psi: float | None = None
    ks: float | None = None
    wasserstein: Annotated[float | None, Meta(description="In standard deviations of the reference.")] = None
    jensen_shannon: float | None = None
    l_infinity: float | None = None
    chi_square: float | None = None
    derived: Annotated[str | None, Meta(description="Which number of a text the figures are of.")] = None
    reason: str = ""
    missing_reference: float = 0.0
    other_type: Annotated[float, Meta(description="Share of the current rows with a value of another type.")] = 0.0
    unseen: Annotated[float | None, Meta(description="Share of the current rows whose category is new.")] = None
    out_of_range: Annotated[float | None, Meta(description="Share beyond the reference's range.")] = None
    histogram: None = None
    distribution: Annotated[
        Distribution | None,
        Meta(description="For a picture; null where a side has no values, or the report no room for it."),
    ] = None


class DriftAnswer(msgspec.Struct, frozen=True):
    """The drift report of a version's window."""

    model: str
    version: str
    window: Annotated[datetime, Meta(description="Its start.")]
    window_seconds: int
    reference: Reference
    rows: Annotated[int, Meta(description="Compared, as are the reference's.")]
    reference_rows: int
    estimated_events: int
    relative_error: Annotated[float | None, Meta(description="One standard error of the estimate.")]
    conflicts: Annotated[int, Meta(description="Events told more than once, and differently.")]
    verdict: DriftVerdict
    features: list[FeatureAnswer]
    prediction: FeatureAnswer | None
    inputs: Annotated[str, Meta(description="Digest of all that the report follows from.")]
    looked_at: datetime
    expire_at: datetime
    complete: Annotated[bool, Meta(description="The window was over when somebody looked.")] = False
    alarm: Alarm = Alarm()
    features_left_out: Annotated[int, Meta(description="Beyond those a row, or a report, has room for.")] = 0
    distributions_left_out: Annotated[int, Meta(description="Pictures that the report had no room for.")] = 0
    problems: Annotated[list[FieldProblem], Meta(description="Why nothing could be compared.")] = []


class QualityAnswer(msgspec.Struct, frozen=True):
    """The quality reports of a model's versions."""

    model: str
    versions: list[QualityRecord]


class TestedFeature(msgspec.Struct, frozen=True):
    """A feature in a trend: the test's value, and the threshold in effect."""

    test: str
    value: float | None
    threshold: float | None
    verdict: DriftVerdict


class DriftWindow(msgspec.Struct, frozen=True):
    """What was last reported on a window."""

    window: Annotated[datetime, Meta(description="Its start.")]
    verdict: DriftVerdict
    complete: Annotated[bool, Meta(description="The window was over when somebody looked.")]
    rows: int
    estimated_events: int
    features: Annotated[dict[str, TestedFeature], Meta(description="By name.")]
    prediction: TestedFeature | None


class DriftWindows(msgspec.Struct, frozen=True):
    """Drift of a version over windows, the newest first; windows without a report are not among them."""

    model: str
    version: str
    windows: list[DriftWindow]
    next: Next


class QualityWindow(msgspec.Struct, frozen=True):
    """What was last reported on a window. ``value``: of the policy's ``metric``; ``expected``: held against it."""

    window: Annotated[datetime, Meta(description="Its start.")]
    verdict: QualityVerdict
    metric: str | None
    value: float | None
    bounds: Annotated[list[float] | None, Meta(description="One-sided 95 % bounds of the value.")]
    expected: float | None
    n: Annotated[int, Meta(description="Labelled predictions the metric was measured on.")]
    coverage: Annotated[float | None, Meta(description="Share of the predictions whose labels are known.")]


class QualityWindows(msgspec.Struct, frozen=True):
    """Quality of a version over windows, the newest first; windows without a report are not among them."""

    model: str
    version: str
    windows: list[QualityWindow]
    next: Next
