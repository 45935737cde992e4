"""Prediction logs: events a second in process and through the function, writes to Firestore, memory.

Documents are counted at the port. What is folded in process goes the whole way, from the bytes of a message to the
decision that nothing is to be stored; the sample is full, as it is for 97 of 100 events of a window of a million.
"""

import asyncio
import base64
import gc
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median

import psutil

from modeldrop.domain.sampling.hashing import hash_id
from modeldrop.handlers.predictions.log_predictions import PredictionIntake
from modeldrop.localcloud.emulators import Missing, find_emulator, firestore_emulator
from modeldrop.records.windows import Windows
from modeldrop.settings import Settings
from modeldrop.wiring import Services
from tests.bench.cold_import import ROOT
from tests.bench.counting import CountingDocuments, Counts
from tests.bench.logged_events import MODEL, VERSION, arrays, event, registered, window
from tests.bench.measuring import Aim, Note, Reference, Row, rate, until

LINGER_SECONDS = 0.2
AT_ONCE = 16
MANY, MOST = 100_000, 1_000_000
MOST_WRITES, MOST_WRITES_LATER = 3_000, 600
MOST_SECONDS = 1.0
MOST_TIMES_NO_OP = 1 / 0.8
MOST_TIMES_MEMORY = 1.1
CLIENTS, ROUNDS, ROUND_SECONDS = 8, 5, 1.0
NO_OP = """\
import functions_framework.aio

@functions_framework.aio.http
async def no_op(request):
    await request.body()
    return {"status": "ok"}
"""


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings("local", Path(folder), auth="none")
        services = registered(settings)
        counts: Counts = defaultdict(float)
        services.__dict__["documents"] = CountingDocuments(services.documents, counts)
        yield from _growth(services, counts)
        yield from _folded(services)
        yield from _through_the_function(settings, Path(folder), services)
    emulator = find_emulator("firestore")
    if isinstance(emulator, Missing):
        yield Note("ingest", f"writes on Firestore left out. {emulator}")
    else:
        yield from _writes_on_firestore()


def _deliver(intake: PredictionIntake, first: int, count: int) -> None:
    """As fast as they go, so many messages at a time."""
    start = window()
    messages = arrays(first, count, start)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while batch := [data for data, _ in zip(messages, range(10 * AT_ONCE), strict=False)]:
            list(pool.map(intake.take_now, batch))


# --- growth, memory --------------------------------------------------------------------------------------------


def _growth(services: Services, counts: Counts) -> Iterator[Row]:
    """What ten times as many events of one window cost, on SQLite: documents written, memory."""
    intake = PredictionIntake(services, LINGER_SECONDS)
    done = 0
    memory: dict[int, float] = {}
    for size in (10_000, MANY, MOST):
        begin = time.perf_counter()
        _deliver(intake, done, size - done)
        seconds, speed = time.perf_counter() - begin, size - done
        done = size
        gc.collect()
        memory[size] = psutil.Process().memory_info().rss / 1e6
        written = counts["documents written"]
        yield Row("ingest", f"SQLite: documents written for {size:,} events of one window", written, "")
        yield Row("ingest", "… the last of them, 16 arrays at a time", speed / seconds, "/s")
    intake.close()
    aim = Aim(MOST_TIMES_MEMORY, "ratio")
    reference = Reference(round(memory[MANY]), f"at {MANY:,}")
    yield Row("ingest", f"memory at {MOST:,} events", round(memory[MOST]), "MB", None, reference, aim)


def _folded(services: Services) -> Iterator[Row]:
    """One core: an instance that knows the full sample takes one array after the other."""
    messages = list(arrays(MOST, MANY, window()))
    intake = PredictionIntake(services, 0.0)

    async def take_all() -> float:
        begin = time.perf_counter()
        for data in messages:
            await intake.take(data)
        return time.perf_counter() - begin

    asyncio.run(take_all())
    seconds = min(asyncio.run(take_all()) for _ in range(ROUNDS))
    intake.close()
    what = f"{MANY:,} events of 20 features folded in process, arrays of 1,000"
    yield Row("ingest", what, seconds, "s", None, None, Aim(MOST_SECONDS, "measured"))
    yield Row("ingest", "… events a second", MANY / seconds, "/s")


