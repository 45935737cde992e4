"""Questions in D1's shape, streams, the cache, and prediction events, through the function as it is mounted."""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from modeldrop.client.event_ids import is_uuid7
from modeldrop.events.prediction_events import decode_predictions
from modeldrop.handlers.serving.caller import Anybody
from modeldrop.handlers.serving.prediction_events import PredictionEvents
from modeldrop.handlers.serving.response_cache import KeptAnswers, ResponseCache
from modeldrop.handlers.serving.routes import answer_predict
from modeldrop.handlers.serving.service import Service
from modeldrop.http.messages import Reply
from modeldrop.serving.runtime import Described
from modeldrop.serving.served_version import Serving
from modeldrop.settings import ServingSettings
from tests.functions.predict_system import ANSWER, GOOD, client_of, package, process
from tests.servers.receiver import HANG, Receiver

QUESTION = {"user_query": "How many flights?", "dataset_name": "flights", "dataset_metadata": {"tables": {}}}
SQL = {"sql_query": "SELECT 1", "visualization_config": None, "explanation": "one"}


class Writer:
    """A runtime of the kind of an LLM's, whose words are known beforehand. It counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.may_go_on = threading.Event()
        self.closed = False
        self.costs: dict[str, Any] = {}

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        self.asked += instances
        return [self._answer(instance) for instance in instances]

    def stream(self, instance: object) -> Iterator[dict[str, Any]]:
        try:
            yield {"delta": "on"}
            assert self.may_go_on.wait(10)
            yield {"delta": "e\n\nevent: prediction\ndata: {}"}
            if instance == {**QUESTION, "user_query": "break"}:
                raise RuntimeError("secret detail")
            if instance != {**QUESTION, "user_query": "say nothing"}:
                yield {"prediction": self._answer(instance)}
        finally:
            self.closed = True

    def describe(self, instance: object, answer: Mapping[str, Any], seconds: float) -> Described | None:
        if not isinstance(instance, dict):
            return None
        query, failed = instance.get("user_query", ""), "error" in answer
        if query == "no question":
            return None
        return Described(
            features={"query_length": len(query)},
            prediction=None if failed else ("refused" if answer.get("refused") else "valid"),
            status="error" if failed else "ok",
            latency_ms=seconds * 1000,
        )

    def self_check(self) -> None:
        return None

    def _answer(self, instance: object) -> dict[str, Any]:
        match instance:
            case {"user_query": "fail" | "no question" as query}:
                return {"error": f"cannot: {query}"}
            case {"user_query": "refuse"}:
                return {"refused": True, "reason": "no"}
        return SQL | self.costs


class Always:
    """Serves one runtime."""

    def __init__(self, runtime: Writer) -> None:
        self.serving = Serving("flights", "v7", "0" * 64, runtime)

    def now(self) -> Serving:
        return self.serving

    def reload(self) -> Serving:
        return self.serving

    def facts(self) -> dict[str, Any]:
        return {}


def service(writer: Writer, cache: KeptAnswers | None = None, events: PredictionEvents | None = None) -> Service:
    return Service(ServingSettings("", "", "", ""), Always(writer), Anybody(), None, cache, events)


def ask(of: Service, content: object, *, stream: bool = False) -> Reply:
    return answer_predict(of, "somebody", json.dumps(content).encode(), stream=stream)


def content_of(reply: Reply) -> Any:
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)


# --- D1's shape ------------------------------------------------------------------------------------------------


def test_a_question_is_answered_with_the_bare_prediction() -> None:
    writer = Writer()
    reply = ask(service(writer), QUESTION)
    assert (reply.status, content_of(reply), reply.content_type) == (200, SQL, "application/json")
    assert reply.headers["X-Modeldrop-Version"] == "v7"
    assert writer.asked == [QUESTION]


def test_the_same_question_as_an_instance() -> None:
    assert content_of(ask(service(Writer()), {"instances": [QUESTION, QUESTION]})) == {"predictions": [SQL, SQL]}


def test_instances_make_it_a_request_of_instances_whatever_stands_beside_them() -> None:
    assert content_of(ask(service(Writer()), QUESTION | {"instances": [QUESTION]})) == {"predictions": [SQL]}


def test_metadata_may_be_a_text_and_other_fields_are_handed_on() -> None:
    writer = Writer()
    question = QUESTION | {"dataset_metadata": '{"tables": {}}', "row_limit": 5}
    assert ask(service(writer), question).status == 200
    assert writer.asked == [question]


@pytest.mark.parametrize(
    ("query", "status", "what"),
    [("fail", 502, "cannot: fail"), ("no question", 422, "cannot: no question")],
)
def test_no_prediction_is_an_error_of_the_request(query: str, status: int, what: str) -> None:
    reply = ask(service(Writer()), QUESTION | {"user_query": query})
    assert (reply.status, reply.content_type) == (status, "application/problem+json")
    assert content_of(reply)["detail"] == what


def test_a_refusal_is_a_prediction() -> None:
    reply = ask(service(Writer()), QUESTION | {"user_query": "refuse"})
    assert (reply.status, content_of(reply)) == (200, {"refused": True, "reason": "no"})


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"user_query": ""}, ["user_query"]),
        ({"user_query": " \n"}, ["user_query"]),
        ({"user_query": None}, ["user_query"]),
        (
            {"user_query": 1, "dataset_name": [], "dataset_metadata": None},
            ["user_query", "dataset_name", "dataset_metadata"],
        ),
    ],
)
def test_all_that_is_wrong_with_a_question(changes: dict[str, object], fields: list[str]) -> None:
    writer = Writer()
    reply = ask(service(writer), QUESTION | changes)
    assert reply.status == 400
    assert [problem["field"] for problem in content_of(reply)["errors"]] == fields
    assert writer.asked == []


def test_a_question_with_a_key_twice_is_refused() -> None:
    body = b'{"user_query": "a", "user_query": "b", "dataset_name": "d", "dataset_metadata": {}}'
    reply = answer_predict(service(Writer()), "somebody", body, stream=False)
    assert (reply.status, "'user_query' twice" in content_of(reply)["detail"]) == (400, True)


# --- streams ---------------------------------------------------------------------------------------------------


def events_of(stream: bytes) -> list[tuple[str, Any]]:
    """As a browser's EventSource reads them."""
    parts = [part for part in stream.decode().split("\n\n") if part]
    read = [re.fullmatch(r"event: (\w+)\ndata: (.*)", part) for part in parts]
    return [(match[1], json.loads(match[2])) for match in read if match]


