"""One look at a model by the hour's tick: its alarms, what came of the last retraining, and whether another is due.

All that follows from a look is one commit: alarms, news, the episode and the order to start its run. Two ticks at once
look at the same; one of them commits.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.news import News
from modeldrop.domain.policy import Policy
from modeldrop.domain.retraining.alarms import AlarmChange, Sighting, change_alarms
from modeldrop.domain.retraining.episode import TimeRange
from modeldrop.domain.retraining.governor import Circumstances, Reason, Ruling, new_labels, rule
from modeldrop.domain.retraining.state import AlarmKind, RaisedAlarm, RetrainingState
from modeldrop.errors import Conflict
from modeldrop.handlers.reports.report_drift import report_latest_windows
from modeldrop.handlers.retraining.apply_proposal import resume_proposals
from modeldrop.handlers.retraining.end_episode import Ended, end_episode, is_waiting
from modeldrop.handlers.retraining.known_labels import known_labels
from modeldrop.handlers.retraining.open_episode import open_episode
from modeldrop.handlers.retraining.propose_threshold import propose_threshold, why_none
from modeldrop.handlers.retraining.sightings import drift_sightings, health_reason, quality_sighting, time_range
from modeldrop.ports import Write
from modeldrop.records.outbox import dispatch
from modeldrop.records.proposals import OUTDATED, PROPOSED, Proposals, end_of
from modeldrop.records.reports import DriftRecord
from modeldrop.records.retraining import Retraining
from modeldrop.wiring import Services

log = logging.getLogger(__name__)


class _Change(msgspec.Struct, frozen=True):
    """What one look leads to, so far."""

    state: RetrainingState
    writes: list[Write]
    news: list[News]


def is_watched(services: Services, head: ModelHead) -> bool:
    """Whether there is anything to look at: a version that serves or served, or an episode somebody asked for."""
    return head.rollouts > 0 or is_waiting(Retraining(services.documents).state(head.model).value)


def watch_model(services: Services, model: str) -> str | None:
    """The id of the episode that was opened, if one was. Raises Conflict where others were faster."""
    proposal = Proposals(services.documents).open(model).value.name
    if proposal is not None:
        resume_proposals(services, model)
    head = services.registry.head(model).value
    slot = Retraining(services.documents).state(model)
    policy = services.registry.policy(model).value.policy
    latest = _latest_reports(services, head, policy.drift.windows_to_alarm)
    reports = _telling(latest)
    sightings = _sightings(services, head, latest, policy.drift.windows_to_alarm)
    production = head.production.version if head.production else None
    to_end = policy.drift.windows_to_alarm
    alarms = change_alarms(slot.value.alarms, production, sightings, to_end, services.clock())
    ended = end_episode(services, head, msgspec.structs.replace(slot.value, alarms=alarms.alarms))
    proposed = _proposal_news(services, alarms, reports, policy)
    withdrawn = [] if proposal is None else _withdrawn(services, model, alarms)
    reasons = _reasons(services, head, alarms.alarms, sightings)
    change, opened = _ruled(services, head, ended, reasons, policy)
    news = [*alarms.news, *proposed, *change.news]
    if news or withdrawn or change.state != slot.value:
        told = [dispatch(model, item, services.clock()) for item in news]
        _check_production(services, head)
        Retraining(services.documents).commit_about(slot, change.state, [*change.writes, *withdrawn], told)
    return opened


def _check_production(services: Services, head: ModelHead) -> None:
    """Raises Conflict where another version has gone live meanwhile: what was seen is not about that one.

    A look takes seconds. Between this and the commit lies a moment that remains: the commit is not about the head.
    """
    if services.registry.head(head.model).value.production != head.production:
        raise Conflict(f"{head.model}: another version went into production meanwhile")


def _latest_reports(services: Services, head: ModelHead, windows_to_alarm: int) -> list[DriftRecord]:
    """Those on production, the oldest first. All that serves is reported on by the way."""
    production = head.production.version if head.production else None
    return [each for each in report_latest_windows(services, head, windows_to_alarm) if each.version == production]


def _telling(reports: list[DriftRecord]) -> list[DriftRecord]:
    """The newest that says anything of a window that is over; then those of windows that are not."""
    over = [each for each in reports if each.complete and each.verdict != "insufficient_data"]
    return over[-1:] + [each for each in reports if not each.complete]


def _sightings(services: Services, head: ModelHead, latest: list[DriftRecord], windows_to_alarm: int) -> list[Sighting]:
    """One of each kind: what a window that is over says, unless one that is not has drifted already."""
    from modeldrop.handlers.reports.report_quality import latest_judged_qualities  # noqa: PLC0415 - loads numpy

    found: dict[AlarmKind, Sighting] = {}
    for report in _telling(latest):
        for sighting in drift_sightings(services, report, latest):
            if sighting.alarmed or sighting.kind not in found:
                found[sighting.kind] = sighting
    if head.production is not None:
        judged = latest_judged_qualities(services, head, head.production.version, windows_to_alarm)
        found |= {"concept_drift": quality_sighting(services, judged, windows_to_alarm)} if judged else {}
    return list(found.values())


def _proposal_news(services: Services, alarms: AlarmChange, reports: list[DriftRecord], policy: Policy) -> list[News]:
    """When predictions begin to drift, a threshold that restores the share of positives is proposed."""
    began = [each.window.end for each in alarms.began if each.kind == "prediction_drift"]
    for report in (each for each in reports if began and time_range(each).end == began[0]):
        proposal = propose_threshold(services, report.model, report)
        if proposal is not None:
            return [News("drift", report.version, "a new threshold is proposed", proposal.text)]
        version = services.registry.version(report.model, report.version)
        why = why_none(version.value, policy.gate) if version else None
        return [] if why is None else [News("drift", report.version, "no new threshold is proposed", why)]
    return []


def _withdrawn(services: Services, model: str, alarms: AlarmChange) -> list[Write]:
    """A threshold that waits for a word is of no use any more once the predictions are as before."""
    if "prediction_drift" in alarms.alarms:
        return []
    records = Proposals(services.documents)
    opened = records.open(model)
    slot = None if opened.value.name is None else records.find(model, opened.value.name)
    if slot is None or slot.value.status != PROPOSED:
        return []
    return end_of(slot, opened, OUTDATED, "the prediction drift it follows from is over", services.clock())


def _reasons(
    services: Services, head: ModelHead, alarms: Mapping[AlarmKind, RaisedAlarm], sightings: list[Sighting]
) -> list[Reason]:
    """The causes that stand: alarms, whether they began now or before, and a version that is ill."""
    seen = {sighting.kind: sighting for sighting in sightings}
    reasons = []
    for kind, raised in alarms.items():
        sighting = seen.get(kind)
        if sighting is not None:
            why = sighting.why if sighting.alarmed else raised.why
            reasons.append(Reason(kind, why, sighting.report, sighting.window))
        else:
            reasons.append(Reason(kind, raised.why, None, TimeRange(raised.window, raised.window)))
    ill = health_reason(services, head.model, head.production.version) if head.production else None
    return [*reasons, ill] if ill is not None else reasons


def _ruled(
    services: Services, head: ModelHead, ended: Ended, reasons: list[Reason], policy: Policy
) -> tuple[_Change, str | None]:
    now, labels = services.clock(), dict[str, int]()
    seen = Circumstances(min_labels=policy.quality.min_labels, paused=head.paused.by if head.paused else None)
    ruling = rule(ended.state, reasons, policy.retrain, seen, now)
    if ruling.opens is not None:  # the labels are read only where they can still make a difference
        labels = known_labels(services, head.model)
        seen = msgspec.structs.replace(seen, new_labels=new_labels(labels, ended.state.labels_known))
        ruling = rule(ended.state, reasons, policy.retrain, seen, now)
    if ruling.opens is not None:
        opened = open_episode(services, head, ended.state, ruling.opens, labels, "modeldrop")
        log.info("%s: %s asks for a retraining: %s", head.model, ruling.opens.cause, opened.episode.id)
        change = _Change(opened.state, [*ended.writes, *opened.writes], [*ended.news, opened.news])
        return change, opened.episode.id
    state, news = _declined(ended.state, ruling, now, head)
    return _Change(state, ended.writes, [*ended.news, *news]), None


def _declined(
    state: RetrainingState, ruling: Ruling, now: datetime, head: ModelHead
) -> tuple[RetrainingState, list[News]]:
    """Why causes that stand open nothing is kept for people; that it stopped for good is told them, once."""
    after = msgspec.structs.replace(state, declined=ruling.declined, stopped=state.stopped or ruling.stops)
    if not ruling.stops:
        return after, []
    version = head.production.version if head.production else ""
    why = f"{state.without_gain} retrainings in a row brought no gain: somebody has to look"
    return after, [News("retraining", version, "retraining has stopped", why)]
