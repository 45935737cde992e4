"""Webhooks and Slack as channels and as a target, over real HTTP: what arrives, and what is made of the answer."""

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest

from modeldrop import __version__
from modeldrop.adapters.http.guarded_client import GuardedClient
from modeldrop.adapters.http.signed_webhook import signature, webhook_request
from modeldrop.adapters.http.slack_notifier import MOST_CHARACTERS, SlackNotifier, slack_text
from modeldrop.adapters.http.webhook_notifier import WebhookNotifier
from modeldrop.adapters.http.webhook_trainer import WebhookTrainer
from modeldrop.domain.news import News
from modeldrop.domain.notification import Notification
from modeldrop.domain.retraining.episode import Run, TimeRange, TrainingRequest
from modeldrop.domain.targets import WebhookChannel, WebhookTarget
from modeldrop.errors import ModeldropError, Refused, Unavailable
from modeldrop.ports import Notifier, Trainer
from tests.servers.receiver import DRIP, DROP, HANG, Received, Receiver, Reply

AT = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
DRIFT = News("drift", "v5", "data drift", "psi of distance is 0.4, above 0.2")
NOTIFICATION = Notification("n-1", "flights", DRIFT, AT, "https://md.example.com/v1/models/flights")
REQUEST = TrainingRequest(
    episode="flights-20260701123000-3",
    model="flights",
    version="v5",
    cause="concept_drift",
    report="https://md.example.com/v1/models/flights/drift",
    window=TimeRange(datetime(2026, 7, 1, 11, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC)),
    lineage={"commit": "abc", "run_id": "7"},
)
SECRET = "wh-5ecret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def client() -> GuardedClient:
    return GuardedClient(loopback=True, timeout_seconds=0.5)


def webhook(client: GuardedClient, url: str, secret: str | None = SECRET) -> Callable[[], object]:
    """Sends the notification to a webhook."""
    notifier: Notifier = WebhookNotifier(client, WebhookChannel(url, ["drift"]), secret)
    return lambda: notifier.notify(NOTIFICATION)


def slack(client: GuardedClient, url: str) -> Callable[[], object]:
    """Sends the notification to Slack."""
    notifier: Notifier = SlackNotifier(client, url)
    return lambda: notifier.notify(NOTIFICATION)


def training(client: GuardedClient, url: str, secret: str | None = SECRET) -> Callable[[], object]:
    """Asks a webhook for a retraining."""
    trainer: Trainer = WebhookTrainer(client, WebhookTarget(url, secret="env:MODELDROP_SECRET_HOOK"), secret)
    return lambda: trainer.start(REQUEST, again=None)


senders = pytest.mark.parametrize("sender", [webhook, slack, training])


def is_signed(request: Received, secret: str) -> bool:
    """As a receiver would check it."""
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(request.headers["x-modeldrop-signature"], f"sha256={expected}")


# --- what arrives ----------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_notification_signed(client: GuardedClient, receiver: Receiver) -> None:
    webhook(client, f"{receiver.url}/hook?team=a")()
    [request] = receiver.received
    assert (request.method, request.path) == ("POST", "/hook?team=a")
    assert request.json() == {
        "id": "n-1",
        "model": "flights",
        "version": "v5",
        "kind": "drift",
        "what": "data drift",
        "why": "psi of distance is 0.4, above 0.2",
        "resolved": False,
        "at": "2026-07-01T12:30:00Z",
        "link": "https://md.example.com/v1/models/flights",
    }
    assert request.headers["idempotency-key"] == "n-1"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"modeldrop/{__version__}"
    assert is_signed(request, SECRET)
    assert not is_signed(request, "another")


