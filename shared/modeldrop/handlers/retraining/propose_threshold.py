"""Predictions drift: propose a decision threshold that brings the share of positives back, and wait for a word.

Scores are read from the samples: those of the window, and those of its baseline. Numpy is loaded only here, where a
baseline is read.
"""

import logging
from collections.abc import Sequence
from typing import Any

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import GatePolicy, Policy
from modeldrop.domain.retraining.threshold import proposal_name, propose
from modeldrop.domain.sampling.kept_values import KeepRule
from modeldrop.domain.sampling.payload import read_prediction
from modeldrop.domain.sampling.window_sample import WindowSample
from modeldrop.domain.scorecard import Scorecard
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, PermanentError
from modeldrop.handlers.predictions.known_versions import read_redaction_key
from modeldrop.handlers.reports.choose_baseline import FEWEST_ROWS, Baseline, Look, choose_baseline, stable_version
from modeldrop.handlers.retraining.threshold_package import new_metadata, package_location, read_checked_metadata
from modeldrop.records.proposals import APPLIED, APPROVED, PROPOSED, ProposalRecord, Proposals, new_proposal
from modeldrop.records.reports import DriftRecord
from modeldrop.records.windows import Windows
from modeldrop.serving.scorecard_runtime import load_scorecard
from modeldrop.wiring import Services

log = logging.getLogger(__name__)

_ATTEMPTS = 20


def propose_threshold(services: Services, model: str, report: DriftRecord) -> ProposalRecord | None:
    """The proposal that waits for a word on the report's window; None where none is to be made.

    Asked twice, by two ticks at once as well, it is one proposal. It takes the place of an older one that waits.
    Raises Conflict after too many lost races.
    """
    for _ in range(_ATTEMPTS):
        try:
            found = _propose(services, model, report)
        except Conflict as error:
            log.info("%s: lost a race: %s", model, error)
            continue
        if isinstance(found, str):
            log.info("%s %s: no threshold is proposed: %s", model, report.version, found)
            return None
        return found
    raise Conflict(f"{model}: lost {_ATTEMPTS} races to propose a threshold")


def why_none(version: ModelVersion, gate: GatePolicy) -> str | None:
    """Why no threshold can ever be proposed for the version, for people; None: one can."""
    if version.metadata is None or version.metadata.runtime != "scorecard":
        return "only scorecards have a threshold that modeldrop knows of"
    if gate.require_signature:
        return "the policy requires signatures, and a package made by modeldrop has none: sign one with a new threshold"
    return None


def _propose(services: Services, model: str, report: DriftRecord) -> ProposalRecord | str:
    """The proposal, made now or before; or why there is none."""
    records = Proposals(services.documents)
    opened = records.open(model)
    name = proposal_name(report.version, report.window)
    known = records.find(model, name)
    if known is not None:
        is_it = known.value.version == report.version and known.value.status == PROPOSED
        return known.value if is_it else f"{name}, of {known.value.version}, is {known.value.status}"
    waiting = records.find(model, opened.value.name) if opened.value.name else None
    if waiting is not None and _keeps_its_place(waiting.value, report):
        return f"{waiting.value.name} is {waiting.value.status}"
    made = _record(services, report, name)
    if isinstance(made, ProposalRecord):
        records.commit(new_proposal(made, opened, waiting))
    return made


def _keeps_its_place(waiting: ProposalRecord, report: DriftRecord) -> bool:
    """A proposal that is being applied, or follows from a later window of the same version."""
    return waiting.status == APPROVED or (waiting.version == report.version and waiting.window > report.window)


def _record(services: Services, report: DriftRecord, name: str) -> ProposalRecord | str:
    head = services.registry.head(report.model).value
    found = services.registry.version(report.model, report.version)
    policy = services.registry.policy(report.model).value.policy
    if found is None or head.production is None or head.production.version != report.version:
        return f"{report.version} is not in production"
    version, impossible = found.value, why_none(found.value, policy.gate)
    if impossible is not None:
        return impossible
    if services.registry.version(report.model, name) is not None:
        return f"there is a version {name} already"
    try:
        metadata = read_checked_metadata(services.bucket, version)
        return _measured(services, (head, version, policy), metadata, report, name)
    except PermanentError as error:
        return str(error)


