"""The app's side end to end: what PredictionLogger is told arrives in the reports of a running cloud, which may die."""

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from modeldrop.client import PredictionLogger, to_url
from tests.e2e.embedded_cloud import QUICK, REPOSITORY, Cloud, running, until

FLIGHTS = REPOSITORY / "examples/flights"
LOGGED = 4_000  # fewer than a sample holds: all of them are in it
QUEUE, BATCH = 500, 200
ASKED_AT_ONCE = 1_000


def flights() -> list[dict[str, Any]]:
    """Flights with what is known of them before they leave, and whether they arrived late."""
    return [json.loads(line) for line in (FLIGHTS / "rows.jsonl").read_bytes().splitlines()]


def go_live(cloud: Cloud) -> None:
    """The package as it is in the repository."""
    cloud.put("policies/flights.yaml", QUICK)
    for name in ("reference.csv", "metadata.json"):
        cloud.put(f"models/flights/v2/{name}", (FLIGHTS / "packages/v2" / name).read_bytes())
    cloud.wait_for("flights", "v2", "live")


def predictions_of(cloud: Cloud, rows: list[dict[str, Any]]) -> Iterator[Any]:
    """What the model answers."""
    for first in range(0, len(rows), ASKED_AT_ONCE):
        instances = [row["features"] for row in rows[first : first + ASKED_AT_ONCE]]
        answer = cloud.client.post("/v1/endpoints/flights:predict", json={"instances": instances})
        assert answer.status_code == 200, answer.text
        assert answer.json()["modelVersionId"] == "v2"
        yield from answer.json()["predictions"]


def logger_to(cloud: Cloud, **options: Any) -> PredictionLogger:
    target = to_url(f"{cloud.url}/v1/projects/any/topics/predictions:publish")
    return PredictionLogger(target, "flights", "v2", **options)


def drift(cloud: Cloud) -> dict[str, Any]:
    """The report on the latest window; of no rows where there is none yet."""
    answer = cloud.client.get("/v1/models/flights/drift?version=v2")
    assert answer.status_code in (200, 404), answer.text
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {"rows": 0}
    return found


def wait_for_rows(cloud: Cloud, count: int) -> None:
    until(lambda: drift(cloud)["rows"] >= count, f"{count} rows in the report")


def test_what_an_app_logs_is_what_the_reports_count(tmp_path: Path) -> None:
    rows = list(islice(cycle(flights()), LOGGED))
    with running(tmp_path / "data") as cloud:
        go_live(cloud)
        moment = datetime.now(UTC)  # one for all: a window may end any time
        logger = logger_to(cloud)
        for row, prediction in zip(rows, predictions_of(cloud, rows), strict=True):
            name = logger.log(row["features"], prediction, latency_ms=1.5, timestamp=moment)
            logger.label(name, row["label"], predicted_at=moment)
        assert logger.close(30)
        assert (logger.published, logger.failed, logger.dropped) == (2 * LOGGED, 0, 0)
        wait_for_rows(cloud, LOGGED)
        report = drift(cloud)
        assert (report["rows"], report["estimated_events"], report["conflicts"]) == (LOGGED, LOGGED, 0)
        assert (report["version"], report["reference"]["kind"]) == ("v2", "package")
        declared = json.loads((FLIGHTS / "packages/v2/metadata.json").read_bytes())["features"]
        assert {feature["name"] for feature in report["features"]} == set(declared)
        until(lambda: _quality(cloud)["labelled"] == LOGGED, "every prediction has its label")
        assert _quality(cloud)["metrics"]["auc"] > 0.8


def _quality(cloud: Cloud) -> dict[str, Any]:
    (version,) = cloud.get("/v1/models/flights/quality?version=v2")["versions"]
    found: dict[str, Any] = version
    return found


def test_an_app_outlives_a_cloud_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    told = cycle(row["features"] for row in flights())
    moment = datetime.now(UTC)

    def log(count: int) -> float:
        """Seconds it took."""
        begin = time.monotonic()
        for features in islice(told, count):
            assert logger.log(features, 0.5, timestamp=moment)
        return time.monotonic() - begin

    with running(tmp_path / "data") as cloud:
        go_live(cloud)
        logger = logger_to(cloud, queue_size=QUEUE, batch_size=BATCH, flush_seconds=30)
        log(QUEUE)
        assert logger.flush(30)
        wait_for_rows(cloud, QUEUE)
        log(100)  # they wait for others
        cloud.end(signal.SIGKILL)
    assert (logger.published, logger.failed, logger.dropped) == (QUEUE, 0, 0)
    assert log(5 * QUEUE) < 5  # with nobody there to take them
    assert logger.dropped > 0
    assert 100 + 5 * QUEUE - logger.failed - logger.dropped <= QUEUE + BATCH  # still waiting, or under way
    with running(tmp_path / "data", "--port", cloud.url.rpartition(":")[2]) as cloud:
        assert logger.flush(30)
        log(QUEUE)
        assert logger.close(30)
        assert logger.published + logger.failed + logger.dropped == 100 + 7 * QUEUE
        assert logger.published > 2 * QUEUE  # also some of what waited meanwhile
        wait_for_rows(cloud, logger.published)
        report = drift(cloud)
        assert report["rows"] == report["estimated_events"] == logger.published