def test_a_trainer_gets_the_request_signed(client: GuardedClient, receiver: Receiver) -> None:
    assert training(client, f"{receiver.url}/train")() == Run(id=None, state="accepted")
    [request] = receiver.received
    assert request.json() == {
        "episode": "flights-20260701123000-3",
        "model": "flights",
        "version": "v5",
        "cause": "concept_drift",
        "report": "https://md.example.com/v1/models/flights/drift",
        "window": {"start": "2026-07-01T11:00:00Z", "end": "2026-07-01T12:00:00Z"},
        "lineage": {"commit": "abc", "run_id": "7"},
    }
    assert request.headers["idempotency-key"] == "flights-20260701123000-3"
    assert is_signed(request, SECRET)


def test_a_request_without_context_says_so(client: GuardedClient, receiver: Receiver) -> None:
    trainer = WebhookTrainer(client, WebhookTarget(receiver.url), None)
    request = TrainingRequest("e-1", "flights", None, "manual", None, None)
    trainer.start(request, again=AT)
    assert receiver.received[0].json() == {
        "episode": "e-1",
        "model": "flights",
        "version": None,
        "cause": "manual",
        "report": None,
        "window": None,
        "lineage": {},
    }
    assert trainer.observe(request, Run()) is None
    assert len(receiver.received) == 1


@pytest.mark.parametrize("sender", [webhook, training])
def test_without_a_secret_nothing_is_signed(
    client: GuardedClient, receiver: Receiver, sender: Callable[..., Callable[[], object]]
) -> None:
    sender(client, receiver.url, None)()
    assert "x-modeldrop-signature" not in receiver.received[0].headers


@pytest.mark.parametrize("sender", [webhook, training])
def test_what_is_sent_again_is_the_same_to_the_byte(
    client: GuardedClient, receiver: Receiver, sender: Callable[..., Callable[[], object]]
) -> None:
    send = sender(client, receiver.url)
    receiver.then(DROP, Reply(500), Reply(200))
    for _ in range(2):
        with pytest.raises(Unavailable):
            send()
    send()
    first, *others = receiver.received
    assert len(others) == 2
    assert all((other.body, other.headers) == (first.body, first.headers) for other in others)


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(Refused):
        webhook_request({}, key="k", secret="")


def test_the_signature_against_openssl() -> None:
    # printf '{"id":"n1"}' | openssl dgst -sha256 -hmac s
    assert signature(b'{"id":"n1"}', "s") == "sha256=dd0a1a0b777fb52420643eb828a1d90a505d47a0912f41b5c0fb76d0f0a44700"


def test_a_hundred_at_once(receiver: Receiver) -> None:
    notifier = WebhookNotifier(GuardedClient(loopback=True), WebhookChannel(receiver.url, ["drift"]), SECRET)

    def notify(number: int) -> None:
        notifier.notify(Notification(f"n-{number}", "flights", DRIFT, AT))

    with ThreadPoolExecutor(100) as pool:
        list(pool.map(notify, range(100)))
    assert all(is_signed(request, SECRET) for request in receiver.received)
    keys = sorted(request.headers["idempotency-key"] for request in receiver.received)
    assert keys == sorted(f"n-{number}" for number in range(100))
    assert keys == sorted(request.json()["id"] for request in receiver.received)


# --- what is made of the answer --------------------------------------------------------------------------------


@senders
@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_accepted(
    client: GuardedClient, receiver: Receiver, sender: Callable[..., Callable[[], object]], status: int
) -> None:
    receiver.then(Reply(status))
    sender(client, receiver.url)()


@senders
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(500), Unavailable),
        (Reply(503), Unavailable),
        (Reply(429, headers={"retry-after": "1"}), Unavailable),
        (Reply(404, b"no_service"), Refused),
        (Reply(403, b"invalid_token"), Refused),
        (Reply(302, headers={"location": "http://169.254.169.254/"}), Refused),
        (DROP, Unavailable),
        (HANG, Unavailable),
        (DRIP, Unavailable),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Reply) else value.__name__,
)
def test_what_goes_wrong_is_an_error_of_ours_without_the_address(
    client: GuardedClient,
    receiver: Receiver,
    sender: Callable[..., Callable[[], object]],
    reply: Reply,
    error: type[Exception],
) -> None:
    receiver.then(reply)
    started = monotonic()
    with pytest.raises(ModeldropError) as raised:
        sender(client, f"{receiver.url}/services/T0/{SECRET}")()
    assert type(raised.value) is error
    assert SECRET not in str(raised.value)
    assert monotonic() - started < 2
    assert len(receiver.received) == 1


