"""The app-side client: events arrive, and whatever happens to the target, the app notices nothing.

The target is a server of its own that reads the events as ``functions/prediction_logged`` does.
"""

import base64
import gc
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from modeldrop.client import PredictionLogger, to_topic, to_url
from modeldrop.domain.sampling.prediction_time import uuid7_time
from modeldrop.errors import ConfigurationError
from modeldrop.events.prediction_events import Batch, LabelEvent, PredictionEvent, decode_predictions

PATH = "/v1/projects/p/topics/predictions:publish"
WAIT_SECONDS = 20.0
NEVER_SECONDS = 3600.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class Target(ThreadingHTTPServer):
    """Takes what is published; answers with the statuses it was given first, then with 200."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}{PATH}"
        self.statuses: list[int] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.changed = threading.Condition()
        self.requests = 0
        self.messages: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS)

    @property
    def batches(self) -> list[Batch]:
        return [decode_predictions(data) for data in self.messages]

    @property
    def predictions(self) -> list[PredictionEvent]:
        assert not any(batch.poison for batch in self.batches)
        return [event for batch in self.batches for event in batch.predictions]

    @property
    def labels(self) -> list[LabelEvent]:
        return [event for batch in self.batches for event in batch.labels]


class _Handler(BaseHTTPRequestHandler):
    server: Target

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        target = self.server
        with target.changed:
            target.requests += 1
            target.headers.append({name.lower(): value for name, value in self.headers.items()})
            status = target.statuses.pop(0) if target.statuses else 200
            target.changed.notify_all()
        target.may_answer.wait(WAIT_SECONDS)
        with target.changed:
            if status == 200:
                (message,) = json.loads(body)["messages"]
                target.messages.append(base64.b64decode(message["data"], validate=True))
            target.changed.notify_all()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", target.url.replace(PATH, "/elsewhere"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """What a redirect would lead to."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Not in the output of the tests."""


@contextmanager
def running(port: int = 0) -> Iterator[Target]:
    target = Target(port)
    thread = threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield target
    finally:
        target.may_answer.set()
        target.shutdown()
        thread.join()
        target.server_close()


@pytest.fixture
def target() -> Iterator[Target]:
    with running() as target:
        yield target


@pytest.fixture
def free_port() -> int:
    with running() as target:
        return target.server_port


Connect = Callable[..., PredictionLogger]


@pytest.fixture
def connect(target: Target) -> Iterator[Connect]:
    """Makes loggers that send only when asked to, and closes them."""
    loggers: list[PredictionLogger] = []

    def connect(address: Any = None, **options: Any) -> PredictionLogger:
        options = {"flush_seconds": NEVER_SECONDS} | options
        loggers.append(PredictionLogger(address or target.url, "fraud", "v3", **options))
        return loggers[-1]

    yield connect
    target.may_answer.set()
    for logger in loggers:
        logger.close(0)


# --- what arrives ----------------------------------------------------------------------------------------------


def test_a_prediction_arrives_as_it_was_logged(target: Target, connect: Connect) -> None:
    logger = connect()
    features = {"amount": 12.5, "country": "DE", "new": True, "age": None, "count": 3}
    logger.log(features, 0.93, prediction_id="p1", latency_ms=12.3, timestamp=START)
    features.clear()  # the app may go on with it
    assert logger.flush(WAIT_SECONDS)
    expected = {"amount": 12.5, "country": "DE", "new": True, "age": None, "count": 3}
    assert target.predictions == [PredictionEvent("fraud", "v3", "p1", START, expected, 0.93, 12.3, "ok")]
    assert (logger.published, logger.failed, logger.dropped) == (1, 0, 0)


def test_what_is_not_said_is_filled_in(target: Target, connect: Connect) -> None:
    logger = connect()
    before = datetime.now(UTC)
    name = logger.log({}, None, status="error")
    assert logger.flush(WAIT_SECONDS)
    (event,) = target.predictions
    assert (event.prediction_id, event.status, event.latency_ms) == (name, "error", None)
    assert before <= event.timestamp <= datetime.now(UTC)
    assert uuid.UUID(name).version == 7


