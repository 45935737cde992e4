"""functions/prediction_logged through the framework's own ASGI application, in every wrapping Pub/Sub has."""

import asyncio
import base64
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import functions_framework
import httpx
import pytest
from starlette.applications import Starlette

from modeldrop.domain.sampling.packing import FORMAT
from modeldrop.domain.sampling.windows import window_start
from modeldrop.handlers.predictions.keep_poison import MOST_A_MINUTE
from modeldrop.localcloud.front import load_functions
from modeldrop.ports import Replace
from modeldrop.records.quarantined_events import KEPT, QuarantinedEvents
from modeldrop.wiring import services
from tests.handlers.control import MODEL, Control
from tests.handlers.prediction_log import Failing, between, message, prediction, register, sampled, stored_paths

FUNCTIONS = Path(__file__).parents[2] / "functions"
SOURCE = FUNCTIONS / "prediction_logged" / "main.py"
NOW = datetime.now(UTC)  # the function looks at the real clock
JSON = {"content-type": "application/json"}
EVENT = {
    "specversion": "1.0",
    "type": "google.cloud.pubsub.topic.v1.messagePublished",
    "source": "//pubsub.googleapis.com/projects/p/topics/predictions",
    "id": "7",
}

Sent = tuple[dict[str, str], bytes]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    """A registered version; the function reads the same folder."""
    settings = {"BACKEND": "local", "DATA": str(tmp_path), "AUTH": "none", "INGEST_LINGER_SECONDS": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"MODELDROP_{name}", value)
    services.cache_clear()
    control = Control(tmp_path)
    register(control, "v1")
    yield control
    services.cache_clear()


@pytest.fixture
def app(control: Control) -> Iterator[Starlette]:
    yield functions_framework.create_app(target="prediction_logged", source=str(SOURCE))
    sys.modules["main"].intake().close()  # the framework loads every function under this name


def push(data: bytes) -> dict[str, Any]:
    """The body of a push subscription."""
    sent = {"data": base64.b64encode(data).decode(), "messageId": "7", "publishTime": NOW.isoformat()}
    return {"message": sent | {"attributes": {"a": "b"}}, "subscription": "projects/p/subscriptions/predictions"}


def raw(data: bytes) -> Sent:
    return JSON, json.dumps(push(data)).encode()


def structured(data: bytes) -> Sent:
    headers = {"content-type": "application/cloudevents+json"}
    return headers, json.dumps({**EVENT, "data": push(data)}).encode()


def binary(data: bytes) -> Sent:
    return {f"ce-{name}": value for name, value in EVENT.items()} | JSON, json.dumps(push(data)).encode()


WRAPPINGS = [raw, structured, binary]


