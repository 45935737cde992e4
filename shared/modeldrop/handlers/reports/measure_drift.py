"""One look at a window: its sample against its baseline. Loads numpy, so it is imported when a report is made."""

import hashlib
from datetime import timedelta
from typing import Any

import msgspec

from modeldrop.domain.drift.alarm import INSUFFICIENT_DATA, alarm
from modeldrop.domain.drift.columns import Observations
from modeldrop.domain.drift.reference_profile import ReferenceProfile, profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import InvalidInput
from modeldrop.handlers.predictions.known_versions import read_redaction_key
from modeldrop.handlers.reports.choose_baseline import Baseline, choose_baseline, fingerprint
from modeldrop.handlers.reports.reference_file import profile_of_file
from modeldrop.handlers.reports.sampled_columns import observe_sample
from modeldrop.records.reports import Alarm, DriftRecord, Reference, Reports
from modeldrop.records.windows import WindowRecord
from modeldrop.wiring import Services

FORMAT = 1
"""Of a report: another one makes all of them anew."""
MOST_WINDOWS_BACK = 100
"""So far back an alarm looks for windows that could be judged (and no further than three times as many as it takes)."""


def measure_drift(
    services: Services,
    head: ModelHead,
    version: ModelVersion,
    window: WindowRecord,
    sample: WindowSample,
    old: DriftRecord | None,
) -> DriftRecord:
    """The report on the window. What it follows from decides: if nothing of it changed, ``old`` stays as it is."""
    policy = services.registry.policy(version.model).value.policy.drift
    rule = _keep_rule(services, version, policy)
    baseline = choose_baseline(services, head, version, window, policy)
    inputs = _digest([FORMAT, fingerprint(sample), baseline.identity, baseline.reference, policy, _public(rule)])
    if old is not None and old.inputs == inputs:
        made = old
    else:
        made = _compared(services, version, window, (sample, baseline, policy, rule), inputs)
    raised = _alarm(Reports(services.documents), made, policy)
    return msgspec.structs.replace(made, alarm=raised, looked_at=services.clock())


def _compared(
    services: Services,
    version: ModelVersion,
    window: WindowRecord,
    parts: tuple[WindowSample, Baseline, DriftPolicy, KeepRule],
    inputs: str,
) -> DriftRecord:
    sample, baseline, policy, rule = parts
    observed = observe_sample(sample, rule)
    profile, reference = _profile(services, baseline, rule)
    problems = []
    try:
        report = drift_report(profile, observed.observations, policy)
    except InvalidInput as error:  # the policy wants a test that does not fit
        problems = list(error.problems)
        report = DriftReport(len(sample.rows), profile.rows, INSUFFICIENT_DATA, [], None)
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return DriftRecord(
        model=version.model,
        version=version.version,
        window=window.start,
        window_seconds=window.seconds,
        reference=reference,
        rows=report.rows,
        reference_rows=report.reference_rows,
        estimated_events=sample.estimated_events,
        relative_error=sample.relative_error,
        conflicts=sample.conflicts,
        verdict=report.verdict,
        features=plain["features"],
        prediction=plain["prediction"],
        inputs=inputs,
        looked_at=services.clock(),
        expire_at=window.expire_at,
        features_left_out=observed.left_out,
        problems=problems,
    )


def _profile(services: Services, baseline: Baseline, rule: KeepRule) -> tuple[ReferenceProfile, Reference]:
    """The baseline's rows; none, with the reason in the reference, where there are none that can be read."""
    if baseline.sample is not None:
        return profile_reference(observe_sample(baseline.sample, rule).observations), baseline.reference
    nothing = profile_reference(Observations([]))
    if baseline.file is None:
        return nothing, baseline.reference
    read = profile_of_file(services.bucket, baseline.file, rule)
    reference = msgspec.structs.replace(
        baseline.reference, digest=read.digest, file_rows=read.file_rows, problems=list(read.problems)
    )
    if read.profile is None:
        return nothing, msgspec.structs.replace(reference, why="the package's reference cannot be used")
    return read.profile, reference


def _alarm(reports: Reports, made: DriftRecord, policy: DriftPolicy) -> Alarm:
    """From the reports on this window and those before it, as far back as it takes."""
    wanted = policy.windows_to_alarm
    known, most_back = [made], min(MOST_WINDOWS_BACK, 3 * wanted)
    for first in range(1, most_back + 1, wanted):
        if sum(each.verdict != INSUFFICIENT_DATA for each in known) >= wanted and _judged_predictions(known) >= wanted:
            break
        back = range(first, min(first + wanted, most_back + 1))
        starts = [made.window - number * timedelta(seconds=made.window_seconds) for number in back]
        known += reports.drifts(made.model, made.version, starts)
    known.reverse()
    return Alarm(
        wanted,
        alarm([each.verdict for each in known], wanted),
        alarm([_of_prediction(each) for each in known], wanted),
        {each.window.isoformat().replace("+00:00", "Z"): each.verdict for each in known},
    )


def _judged_predictions(known: list[DriftRecord]) -> int:
    return sum(_of_prediction(each) != INSUFFICIENT_DATA for each in known)


def _of_prediction(record: DriftRecord) -> str:
    return INSUFFICIENT_DATA if record.prediction is None else str(record.prediction["verdict"])


def _keep_rule(services: Services, version: ModelVersion, policy: DriftPolicy) -> KeepRule:
    """As the version's events are stored."""
    declared = dict(version.metadata.features) if version.metadata else {}
    return KeepRule(declared, dict(policy.redact), read_redaction_key(services.settings.redaction_key))


def _public(rule: KeepRule) -> KeepRule:
    """Without the key: a report need not change where only its keeper did."""
    return msgspec.structs.replace(rule, key=b"" if rule.key is not None else None)


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
