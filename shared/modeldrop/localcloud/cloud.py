"""``modeldrop up``: bucket, functions, scheduler, topics and endpoints in one process tree on this machine."""

import fcntl
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

import uvicorn

import modeldrop
from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.topic_queue import LocalPublisher
from modeldrop.errors import ConfigurationError
from modeldrop.localcloud.emulators import firestore_emulator, pubsub_emulator
from modeldrop.localcloud.front import Front, load_functions
from modeldrop.localcloud.function_calls import FunctionCaller
from modeldrop.localcloud.schedule import PUSH_PAUSE_SECONDS, Repeating, push_messages
from modeldrop.localcloud.serving_supervisor import ServingSupervisor
from modeldrop.localcloud.traffic_router import TrafficRouter
from modeldrop.localcloud.uploads import UploadWatcher
from modeldrop.settings import SECRETS_PREFIX, variable
from modeldrop.wiring import TOPICS, services

HOST = "127.0.0.1"
TICKS = ("health_tick", "outbox_tick", "retrain_tick")
SUBSCRIBERS = {"predictions": "prediction_logged"}
KEPT_SETTINGS = frozenset(
    variable(name)
    for name in (
        "default_model",
        "log_level",
        "artifact_wait_seconds",
        "signing_keys",
        "ingest_linger_seconds",
        "report_interval_seconds",
        "redaction_key",
        "smtp_url",
        "smtp_user",
        "smtp_password",
        "mail_from",
        "slack_webhook",
        "predictions_target",
        "response_cache_seconds",
        "response_cache_bytes",
    )
)
GRACE_SECONDS = 1
KEEP_ALIVE_SECONDS = 75
"""Longer than a loaded machine stands still: a connection that ends just as it is used again is an error to clients."""
LAST_WORDS_SECONDS = 1.0
EMULATED_PROJECT = "modeldrop-local"
IN_MEMORY = Path(":memory:")  # to SQLite


class Background(Protocol):
    """Something that runs beside the server."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and return when it has ended."""


@dataclass(frozen=True)
class CloudOptions:
    """What ``modeldrop up`` was asked for."""

    port: int
    data: Path
    tick_seconds: float
    functions: Path
    emulators: bool = False


def functions_folder() -> Path:
    """The ``functions/`` folder of the source tree this package runs from, else of the working directory."""
    for root in (Path(modeldrop.__file__).resolve().parents[2], Path.cwd()):
        if (root / "functions" / "model_uploaded" / "main.py").is_file():
            return root / "functions"
    raise ConfigurationError("the folder functions/ was not found: run modeldrop up in a checkout of modeldrop")


