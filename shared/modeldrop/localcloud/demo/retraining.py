"""Second part: summer comes, the data drift, a retraining is asked for once, and its version takes over."""

import json
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from modeldrop.client import PredictionLogger
from modeldrop.localcloud.demo.pipeline import Pipeline
from modeldrop.localcloud.demo.stage import STEP_SECONDS, Stage, headline, hold, say, until

AT_ONCE = 50
TOPIC = "/v1/projects/local/topics/predictions:publish"
HOUR = timedelta(hours=1)


class Retraining:
    """The steps, each told and checked; ``rows`` are flights by time: half of them of January, half of July."""

    def __init__(self, stage: Stage, pipeline: Pipeline, rows: list[dict[str, Any]]) -> None:
        half = len(rows) // 2
        self._stage, self._pipeline = stage, pipeline
        self._january, self._july = rows[:half], rows[half:]
        # Whole hours that are over: a window is judged when it is.
        self._now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)

    def tell(self) -> None:
        """Play them; raises StepFailed at the first that does not hold."""
        self._january_comes()
        self._july_comes()
        episode = self._asked_for()
        self._retrained(episode)

    def _january_comes(self) -> None:
        headline(f"Traffic: {len(self._january)} flights of January; the app logs what v2 answers")
        self._log(self._january, self._now - 3 * HOUR)
        report = self._report(self._now - 3 * HOUR)
        hold(report["verdict"] == "ok", "January is as it was in training", report["verdict"])
        say(f"  {report['rows']} predictions against v2's training data, feature by feature: nothing has moved")

    def _july_comes(self) -> None:
        headline(f"Summer: {len(self._july)} flights of July, in two windows")
        half = len(self._july) // 2
        for hours, part in ((2, self._july[:half]), (1, self._july[half:])):
            self._log(part, self._now - hours * HOUR)
            report = self._report(self._now - hours * HOUR)
            moved = [feature for feature in report["features"] if feature["verdict"] == "drifted"]
            hold("dep_delay" in [feature["name"] for feature in moved], "departure delays have moved", moved)
            for feature in moved:
                figures = f"{feature['test']} {feature['value']:.2f}, threshold {feature['threshold']:.2f}"
                say(f"  {len(part)} flights: {feature['name']} has drifted ({figures})")

    def _asked_for(self) -> str:
        headline("Two windows in a row are an alarm: people are told, and a retraining is asked for")
        until(lambda: self._pipeline.taken("/train") != [], f"a retraining is asked for within {STEP_SECONDS:g} s")
        key, request = self._pipeline.taken("/train")[0]
        hold(key == request["episode"], "the episode is the key of the request", key)
        say(f"  the pipeline is asked for {request['episode']}, signed: {request['cause']} of {request['version']}")
        for what in ("data drift", "prediction drift", "a new threshold is proposed"):
            say(f"  people are told: {what}: {self._news(what)['why']}")
        return key

    def _retrained(self, episode: str) -> None:
        headline("The pipeline trains on July as well, and drops v7 with the episode as its run")
        source = self._stage.packages / "v7"
        metadata = json.loads((source / "metadata.json").read_text())
        metadata["lineage"]["run_id"] = episode
        folder = self._stage.bucket / "models/flights/v7"
        folder.mkdir()
        (folder / "reference.csv").write_bytes((source / "reference.csv").read_bytes())
        (folder / "metadata.json").write_text(json.dumps(metadata))
        flights = cycle([row["features"] for row in self._july])
        until(lambda: self._asked_until_live("v7", flights), f"v7 is live within {STEP_SECONDS:g} s")
        say(f"  live: {self._stage.why('v7')}")
        until(lambda: self._episode(episode)["status"] == "closed", f"{episode} is closed within {STEP_SECONDS:g} s")
        closed = self._episode(episode)
        hold(closed["closed_by"] == "v7", "v7 closes the episode", closed)
        say(f"  {episode} is closed: {closed['outcome']}")
        asked = len(self._pipeline.taken("/train"))
        hold(asked == 1, "the pipeline was asked once, however many ticks there were", asked)
        over = self._news("data drift is over")
        say(f"  people are told that it is over: {over['why']}; the pipeline was asked once, over all those ticks")

    def _log(self, rows: list[dict[str, Any]], start: datetime) -> None:
        """Ask about the flights and log the answers as an app does, as if it had been within that hour."""
        url = str(self._stage.client.base_url.join(TOPIC))
        with PredictionLogger(url, "flights", "v2") as logger:
            for first in range(0, len(rows), AT_ONCE):
                part = rows[first : first + AT_ONCE]
                answers, version = self._stage.ask([row["features"] for row in part])
                hold(version == "v2", "v2 answers", version)
                moment = start + timedelta(seconds=first)
                for row, answer in zip(part, answers, strict=True):
                    logger.log(row["features"], answer, timestamp=moment)
            hold(logger.flush(STEP_SECONDS), "all predictions are logged", logger.failed)
            hold(logger.published == len(rows), "none is lost on its way", logger.published)

    def _report(self, window: datetime) -> dict[str, Any]:
        """The drift report on a window, once all its predictions have arrived."""
        wanted = len(self._january) if window == self._now - 3 * HOUR else len(self._july) // 2
        path = f"/v1/models/flights/drift?version=v2&window={window:%Y-%m-%dT%H:%M:%SZ}"
        until(lambda: self._rows(path) == wanted, f"{wanted} predictions are in the window")
        return self._stage.get(path)

    def _rows(self, path: str) -> int:
        answer = self._stage.client.get(path)
        return int(answer.json()["rows"]) if answer.is_success else 0

    def _asked_until_live(self, version: str, flights: Any) -> bool:
        self._stage.ask_singly([next(flights) for _ in range(10)])
        return self._stage.status(version) == "live"

    def _episode(self, name: str) -> dict[str, Any]:
        episodes = self._stage.get("/v1/models/flights/retraining")["episodes"]
        return next(episode for episode in episodes if episode["id"] == name)

    def _news(self, what: str) -> dict[str, Any]:
        """What people are told of it, once they are; never twice."""
        until(lambda: self._told(what) != [], f"people are told of {what} within {STEP_SECONDS:g} s")
        told = self._told(what)
        hold(len(told) == 1, f"people are told of {what} once", told)
        return told[0]

    def _told(self, what: str) -> list[dict[str, Any]]:
        return [content for _, content in self._pipeline.taken("/news") if content["what"] == what]
