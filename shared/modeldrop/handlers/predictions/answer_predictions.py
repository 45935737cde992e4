"""Answer the requests of the inference service: is the version loaded, and what does it predict.

The contract of a container on Vertex AI: health on one route, ``{"instances":[…]}`` → ``{"predictions":[…]}`` on
another.
"""

import logging
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from modeldrop.errors import InvalidInput
from modeldrop.events import strict_json
from modeldrop.serving.runtime import Runtime
from modeldrop.serving.served_version import NotServing, ServedVersion

logger = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 1_500_000
MOST_INSTANCES = 10_000

_DRAIN_BYTES = 64 * 1024


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer: status and JSON body; ``allow``: the methods of a route asked with another one."""

    status: int
    content: dict[str, Any]
    allow: str | None = None

    @property
    def body(self) -> bytes:
        """The content as JSON."""
        return msgspec.json.encode(self.content)

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields of the answer."""
        return {"Content-Type": "application/json"} | ({"Allow": self.allow} if self.allow else {})


def answer_request(served: ServedVersion, method: str, path: str, stream: IO[bytes]) -> Reply:
    """The answer to one request; ``stream`` holds its body and is read to its end, whatever the route."""
    body = read_body(stream)
    settings = served.settings()
    if isinstance(settings, NotServing):
        return Reply(503, {"error": settings.reason})
    if path == settings.predict_route and method == "POST":
        return answer_predictions(served, body)
    if path == settings.health_route and method in ("GET", "HEAD"):
        return answer_health(served, settings.model, settings.version)
    allowed = {settings.health_route: ["GET", "HEAD"]}
    allowed[settings.predict_route] = [*allowed.get(settings.predict_route, []), "POST"]
    if path in allowed:
        return Reply(405, {"error": f"{method} is not answered here"}, allow=", ".join(allowed[path]))
    return Reply(404, {"error": "there is nothing at this path"})


def answer_health(served: ServedVersion, model: str, version: str) -> Reply:
    """200 once the version can answer (loads it on the first call), 503 with the reason while it cannot."""
    runtime = served.runtime()
    if isinstance(runtime, NotServing):
        return Reply(503, {"status": "unavailable", "model": model, "version": version, "error": runtime.reason})
    return Reply(200, {"status": "ok", "model": model, "version": version})


def answer_predictions(served: ServedVersion, body: bytes) -> Reply:
    """The predictions for a request's body: 200, 400 for a request that is wrong as a whole, 503 while not loaded."""
    runtime = served.runtime()
    if isinstance(runtime, NotServing):
        return Reply(503, {"error": runtime.reason})
    try:
        instances = strict_json.decode_list_field(
            body, "instances", limit_bytes=BODY_LIMIT_BYTES, limit_count=MOST_INSTANCES
        )
    except InvalidInput as error:
        return Reply(400, {"error": str(error)})
    return Reply(200, {"predictions": predict_each(runtime, instances)})


def predict_each(runtime: Runtime, instances: list[object]) -> list[dict[str, Any]]:
    """One answer per instance; whatever happens to one leaves the others alone. InvalidInput stands for itself."""
    good = [instance for instance in instances if not isinstance(instance, InvalidInput)]
    try:
        answers = _checked(runtime.predict(good), len(good))
    except Exception:
        logger.exception("a batch of %d instances failed: each is tried by itself", len(good))
        answers = [_predict_one(runtime, instance) for instance in good]
    following = iter(answers)
    return [{"error": str(i)} if isinstance(i, InvalidInput) else next(following) for i in instances]


def read_body(stream: IO[bytes]) -> bytes:
    """The body, cut one byte above the limit.

    The rest is read and dropped: a client that is still sending would see a broken connection instead of the answer,
    and the framework would read it all into memory.
    """
    body = stream.read(BODY_LIMIT_BYTES + 1)
    if len(body) > BODY_LIMIT_BYTES:
        while stream.read(_DRAIN_BYTES):
            pass
    return body


def _predict_one(runtime: Runtime, instance: object) -> dict[str, Any]:
    try:
        return _checked(runtime.predict([instance]), 1)[0]
    except Exception as error:
        logger.exception("an instance failed")
        return {"error": f"{type(error).__name__} in the runtime"}


def _checked(answers: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    if len(answers) != count:
        raise ValueError(f"the runtime gave {len(answers)} answers to {count} instances")
    return answers
