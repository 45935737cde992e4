"""A deployed configuration answers questions with SQL: the text-to-SQL example, from the bucket to the statement."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from modeldrop.adapters.local.serving_table import ServingTableReader
from tests.e2e.embedded_cloud import QUICK, REPOSITORY, Cloud, running, until
from tests.servers.gemini import Fault, GeminiServer, say

EXAMPLE = REPOSITORY / "examples" / "text-to-sql" / "models"
MODEL = "text-to-sql"
VERSION = "20260110T120000Z_3f9c2d1"
QUESTION: dict[str, Any] = {
    "user_query": "How many orders are there?",
    "dataset_name": "shop",
    "dataset_metadata": {"dialect": "sqlite", "tables": {"orders": {"id": "INTEGER", "amount": "REAL"}}},
}


@pytest.fixture(scope="module")
def gemini() -> Iterator[GeminiServer]:
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def cloud(gemini: GeminiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    data = tmp_path_factory.mktemp("inference") / "data"
    environment = {**gemini.environment, "MODELDROP_DEFAULT_MODEL": MODEL}
    with running(data, **environment) as cloud:
        go_live(cloud)
        yield cloud


def go_live(cloud: Cloud) -> None:
    """Drop the example, as a user does, and wait until it answers."""
    cloud.put(f"policies/{MODEL}.yaml", QUICK)
    folder = cloud.data / "bucket" / "models" / VERSION
    shutil.copytree(EXAMPLE / VERSION, folder, ignore=shutil.ignore_patterns("best_model_metadata.json"))
    shutil.copy(EXAMPLE / VERSION / "best_model_metadata.json", folder)
    cloud.wait_for(MODEL, VERSION, "live")


@pytest.fixture
def worker(cloud: Cloud) -> Iterator[httpx.Client]:
    with worker_of(cloud) as client:
        yield client


@contextmanager
def worker_of(cloud: Cloud) -> Iterator[httpx.Client]:
    """A client of the version's own process, which has all of the service's routes."""
    reader = ServingTableReader(cloud.data / "serving.sqlite")
    (deployment,) = reader.read()[MODEL]
    reader.close()
    with httpx.Client(base_url=f"http://127.0.0.1:{deployment.port}", timeout=30, trust_env=False) as client:
        yield client


def test_the_endpoint_answers_with_sql(cloud: Cloud, gemini: GeminiServer) -> None:
    answer = cloud.client.post(f"/v1/endpoints/{MODEL}:predict", json={"instances": [QUESTION]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["modelVersionId"] == VERSION
    (prediction,) = answer.json()["predictions"]
    assert "COUNT(*)" in prediction["sql_query"]
    assert "LIMIT" in prediction["sql_query"]
    assert (prediction["model_used"], prediction["model_version"]) == ("gemini-2.5-flash", VERSION)
    sent = gemini.asked[-1].body["generationConfig"]
    assert (sent["temperature"], sent["topP"], sent["topK"]) == (0.2, 0.9, 40)


def test_a_question_without_a_shell_around_it(worker: httpx.Client) -> None:
    answer = worker.post("/predict", json=QUESTION)
    assert answer.status_code == 200, answer.text
    assert {"sql_query", "visualization_config", "explanation", "model_used", "model_version"} <= answer.json().keys()
    assert answer.headers["x-modeldrop-version"] == VERSION
    assert answer.headers["x-modeldrop-prediction-id"]


def test_a_statement_that_would_change_something_is_refused(worker: httpx.Client, gemini: GeminiServer) -> None:
    gemini.then(say("DROP TABLE orders"))
    answer = worker.post("/predict", json=QUESTION)
    assert (answer.status_code, answer.json()["refused"]) == (200, True)
    assert "sql_query" not in answer.json()


def test_a_stream_tells_words_first_and_sql_only_at_its_end(worker: httpx.Client) -> None:
    with worker.stream("POST", "/predict?stream=1", json=QUESTION) as answer:
        events = [event for event in answer.read().decode().split("\n\n") if event]
    *deltas, last = events
    assert deltas
    assert all(event.startswith("event: delta\n") and "SELECT" not in event for event in deltas)
    assert (
        "".join(json.loads(event.partition("data: ")[2])["delta"] for event in deltas) == "Counts the rows of orders."
    )
    assert last.startswith("event: prediction\n")
    assert "COUNT(*)" in json.loads(last.partition("data: ")[2])["sql_query"]


def test_what_goes_wrong_is_said_and_whose_it_is(worker: httpx.Client, gemini: GeminiServer) -> None:
    wrong = worker.post("/predict", json=QUESTION | {"dataset_metadata": {"tables": 7}})
    assert wrong.status_code == 422, wrong.text
    gemini.then(Fault(400, "INVALID_ARGUMENT", "no"))
    failed = worker.post("/predict", json=QUESTION)
    assert failed.status_code == 502, failed.text
    assert gemini.api_key not in failed.text


def test_what_it_answers_is_in_the_drift_report(cloud: Cloud) -> None:
    def report() -> dict[str, Any]:
        answer = cloud.client.get(f"/v1/models/{MODEL}/drift?version={VERSION}")
        assert answer.status_code in (200, 404), answer.text
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {"rows": 0}
        return found

    answer = cloud.client.post(f"/v1/endpoints/{MODEL}:predict", json={"instances": [QUESTION] * 3})
    assert answer.status_code == 200, answer.text
    until(lambda: report()["rows"] >= 3, "the answers are in the drift report")
    figures = {"query_length", "dataset", "dialect", "tables", "tokens_in", "tokens_out", "cost_usd", "cached"}
    assert {feature["name"] for feature in report()["features"]} == figures  # and no words: nobody allowed them


def test_its_health_and_version(worker: httpx.Client) -> None:
    assert worker.get("/health").json() == {"status": "ok", "model": MODEL, "version": VERSION}
    assert worker.post("/reload").json()["changed"] is False


def test_the_log_of_the_worker_keeps_the_key_to_itself(cloud: Cloud, gemini: GeminiServer) -> None:
    until(lambda: list((cloud.data / "logs").glob("*.log")), "a worker's log")
    logs = [path.read_text() for path in (cloud.data / "logs").glob("*.log")]
    assert all(gemini.api_key not in log for log in logs)


def test_what_stands_around_the_runtime_is_said_to_the_cloud(gemini: GeminiServer, tmp_path: Path) -> None:
    environment = {
        **gemini.environment,
        "MODELDROP_DEFAULT_MODEL": MODEL,
        "MODELDROP_PREDICTIONS_TARGET": "",  # nowhere
        "MODELDROP_RESPONSE_CACHE_SECONDS": "600",
        "MODELDROP_RESPONSE_CACHE_BYTES": "1000000",
    }
    with running(tmp_path / "data", **environment) as cloud:
        go_live(cloud)
        with worker_of(cloud) as worker:
            first, second = (worker.post("/predict", json=QUESTION) for _ in range(2))
    paid, free = (answer.json().pop("metadata") for answer in (first, second))
    assert (free["cached"], free["tokens_in"], free["tokens_out"], free["cost_usd"]) == (True, 0, 0, 0)
    assert (paid["tokens_in"] > 0, "cached" in paid) == (True, False)
    assert first.json() | {"metadata": None} == second.json() | {"metadata": None}
    assert ("x-modeldrop-cached" in first.headers, second.headers["x-modeldrop-cached"]) == (False, "1")
    assert "x-modeldrop-prediction-id" not in second.headers
