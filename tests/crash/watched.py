"""Services whose every outside effect and commit is told to a hook, just before it and just after it.

Nothing of ours is patched: the adapters are the real ones, each behind a thin proxy made from its port. Which methods
have effects is said in one table; a port that has a method the table does not know is an error, so that a new effect
cannot be forgotten.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, cast

import msgspec

from modeldrop.ports import Bucket, DocumentStore, Endpoint, MetricSource, ModelServer, Publisher, Secrets
from modeldrop.wiring import Services

READS: dict[type, frozenset[str]] = {
    DocumentStore: frozenset({"get", "get_many", "list"}),
    Bucket: frozenset({"uri", "stat", "read", "digest", "list"}),
    ModelServer: frozenset({"observe", "observe_many", "operation"}),
    MetricSource: frozenset({"measure"}),
    Publisher: frozenset(),
    Secrets: frozenset({"read"}),
}
EFFECTS: dict[type, frozenset[str]] = {
    DocumentStore: frozenset({"commit"}),
    Bucket: frozenset({"copy", "write", "delete"}),
    ModelServer: frozenset({"upload", "deploy", "set_traffic", "undeploy"}),
    MetricSource: frozenset(),
    Publisher: frozenset({"publish"}),
    Secrets: frozenset(),
}

HEARTBEAT = ("heartbeats",)
"""What a tick writes when all is done: nothing follows from it, so it is no point to interrupt."""


class Effect(msgspec.Struct, frozen=True):
    """One outside effect or commit. ``touches``: what it is about, without what differs from run to run."""

    port: str
    method: str
    touches: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.port}.{self.method}({', '.join(self.touches)})"


class Hook(Protocol):
    """Whoever is told."""

    def before(self, effect: Effect) -> None:
        """The effect is about to happen."""

    def after(self, effect: Effect) -> None:
        """It has happened, and its caller does not know yet."""

    def seen(self, endpoint: Endpoint) -> None:
        """The endpoint was observed."""


@dataclass(frozen=True)
class WatchedServices(Services):
    """Services behind proxies that tell ``hook``."""

    hook: Hook = field(kw_only=True)

    @cached_property
    def documents(self) -> DocumentStore:
        """See Services."""
        return cast("DocumentStore", Watched(DocumentStore, super().documents, self.hook))

    @cached_property
    def bucket(self) -> Bucket:
        """See Services."""
        return cast("Bucket", Watched(Bucket, super().bucket, self.hook))

    @cached_property
    def model_server(self) -> ModelServer:
        """See Services."""
        return cast("ModelServer", Watched(ModelServer, super().model_server, self.hook))

    @cached_property
    def metrics(self) -> MetricSource:
        """See Services."""
        return cast("MetricSource", Watched(MetricSource, super().metrics, self.hook))

    @cached_property
    def publisher(self) -> Publisher:
        """See Services."""
        return cast("Publisher", Watched(Publisher, super().publisher, self.hook))

    @cached_property
    def policy_topics(self) -> Publisher:
        """See Services."""
        return cast("Publisher", Watched(Publisher, super().policy_topics, self.hook))

    @cached_property
    def secrets(self) -> Secrets:
        """See Services."""
        return cast("Secrets", Watched(Secrets, super().secrets, self.hook))


class Watched:
    """A port's methods, and no others, on an adapter; a read passes through, an effect is told of."""

    def __init__(self, port: type, adapter: object, hook: Hook) -> None:
        check_table(port)
        self.adapter = adapter
        self._port = port
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.adapter, name) if name in READS[self._port] | EFFECTS[self._port] else None
        if found is None:
            raise AttributeError(f"{self._port.__name__} has no {name}")
        if name in EFFECTS[self._port]:
            return self._telling(name, found)
        return self._observing(found) if name == "observe" else found

    def _telling(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def perform(*args: Any, **options: Any) -> Any:
            effect = Effect(self._port.__name__, name, _touches(args))
            if effect.touches == HEARTBEAT:
                return call(*args, **options)
            self._hook.before(effect)
            result = call(*args, **options)
            if isinstance(result, Endpoint):
                self._hook.seen(result)
            self._hook.after(effect)
            return result

        return perform

    def _observing(self, call: Callable[..., Endpoint | None]) -> Callable[..., Endpoint | None]:
        def observe(model: str) -> Endpoint | None:
            endpoint = call(model)
            if endpoint is not None:
                self._hook.seen(endpoint)
            return endpoint

        return observe


def check_table(port: type) -> None:
    """Raises AssertionError where the port and the table of reads and effects do not have the same methods."""
    methods = {name for name in vars(port) if not name.startswith("_")}
    known = READS[port] | EFFECTS[port]
    assert methods == known, f"{port.__name__}: reads or effects? {sorted(methods ^ known)}"
    assert not READS[port] & EFFECTS[port], f"{port.__name__}: both a read and an effect"


def close(services: Services) -> None:
    """Let go of the files an instance has open, as its process would by ending."""
    for name in ("documents", "model_server", "metrics", "publisher", "policy_topics"):
        made = vars(services).get(name)
        adapter: Any = made.adapter if isinstance(made, Watched) else made
        if adapter is not None:
            getattr(adapter, "machines", adapter).close()


def _touches(args: Sequence[Any]) -> tuple[str, ...]:
    """Collections of a commit's documents; else the first argument: an object's name, a model, a version."""
    if not args:
        return ()
    first = args[0]
    if isinstance(first, Sequence) and not isinstance(first, str):
        return tuple("/".join(write.path.split("/")[::2]) for write in first)
    return (str(getattr(first, "version", first)),)