async def send(app: Starlette, *requests: Sent) -> list[httpx.Response]:
    """All of them at once."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://function") as client:
        return await asyncio.gather(*[client.post("/", headers=headers, content=body) for headers, body in requests])


def post(app: Starlette, request: Sent) -> httpx.Response:
    (answer,) = asyncio.run(send(app, request))
    return answer


def fresh(number: int, version: str = "v1") -> dict[str, Any]:
    return prediction(number, version, timestamp=NOW.isoformat())


def kept(control: Control) -> int:
    return len(sampled(control.services, start=window_start(NOW, 3600)))


# --- tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_every_wrapping_is_taken(app: Starlette, control: Control, wrap: Callable[[bytes], Sent]) -> None:
    answer = post(app, wrap(message(fresh(1), fresh(2))))
    assert answer.status_code == 200
    assert answer.json() == {"status": "taken", "sampled": 2, "from_the_future": 0, "passed_over": 0, "quarantined": 0}
    assert kept(control) == 2


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_one_event_without_an_array(app: Starlette, control: Control, wrap: Callable[[bytes], Sent]) -> None:
    assert post(app, wrap(json.dumps(fresh(1)).encode())).json()["sampled"] == 1
    assert kept(control) == 1


def test_a_large_message(app: Starlette, control: Control) -> None:
    data = message(*map(fresh, range(1000)))
    assert len(data) > 100_000
    assert post(app, raw(data)).json()["sampled"] == 1000
    assert kept(control) == 1000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"message": {"data": "?"}}', b'{"message": 1e999}', b"x" * 200_000],
    ids=lambda body: f"{body[:12]!r}",
)
def test_what_is_no_push_is_quarantined_and_acknowledged(app: Starlette, control: Control, body: bytes) -> None:
    answer = post(app, (JSON, body))
    assert (answer.status_code, answer.json()) == (200, {"status": "quarantined"})
    (entry,) = QuarantinedEvents(control.services.documents).entries()
    assert entry.value.raw == b"SHA-256 %b" % hashlib.sha256(body).hexdigest().encode()
    assert entry.value.is_cut
    assert NOW + KEPT <= entry.value.expire_at <= datetime.now(UTC) + KEPT


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_poison_inside_is_quarantined_and_acknowledged(
    app: Starlette, control: Control, wrap: Callable[[bytes], Sent]
) -> None:
    answer = post(app, wrap(message(fresh(1), {"model": "fraud"})))
    assert (answer.status_code, answer.json()["sampled"], answer.json()["quarantined"]) == (200, 1, 1)
    (entry,) = QuarantinedEvents(control.services.documents).entries()
    assert json.loads(entry.value.raw) == {"model": "fraud"}


def test_what_cannot_be_stored_now_is_delivered_again(app: Starlette, control: Control) -> None:
    failing = Failing(10**9)
    between(services()).before = failing
    answer = post(app, raw(message(fresh(1))))
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
    failing.left = 0
    assert post(app, raw(message(fresh(1)))).status_code == 200
    assert kept(control) == 1


def test_of_many_pushes_that_are_none_some_are_kept(app: Starlette, control: Control) -> None:
    answers = asyncio.run(send(app, *[(JSON, b"%d" % number) for number in range(3 * MOST_A_MINUTE)]))
    assert {answer.status_code for answer in answers} == {200}
    kept = list(QuarantinedEvents(control.services.documents).entries())
    assert MOST_A_MINUTE <= len(kept) < 2 * MOST_A_MINUTE


def test_a_shard_that_cannot_be_read_loses_no_event(app: Starlette, control: Control) -> None:
    """A newer release has written it, say: the events come again, and are no poison."""
    control.policy("drift: {sample_size: 64}\n")
    control.tell(f"policies/{MODEL}.yaml")
    assert post(app, raw(message(fresh(1)))).status_code == 200
    documents = control.services.documents
    (path,) = [path for path in stored_paths(control.data) if "/shards/" in path]
    sound = documents.get(path)
    assert sound is not None
    assert sound.data["packed"][1] == FORMAT
    newer = sound.data["packed"][:1] + bytes([FORMAT + 1]) + sound.data["packed"][2:]
    documents.commit([Replace(path, sound.data | {"packed": newer}, sound.revision)])
    answer = post(app, raw(message(fresh(2), fresh(3))))
    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
    assert list(QuarantinedEvents(documents).entries()) == []
    damaged = documents.get(path)
    assert damaged is not None
    documents.commit([Replace(path, sound.data, damaged.revision)])
    assert post(app, raw(message(fresh(2), fresh(3)))).json()["sampled"] == 2
    assert kept(control) == 3


def test_waiting_for_a_commit_blocks_nobody_else(app: Starlette, control: Control) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(writes: Any) -> None:
        if any("/shards/" in write.path for write in writes):
            held.set()
            assert go_on.wait(20)

    between(services()).before = hold

    async def scene() -> list[int]:
        waiting = asyncio.create_task(send(app, *[raw(message(fresh(number))) for number in range(20)]))
        assert await asyncio.to_thread(held.wait, 20)
        (other,) = await send(app, raw(message(fresh(1, "v99"))))
        assert other.json()["passed_over"] == 1
        assert not waiting.done()
        go_on.set()
        return [answer.status_code for answer in await waiting]

    assert asyncio.run(scene()) == [200] * 20
    assert kept(control) == 20


def test_the_embedded_cloud_mounts_it() -> None:
    assert isinstance(load_functions(FUNCTIONS)["prediction_logged"], Starlette)
