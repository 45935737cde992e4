"""The cache of answers in a real Redis: shared, forgotten in time, and never in anybody's way."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from modeldrop.adapters.redis.shared_answers import PREFIX, RULES, SharedAnswers, connect
from modeldrop.errors import ConfigurationError
from modeldrop.serving.gemini.shared_breaker import SharedBreaker
from tests.functions.predict_system import ANSWER, GOOD, client_of, package
from tests.servers.redis_server import RedisServer

A, B, C = (bytes([number]) * 32 for number in range(3))
SQL: dict[str, Any] = {"sql_query": "SELECT 1", "metadata": {"tokens_in": 9}}
SOON = 1.0  # seconds: a tenth of one, and what a machine under load may add

pytestmark = pytest.mark.program("redis-server")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def fresh(server: RedisServer) -> RedisServer:
    with server.client() as client:
        client.flushall()
    return server


def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not holds():
        assert monotonic() < deadline


def kept(answers: SharedAnswers, keys: list[bytes]) -> list[dict[str, Any] | None]:
    return answers.get_many(keys, 0.0)


def test_what_one_process_keeps_another_finds(fresh: RedisServer) -> None:
    with closing(connect(fresh.url, 60.0)) as one, closing(connect(fresh.url, 60.0)) as other:
        assert kept(one, [A, B]) == [None, None]
        assert kept(one, []) == []
        one.put_many({A: SQL, C: {"score": 0.5}}, 0.0)
        until(lambda: kept(other, [A, C]) != [None, None])
        assert kept(other, [B, A, C, A]) == [None, SQL, {"score": 0.5}, SQL]


def test_it_is_forgotten_in_time(fresh: RedisServer) -> None:
    with closing(connect(fresh.url, 30.0)) as answers, fresh.client() as client:
        answers.put_many({A: SQL}, 0.0)
        until(lambda: client.exists(PREFIX + A.hex().encode()) == 1)
        assert 20_000 < client.pttl(PREFIX + A.hex().encode()) <= 30_000
    with closing(connect(fresh.url, 0.05)) as answers:
        answers.put_many({B: SQL}, 0.0)
        until(lambda: kept(answers, [B]) == [None])


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{", b"7", b"\xff", b"[" * 10_000, b'{"x": "' + b"y" * 1_100_000 + b'"}']
)
def test_what_none_of_us_wrote_is_no_answer(fresh: RedisServer, value: bytes) -> None:
    with closing(connect(fresh.url, 60.0)) as answers, fresh.client() as client:
        client.set(PREFIX + A.hex().encode(), value)
        client.rpush(PREFIX + B.hex().encode(), value)
        answers.put_many({C: SQL}, 0.0)
        until(lambda: kept(answers, [C]) == [SQL])
        assert kept(answers, [A, B, C]) == [None, None, SQL]


def test_an_answer_too_large_is_not_kept(fresh: RedisServer) -> None:
    with closing(connect(fresh.url, 60.0)) as answers:
        answers.put_many({A: {"text": "x" * 1_100_000}, B: SQL}, 0.0)
        until(lambda: kept(answers, [B]) == [SQL])
        assert kept(answers, [A]) == [None]


def test_a_redis_that_is_gone_is_left_alone_until_it_may_be_back(
    fresh: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    with closing(connect(fresh.url, 60.0, SharedBreaker(RULES, lambda: now[0]))) as answers:
        answers.put_many({A: SQL}, 0.0)
        until(lambda: kept(answers, [A]) == [SQL])
        fresh.stop()
        try:
            with caplog.at_level(logging.WARNING, "modeldrop"):
                began = monotonic()
                for _ in range(1_000):
                    assert kept(answers, [A]) == [None]
                    answers.put_many({A: SQL}, 0.0)
                assert monotonic() - began < SOON
        finally:
            fresh.start()
        assert kept(answers, [A]) == [None]
        now[0] = RULES.open_seconds
        assert kept(answers, [A]) == [None]  # asked, and empty
        answers.put_many({A: SQL}, 0.0)
        until(lambda: kept(answers, [A]) == [SQL])
    told = [record.getMessage() for record in caplog.records]
    assert 1 <= len(told) <= 3
    assert not any(fresh.url in message or ":@" in message for message in told)


def test_a_redis_that_hangs_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with closing(connect(url, 60.0)) as answers:
            began = monotonic()
            for _ in range(100):
                assert kept(answers, [A]) == [None]
                answers.put_many({A: SQL}, 0.0)
            assert monotonic() - began < SOON


def test_a_wrong_password_is_no_answer_either(fresh: RedisServer) -> None:
    with closing(connect(fresh.url.replace("://:", "://:wrong"), 60.0)) as answers:
        answers.put_many({A: SQL}, 0.0)
        assert kept(answers, [A]) == [None]


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost", "unix:///run/redis.sock", "redis://h:x/0"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MODELDROP_RESPONSE_CACHE_URL") as caught:
        connect(url, 60.0)
    assert not url or url not in str(caught.value)


def test_two_services_share_their_answers(fresh: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = package(tmp_path) | {
        "AIP_HTTP_PORT": "1",
        "MODELDROP_RESPONSE_CACHE_SECONDS": "60",
        "MODELDROP_RESPONSE_CACHE_URL": fresh.url,
    }
    one, other = client_of(environment, monkeypatch), client_of(environment, monkeypatch)
    first = one.post("/predict", json={"instances": [GOOD, GOOD]})
    assert ("X-Modeldrop-Cached" in first.headers, first.json) == (False, {"predictions": [ANSWER, ANSWER]})
    with fresh.client() as client:
        until(lambda: client.dbsize() == 1)
    second = other.post("/predict", json={"instances": [GOOD]})
    assert (second.headers["X-Modeldrop-Cached"], second.json) == ("1", {"predictions": [ANSWER]})


def test_an_address_without_a_time_to_keep_answers_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = package(tmp_path) | {"AIP_HTTP_PORT": "1", "MODELDROP_RESPONSE_CACHE_URL": "redis://127.0.0.1:9/0"}
    answer = client_of(environment, monkeypatch).post("/predict", json={"instances": [GOOD]})
    assert answer.status_code == 503
    assert "needs MODELDROP_RESPONSE_CACHE_SECONDS" in answer.json["detail"]


def test_without_its_redis_a_service_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = package(tmp_path) | {
        "AIP_HTTP_PORT": "1",
        "MODELDROP_RESPONSE_CACHE_SECONDS": "60",
        "MODELDROP_RESPONSE_CACHE_URL": "redis://127.0.0.1:9/0",
    }
    client = client_of(environment, monkeypatch)
    for _ in range(3):
        answer = client.post("/predict", json={"instances": [GOOD]})
        assert (answer.status_code, answer.json) == (200, {"predictions": [ANSWER]})
