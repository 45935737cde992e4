"""A Cloud Monitoring of our own on loopback: gRPC ``ListTimeSeries``, for the real Google client.

    with MonitoringServer() as server:
        settings = Settings(backend="gcp", project=server.project, bucket="b", monitoring_url=server.url, …)
        server.state.write("response_count", {"endpoint_id": …, …}, {"deployed_model_id": "7", …}, (0, 60), 12)

It knows the metrics of Vertex AI's endpoints. What is to go otherwise is scripted beforehand:
``server.inject(Fault(…))`` for the next call, ``server.break_down()`` for good, ``server.state.page_points`` for short
pages. In ``server.requests`` are the calls that arrived, in order.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from types import TracebackType
from typing import Any, Literal

import grpc
from google.cloud.monitoring_v3 import ListTimeSeriesRequest, ListTimeSeriesResponse
from google.rpc.status_pb2 import Status

from tests.servers.monitoring_state import ApiError, MonitoringState

__all__ = ["Fault", "MonitoringServer"]

_HANG_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """What happens to one call instead of its answer."""

    kind: Literal["status", "hang", "slow", "garbage", "incomplete"]
    """An error; no answer until the caller leaves, or a late one; no message; an answer that says it is not all."""
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    """The error, for ``status``."""
    seconds: float = 0.0
    """How late it is, for ``slow``."""


class MonitoringServer:
    """The server, up between entering and leaving the context."""

    def __init__(self, *, project: str = "test-project") -> None:
        self.project = project
        self.state = MonitoringState(project)
        self.requests: list[ListTimeSeriesRequest] = []
        self.hanging = Event()
        """Set while (and after) a call hangs."""
        self._faults: deque[Fault | None] = deque()
        self._lock = Lock()
        self._ending = Event()
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="monitoring-server")
        self._grpc = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        self._grpc.add_generic_rpc_handlers((self._handlers(),))
        self._port = self._grpc.add_insecure_port("127.0.0.1:0")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "MonitoringServer":
        self._grpc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.break_down()
        self._pool.shutdown()

    def inject(self, *faults: Fault | None) -> None:
        """Let the next calls go wrong, one fault each; None: that one goes well."""
        with self._lock:
            self._faults.extend(faults)

    def break_down(self) -> None:
        """From now on nothing listens here."""
        self._ending.set()
        self._grpc.stop(grace=None).wait()

    def _handlers(self) -> grpc.GenericRpcHandler:
        list_time_series = grpc.unary_unary_rpc_method_handler(
            self._answer, request_deserializer=ListTimeSeriesRequest.deserialize
        )
        return grpc.method_handlers_generic_handler(
            "google.monitoring.v3.MetricService", {"ListTimeSeries": list_time_series}
        )

    def _answer(self, request: ListTimeSeriesRequest, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.requests.append(request)
            fault = self._faults.popleft() if self._faults else None
        if fault and fault.kind == "slow":
            self._ending.wait(fault.seconds)
        elif fault:
            return self._go_wrong(fault, context)
        try:
            return _packed(self.state.list_time_series(request))
        except ApiError as error:
            context.abort(error.code, error.message)
            raise  # never reached: abort raises

    def _go_wrong(self, fault: Fault, context: grpc.ServicerContext) -> bytes:
        if fault.kind == "garbage":
            return b"<html>Please sign in to the network</html>"
        if fault.kind == "incomplete":
            return _packed(ListTimeSeriesResponse(execution_errors=[Status(code=4, message="A shard was too slow.")]))
        if fault.kind == "hang":
            self._hang(context.add_callback)
        context.abort(fault.code, "The service says no, as it was told to.")
        raise AssertionError("abort raises")

    def _hang(self, when_left: Callable[[Callable[[], None]], bool]) -> None:
        over = Event()
        if when_left(over.set):
            self.hanging.set()
            over.wait(_HANG_SECONDS)


def _packed(response: Any) -> bytes:
    return bytes(ListTimeSeriesResponse.serialize(response))