@pytest.mark.parametrize("content", [QUESTION, {"instances": [QUESTION]}], ids=["question", "instance"])
def test_deltas_come_before_the_prediction_is_there(content: object) -> None:
    writer = Writer()
    reply = ask(service(writer), content, stream=True)
    assert (reply.status, reply.content_type) == (200, "text/event-stream")
    assert reply.headers["X-Modeldrop-Version"] == "v7"
    stream = iter(reply.body)
    assert events_of(bytes(next(stream))) == [("delta", {"delta": "on"})]  # type: ignore[arg-type, call-overload]
    writer.may_go_on.set()
    rest = events_of(b"".join(stream))  # type: ignore[arg-type]
    assert rest == [("delta", {"delta": "e\n\nevent: prediction\ndata: {}"}), ("prediction", SQL)]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("break", "RuntimeError in the runtime"),
        ("say nothing", "the runtime gave no prediction"),
        ("fail", "cannot: fail"),
    ],
)
def test_what_goes_wrong_in_a_stream_is_its_last_event(query: str, error: str) -> None:
    writer = Writer()
    writer.may_go_on.set()
    reply = ask(service(writer), QUESTION | {"user_query": query}, stream=True)
    assert events_of(b"".join(reply.body))[-1] == ("error", {"error": error})  # type: ignore[arg-type]


def test_the_runtime_is_told_when_the_reader_goes_away() -> None:
    writer = Writer()
    reply = ask(service(writer), QUESTION, stream=True)
    next(reply.body)  # type: ignore[arg-type]
    reply.body.close()  # type: ignore[union-attr] - as the server does
    assert writer.closed


@pytest.mark.parametrize("instances", [[], [QUESTION, QUESTION]])
def test_a_stream_is_of_one_instance(instances: list[object]) -> None:
    assert ask(service(Writer()), {"instances": instances}, stream=True).status == 400


# --- cache -----------------------------------------------------------------------------------------------------


def test_the_same_question_is_asked_once() -> None:
    writer = Writer()
    cached = service(writer, cache=ResponseCache(60.0, 1_000_000))
    assert "X-Modeldrop-Cached" not in ask(cached, QUESTION).headers
    again = ask(cached, QUESTION | {"user_query": " How  many flights?"})
    assert (content_of(again), again.headers["X-Modeldrop-Cached"]) == (SQL, "1")
    assert writer.asked == [QUESTION]


def test_what_is_given_again_is_not_paid_again() -> None:
    writer = Writer()
    figures = {
        "tokens_in": 90,
        "tokens_out": 10,
        "cost_usd": 0.01,
        "latency_ms": 800.0,
        "attempts": 2,
        "llm_version": "x",
    }
    writer.costs = {"metadata": figures}
    cached = service(writer, cache=ResponseCache(60.0, 1_000_000))
    assert content_of(ask(cached, QUESTION))["metadata"] == figures
    nothing = {"tokens_in": 0, "tokens_out": 0, "cost_usd": 0.0, "latency_ms": 0.0, "attempts": 0}
    for _ in range(2):
        assert content_of(ask(cached, QUESTION))["metadata"] == figures | nothing | {"cached": True}


