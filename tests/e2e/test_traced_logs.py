"""Lines of the functions' logs say which request they belong to, in processes as Cloud Run starts them."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.function_process import REPOSITORY, FunctionInstance, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
GOOGLE = "logging.googleapis.com"
SYNCHRONOUS, ASYNCHRONOUS = "health_tick", "prediction_logged"


@contextmanager
def function(name: str, folder: Path, data: Path, **settings: str) -> Iterator[tuple[FunctionInstance, httpx.Client]]:
    """A function over the local adapters, and a client for it."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY / "shared"),
        "MODELDROP_BACKEND": "local",
        "MODELDROP_DATA": str(data),
        "MODELDROP_AUTH": "none",
        "MODELDROP_INGEST_LINGER_SECONDS": "0",
        **settings,
    }
    instance = FunctionInstance(name, environment, folder)
    instance.start()
    try:
        instance.await_ready()
        with httpx.Client(base_url=instance.url, timeout=30, trust_env=False) as client:
            yield instance, client
    finally:
        instance.stop()


def line_with(instance: FunctionInstance, text: str) -> dict[str, Any]:
    """The first line of the log whose message has the text; every line is JSON."""

    return until(lambda: next(iter(lines_with(instance, text)), None), f"{text!r} is logged")


def lines_with(instance: FunctionInstance, text: str) -> list[dict[str, Any]]:
    """All such lines."""
    return [line for line in lines(instance) if text in line["message"]]


def lines(instance: FunctionInstance) -> list[dict[str, Any]]:
    """All that is complete."""
    complete, _, _ = instance.log_text().rpartition("\n")
    return [json.loads(line) for line in complete.splitlines() if line.strip()]


def traced(line: Mapping[str, Any]) -> list[Any]:
    """Trace, span, and whether it is kept; what is not there is not in the list."""
    return [line[name] for part in ("trace", "spanId", "trace_sampled") if (name := f"{GOOGLE}/{part}") in line]


@pytest.fixture
def closed_store(tmp_path: Path) -> Path:
    """A data folder whose records cannot be read: every push of predictions has to come again."""
    (tmp_path / "data" / "documents.sqlite").mkdir(parents=True)
    return tmp_path / "data"


def push(number: int = 0) -> dict[str, Any]:
    """A prediction, as Pub/Sub pushes it."""
    event = {"model": "fraud", "version": "v1", "prediction_id": f"{number}", "prediction": 0.5}
    data = base64.b64encode(json.dumps(event).encode()).decode()
    return {"message": {"data": data, "messageId": f"{number}"}, "subscription": "projects/p/subscriptions/s"}


AGAIN = "has to come again"


@pytest.mark.parametrize("settings", [{}, {"LOG_EXECUTION_ID": "true", "MODELDROP_PROJECT": "p-1"}])
def test_lines_of_an_asynchronous_function_carry_the_trace(
    tmp_path: Path, closed_store: Path, settings: dict[str, str]
) -> None:
    prefix = "projects/p-1/traces/" if settings else ""
    with function(ASYNCHRONOUS, tmp_path, closed_store, **settings) as (instance, client):
        answer = client.post("/", json=push(), headers=PARENT | {"Function-Execution-Id": "Abc123"})
        assert answer.status_code == 503
        line = line_with(instance, AGAIN)
    assert traced(line) == [f"{prefix}{TRACE}", SPAN, True]
    assert line[f"{GOOGLE}/labels"] == {"execution_id": "Abc123"}
    assert (line["severity"], line["logger"]) == ("WARNING", "modeldrop.handlers.predictions.take_push")
    location = line[f"{GOOGLE}/sourceLocation"]
    assert location["file"] == "modeldrop/handlers/predictions/take_push.py"
    assert location["line"].isdigit()
    assert location["function"] == "take_push"