# --- through the function --------------------------------------------------------------------------------------


def _through_the_function(settings: Settings, folder: Path, services: Services) -> Iterator[Row]:
    """Single events, the sample full, against a function of the same framework that only reads its request."""
    sample = Windows(services.documents).sample(MODEL, VERSION, window())
    assert sample is not None
    above = [n for n in range(5 * MOST, 5 * MOST + 500) if hash_id(f"order-{n}") > sample.threshold + 1]
    bodies = [_push(event(number, window())) for number in above]
    no_op = folder / "no_op.py"
    no_op.write_text(NO_OP)
    environment = {"MODELDROP_BACKEND": "local", "MODELDROP_DATA": str(settings.data), "MODELDROP_AUTH": "none"}
    rates: dict[str, list[float]] = {"function": [], "no-op": []}
    with ExitStack() as stack:
        source = ROOT / "functions" / "prediction_logged" / "main.py"
        ports = {
            "function": stack.enter_context(_served("prediction_logged", source, environment)),
            "no-op": stack.enter_context(_served("no_op", no_op, {})),
        }
        _warm_up(ports["function"])
        for _ in range(ROUNDS):  # in turns: a busy moment meets both
            for name, port in ports.items():
                rates[name].append(_requests_a_second(port, bodies))
    own, theirs = (median(rates[name]) for name in ("function", "no-op"))
    yield Row("ingest", "single events through the function, 8 clients", own, "/s", None, Reference(theirs, "no-op"))
    reference, aim = Reference(1 / theirs, "no-op"), Aim(MOST_TIMES_NO_OP, "ratio")
    yield Row("ingest", "… time for one", 1 / own, "s", None, reference, aim)


def _warm_up(port: int) -> None:
    """Have the instance look at each shard once."""
    for data in arrays(0, 3_000, window()):
        _ask(port, [_push(data)], 0.0)


@contextmanager
def _served(name: str, source: Path, variables: dict[str, str]) -> Iterator[int]:
    """The port of a function in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "shared"), **variables}
    command = [sys.executable, "-m", "tests.bench.serve_function", name, str(source), str(port)]
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        until(lambda: _listens(port) or process.poll() is not None, f"{name} listens")
        assert process.poll() is None, f"{name} ended"
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _push(data: bytes) -> bytes:
    return json.dumps({"message": {"data": base64.b64encode(data).decode(), "messageId": "1"}}).encode()


def _requests_a_second(port: int, bodies: list[bytes]) -> float:
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(lambda _: _ask(port, bodies, ROUND_SECONDS), range(CLIENTS)))


def _ask(port: int, bodies: list[bytes], seconds: float) -> float:
    """One client that keeps its connection and asks one after the other; at least once."""
    following = cycle(bodies)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:

        def ask() -> None:
            connection.request("POST", "/", next(following), {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == http.client.OK, content

        ask()
        return rate(ask, seconds)


# --- Firestore -------------------------------------------------------------------------------------------------


def _writes_on_firestore() -> Iterator[Row]:
    """Documents written for the events of one window, and for as many again."""
    with ExitStack() as stack:
        os.environ["FIRESTORE_EMULATOR_HOST"] = stack.enter_context(firestore_emulator())
        stack.callback(os.environ.pop, "FIRESTORE_EMULATOR_HOST")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        project = f"p-{uuid.uuid4().hex[:20]}"
        services = registered(Settings("local", folder, project, documents="firestore", auth="none"))
        counts: Counts = defaultdict(float)
        services.__dict__["documents"] = CountingDocuments(services.documents, counts)
        intake = PredictionIntake(services, LINGER_SECONDS)
        stack.callback(intake.close)
        for part, most in enumerate([MOST_WRITES, MOST_WRITES_LATER]):
            before, begin = counts["documents written"], time.perf_counter()
            _deliver(intake, part * MANY, MANY)
            seconds, written = time.perf_counter() - begin, counts["documents written"] - before
            title = f"Firestore emulator: the {('first', 'next')[part]} {MANY:,} events"
            yield Row("ingest", f"{title}, documents written", written, "", None, None, Aim(most, "measured"))
            yield Row("ingest", f"{title}, 16 arrays at a time", MANY / seconds, "/s")
