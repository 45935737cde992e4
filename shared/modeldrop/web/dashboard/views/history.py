"""What happened to a model, what served at a time, and who was told."""

from dataclasses import dataclass
from datetime import datetime

from modeldrop.web.dashboard.marks import WARN, Mark, word_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader, Unanswered

ENTRIES_A_PAGE = 10
NEWS_A_PAGE = 6


@dataclass(frozen=True)
class HistoryRow:
    """A line of the trail."""

    at: Moment | None
    version: str
    what: str
    by: str
    why: str


@dataclass(frozen=True)
class History:
    """A page of it, the newest first."""

    rows: list[HistoryRow]
    next: str | None


@dataclass(frozen=True)
class ServedAt:
    """What served at the time somebody asked for; ``problem``: why that cannot be said."""

    at: str
    version: str = ""
    since: Moment | None = None
    by: str = ""
    why: str = ""
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Told:
    """News, one channel of it."""

    at: Moment | None
    version: str
    what: str
    to: str
    mark: Mark
    attempts: str
    error: str


@dataclass(frozen=True)
class Deliveries:
    """A page of news: those still to be told, then the others, the newest first."""

    rows: list[Told]
    next: str | None


def history(reader: Reader, model: str, before: str | None, now: datetime) -> History:
    """The trail."""
    found = reader.get(f"/v1/models/{model}/history", limit=ENTRIES_A_PAGE, before=before)
    rows = [
        HistoryRow(
            moment(entry["at"], now), entry["version"], entry["what"].replace("_", " "), entry["by"], entry["why"]
        )
        for entry in found["history"]
    ]
    return History(rows, found["next"])


def served_at(reader: Reader, model: str, at: str | None, now: datetime) -> ServedAt | None:
    """What served then; None where nobody asks. A browser's field for times gives no zone: it is UTC."""
    if not at:
        return None
    try:
        served = reader.get(f"/v1/models/{model}/history", at=at)["served"]
    except Unanswered as error:
        if error.problem.status != 400:
            raise
        return ServedAt(at, problem=error.problem.detail)
    if served is None:
        return ServedAt(at, problem="Nothing served then.")
    since = moment(served["since"], now)
    return ServedAt(at, served["version"], since, served["by"], served["why"], served["digest"][:12])


def deliveries(reader: Reader, model: str, before: str | None, now: datetime) -> Deliveries:
    """Who was told, and who is still to be."""
    found = reader.get(f"/v1/models/{model}/deliveries", limit=NEWS_A_PAGE, before=before)
    waiting = [] if before else found["waiting"][:NEWS_A_PAGE]
    rows = [row for item in waiting for row in _told(item, "waiting", now)]
    rows += [row for item in found["deliveries"] for row in _told(item, "nobody asked for it", now)]
    return Deliveries(rows, found["next"])


def _told(item: Answer, otherwise: str, now: datetime) -> list[Told]:
    about = (moment(item["at"], now), item["version"], item["what"])
    if not item["deliveries"]:
        return [Told(*about, "–", word_mark(otherwise), "", "")]
    return [Told(*about, one["to"], _state(one), str(one["attempts"]), one["error"]) for one in item["deliveries"]]


def _state(delivery: Answer) -> Mark:
    """One that failed before and will be tried again is not just waiting."""
    again = delivery["status"] == "waiting" and delivery["attempts"] > 0
    return Mark("warn", WARN, "trying again") if again else word_mark(delivery["status"])
