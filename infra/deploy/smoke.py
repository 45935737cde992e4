"""The smoke tests: what each function is asked after its deployment, and what it has to answer.

None changes what a model serves. The ticks do what they do every minute anyway; the upload is one that is ignored; the
prediction is of a model that nobody registered, and is counted as such (which shows that the registry can be read and
written). The API is asked with GET, which ``gcloud functions call`` cannot do.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from infra.deploy.commands import Destination
from infra.deploy.functions_table import Function

NOBODYS_MODEL = "modeldrop-smoke-test"
_EVENT = {
    "model": NOBODYS_MODEL,
    "version": "none",
    "prediction_id": NOBODYS_MODEL,
    "timestamp": "2026-01-01T00:00:00Z",
    "features": {},
    "prediction": {"score": 0.0, "decision": False},
}


@dataclass(frozen=True)
class Call:
    """A call through gcloud. ``flag`` says how the body goes; ``healthy`` what the answer's ``status`` may be."""

    flag: str
    body: Mapping[str, object]
    healthy: str


@dataclass(frozen=True)
class Read:
    """A GET of a path, with the caller's own token; healthy is 200 with JSON that has this ``field``."""

    path: str
    field: str


def smoke_test(function: Function, to: Destination) -> Call | Read:
    """What the function is asked. Raises KeyError for a function without a smoke test."""
    tests: dict[str, Call | Read] = {
        "model_uploaded": _upload(to),
        "prediction_logged": Call("--data", _push(), "taken"),
        "health_tick": Call("--data", {}, "ok"),
        "outbox_tick": Call("--data", {}, "ok"),
        "retrain_tick": Call("--data", {}, "ok"),
        "api": Read("/v1/ticks", "ticks"),
    }
    return tests[function.name]


def why_not_asked(function: Function, to: Destination) -> str | None:
    """Why the function cannot be smoke-tested there; None: it can."""
    if to.ticks_paused and function.trigger["type"] == "schedule":
        return "ticks are paused"
    if to.access.iap_audience and function.trigger["type"] == "http":
        return "Identity-Aware Proxy stands before it, and lets in people; open it in a browser"
    return None


def call_command(function: Function, call: Call, to: Destination) -> list[str]:
    """The command of a call."""
    body = json.dumps(call.body, separators=(",", ":"))
    return ["gcloud", "functions", "call", function.name, *to.place, f"{call.flag}={body}", "--format=json"]


def answer_of(output: str) -> str:
    """What a function answered, out of what gcloud writes: the answer's text, as JSON.

    >>> answer_of(json.dumps('{"status": "ok"}'))
    '{"status": "ok"}'
    """
    try:
        return str(json.loads(output))
    except ValueError:
        return output


def address_command(function: Function, to: Destination) -> list[str]:
    """Tells where the function answers."""
    return ["gcloud", "functions", "describe", function.name, "--gen2", *to.place, "--format=value(serviceConfig.uri)"]


TOKEN_COMMAND = ["gcloud", "auth", "print-identity-token"]


def what_is_wrong(test: Call | Read, answer: str) -> str | None:
    """Why an answer is not the one of a healthy function; None: it is.

    >>> what_is_wrong(Call("--data", {}, "ok"), '{"status": "ok"}')
    >>> what_is_wrong(Call("--data", {}, "ok"), '{"status": "incomplete", "errors": {"flights": "Unavailable"}}')
    "status is 'incomplete', errors {'flights': 'Unavailable'}"
    """
    try:
        said = json.loads(answer)
    except ValueError:
        return f"the answer is no JSON: {answer[:200]!r}"
    if not isinstance(said, dict):
        return f"the answer is no object: {answer[:200]!r}"
    if isinstance(test, Read):
        return None if test.field in said else f"the answer has no {test.field}: {answer[:200]!r}"
    if said.get("status") != test.healthy:
        return f"status is {said.get('status')!r}, errors {said.get('errors')!r}"
    return None


def _upload(to: Destination) -> Call:
    event = {
        "specversion": "1.0",
        "id": NOBODYS_MODEL,
        "source": f"//storage.googleapis.com/projects/_/buckets/{to.bucket}",
        "type": "google.cloud.storage.object.v1.finalized",
        "datacontenttype": "application/json",
        "data": {"bucket": to.bucket, "name": NOBODYS_MODEL},
    }
    return Call("--cloud-event", event, "ignored")


def _push() -> dict[str, object]:
    data = base64.b64encode(json.dumps(_EVENT).encode()).decode()
    return {"message": {"data": data, "messageId": NOBODYS_MODEL}, "subscription": NOBODYS_MODEL}