def test_a_batch_is_put_together_in_order_from_what_is_known_and_what_is_not() -> None:
    writer = Writer()
    cached = service(writer, cache=ResponseCache(60.0, 1_000_000))
    ask(cached, QUESTION)
    fail, refuse = (QUESTION | {"user_query": query} for query in ("fail", "refuse"))
    body = json.dumps({"instances": [fail, QUESTION, refuse, "BAD", QUESTION]}).replace('"BAD"', '{"a": 1e999}')
    for _ in range(2):
        reply = answer_predict(cached, "somebody", body.encode(), stream=False)
        failed, first, refused, bad, second = content_of(reply)["predictions"]
        assert first == second == SQL
        assert (failed, refused) == ({"error": "cannot: fail"}, {"refused": True, "reason": "no"})
        assert "out of range" in bad["error"]
        assert reply.headers["X-Modeldrop-Cached"] == "2"
    assert writer.asked == [QUESTION, fail, refuse, fail, refuse]


# --- events ----------------------------------------------------------------------------------------------------


def told(receiver: Receiver, count: int) -> list[dict[str, Any]]:
    """The events that arrived, as the intake reads them."""
    events: list[dict[str, Any]] = []
    requests = 0
    while len(events) < count:
        requests += 1
        body = receiver.wait_for(requests)[requests - 1].json()
        for message in body["messages"]:
            events += json.loads(base64.b64decode(message["data"]))
    return events


def test_every_answer_is_told(tmp_path: Path) -> None:
    with Receiver() as receiver:
        events = PredictionEvents(f"{receiver.url}/publish")
        telling = service(Writer(), ResponseCache(60.0, 1_000_000), events)
        fail, refuse = (QUESTION | {"user_query": query} for query in ("fail", "refuse"))
        for content in ({"instances": [QUESTION, fail, 7]}, refuse, QUESTION):
            reply = ask(telling, content)
            assert reply.afterwards is not None
            reply.afterwards()
        writer = Writer()
        writer.may_go_on.set()
        b"".join(ask(service(writer, None, events), QUESTION, stream=True).body)  # type: ignore[arg-type]
        assert events.flush(10)
        found = told(receiver, 5)
    assert [(e["prediction"], e["status"], e["features"]) for e in found] == [
        ("valid", "ok", {"query_length": 17}),
        (None, "error", {"query_length": 4}),
        ("refused", "ok", {"query_length": 6}),
        ("valid", "ok", {"query_length": 17}),  # out of the cache
        ("valid", "ok", {"query_length": 17}),  # as a stream
    ]
    assert {(e["model"], e["version"]) for e in found} == {("flights", "v7")}
    ids = [e["prediction_id"] for e in found]
    assert len(set(ids)) == 5
    assert all(map(is_uuid7, ids))
    assert "How many flights" not in json.dumps(found)


def test_the_answer_has_the_id_that_a_label_needs() -> None:
    with Receiver() as receiver:
        events = PredictionEvents(f"{receiver.url}/publish")
        reply = ask(service(Writer(), None, events), QUESTION)
        assert reply.afterwards is not None
        reply.afterwards()
        assert events.flush(10)
        [event] = told(receiver, 1)
    assert reply.headers["X-Modeldrop-Prediction-Id"] == event["prediction_id"]


def test_a_swap_does_not_mix_versions() -> None:
    with Receiver() as receiver:
        events = PredictionEvents(f"{receiver.url}/publish")
        for version in ("v1", "v2", "v3", "v1"):
            serving = Serving("flights", version, "0" * 64, Writer())
            events.tell(serving, events.answered([QUESTION], [SQL], 0.1))
        assert events.flush(10)
        found = told(receiver, 4)
    assert sorted(event["version"] for event in found) == ["v1", "v1", "v2", "v3"]


def test_over_http_events_reach_the_topic_and_delay_nobody(tmp_path: Path) -> None:
    environment = package(tmp_path / "package")
    with Receiver() as receiver:
        receiver.then(HANG)
        environment["MODELDROP_PREDICTIONS_TARGET"] = f"{receiver.url}/publish"
        with process(environment, tmp_path / "log") as address, httpx.Client(base_url=address, timeout=5) as http:
            for _ in range(20):  # the first batch hangs at the receiver: answers go on
                answer = http.post("/predict", json={"instances": [GOOD]})
                assert answer.json() == {"predictions": [ANSWER]}
            assert is_uuid7(answer.headers["x-modeldrop-prediction-id"])
            [first, *_] = receiver.wait_for(1)
        data = base64.b64decode(first.json()["messages"][0]["data"])
    batch = decode_predictions(data)
    assert (len(batch.predictions) > 0, len(batch.poison)) == (True, 0)
    assert json.loads(data)[0]["features"] == GOOD
    assert json.loads(data)[0]["prediction"] == ANSWER


def test_a_place_events_cannot_go_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(package(tmp_path) | {"MODELDROP_PREDICTIONS_TARGET": "ftp://x"}, monkeypatch)
    health = client.get("/health")
    assert (health.status_code, "ftp://x" in health.json["detail"]) == (503, True)


def test_a_stream_over_http(tmp_path: Path) -> None:
    with (
        process(package(tmp_path / "package"), tmp_path / "log") as address,
        httpx.Client(base_url=address, timeout=10) as http,
        http.stream("POST", "/predict?stream=1", json={"instances": [GOOD]}) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-modeldrop-version"] == "v7"
        assert events_of(answer.read()) == [("prediction", ANSWER)]
