"""What the inference service adds to a call of the LLM, at 100 questions a second.

The LLM is a local server in a process of its own that takes a fifth of a second; the service is a worker process of the
embedded cloud. Both are asked in turn by the same clients, at fixed times, whether or not the answers before have come:
a queue that builds up counts. The LLM gets the very request that google-genai sends. What is added is the service, the
real client, and the check of the SQL; clients, service and LLM share the machine's cores.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.localcloud.serving_process import PREDICT_ROUTE, open_log, start_worker
from modeldrop.ports import ServedVersion
from modeldrop.serving.loading import load_runtime
from modeldrop.wiring import connect_llm
from tests.bench.cold_import import ROOT
from tests.bench.measuring import Aim, Note, Reference, Row, until
from tests.servers.gemini import GeminiServer

REQUESTS_A_SECOND = 100
ROUNDS = 3
ROUND_SECONDS = 4.0
CLIENTS = 48
LLM_SECONDS = 0.2
API_KEY = "key-of-the-benchmark"
JSON = {"content-type": "application/json"}
QUESTION: Mapping[str, Any] = {
    "user_query": "How many orders are there?",
    "dataset_name": "shop",
    "dataset_metadata": {
        "dialect": "bigquery",
        "tables": {"orders": {"id": "INT64", "amount": "FLOAT64"}, "customers": {"id": "INT64", "country": "STRING"}},
    },
}
METADATA = {"model": "text-to-sql", "version": "v1", "runtime": "gemini", "selected_model": "gemini-2.5-flash"}

_LLM_PROCESS = f"""
import sys
from tests.servers.gemini import GeminiServer
with GeminiServer(api_key={API_KEY!r}) as server:
    server.seconds = {LLM_SECONDS}
    print(server.url, flush=True)
    sys.stdin.read()
"""


class Target(NamedTuple):
    """Where a request goes, and what it is."""

    port: int
    path: str
    body: bytes
    headers: Mapping[str, str]


def run() -> Iterator[Row | Note]:
    """The rows of this benchmark."""
    with tempfile.TemporaryDirectory() as folder, _llm_process() as port:
        package = Path(folder)
        (package / "metadata.json").write_text(json.dumps(METADATA))
        direct = _as_the_client_asks(package, port)
        with _service(package, port) as service:
            through, itself = list[float](), list[float]()
            for target in (service, direct):
                _at_fixed_times(target, 1 / REQUESTS_A_SECOND)  # one, for whatever is made on first use
                _at_fixed_times(target, 1.0)
            for _ in range(ROUNDS):
                through += _at_fixed_times(service, ROUND_SECONDS)
                itself += _at_fixed_times(direct, ROUND_SECONDS)
    for percent, aim in ((50, None), (95, Aim(0.010, "measured"))):
        asked, added_to = _percentile(through, percent), _percentile(itself, percent)
        what = f"added to a call of the LLM, p{percent}, {REQUESTS_A_SECOND}/s"
        yield Row("service", what, asked - added_to, "s", None, Reference(added_to, "LLM itself"), aim)


@contextmanager
def _llm_process() -> Iterator[int]:
    command = [sys.executable, "-c", _LLM_PROCESS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.stdin.close()


@contextmanager
def _service(package: Path, llm_port: int) -> Iterator[Target]:
    digest = sha256((package / "metadata.json").read_bytes()).hexdigest()
    served = ServedVersion("text-to-sql", "v1", digest, "gemini", package.resolve().as_uri())
    source = ROOT / "functions" / "predict" / "main.py"
    before = dict(os.environ)
    os.environ |= {"GOOGLE_API_KEY": API_KEY, "GOOGLE_GEMINI_BASE_URL": f"http://127.0.0.1:{llm_port}"}
    try:
        with open_log(package / "log") as log, closing(start_worker(served, source, log)) as worker:
            until(lambda: (worker.health() or (0,))[0] == http.client.OK, "the service is healthy")
            yield Target(worker.port, PREDICT_ROUTE, json.dumps(QUESTION).encode(), JSON)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _as_the_client_asks(package: Path, llm_port: int) -> Target:
    """The request that the runtime sends for the question, taken down by an LLM of its own."""
    digest = sha256((package / "metadata.json").read_bytes()).hexdigest()
    before = dict(os.environ)
    with GeminiServer(api_key=API_KEY) as server:
        os.environ |= server.environment
        try:
            (answer,) = load_runtime(FolderBucket(package), "", digest, connect_llm=connect_llm).predict(
                [dict(QUESTION)]
            )
        finally:
            os.environ.clear()
            os.environ.update(before)
        assert "sql_query" in answer, answer
        asked = server.asked[-1]
    return Target(llm_port, asked.path, json.dumps(asked.body).encode(), JSON | {"x-goog-api-key": API_KEY})


def _at_fixed_times(target: Target, seconds: float) -> list[float]:
    """How long each answer took, from the moment it was to be asked for."""
    numbers, found = count(), list[float]()
    begin = time.perf_counter() + 0.05
    threads = [
        threading.Thread(target=_one_client, args=(target, numbers, begin, seconds, found)) for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = round(seconds * REQUESTS_A_SECOND)
    assert len(found) == wanted, f"{len(found)} of {wanted} were answered"
    return found


def _one_client(target: Target, numbers: "count[int]", begin: float, seconds: float, found: list[float]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)) as connection:
        while (due := next(numbers) / REQUESTS_A_SECOND) < seconds:
            time.sleep(max(begin + due - time.perf_counter(), 0))
            connection.request("POST", target.path, target.body, dict(target.headers))
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK or b"COUNT" not in content:
                raise RuntimeError(f"{answer.status}: {content[:500]!r}")
            found.append(time.perf_counter() - begin - due)


def _percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100)[percent - 1]
