"""One worker process: the functions-framework with ``functions/predict``, for one deployed version."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import modeldrop
from modeldrop.ports import ServedVersion
from modeldrop.settings import PORT_VARIABLE, SERVING_VARIABLES, variable

HEALTH_ROUTE = "/health"
PREDICT_ROUTE = "/predict"
WORKER_THREADS = 4
WAITING_THREADS = 64
"""Of a worker that mostly waits for an LLM: its health must be answered meanwhile."""
POINTER_SECONDS = 0.2
"""Between two looks of a worker at the pointer it follows, if it does: a file of this machine costs next to nothing."""
LARGEST_LOG_BYTES = 5_000_000

_INHERITED = frozenset(
    {
        *("PATH", "LANG", "TMPDIR"),
        # How runtimes reach what they call, and who they are there, is said by their clients' own variables …
        *("HOME", "CLOUDSDK_CONFIG", "GEMINI_API_KEY"),
        *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        # … and what stands around the runtime by ours. Callers and pointers are the cloud's business.
        *map(
            variable,
            ("predictions_target", "response_cache_seconds", "response_cache_bytes", "response_cache_url", "log_level"),
        ),
    }
)
_INHERITED_PREFIX = "GOOGLE_"


@dataclass(frozen=True)
class Worker:
    """A running worker process, and the port of 127.0.0.1 it listens on."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    log_start: int

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def health(self) -> tuple[int, str] | None:
        """Status and the beginning of the body of its health answer; None if it did not answer within a second."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)
        try:
            connection.request("GET", HEALTH_ROUTE, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(1_000).decode(errors="replace").strip()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def last_words(self) -> str:
        """The last ten lines (2,000 characters at most) it wrote."""
        with self.log_file.open("rb") as log:
            log.seek(max(self.log_start, log.seek(0, os.SEEK_END) - 2_000))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-10:]).strip()

    def drain(self, late_requests_seconds: float, drain_seconds: float) -> None:
        """Let requests on their way arrive, then ask it to end; it may answer what has begun for ``drain_seconds``."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(late_requests_seconds)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(drain_seconds)

    def close(self) -> None:
        """End it and everything it has started, at once, and wait for that."""
        # Also when the leader is gone: those it left behind are still in its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_worker(served: ServedVersion, source: Path, log: IO[bytes]) -> Worker:
    """Start the process of one version on a free port; it ends with us, however we end."""
    log_start = log.tell()  # before the worker writes: it shares our position in the file
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modeldrop.localcloud.serving_worker", str(listener.fileno()), str(source)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(served, port),
            pass_fds=(listener.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal is for us; we end the workers in order
        )
    return Worker(process, port, Path(log.name), log_start)


def open_log(path: Path) -> IO[bytes]:
    """Open for appending; begin anew when it has grown large."""
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        path.unlink()
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def _environment(served: ServedVersion, port: int) -> dict[str, str]:
    pinned = {
        "storage_uri": served.artifact_uri,
        "model": served.model,
        "version": served.version,
        "digest": served.digest,
    }
    serving = {"pointer": served.pointer} if served.pointer else pinned
    serving |= {"health_route": HEALTH_ROUTE, "predict_route": PREDICT_ROUTE}
    inherited = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIX)
    }
    threads = WAITING_THREADS if served.pointer or served.runtime == "gemini" else WORKER_THREADS
    return (
        inherited
        | _told(served)
        | {SERVING_VARIABLES[name]: value for name, value in serving.items()}
        | {
            PORT_VARIABLE: str(port),
            "PYTHONPATH": str(Path(modeldrop.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            "THREADS": str(threads),
            variable("pointer_seconds"): str(POINTER_SECONDS),
        }
    )


def _told(served: ServedVersion) -> dict[str, str]:
    """Where a worker that calls an LLM tells its answers, unless somebody has said so: at the cloud it is part of.

    Figures such as tokens are known to it alone. Answers of other runtimes are told by the apps that have asked.
    """
    target, cloud = variable("predictions_target"), os.environ.get(variable("api_url"))
    if served.runtime != "gemini" or cloud is None or target in os.environ:
        return {}
    return {target: f"{cloud}/v1/projects/local/topics/predictions:publish"}
