"""Secrets by reference: from the environment, and from Secret Manager with the real client over the wire."""

import base64
import logging
from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from time import monotonic
from typing import Any

import pytest

from modeldrop.adapters.gcp import secret_manager
from modeldrop.adapters.gcp.secret_manager import KEPT_SECONDS, SecretManagerSecrets
from modeldrop.adapters.local.environment_secrets import EnvironmentSecrets
from modeldrop.errors import ConfigurationError, NotFound, Refused, Unavailable
from modeldrop.ports import Secrets
from tests.servers.secrets import Fault, SecretServer

SECRET = "projects/p/secrets/hook"
TEXT = "wh-5ecret-of-the-hook"


class Watch:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[SecretServer]:
    with SecretServer() as server:
        server.put(SECRET, TEXT.encode())
        yield server


@pytest.fixture
def connect(server: SecretServer) -> Iterator[Callable[..., SecretManagerSecrets]]:
    opened = []

    def connect(**settings: Any) -> SecretManagerSecrets:
        opened.append(secret_manager.connect_to(server.url, **settings))
        return opened[-1]

    yield connect
    for secrets in opened:
        secrets.close()


@pytest.fixture
def secrets(connect: Callable[..., SecretManagerSecrets]) -> SecretManagerSecrets:
    return connect()


# --- both ------------------------------------------------------------------------------------------------------


def test_neither_repeats_what_is_no_reference(secrets: SecretManagerSecrets) -> None:
    port: Secrets
    for port in (secrets, EnvironmentSecrets({"PATH": "/bin"})):
        for text in (TEXT, "", "env:PATH\n", "projects/p/secrets/a b\n", f"{SECRET}/{TEXT}"):
            with pytest.raises(Refused) as refused:
                port.read(text)
            assert TEXT not in str(refused.value)


# --- the environment -------------------------------------------------------------------------------------------


def test_a_variable_is_read_without_white_space() -> None:
    assert EnvironmentSecrets({"MODELDROP_SECRET_HOOK": f" {TEXT}\n"}).read("env:MODELDROP_SECRET_HOOK") == TEXT


@pytest.mark.parametrize("environment", [{}, {"MODELDROP_SECRET_HOOK": " \n"}])
def test_a_missing_variable_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="env:MODELDROP_SECRET_HOOK"):
        EnvironmentSecrets(environment).read("env:MODELDROP_SECRET_HOOK")


@pytest.mark.parametrize("name", ["PATH", "MODELDROP_DATA", "MODELDROP_SECRET_", "MODELDROP_SECRET_a", "AWS_KEY"])
def test_no_other_variable_can_be_read(name: str) -> None:
    with pytest.raises(Refused):
        EnvironmentSecrets({name: TEXT}).read(f"env:{name}")


def test_each_backend_says_which_one_a_reference_needs(secrets: SecretManagerSecrets) -> None:
    with pytest.raises(Refused, match="gcp backend"):
        EnvironmentSecrets({}).read(SECRET)
    with pytest.raises(Refused, match="local backend"):
        secrets.read("env:MODELDROP_SECRET_HOOK")


# --- Secret Manager --------------------------------------------------------------------------------------------


def test_a_reference_without_a_version_means_the_latest(secrets: SecretManagerSecrets, server: SecretServer) -> None:
    server.put(SECRET, b" newer \n")
    assert secrets.read(SECRET) == "newer"
    assert secrets.read(f"{SECRET}/versions/1") == TEXT
    assert server.requests == [f"{SECRET}/versions/latest", f"{SECRET}/versions/1"]


def test_a_text_is_kept_for_five_minutes(connect: Callable[..., SecretManagerSecrets], server: SecretServer) -> None:
    watch = Watch()
    secrets = connect(clock=watch)
    assert secrets.read(SECRET) == TEXT
    server.put(SECRET, b"rotated")
    watch.now += KEPT_SECONDS - 1
    assert secrets.read(SECRET) == TEXT
    watch.now += 2
    assert secrets.read(SECRET) == "rotated"
    assert len(server.requests) == 2