def test_a_label_arrives_and_needs_no_time_where_the_id_has_one(target: Target, connect: Connect) -> None:
    logger = connect()
    name = logger.log({}, 0.5)
    logger.label(name, "fraud")
    logger.label("mine", 1, predicted_at=START + timedelta(hours=1))
    assert logger.flush(WAIT_SECONDS)
    said = [msgspec.structs.replace(label, labelled_at=None) for label in target.labels]
    assert said == [
        LabelEvent("fraud", name, "fraud", None),
        LabelEvent("fraud", "mine", 1, START + timedelta(hours=1)),
    ]


def test_the_id_carries_the_time_of_the_prediction_whenever_it_is_reported(target: Target, connect: Connect) -> None:
    logger = connect()
    name = logger.log({}, 0.5, timestamp=START)
    assert uuid7_time(name) == START
    assert isinstance(logger.log({}, 0.5, timestamp="yesterday"), str)  # type: ignore[arg-type]


def test_of_two_labels_the_later_one_can_be_told(target: Target, connect: Connect) -> None:
    logger, before = connect(), datetime.now(UTC)
    logger.label("p1", 1, START)
    logger.label("p1", 0, START)
    logger.label("p1", 2, START, labelled_at=START)
    assert logger.flush(WAIT_SECONDS)
    first, second, stated = (label.labelled_at for label in target.labels)
    assert first is not None
    assert second is not None
    assert before <= first <= second
    assert stated == START


def test_batches_are_as_large_as_allowed(target: Target, connect: Connect) -> None:
    logger = connect(batch_size=1_000)
    for n in range(2_500):
        logger.log({"n": n}, n)
    assert logger.flush(WAIT_SECONDS)
    assert [len(batch.predictions) for batch in target.batches] == [1_000, 1_000, 500]
    assert [event.features["n"] for event in target.predictions] == list(range(2_500))


def test_a_batch_has_at_most_a_megabyte(target: Target, connect: Connect) -> None:
    logger = connect(batch_size=1_000)
    for _ in range(300):
        logger.log({"text": "x" * 9_900}, 1)
    logger.log({f"f{n}": "x" * 9_900 for n in range(100)}, 2)
    assert logger.flush(WAIT_SECONDS)
    assert len(target.predictions) == 301
    assert all(len(data) <= 1_000_000 for data in target.messages)
    assert len(target.messages) == 5


def test_nothing_waits_longer_than_said(target: Target, connect: Connect) -> None:
    logger = connect(flush_seconds=0.05)
    logger.log({}, 1)
    target.wait_for(lambda: len(target.messages) == 1)
    logger.log({}, 2)
    target.wait_for(lambda: len(target.messages) == 2)


def test_a_full_batch_does_not_wait(target: Target, connect: Connect) -> None:
    logger = connect(batch_size=10)
    for n in range(25):
        logger.log({}, n)
    target.wait_for(lambda: len(target.messages) == 2)
    assert [event.prediction for event in target.predictions] == list(range(20))


def test_many_threads_log_at_once(target: Target, connect: Connect) -> None:
    logger = connect(flush_seconds=0.01)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda n: logger.log({"n": n}, n), range(4_000)))
    assert logger.flush(WAIT_SECONDS)
    assert sorted(names) == sorted(event.prediction_id for event in target.predictions)
    assert len(set(names)) == 4_000
    assert (logger.published, logger.failed, logger.dropped) == (4_000, 0, 0)


def test_headers_are_sent_along(target: Target, connect: Connect) -> None:
    logger = connect(to_url(target.url, headers={"Authorization": "Bearer x"}))
    logger.log({}, 1)
    assert logger.flush(WAIT_SECONDS)
    assert target.headers[0]["authorization"] == "Bearer x"