@senders
def test_an_address_that_is_not_public_is_refused(sender: Callable[..., Callable[[], object]]) -> None:
    client = GuardedClient(loopback=False)
    for url in ("https://169.254.169.254/latest", "https://10.0.0.1/", "https://localhost/", "http://127.0.0.1/"):
        with pytest.raises(Refused):
            sender(client, url)()


@senders
def test_nothing_secret_is_logged(
    client: GuardedClient,
    receiver: Receiver,
    sender: Callable[..., Callable[[], object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    sender(client, f"{receiver.url}/services/{SECRET}")()
    assert receiver.received
    assert SECRET not in "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


# --- Slack -----------------------------------------------------------------------------------------------------


def told(**news: Any) -> Notification:
    """The notification, with other news in it."""
    values = {"kind": "drift", "version": "v5", "what": "data drift", "why": "psi is 0.4"} | news
    return Notification("n-1", "flights", News(**values), AT, NOTIFICATION.link)


def test_slack_gets_the_text(client: GuardedClient, receiver: Receiver) -> None:
    slack(client, f"{receiver.url}/services/T0/B0/x")()
    [request] = receiver.received
    assert (request.method, request.path) == ("POST", "/services/T0/B0/x")
    assert request.json() == {"text": slack_text(NOTIFICATION)}
    assert request.headers["content-type"] == "application/json"
    assert "x-modeldrop-signature" not in request.headers


def test_the_text_for_slack() -> None:
    assert slack_text(told()) == (
        ":warning: flights v5: data drift\npsi is 0.4\nat 2026-07-01T12:30:00+00:00\n"
        "https://md.example.com/v1/models/flights"
    )


def test_what_is_resolved_looks_different() -> None:
    assert slack_text(told(resolved=True)).startswith(":white_check_mark: resolved: flights v5: data drift\n")
    assert not slack_text(told()).startswith(":white_check_mark:")


@pytest.mark.parametrize("kind", ["promoted", "rejected", "rolled_back", "drift", "retraining", "unhealthy"])
def test_every_kind_has_a_sign(kind: str) -> None:
    assert slack_text(told(kind=kind)).startswith((":warning: ", ":rocket: ", ":repeat: "))


def test_good_news_are_no_alarm() -> None:
    assert ":warning:" not in slack_text(told(kind="promoted"))


@pytest.mark.parametrize(
    "text", ["<!channel>", "<!here|x>", "<@U123>", "<https://evil.example|click>", "&lt;!channel&gt;", "<!subteam^S1>"]
)
@pytest.mark.parametrize("place", ["what", "why", "version"])
def test_nobody_can_be_called_by_a_reason(text: str, place: str) -> None:
    sent = slack_text(told(**{place: f"because {text} said so"}))
    assert "<" not in sent
    assert ">" not in sent
    assert sent.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").count(text) == 1  # and nothing is lost


def test_a_long_reason_is_cut_and_the_link_stays() -> None:
    sent = slack_text(told(why="a<" * 5_000))
    plain = sent.replace("&lt;", "<")
    assert len(plain) == MOST_CHARACTERS
    assert plain.endswith("…\nat 2026-07-01T12:30:00+00:00\nhttps://md.example.com/v1/models/flights")
    assert plain.startswith(":warning: flights v5: data drift\na<a<")
    assert "&lt…" not in sent


def test_a_reason_that_looks_like_the_end_is_cut_all_the_same() -> None:
    sent = slack_text(told(why="\nat 2026-07-01T12:30:00+00:00" * 1_000))
    assert len(sent) == MOST_CHARACTERS
