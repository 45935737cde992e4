"""One look at a window: its sample against its baseline. Loads numpy, so it is imported when a report is made."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from modeldrop.domain.drift.alarm import DRIFTED, INSUFFICIENT_DATA, alarm
from modeldrop.domain.drift.columns import Observations
from modeldrop.domain.drift.reference_profile import ReferenceProfile, profile_reference
from modeldrop.domain.drift.report import DriftReport, drift_report
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import InvalidInput
from modeldrop.handlers.predictions.known_versions import read_redaction_key
from modeldrop.handlers.reports.choose_baseline import FEWEST_ROWS, Baseline, Look, choose_baseline
from modeldrop.handlers.reports.fingerprints import fingerprint, inputs_digest
from modeldrop.handlers.reports.reference_file import profile_of_file
from modeldrop.handlers.reports.room_for_pictures import within_room
from modeldrop.handlers.reports.sampled_columns import comparable, observe_sample
from modeldrop.records.reports import Alarm, DriftRecord, Reference, Reports
from modeldrop.records.windows import WindowRecord, Windows
from modeldrop.wiring import Services

FORMAT = 3
"""Of a report: another one makes all of them anew."""
MOST_WINDOWS_BACK = 100
"""So many windows an alarm goes back for some that could be judged, and at most three times as many as it takes."""
MOST_LISTED = 500
"""Among so many windows of a model those of the version are looked for."""


def measure_drift(
    services: Services, head: ModelHead, version: ModelVersion, look: Look, old: DriftRecord | None
) -> DriftRecord:
    """The report on the window. What it follows from decides: if nothing of it changed, ``old`` stays as it is."""
    made = _measured(services, head, version, look, old)
    return msgspec.structs.replace(made, alarm=_alarm(services, head, version, made))


def _measured(
    services: Services, head: ModelHead, version: ModelVersion, look: Look, old: DriftRecord | None
) -> DriftRecord:
    """Without the alarm, which follows from other windows too."""
    policy = services.registry.policy(version.model).value.policy.drift
    rule = _keep_rule(services, version, policy)
    baseline = choose_baseline(services, head, version, look, policy)
    inputs = inputs_digest(
        [FORMAT, fingerprint(look.sample), baseline.identity, baseline.reference, policy, _public(rule)]
    )
    if old is not None and old.inputs == inputs:
        return msgspec.structs.replace(old, complete=look.is_over, looked_at=look.at)
    return _compared(services, version, look, (baseline, policy, rule), inputs)


def _compared(
    services: Services,
    version: ModelVersion,
    look: Look,
    parts: tuple[Baseline, DriftPolicy, KeepRule],
    inputs: str,
) -> DriftRecord:
    baseline, policy, rule = parts
    observed = observe_sample(baseline.current, rule)
    profile, reference = _profile(services, version, baseline, (policy, rule), observed.observations)
    problems = []
    try:
        report = drift_report(profile, observed.observations, policy)
    except InvalidInput as error:  # the policy wants a test that does not fit
        problems = list(error.problems)
        report = DriftReport(len(baseline.current.rows), profile.rows, INSUFFICIENT_DATA, [], None)
    report, left_out = within_room(report)
    plain: dict[str, Any] = msgspec.to_builtins(report)
    window, sample = look.window, look.sample
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
        looked_at=look.at,
        expire_at=window.expire_at,
        complete=look.is_over,
        features_left_out=observed.left_out,
        distributions_left_out=left_out,
        problems=problems,
    )


def _profile(
    services: Services,
    version: ModelVersion,
    baseline: Baseline,
    said: tuple[DriftPolicy, KeepRule],
    current: Observations,
) -> tuple[ReferenceProfile, Reference]:
    """The baseline's rows; none, with the reason in the reference, where there are none that can be read."""
    if baseline.sample is not None:
        return profile_reference(_observed_baseline(services, version, baseline, said, current)), baseline.reference
    nothing = profile_reference(Observations([]))
    if baseline.file is None:
        return nothing, baseline.reference
    read = profile_of_file(services.bucket, baseline.file, said[1])
    reference = msgspec.structs.replace(
        baseline.reference, digest=read.digest, file_rows=read.file_rows, problems=list(read.problems)
    )
    if read.profile is None:
        return nothing, msgspec.structs.replace(reference, why="the package's reference cannot be used")
    return read.profile, reference


def _observed_baseline(
    services: Services,
    version: ModelVersion,
    baseline: Baseline,
    said: tuple[DriftPolicy, KeepRule],
    current: Observations,
) -> Observations:
    """Rows are read as the version they are of stored them; of another one, what both have is compared."""
    policy, rule = said
    assert baseline.sample is not None
    name = baseline.reference.version
    if name is None or name == version.version:
        return observe_sample(baseline.sample, rule).observations
    other = services.registry.version(version.model, name)
    its_rule = rule if other is None else _keep_rule(services, other.value, policy)
    return comparable(observe_sample(baseline.sample, its_rule).observations, current)


def _alarm(services: Services, head: ModelHead, version: ModelVersion, made: DriftRecord) -> Alarm:
    """From the reports on this window and those before it that were over, as far back as it takes.

    A window that is not over counts where it has drifted so far: it may be the last one that an alarm takes.
    """
    wanted = services.registry.policy(version.model).value.policy.drift.windows_to_alarm
    known = [made] if made.complete or DRIFTED in (made.verdict, _of_prediction(made)) else []
    earlier = islice(_earlier_windows(services, version, made), min(MOST_WINDOWS_BACK, 3 * wanted))
    while min(_judged_features(known), _judged_predictions(known)) < wanted:
        some = list(islice(earlier, wanted))
        if not some:
            break
        known += _whole(services, head, version, some, made.looked_at)
    known.reverse()
    return Alarm(
        wanted,
        alarm([each.verdict for each in known], wanted),
        alarm([_of_prediction(each) for each in known], wanted),
        {each.window.isoformat().replace("+00:00", "Z"): each.verdict for each in known},
    )


def _earlier_windows(services: Services, version: ModelVersion, made: DriftRecord) -> Iterator[WindowRecord]:
    """The version's windows before that of the report which were over then, from the newest on; there may be gaps."""
    listed = islice(Windows(services.documents).records(version.model, before=made.window), MOST_LISTED)
    for window in listed:
        if window.version == version.version and window.end <= made.looked_at:
            yield window


def _whole(
    services: Services, head: ModelHead, version: ModelVersion, windows: Sequence[WindowRecord], now: datetime
) -> list[DriftRecord]:
    """The reports on windows that are over: as stored, or made anew where none was made after the window's end.

    None on windows of which nothing can be said anyway, with too few rows.
    """
    fewest = max(services.registry.policy(version.model).value.policy.drift.min_rows, FEWEST_ROWS)
    starts = [window.start for window in windows]
    stored = Reports(services.documents).drifts(version.model, version.version, starts)
    kept = {each.window: each for each in stored}
    found = []
    for window in windows:
        old = kept.get(window.start)
        if old is not None and old.complete:
            found.append(old)
            continue
        sample = Windows(services.documents).sample(version.model, version.version, window.start)
        if sample is not None and len(sample.rows) >= fewest:
            found.append(_measured(services, head, version, Look(window, sample, now), old))
    return found


def _judged_features(known: list[DriftRecord]) -> int:
    return sum(each.verdict != INSUFFICIENT_DATA for each in known)


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