def _measured(
    services: Services,
    about: tuple[ModelHead, ModelVersion, Policy],
    metadata: dict[str, Any],
    report: DriftRecord,
    name: str,
) -> ProposalRecord | str:
    head, version, policy = about
    card = load_scorecard(metadata).scorecard
    window = Windows(services.documents).record(report.model, report.version, report.window)
    sample = Windows(services.documents).sample(report.model, report.version, report.window)
    if window is None or sample is None:
        return f"the window of {report.window.isoformat()} is gone"
    baseline = choose_baseline(services, head, version, Look(window, sample, services.clock()), policy.drift)
    judged_by = _baseline_threshold(services, head, version, baseline, card)
    before = None if judged_by is None else _baseline_values(services, version, policy, baseline)
    if judged_by is None or before is None:
        return f"there is nothing to compare with: {baseline.reference.why}"
    scores = _values(baseline.current)
    if not _on_scale(scores, card):
        return "the predictions that are logged are not its scores"
    fewest = max(policy.drift.min_rows, FEWEST_ROWS)
    proposal = propose(before, scores, card.threshold, fewest_rows=fewest, baseline_threshold=judged_by)
    if proposal is None:
        return "no threshold brings the share of positives back, or it has not moved"
    now = services.clock()
    new_metadata(metadata, package_location(report.model, name), version.version, proposal.threshold, now)
    kind = baseline.reference.kind
    return ProposalRecord(
        name=name,
        model=report.model,
        version=version.version,
        digest=version.digest,
        window=report.window,
        reference=kind,
        threshold=card.threshold,
        baseline_threshold=judged_by if kind == "package" else card.threshold,
        proposal=proposal,
        proposed_at=now,
    )


def _baseline_threshold(
    services: Services, head: ModelHead, version: ModelVersion, baseline: Baseline, card: Scorecard
) -> float | None:
    """What the baseline's scores are judged by; None where that cannot be known.

    The reference rows that an applied proposal took along keep the threshold they had: judged by the new one they
    would have another share of positives, and proposals would chase each other.
    """
    if baseline.reference.kind == "package":
        origin = Proposals(services.documents).find(version.model, version.version)
        is_origin = origin is not None and origin.value.status == APPLIED
        return origin.value.baseline_threshold if origin is not None and is_origin else card.threshold
    stable = stable_version(head, version.version)
    if baseline.reference.kind != "stable_version" or stable is None:
        return card.threshold
    other = services.registry.version(version.model, stable)
    if other is None or other.value.metadata is None or other.value.metadata.runtime != "scorecard":
        return None
    return load_scorecard(read_checked_metadata(services.bucket, other.value)).scorecard.threshold


def _baseline_values(
    services: Services, version: ModelVersion, policy: Policy, baseline: Baseline
) -> Sequence[object] | None:
    """The baseline's predictions; None where it has none."""
    if baseline.sample is not None:
        return _values(baseline.sample)
    if baseline.file is None:
        return None
    from modeldrop.handlers.reports.reference_file import LIMIT_BYTES  # noqa: PLC0415 - loads numpy
    from modeldrop.handlers.reports.reference_rows import read_rows  # noqa: PLC0415 - loads numpy

    read = services.bucket.read(baseline.file.name, limit_bytes=LIMIT_BYTES, generation=baseline.file.generation)
    if read is None:
        raise Conflict(f"{baseline.file.name} was replaced while it was looked at")
    assert version.metadata is not None
    key = read_redaction_key(services.settings.redaction_key)
    rule = KeepRule(dict(version.metadata.features), dict(policy.drift.redact), key)
    column = read_rows(baseline.file.name, read[1], rule).observations.prediction
    return None if column is None else column.values


def _values(sample: WindowSample) -> list[object]:
    """What was answered: of a scorecard's answer the score. Requests that failed have none."""
    from modeldrop.handlers.reports.sampled_columns import answer  # noqa: PLC0415 - loads numpy

    kept = map(read_prediction, sample.rows)
    return [answer(each.prediction) for each in kept if each.status == "ok"]


def _on_scale(scores: Sequence[object], card: Scorecard) -> bool:
    """Scores of the link ``logit`` lie between 0 and 1: percentages, say, have another threshold than the scorecard."""
    numbers = (score for score in scores if isinstance(score, int | float))
    return card.link != "logit" or all(0 <= number <= 1 for number in numbers)