def test_an_error_is_not_kept(secrets: SecretManagerSecrets, server: SecretServer) -> None:
    server.inject(Fault("status"))
    with pytest.raises(Unavailable):
        secrets.read(SECRET)
    assert secrets.read(SECRET) == TEXT


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", 403, "PERMISSION_DENIED"), Refused),
        (Fault("status", 404, "NOT_FOUND"), NotFound),
        (Fault("status", 400, "FAILED_PRECONDITION"), Unavailable),  # disabled: it can be enabled again
        (Fault("status", 401, "UNAUTHENTICATED"), Unavailable),
        (Fault("status", 429, "RESOURCE_EXHAUSTED"), Unavailable),
        (Fault("status", 500, "INTERNAL"), Unavailable),
        (Fault("drop"), Unavailable),
        (Fault("page"), Unavailable),
        (Fault("damaged"), Unavailable),
        (Fault("unchecked"), Unavailable),
    ],
    ids=lambda value: f"{value.kind} {value.code}" if isinstance(value, Fault) else value.__name__,
)
def test_what_goes_wrong_is_an_error_of_ours_that_names_the_secret(
    secrets: SecretManagerSecrets, server: SecretServer, fault: Fault, error: type[Exception]
) -> None:
    server.inject(fault)
    with pytest.raises(error, match="projects/p/secrets/hook") as raised:
        secrets.read(SECRET)
    assert type(raised.value) is error
    assert TEXT not in str(raised.value)
    assert len(server.requests) == 1


def test_a_secret_that_does_not_exist(secrets: SecretManagerSecrets) -> None:
    with pytest.raises(NotFound, match="projects/p/secrets/other"):
        secrets.read("projects/p/secrets/other")


def test_a_hanging_service_is_given_up_on(connect: Callable[..., SecretManagerSecrets], server: SecretServer) -> None:
    server.inject(Fault("hang"))
    started = monotonic()
    with pytest.raises(Unavailable):
        connect(call_seconds=0.3).read(SECRET)
    assert monotonic() - started < 3


@pytest.mark.parametrize(("data", "error"), [(b"\xff\xfe" + TEXT.encode(), Refused), (b" \n", NotFound)])
def test_a_secret_that_is_no_text(
    secrets: SecretManagerSecrets, server: SecretServer, data: bytes, error: type[Exception]
) -> None:
    server.put(SECRET, data)
    with pytest.raises(error) as raised:
        secrets.read(SECRET)
    assert TEXT not in repr(raised.value)
    assert raised.value.__cause__ is None  # a UnicodeDecodeError would hold the bytes


def test_many_threads_read_the_same(secrets: SecretManagerSecrets) -> None:
    together = Barrier(16)
    read: list[str] = []

    def run() -> None:
        together.wait()
        read.append(secrets.read(SECRET))

    threads = [Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [TEXT] * 16


def test_nothing_is_logged_of_a_secret(
    secrets: SecretManagerSecrets, server: SecretServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "google")
    logging.getLogger("google").addHandler(caplog.handler)  # it does not propagate
    try:
        assert secrets.read(SECRET) == TEXT
    finally:
        logging.getLogger("google").removeHandler(caplog.handler)
    server.inject(Fault("damaged"))
    with pytest.raises(Unavailable):
        secrets.read(f"{SECRET}/versions/1")
    assert server.requests
    logged = "".join(str(record.__dict__) for record in caplog.records)
    assert SECRET in logged  # urllib3 tells which path was asked for
    assert TEXT not in logged
    assert base64.b64encode(TEXT.encode()).decode() not in logged
    assert TEXT not in repr(secrets)


def test_plain_http_is_for_loopback_only() -> None:
    with pytest.raises(ConfigurationError, match="https"):
        secret_manager.connect_to("http://secretmanager.example.com")