def test_what_is_done_in_other_threads_for_a_request_carries_its_trace(tmp_path: Path) -> None:
    with function(ASYNCHRONOUS, tmp_path, tmp_path / "data") as (instance, client):
        assert client.post("/", content=b"no push", headers=PARENT).json() == {"status": "quarantined"}
        assert traced(line_with(instance, "quarantined")) == [TRACE, SPAN, True]


def test_requests_at_once_keep_their_traces_apart(tmp_path: Path, closed_store: Path) -> None:
    sent = {f"{number:032x}": f"execution-{number}" for number in range(1, 25)}
    with function(ASYNCHRONOUS, tmp_path, closed_store) as (instance, client):

        def send(trace: str) -> int:
            headers = {"traceparent": f"00-{trace}-{SPAN}-00", "Function-Execution-Id": sent[trace]}
            return client.post("/", json=push(int(trace, 16)), headers=headers).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(send, sent)) == {503}
        found = until(lambda: again if len(again := lines_with(instance, AGAIN)) == len(sent) else None, "all lines")
    assert {traced(line)[0]: line[f"{GOOGLE}/labels"]["execution_id"] for line in found} == sent


@pytest.mark.parametrize("name", [SYNCHRONOUS, ASYNCHRONOUS])
@pytest.mark.parametrize("settings", [{}, {"LOG_EXECUTION_ID": "true"}])
def test_what_brings_a_function_down_is_one_line_with_trace_and_stack(
    tmp_path: Path, name: str, settings: dict[str, str]
) -> None:
    (tmp_path / "data").write_text("no folder")
    with function(name, tmp_path, tmp_path / "data", **settings) as (instance, client):
        google = {"X-Cloud-Trace-Context": f"{TRACE.upper()}/255;o=1"}
        assert client.post("/", content=b"{}", headers=google).status_code == 500
        line = line_with(instance, "Exception on / [POST]")
        assert [each for each in lines(instance) if each["severity"] == "ERROR"] == [line]
    assert traced(line) == [TRACE, "00000000000000ff", True]
    assert len(line[f"{GOOGLE}/labels"]["execution_id"]) == 12, "the framework's own, where nobody sent one"
    stack = line.get("stack_trace", line["message"])
    assert stack.startswith("Exception on / [POST]\nTraceback (most recent call last):\n")
    assert "FileExistsError" in stack.splitlines()[-1]


HOSTILE = [
    {"traceparent": f'00-{TRACE}-{SPAN}-01"}}, "severity": "EMERGENCY'},
    {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
    {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
    {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"},
    {"traceparent": f"01-{TRACE}-{SPAN}-01-{'x' * 9000}"},
    {"X-Cloud-Trace-Context": f"{TRACE[:-1]}/1;o=1"},
    {"X-Cloud-Trace-Context": f"{'0' * 32}/1;o=1"},
    {"X-Cloud-Trace-Context": "../../other-project/traces/1"},
]


def test_what_has_not_the_form_of_a_trace_reaches_no_log(tmp_path: Path, closed_store: Path) -> None:
    with function(ASYNCHRONOUS, tmp_path, closed_store) as (instance, client):
        for number, headers in enumerate(HOSTILE):
            client.post("/", json=push(), headers=headers | {"Function-Execution-Id": '"}\t{'})
            found = until(
                lambda wanted=number + 1: again if len(again := lines_with(instance, AGAIN)) == wanted else None,  # type: ignore[misc]
                "one more line",
            )
            assert traced(found[-1]) == [], headers
            assert f"{GOOGLE}/labels" not in found[-1]
            assert found[-1]["severity"] == "WARNING"
        later = {"traceparent": f"cc-{TRACE}-{SPAN}-09-what-may-come", "X-Cloud-Trace-Context": f"{'1' * 32}/1;o=0"}
        client.post("/", json=push(), headers=later)
        traces = until(lambda: [each for line in lines_with(instance, AGAIN) if (each := traced(line))], "the trace")
    assert traces == [[TRACE, SPAN, True]]
