"""``POST /v1/endpoints/{model}:predict``: picks a deployed version by the traffic split and asks its worker.

Every request looks at the split anew (one number read from SQLite while nothing changes), so a change of traffic holds
for each request that begins after it, whichever process made it.
"""

import math
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from modeldrop.adapters.local.serving_table import Deployment, ServingTableReader
from modeldrop.errors import Unavailable
from modeldrop.localcloud.answer_counting import AnswerCounter
from modeldrop.localcloud.serving_process import PREDICT_ROUTE
from modeldrop.ports import ServedVersion

VERSION_HEADER = "X-Modeldrop-Version"
"""In which a worker says which version made the answer."""
LARGEST_REQUEST_BYTES = 1_500_000
"""As on shared endpoints of Vertex AI."""
CONNECT_SECONDS = 2.0
KEEP_ALIVE_SECONDS = 1.0  # shorter than the workers' two, so that it is we who close idle connections
PHRASES = {
    404: "Not Found",
    413: "Content Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class ShuffledSplit:
    """Exact over every block of choices (20 for 95 to 5), by chance within it.

    A split in a fixed rhythm would meet traffic that has one, too, and send every request of a kind to one version.

    >>> split = ShuffledSplit({"v1": 80, "v2": 20})
    >>> sorted(split.choose() for _ in range(5))
    ['v1', 'v1', 'v1', 'v1', 'v2']
    """

    def __init__(self, percents: Mapping[str, int]) -> None:
        self.percents = dict(percents)
        step = math.gcd(*percents.values())
        self._block = [name for name, percent in percents.items() for _ in range(percent // step)]
        self._left: list[str] = []

    def choose(self) -> str:
        """The next one. There must be at least one."""
        if not self._left:
            self._left = random.sample(self._block, len(self._block))
        return self._left.pop()


class _ProblemError(Exception):
    """An answer other than predictions, as application/problem+json."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail

    def response(self) -> Response:
        body = {"type": "about:blank", "title": PHRASES[self.status], "status": self.status, "detail": self.detail}
        return Response(msgspec.json.encode(body), self.status, media_type="application/problem+json")


class _WorkerAnswer(msgspec.Struct):
    predictions: msgspec.Raw


class _Answer(msgspec.Struct, rename="camel"):
    predictions: msgspec.Raw
    deployed_model_id: str
    model: str
    model_version_id: str


class TrafficRouter:
    """The route for predictions, over the serving database at ``path``. For one event loop.

    What each version answers is counted in the file at ``metrics_path``, for ``RouterMetrics``.
    """

    def __init__(self, path: Path, metrics_path: Path, *, timeout_seconds: float = 60.0) -> None:
        self._reader = ServingTableReader(path)
        self._splits: dict[str, ShuffledSplit] = {}
        self._counter = AnswerCounter(metrics_path)
        self._answering: dict[str, str] = {}
        """Who answered last, by the operation of a deployment that follows a pointer."""
        # trust_env: a proxy of the surroundings has nothing to do with our own processes.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_keepalive_connections=64, keepalive_expiry=KEEP_ALIVE_SECONDS),
            trust_env=False,
        )

    def routes(self) -> list[Route]:
        """For a Starlette application; call ``aclose`` when it ends."""
        return [Route("/v1/endpoints/{model}:predict", self.predict, methods=["POST"])]

    async def aclose(self) -> None:
        """Close the connections to the workers and the database; what was counted is written."""
        await self._client.aclose()
        await self._counter.aclose()
        self._reader.close()

    async def predict(self, request: Request) -> Response:
        """The route's handler."""
        try:
            body = await _read_body(request)
            deployment = self._choose(request.path_params["model"])
            return await self._measured_answer(deployment, body, request.headers.get("content-type"))
        except _ProblemError as problem:
            return problem.response()
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    async def _measured_answer(self, deployment: Deployment, body: bytes, content_type: str | None) -> Response:
        begin = time.perf_counter()
        failed = True
        try:
            deployment, answer = await self._ask(deployment, body, content_type)
            self._note_version(deployment, answer)
            response, failed = _response(deployment, self._served(deployment), answer)
            return response
        finally:
            latency_ms = (time.perf_counter() - begin) * 1_000
            self._counter.count(self._served(deployment), failed=failed, latency_ms=latency_ms)

    def _note_version(self, deployment: Deployment, answer: httpx.Response) -> None:
        version = answer.headers.get(VERSION_HEADER)
        if version and deployment.served.pointer is not None:
            self._answering[deployment.operation] = version

    def _served(self, deployment: Deployment) -> ServedVersion:
        """The version that answers there: the last one that said so, where an answer does not say."""
        version = self._answering.get(deployment.operation, deployment.served.version)
        return msgspec.structs.replace(deployment.served, version=version)

    async def _ask(
        self, deployment: Deployment, body: bytes, content_type: str | None
    ) -> tuple[Deployment, httpx.Response]:
        """The worker's answer, and who gave it.

        One more try when the connection broke: a kept one may have been closed just then, or the version been taken
        off its endpoint while the request was on its way. Asking twice changes nothing.
        """
        headers = {"content-type": content_type or "application/json"}
        for attempt in (1, 2):
            name = f"{deployment.served.model} {deployment.served.version}"
            if deployment.port is None:
                raise _ProblemError(503, f"{name} is down; it is being started again")
            url = f"http://127.0.0.1:{deployment.port}{PREDICT_ROUTE}"
            try:
                return deployment, await self._client.post(url, content=body, headers=headers)
            except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
                raise _ProblemError(504, f"{name} did not answer in time") from error
            except httpx.TransportError as error:
                if attempt == 2 or isinstance(error, httpx.PoolTimeout):
                    raise _ProblemError(503, f"{name} cannot be reached") from error
                deployment = self._as_it_is_now(deployment)
        raise AssertionError("unreachable")

    def _deployments(self, model: str) -> dict[str, Deployment]:
        """Those with traffic, by the operation that deployed them."""
        try:
            table = self._reader.read()
        except Unavailable as error:
            raise _ProblemError(503, str(error)) from error
        if model not in table:
            raise _ProblemError(404, f"no endpoint for {model!r}")
        return {deployment.operation: deployment for deployment in table[model] if deployment.traffic_percent}

    def _choose(self, model: str) -> Deployment:
        deployments = self._deployments(model)
        if not deployments:
            raise _ProblemError(503, f"no version of {model} has traffic")
        percents = {operation: deployment.traffic_percent for operation, deployment in deployments.items()}
        split = self._splits.get(model)
        if split is None or split.percents != percents:
            split = self._splits[model] = ShuffledSplit(percents)
        return deployments[split.choose()]

    def _as_it_is_now(self, deployment: Deployment) -> Deployment:
        """The same deployment, or another one if it has no traffic any more."""
        model = deployment.served.model
        return self._deployments(model).get(deployment.operation) or self._choose(model)


async def _read_body(request: Request) -> bytes:
    too_large = _ProblemError(413, f"a request may have {LARGEST_REQUEST_BYTES} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > LARGEST_REQUEST_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST_BYTES:
            raise too_large
    return bytes(body)


def _response(deployment: Deployment, served: ServedVersion, answer: httpx.Response) -> tuple[Response, bool]:
    """Ours for the worker's, and whether that is an error: also if just one instance of it failed.

    Raises _ProblemError for the answer of a broken worker.
    """
    if 400 <= answer.status_code < 500:
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type")), True
    if answer.status_code != httpx.codes.OK:
        status = 503 if answer.status_code == 503 else 502
        raise _ProblemError(
            status, f"{served.model} {served.version} answered {answer.status_code}: {answer.text[:500]}"
        )
    try:
        predictions = msgspec.json.decode(answer.content, type=_WorkerAnswer).predictions
        instances = msgspec.json.decode(predictions, type=list[Any])
    except msgspec.DecodeError as error:
        raise _ProblemError(502, f"{served.model} {served.version} answered without predictions: {error}") from error
    content = _Answer(predictions, deployment.deployed_id, served.model, served.version)
    failed = any(isinstance(instance, dict) and "error" in instance for instance in instances)
    return Response(msgspec.json.encode(content), media_type="application/json"), failed