def run(options: CloudOptions, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. ``announce`` gets the address once everything answers.

    Raises ConfigurationError if the port or the data folder cannot be used, or an emulator asked for is missing.
    """
    _make_folders(options.data)
    with ExitStack() as stack:
        signals = stack.enter_context(_Signals.caught())
        stack.enter_context(_sole_user_of(options.data))
        listener = stack.enter_context(_listener(options.port))
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        _set_environment(options, url)
        if options.emulators:
            _start_emulators(stack)
        functions = load_functions(options.functions)
        router = TrafficRouter(options.data / "serving.sqlite", options.data / "router-metrics.sqlite")
        front = Front(functions, router.routes(), lambda: services().publisher, router.aclose)
        server = uvicorn.Server(
            uvicorn.Config(
                front,
                log_level="warning",
                lifespan="on",
                timeout_graceful_shutdown=GRACE_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)  # of what it then cuts short
        _start_background(stack, options, url, functions.keys())
        threading.Thread(target=_announce_when_started, args=(server, url, announce), daemon=True).start()
        signals.server = server
        server.run(sockets=[listener])
    _end_soon()


def _end_soon() -> None:
    """End the process even if a function still waits for somebody who does not answer: it may be cut at any moment.

    Its threads cannot be ended, and Python would wait for them.
    """
    last = threading.Timer(LAST_WORDS_SECONDS, os._exit, [0])
    last.daemon = True
    last.start()


def _make_folders(data: Path) -> None:
    try:
        (data / "bucket").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{data} cannot be the data folder: {error.strerror}") from None


def _start_emulators(stack: ExitStack) -> None:
    """State in the Firestore emulator, topics in Pub/Sub's; what they hold ends with them."""
    hosts = {
        "FIRESTORE_EMULATOR_HOST": stack.enter_context(firestore_emulator()),
        "PUBSUB_EMULATOR_HOST": stack.enter_context(pubsub_emulator()),
    }
    os.environ |= hosts | {
        "MODELDROP_DOCUMENTS": "firestore",
        "MODELDROP_MESSAGING": "pubsub",
        "MODELDROP_PROJECT": EMULATED_PROJECT,
    }


def _start_background(stack: ExitStack, options: CloudOptions, url: str, mounted: Collection[str]) -> None:
    caller = FunctionCaller(url)
    stack.callback(caller.close)
    state = ProcessModelServer(options.data / "serving.sqlite")
    subscriptions = {topic: name if name in mounted else None for topic, name in SUBSCRIBERS.items()}
    # The emulator forgets the registry when it ends: all that lies in the bucket is told to the new one again.
    told = IN_MEMORY if options.emulators else options.data / "uploads.sqlite"
    threads: list[Background] = [
        ServingSupervisor(state, options.functions, options.data / "logs"),
        UploadWatcher(FolderBucket(options.data / "bucket"), told, caller.tell_upload),
        *[Repeating(tick, options.tick_seconds, partial(caller.tick, tick)) for tick in TICKS if tick in mounted],
    ]
    if options.emulators:
        _subscribe_on_emulator(url, subscriptions)
    else:
        publisher = LocalPublisher(options.data / "topics.sqlite", TOPICS)
        push = partial(push_messages, publisher, subscriptions, caller.push)
        threads.append(Repeating("push", PUSH_PAUSE_SECONDS, push))
    for thread in threads:
        thread.start()
        stack.callback(thread.stop)


def _subscribe_on_emulator(url: str, subscriptions: Mapping[str, str | None]) -> None:
    """The topics, and a push subscription to each function that takes one: Pub/Sub itself calls it."""
    from modeldrop.adapters.gcp import pubsub_setup  # noqa: PLC0415 - half a second, for those who asked for it

    pubsub_setup.create_topics(EMULATED_PROJECT, TOPICS)
    endpoints = {topic: f"{url}/functions/{name}" for topic, name in subscriptions.items() if name is not None}
    pubsub_setup.create_push_subscriptions(EMULATED_PROJECT, endpoints)


def _set_environment(options: CloudOptions, url: str) -> None:
    """The functions read their settings from the environment, here as in the cloud."""
    for name in [name for name in os.environ if name.startswith("MODELDROP_")]:
        if name not in KEPT_SETTINGS and not name.startswith(SECRETS_PREFIX):
            del os.environ[name]
    pace = {variable(f"{tick}_seconds"): str(options.tick_seconds) for tick in TICKS}
    os.environ |= pace | {
        "MODELDROP_BACKEND": "local",
        "MODELDROP_DATA": str(options.data.resolve()),
        "MODELDROP_AUTH": "none",
        "MODELDROP_API_URL": url,
    }
    os.environ.setdefault(variable("report_interval_seconds"), "1")  # looking costs nothing here


class _Signals:
    """SIGINT and SIGTERM end the cloud in order, at whatever moment they come, and however often."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None

    @classmethod
    @contextmanager
    def caught(cls) -> Iterator["_Signals"]:
        """Handle both from here to the end of the block."""
        signals = cls()
        before = {number: signal.signal(number, signals.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield signals
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """While starting: unwind. Later: the server catches them, and raises them here once more when it has ended."""
        if self.server is None:
            raise KeyboardInterrupt
        self.server.should_exit = True


def _announce_when_started(server: uvicorn.Server, url: str, announce: Callable[[str], None]) -> None:
    while not server.started:
        time.sleep(0.01)
    announce(url)


@contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    # The protocol by name: only where asyncio sees it does it set TCP_NODELAY, without which each answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ConfigurationError(f"port {port} cannot be used: {error.strerror}") from None
        listener.listen(1024)
        yield listener


@contextmanager
def _sole_user_of(data: Path) -> Iterator[None]:
    """Two clouds on one folder would both start its processes."""
    with (data / "in-use").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"{data} is in use by another modeldrop up") from None
        yield
