"""What the tests of the API share: a registry that the real handlers filled, and calls of the real function."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from werkzeug.datastructures import Headers

from modeldrop.http.messages import Asked, Reply
from modeldrop.settings import Settings
from modeldrop.web.application import answer
from modeldrop.wiring import Services, services
from tests.handlers.control import FAST, Control
from tests.handlers.prediction_log import NOW
from tests.handlers.reporting import HOUR, bring_reference, events, reference_csv, take

TARGET = "retrain: {target: {type: webhook, url: 'https://train.example.com/hook'}}\n"
SOURCE = Path(__file__).parents[2] / "functions" / "api" / "main.py"


@contextmanager
def environment(folder: Path) -> Iterator[None]:
    """The function's: the embedded cloud's, in that folder."""
    with pytest.MonkeyPatch.context() as variables:
        for name, value in {"BACKEND": "local", "DATA": str(folder), "AUTH": "none"}.items():
            variables.setenv(f"MODELDROP_{name}", value)
        services.cache_clear()
        yield
        services.cache_clear()


def fill_everywhere(control: Control) -> None:
    """Something at every place: live and rejected versions, reports, a place to train at, the quarantine."""
    control.policy(FAST + TARGET)
    control.clock.now = NOW
    control.make_live("v1", 0.7, day=1)
    control.make_live("v2", 0.6, day=2)
    bring_reference(control, reference_csv(events(-1, 500)))
    control.clock.now = NOW + 2 * HOUR
    take(control.services, events(0, 300, moved=3.0) + events(1, 10))
    control.put("models/Bad Name/v1/metadata.json", b"{")
    control.tell("models/Bad Name/v1/metadata.json")


def client_of_function() -> Any:
    """Calls the function as functions-framework does."""
    return functions_framework.create_app(target="api", source=str(SOURCE)).test_client()


def iam_services(control: Control, **named: Any) -> Services:
    """An instance behind Cloud Run, over the same registry; ``named``: operators and so on."""
    return Services(Settings(backend="local", data=control.data, auth="iam", **named), control.clock)


def checked_token(email: str) -> dict[str, str]:
    """The header that Cloud Run hands on for somebody."""
    claims = {"iss": "https://accounts.google.com", "email": email, "email_verified": True, "exp": time.time() + 600}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return {"Authorization": f"Bearer e30.{payload}.SIGNATURE_REMOVED_BY_GOOGLE"}


def call(services_: Services, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """The answer to one call of the application; ``body`` is sent as JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    said = {"Host": "127.0.0.1", **({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
    return answer(services_, Asked(method, path, {}, Headers(said), BytesIO(content), "127.0.0.1", "127.0.0.1"))


def content_of(reply: Reply) -> Any:
    """Its JSON."""
    assert isinstance(reply.body, bytes)
    return json.loads(reply.body)