def test_no_proxy_on_the_way_to_loopback(target: Target, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    logger = connect()
    logger.log({}, 1)
    assert logger.flush(WAIT_SECONDS)
    assert logger.published == 1


def test_a_queue_smaller_than_a_batch_does_not_wait_either(target: Target, connect: Connect) -> None:
    logger = connect(queue_size=5)
    for n in range(5):
        logger.log({}, n)
    target.wait_for(lambda: len(target.messages) == 1)
    assert logger.dropped == 0


# --- a target in trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 429, 500, 503])
def test_what_may_pass_is_tried_again(target: Target, connect: Connect, status: int) -> None:
    target.statuses = [status]
    logger = connect()
    logger.log({}, 1)
    assert logger.flush(WAIT_SECONDS)
    assert (logger.published, logger.failed, target.requests) == (1, 0, 2)


def test_an_outage_of_some_attempts_costs_nothing(target: Target, connect: Connect) -> None:
    target.statuses = [500, 503, 500]
    logger = connect(batch_size=10)
    for n in range(20):
        logger.log({}, n)
    assert logger.flush(WAIT_SECONDS)
    assert [event.prediction for event in target.predictions] == list(range(20))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_is_given_up_and_the_next_batch_goes_on(
    target: Target, connect: Connect, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    target.statuses = [status, status]
    logger = connect(batch_size=1)
    for n in range(3):
        logger.log({}, n)
    assert logger.flush(WAIT_SECONDS)
    assert (logger.published, logger.failed, target.requests) == (1, 2, 3)
    assert [record.name for record in caplog.records] == ["modeldrop.client"]


def test_a_full_queue_drops_and_never_blocks(target: Target, connect: Connect) -> None:
    target.may_answer.clear()
    logger = connect(queue_size=100, batch_size=1)
    logger.log({}, -1)
    target.wait_for(lambda: target.requests == 1)
    names = [logger.log({}, n) for n in range(150)]
    assert len(set(names)) == 150
    assert (logger.published, logger.failed, logger.dropped) == (0, 0, 50)
    target.may_answer.set()
    assert logger.flush(WAIT_SECONDS)
    assert [event.prediction for event in target.predictions] == list(range(-1, 100))


def test_the_queue_is_bounded_in_bytes_too(target: Target, connect: Connect) -> None:
    target.may_answer.clear()
    logger = connect(queue_size=10_000)
    features = {f"f{n}": "x" * 9_900 for n in range(100)}
    for n in range(100):
        logger.log(features, n)
    assert 30 <= logger.dropped <= 40
    logger.close(0)
    assert logger.dropped + logger.failed == 100


def test_where_there_is_no_room_the_oldest_batch_is_given_up(target: Target, connect: Connect) -> None:
    target.statuses = [500] * 1_000
    logger = connect(queue_size=10, batch_size=5)
    for n in range(5):
        logger.log({}, n)
    target.wait_for(lambda: target.requests >= 1)
    assert logger.failed == 0
    for n in range(5, 25):
        logger.log({}, n)
    target.wait_for(lambda: logger.failed >= 5)  # the next batch follows, and wakes us
    target.statuses = []
    assert logger.flush(WAIT_SECONDS)
    assert logger.published + logger.failed + logger.dropped == 25
    assert {event.prediction for event in target.predictions}.isdisjoint(range(5))
    assert logger.published == len(target.predictions) > 0


def test_room_is_made_at_once_however_long_the_pause(target: Target, connect: Connect) -> None:
    target.statuses = [500] * 1_000
    logger = connect(queue_size=10, batch_size=5)
    for n in range(5):
        logger.log({}, n)
    for n in range(1, 9):
        target.wait_for(lambda n=n: target.requests >= n)  # type: ignore[misc]
        logger.flush(0)
    target.wait_for(lambda: target.requests >= 9)  # from here on a pause takes 15 seconds at least
    started = time.monotonic()
    for n in range(5, 25):
        logger.log({}, n)
    target.wait_for(lambda: logger.failed >= 5)
    assert time.monotonic() - started < 10


def test_what_was_sent_makes_room(target: Target, connect: Connect) -> None:
    """More than the 64 MiB that may wait, one after the other."""
    logger = connect()
    features = {f"f{n}": "x" * 9_900 for n in range(100)}
    for n in range(72):
        logger.log(features, n)
        if n % 24 == 23:
            assert logger.flush(WAIT_SECONDS)
    assert (logger.published, logger.dropped) == (72, 0)


def test_a_dead_target_does_not_hold_up_the_app(connect: Connect, free_port: int) -> None:
    logger = connect(f"http://127.0.0.1:{free_port}{PATH}")
    for n in range(10):
        logger.log({}, n)
    started = time.monotonic()
    assert not logger.flush(0.1)
    assert not logger.close(0.1)
    assert time.monotonic() - started < 5
    assert (logger.published, logger.failed, logger.dropped) == (0, 10, 0)


def test_what_waited_arrives_once_the_target_is_there(connect: Connect, free_port: int) -> None:
    logger = connect(f"http://127.0.0.1:{free_port}{PATH}")
    logger.log({}, 1)
    assert not logger.flush(0.1)
    with running(free_port) as target:
        assert logger.flush(WAIT_SECONDS)
        assert [event.prediction for event in target.predictions] == [1]


def test_an_answer_that_is_none_is_tried_again(connect: Connect) -> None:
    with running() as target:
        target.statuses = [600_000]  # no status line HTTP knows
        logger = connect(target.url)
        logger.log({}, 1)
        assert logger.flush(WAIT_SECONDS)
        assert (logger.published, logger.failed) == (1, 0)


@dataclass
class Moody:
    """A transport as others may write one: it fails to connect, then to publish, each with an error of its own."""

    troubles: list[Exception]
    sent: list[bytes] = field(default_factory=list)

    def connect(self) -> "Moody":
        self._fail()
        return self

    def publish(self, data: bytes) -> None:
        self._fail()
        self.sent.append(data)

    def close(self) -> None:
        pass

    def _fail(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)


def test_a_transport_may_fail_in_any_way(connect: Connect) -> None:
    moody = Moody([ImportError("no such module"), RuntimeError("odd"), RecursionError()])
    logger = connect(moody)
    logger.log({}, 1)
    assert logger.flush(WAIT_SECONDS)
    assert (logger.published, len(moody.sent)) == (1, 1)


def test_an_answer_after_the_end_changes_no_counter(target: Target, connect: Connect) -> None:
    target.may_answer.clear()
    logger = connect()
    logger.log({}, 1)
    assert not logger.flush(0)
    target.wait_for(lambda: target.requests == 1)
    assert not logger.close(0)
    target.may_answer.set()
    target.wait_for(lambda: len(target.messages) == 1)
    wait_for_threads_to_end()
    assert (logger.published, logger.failed) == (0, 1)


# --- the end ---------------------------------------------------------------------------------------------------


def sending_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "modeldrop-predictions"]


def wait_for_threads_to_end() -> None:
    for thread in sending_threads():
        thread.join(WAIT_SECONDS)
    assert not sending_threads()


def test_closing_sends_what_waits_and_ends_the_thread(target: Target, connect: Connect) -> None:
    with connect() as logger:
        logger.log({}, 1)
    assert logger.published == len(target.predictions) == 1
    wait_for_threads_to_end()
    assert logger.log({}, 2)
    assert logger.close()
    assert (logger.published, logger.failed, logger.dropped) == (1, 0, 1)


def test_a_logger_nobody_holds_any_more_sends_what_waits(target: Target) -> None:
    logger = PredictionLogger(target.url, "fraud", "v3", flush_seconds=NEVER_SECONDS)
    logger.log({}, 1)
    del logger
    gc.collect()
    target.wait_for(lambda: len(target.messages) == 1)
    wait_for_threads_to_end()


def test_without_events_there_is_no_thread(connect: Connect) -> None:
    before = sending_threads()
    logger = connect()
    assert logger.flush(0)
    assert logger.close(0)
    assert sending_threads() == before


def run_app(script: str, *urls: str) -> subprocess.CompletedProcess[str]:
    """Another process, where the client is used as in an app; ``logger`` is there already."""
    prologue = """
        import os, sys, threading, time
        from modeldrop.client import PredictionLogger
        logger = PredictionLogger(sys.argv[1], "fraud", "v3", flush_seconds=3600)
    """
    return run_python(textwrap.dedent(prologue) + textwrap.dedent(script), *urls)


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def test_the_end_of_a_process_waits_for_what_is_to_be_sent(target: Target) -> None:
    ended = run_app("for n in range(1200): logger.log({}, n)", target.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [event.prediction for event in target.predictions] == list(range(1_200))


def test_also_the_end_by_an_error(target: Target) -> None:
    ended = run_app("logger.log({}, 1)\nraise SystemExit(3)", target.url)
    assert (ended.returncode, len(target.predictions)) == (3, 1)


def test_but_it_does_not_wait_for_ever(target: Target) -> None:
    target.may_answer.clear()
    script = """
        others = [PredictionLogger(sys.argv[1], "fraud", "v3", flush_seconds=3600) for _ in range(3)]
        for each in [logger, *others]: each.log({}, 1)
        print(time.monotonic(), flush=True)
    """
    ended = run_app(script, target.url)
    assert 1.5 < time.monotonic() - float(ended.stdout) < 6
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_at_the_end_none_waits_for_another(target: Target) -> None:
    script = """
        stuck = [PredictionLogger(sys.argv[2], "fraud", "v3", flush_seconds=3600) for _ in range(9)]
        for each in [*stuck, logger]: each.log({}, 1)
    """
    with running() as silent:
        silent.may_answer.clear()
        assert run_app(script, target.url, silent.url).returncode == 0
    assert len(target.predictions) == 1


def test_a_fork_while_an_id_is_made_does_not_hang_the_child(target: Target) -> None:
    script = """
        from modeldrop.client.event_ids import Uuid7Ids
        entered, release = threading.Event(), threading.Event()
        def clock():
            if not entered.is_set():
                entered.set()
                release.wait()
            return time.time_ns()
        ids = Uuid7Ids(clock)
        maker = threading.Thread(target=ids.new)
        maker.start()
        entered.wait()
        child = os.fork()
        if child == 0:
            ids.new()
            os._exit(0)
        ended, deadline = 0, time.monotonic() + 10
        while not ended and time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.01)
        if not ended:
            os.kill(child, 9)
            os.waitpid(child, 0)
        release.set()
        maker.join()
        os._exit(0 if ended and status == 0 else 1)
    """
    assert run_app(script, target.url).returncode == 0


def test_a_forked_process_has_a_queue_and_a_thread_of_its_own(target: Target) -> None:
    script = """
        logger.log({}, "sent by the parent")
        assert logger.flush(20)
        mine = logger.log({}, "waits in the parent")
        if os.fork() == 0:
            assert (logger.published, logger.failed, logger.dropped) == (0, 0, 0)
            assert logger.log({}, "of the child") > mine
            sent = logger.close(20)
            os._exit(0 if sent and logger.published == 1 else 1)
        assert os.wait()[1] == 0
        assert logger.close(20) and logger.published == 2
    """
    ended = run_app(script, target.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    sent = [event.prediction for event in target.predictions]
    assert sent == ["sent by the parent", "of the child", "waits in the parent"]


def test_a_fork_in_the_midst_of_logging_does_not_hang_the_child(target: Target) -> None:
    """Threads hold the logger's locks most of the time: a child that inherited one would wait for ever."""
    script = """
        busy = PredictionLogger(sys.argv[1], "fraud", "v3", queue_size=1)
        def log():
            while True: busy.log({}, "parent")
        for _ in range(4): threading.Thread(target=log, daemon=True).start()
        for n in range(30):
            if os.fork() == 0:
                busy.log({}, "child")
                busy.close(20)
                os._exit(0 if busy.published == 1 else 1)
        codes = [os.wait()[1] for _ in range(30)]
        os._exit(0 if codes == [0] * 30 else 1)
    """
    assert run_app(script, target.url).returncode == 0
    children = [event for event in target.predictions if event.prediction == "child"]
    assert len({event.prediction_id for event in children}) == len(children) == 30


def test_nothing_is_imported_beyond_the_standard_library_and_msgspec() -> None:
    script = """
        import json, sys
        import msgspec
        before = set(sys.modules)
        import modeldrop.client
        imported = set(sys.modules) - before
        logger = modeldrop.client.PredictionLogger("http://127.0.0.1:9/", "fraud", "v3")
        added = set(sys.modules) - imported - before
        print(json.dumps([sorted(imported), sorted(added)]))
    """
    imported, added = (set(names) for names in json.loads(run_python(script).stdout))
    foreign = {name for name in imported | added if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not name.startswith("modeldrop.client")} == {"modeldrop", "modeldrop.errors"}
    assert "urllib.request" in added


@pytest.mark.parametrize("status", [200, 302, 400, 500, None])
def test_the_thread_imports_nothing(target: Target, free_port: int, status: int | None) -> None:
    """A fork in the midst of an import would leave the child waiting for it for ever."""
    script = """
        import json, sys
        from modeldrop.client import PredictionLogger
        logger = PredictionLogger(sys.argv[1], "fraud", "v3")
        before = set(sys.modules)
        logger.log({}, 1)
        logger.close(0.2)
        print(json.dumps(sorted(set(sys.modules) - before)))
    """
    target.statuses = [status or 200] * 100
    url = target.url.replace("127.0.0.1", "localhost") if status else f"http://localhost:{free_port}/"
    assert json.loads(run_python(script, url).stdout) == []


# --- what cannot work at all -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target_name", "options"),
    [
        ("http://127.0.0.1/", {"redact": {"email": "hash"}}),
        ("http://127.0.0.1/", {"redact": {"email": "hash"}, "hash_key": b""}),
        ("http://127.0.0.1/", {"redact": {"email": "mask"}}),
        ("http://127.0.0.1/", {"batch_size": 0}),
        ("http://127.0.0.1/", {"batch_size": 1_001}),
        ("http://127.0.0.1/", {"queue_size": 0}),
        ("http://127.0.0.1/", {"flush_seconds": -1}),
        ("http://127.0.0.1/", {"flush_seconds": float("nan")}),
        ("http://127.0.0.1/", {"model": "Fraud"}),
        ("http://127.0.0.1/", {"version": "a/b"}),
        ("ftp://127.0.0.1/", {}),
        ("http:///path", {}),
        ("http://[::1/", {}),
        ("http://127.0.0.1:99999/", {}),
        ("predictions", {}),
    ],
)
def test_a_wrong_set_up_is_said_at_once(target_name: str, options: dict[str, Any]) -> None:
    named = {"model": "fraud", "version": "v3"} | options
    with pytest.raises(ConfigurationError):
        PredictionLogger(target_name, **named)


# --- Pub/Sub ---------------------------------------------------------------------------------------------------


@pytest.mark.emulator("pubsub")
def test_to_a_topic(pubsub_host: str, connect: Connect) -> None:
    project = f"p-{uuid.uuid4().hex[:20]}"
    topic, subscription = f"projects/{project}/topics/predictions", f"projects/{project}/subscriptions/all"
    logger, by_name = connect(to_topic(project, "predictions")), connect(topic)
    with PublisherClient() as client, SubscriberClient() as subscriber:
        client.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        logger.log({"amount": 1}, 0.5, prediction_id="p1", timestamp=START)
        by_name.label("p1", True, predicted_at=START)
        assert logger.flush(WAIT_SECONDS)
        assert by_name.flush(WAIT_SECONDS)
        received: dict[str, bytes] = {}
        while len(received) < 2:
            pulled = subscriber.pull(subscription=subscription, max_messages=10, timeout=WAIT_SECONDS)
            received |= {each.message.message_id: each.message.data for each in pulled.received_messages}
    batches = [decode_predictions(data) for data in received.values()]
    predictions = [event for batch in batches for event in batch.predictions]
    labels = [event for batch in batches for event in batch.labels]
    assert predictions == [PredictionEvent("fraud", "v3", "p1", START, {"amount": 1}, 0.5)]
    assert [(label.prediction_id, label.label, label.predicted_at) for label in labels] == [("p1", True, START)]


@pytest.mark.emulator("pubsub")
def test_a_topic_may_be_made_later(pubsub_host: str, connect: Connect) -> None:
    project = f"p-{uuid.uuid4().hex[:20]}"
    logger = connect(to_topic(project, "predictions"))
    logger.log({}, 1)
    assert not logger.flush(0.5)
    with PublisherClient() as client:
        client.create_topic(name=f"projects/{project}/topics/predictions")
    assert logger.flush(WAIT_SECONDS)
    assert (logger.published, logger.failed) == (1, 0)


@pytest.mark.emulator("pubsub")
def test_a_topic_whose_name_is_none_is_refused(
    pubsub_host: str, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        logger = connect(to_topic("p", "a b"))
        logger.log({}, 1)
        assert logger.flush(WAIT_SECONDS)
    assert (logger.published, logger.failed) == (0, 1)
    assert "refused" in caplog.text
