"""Retraining: alarms that stand, episodes, and thresholds that are proposed."""

from dataclasses import dataclass
from datetime import datetime

from modeldrop.web.dashboard.marks import Mark, episode_mark, word_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader

EPISODES_A_PAGE = 10
MOST_PROPOSALS = 5
_SCHEMES = ("https://", "http://")


@dataclass(frozen=True)
class AlarmRow:
    """An alarm that stands."""

    kind: str
    version: str
    since: Moment | None
    why: str


@dataclass(frozen=True)
class EpisodeRow:
    """One retraining, from its cause to what came of it. ``run_url`` only where it is an address of the web."""

    id: str
    cause: str
    mark: Mark
    why: str
    by: str
    opened: Moment | None
    ended: Moment | None
    target: str
    run_id: str
    run_url: str | None
    version: str | None
    gain: str
    outcome: str


@dataclass(frozen=True)
class ProposalRow:
    """A threshold that is, or was, proposed."""

    name: str
    mark: Mark
    text: str
    at: Moment | None
    open: bool


@dataclass(frozen=True)
class Retraining:
    """The section."""

    alarms: list[AlarmRow]
    declined: list[tuple[str, str]]
    stopped: bool
    episodes: list[EpisodeRow]
    proposals: list[ProposalRow]
    next: str | None


def retraining(reader: Reader, model: str, before: str | None, now: datetime) -> Retraining:
    """The newest first."""
    found = reader.get(f"/v1/models/{model}/retraining", limit=EPISODES_A_PAGE, before=before)
    state = found["state"]
    alarms = [
        AlarmRow(_words(kind), alarm["version"], moment(alarm["since"], now), alarm["why"])
        for kind, alarm in state["alarms"].items()
    ]
    return Retraining(
        alarms,
        _declined(found),
        state["stopped"],
        [_episode(each, now) for each in found["episodes"]],
        [_proposal(each, now) for each in found["proposals"][:MOST_PROPOSALS]],
        found["next"],
    )


def _declined(found: Answer) -> list[tuple[str, str]]:
    """Causes that opened no episode, and why; the one that the open episode is about did."""
    state = found["state"]
    opened = {each["cause"] for each in found["episodes"] if each["id"] == state["open"]}
    return [(_words(cause), why) for cause, why in state["declined"].items() if cause not in opened]


def _episode(found: Answer, now: datetime) -> EpisodeRow:
    run, version = found["run"], found["closed_by"]
    url = run["url"] if run["url"] and run["url"].startswith(_SCHEMES) else None
    return EpisodeRow(
        found["id"],
        _words(found["cause"]),
        episode_mark(found["status"]),
        found["why"],
        found["by"],
        moment(found["opened_at"], now),
        moment(found["ended_at"], now),
        found["target"],
        run["id"] or "",
        url,
        version,
        {True: "went live", False: "did not go live", None: "being judged"}[found["gain"]] if version else "",
        found["outcome"] or run["why"],
    )


def _proposal(found: Answer, now: datetime) -> ProposalRow:
    text = found["why"] or found["text"]
    return ProposalRow(
        found["name"],
        word_mark(found["status"]),
        found["text"] if found["status"] == "proposed" else text,
        moment(found["proposed_at"], now),
        found["status"] == "proposed",
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
