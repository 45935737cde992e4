"""Rollouts: their steps, and what was measured at each."""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from modeldrop.web.dashboard.figures import figure, percent, whole
from modeldrop.web.dashboard.marks import Mark, phase_mark, verdict_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader

ROLLOUTS_A_PAGE = 5
LATEST_EVENTS = 9
FINAL = frozenset({"live", "failed", "rolled_back", "superseded"})
STEP_CAUSES = frozenset({"approval", "inconclusive", "unmeasurable"})
KINDS = {"rollout": "Rollout", "rollback": "Rollback", "repair": "Repair"}


@dataclass(frozen=True)
class Step:
    """A step of the plan; ``state``: done, now, ahead, or fell: it went no further."""

    percent: int
    state: str


@dataclass(frozen=True)
class Reading:
    """One figure of a measurement, of the candidate and of the stable version."""

    name: str
    candidate: str
    stable: str
    limit: str
    mark: Mark


@dataclass(frozen=True)
class Event:
    """A line of the timeline: a move (``phase``), or a measurement with its figures."""

    at: Moment | None
    kind: str  # move | measured
    mark: Mark
    percent: int
    requests: str
    error_rate: str
    p95: str
    why: str
    readings: list[Reading]
    times: int = 1  # so many in a row said the same, the first of them ``since``
    since: Moment | None = None


@dataclass(frozen=True)
class Rollout:
    """A rollout with its timeline, the newest line first."""

    id: str
    version: str
    title: str
    mark: Mark
    stable: str | None
    steps: list[Step]
    held: str
    waits_for_approver: bool  # an approver's word lets its step pass
    reason: str
    trouble: str
    opened: Moment | None
    under_way: bool
    wanted_by: str
    latest: list[Event]
    older: list[Event]


@dataclass(frozen=True)
class Rollouts:
    """A page of them."""

    rows: list[Rollout]
    next: str | None


def rollouts(reader: Reader, model: str, before: str | None, now: datetime) -> Rollouts:
    """The newest first."""
    found = reader.get(f"/v1/models/{model}/rollouts", limit=ROLLOUTS_A_PAGE, before=before)
    return Rollouts([_rollout(each, now) for each in found["rollouts"]], found["next"])


def _rollout(found: Answer, now: datetime) -> Rollout:
    moves = [(entry["at"], _move(entry, now)) for entry in found["entries"]]
    measured = [(each["at"], _measured(each, now)) for each in found["measurements"]]
    oldest_first = sorted([*moves, *measured], key=lambda pair: pair[0])
    ordered = _told_once([event for _, event in reversed(oldest_first)])  # of one time, too, what came last
    return Rollout(
        found["id"],
        found["version"],
        str(KINDS.get(found["kind"], found["kind"])),
        phase_mark(found["phase"]),
        found["stable"],
        _steps(found),
        found["held"]["why"] if found["held"] else "",
        bool(found["held"]) and found["held"]["cause"] in STEP_CAUSES and found["phase"] not in FINAL,
        found["reason"],
        found["trouble"],
        moment(found["opened_at"], now),
        found["phase"] not in FINAL,
        found["wanted_by"],
        ordered[:LATEST_EVENTS],
        ordered[LATEST_EVENTS:],
    )


def _told_once(events: list[Event]) -> list[Event]:
    """Measurements in a row that say the same as one: a rollout that is held is looked at for hours."""

    def said(event: Event) -> tuple[object, ...]:
        return event.kind, event.mark, event.percent, event.requests, event.why

    runs = [list(run) for _, run in groupby(events, key=said)]
    return [replace(run[0], times=len(run), since=run[-1].at) for run in runs]


def _steps(found: Answer) -> list[Step]:
    """A step is done once the next one began; with a rollout that is live all of them are."""
    live, over = found["phase"] == "live", found["phase"] in FINAL
    present = len(found["steps"]) if live else found["step"]
    here = "fell" if over else "now"
    states = ["done" if place < present else here if place == present else "ahead"
              for place in range(len(found["steps"]))]  # fmt: skip
    return [Step(share, state) for share, state in zip(found["steps"], states, strict=True)]


def _move(entry: Answer, now: datetime) -> Event:
    why = entry["reason"]
    return Event(moment(entry["at"], now), "move", phase_mark(entry["phase"]), entry["percent"], "", "", "", why, [])


def _measured(found: Answer, now: datetime) -> Event:
    by_name = {signal["name"]: signal for signal in found["signals"]}
    rate, p95 = by_name.get("error_rate"), by_name.get("p95_latency_ms")
    return Event(
        moment(found["at"], now),
        "measured",
        verdict_mark(found["verdict"]),
        found["percent"],
        whole(found["requests"]),
        percent(rate["candidate"]) if rate else "–",
        f"{figure(p95['candidate'], 3)} ms" if p95 and p95["candidate"] is not None else "–",
        found["why"],
        [_reading(signal) for signal in found["signals"]],
    )


def _reading(signal: Answer) -> Reading:
    show = percent if signal["name"] == "error_rate" else figure
    return Reading(
        signal["name"].replace("_", " "),
        show(signal["candidate"]),
        show(signal["stable"]),
        show(signal["limit"]),
        verdict_mark(signal["verdict"]),
    )
