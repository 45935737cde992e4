"""What modeldrop needs from the outside, as small protocols named by role.

Adapters under ``modeldrop.adapters`` implement them; one contract suite (tests/contract) holds every adapter to
these docstrings. All calls are synchronous and raise only errors of ``modeldrop.errors``:
``Conflict`` where a precondition failed, ``Unavailable`` where trying later may help, the permanent ones otherwise.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from modeldrop.domain.endpoint import DeployedVersion, Endpoint, Operation, ServedVersion
from modeldrop.domain.notification import Notification
from modeldrop.domain.retraining.episode import Run, TrainingRequest
from modeldrop.domain.serving_metrics import VersionMetrics

__all__ = [
    "Bucket",
    "BucketObject",
    "Clock",
    "Create",
    "Delete",
    "DeployedVersion",
    "Document",
    "DocumentStore",
    "Endpoint",
    "MetricSource",
    "ModelServer",
    "Notification",
    "Notifier",
    "Operation",
    "Publisher",
    "Replace",
    "Run",
    "Secrets",
    "ServedVersion",
    "Trainer",
    "TrainingRequest",
    "VersionMetrics",
    "Write",
]

# --- documents -------------------------------------------------------------------------------------------------


class Document(msgspec.Struct, frozen=True):
    """A stored document: where it is, what it holds, and the opaque revision a later write can insist on."""

    path: str
    data: dict[str, Any]
    revision: str


class Create(msgspec.Struct, frozen=True):
    """Write a document that must not exist."""

    path: str
    data: dict[str, Any]


class Replace(msgspec.Struct, frozen=True):
    """Overwrite a document that must still be at ``revision``."""

    path: str
    data: dict[str, Any]
    revision: str


class Delete(msgspec.Struct, frozen=True):
    """Remove a document that must still be at ``revision``."""

    path: str
    revision: str


Write = Create | Replace | Delete


class DocumentStore(Protocol):
    """Documents at paths ``collection/id[/collection/id…]``.

    A document is a map of str to None, bool, int (64 bit), finite float, str, bytes, list (no tuple), or map; lists
    hold no lists directly; map keys have 1 to 1,500 bytes and are not ``__…__``; at most 20 levels, and 1 MiB less
    8 KiB. Ids are 1 to 1,500 bytes of UTF-8 without ``/`` and control characters, not ``.``, ``..`` or ``__…__``;
    paths have at most 3,500 bytes. Anything else raises InvalidInput or InvalidName before it reaches the store.
    """

    def get(self, path: str) -> Document | None:
        """The document, strongly consistent; None where there is none."""

    def get_many(self, paths: Sequence[str]) -> list[Document | None]:
        """Several at once, in one round trip and as of one moment, in the order asked for."""

    def commit(self, writes: Sequence[Write]) -> None:
        """All writes or none. Raises Conflict if any precondition fails; at most one write a path."""

    def list(
        self, collection: str, *, after: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[Document]:
        """Documents directly in a collection (``models`` or ``models/m/versions``), ordered by id (by code point).

        ``after`` is an id, existing or not: the page starts with the next one beyond it, in the order asked for.
        """


# --- bucket ----------------------------------------------------------------------------------------------------


class BucketObject(msgspec.Struct, frozen=True):
    """One live object. ``generation`` is unique per write and *not ordered*: compare it with ``==`` only."""

    name: str
    generation: int
    size: int
    created_at: datetime


class Bucket(Protocol):
    """Named objects of bytes; each write makes a new generation.

    Names are 1 to 1,024 bytes of UTF-8, relative, with no empty, ``.`` or ``..`` segment and no NUL, CR or LF;
    others raise InvalidName.
    """

    @property
    def uri(self) -> str:
        """What artifact URIs begin with: ``gs://name`` or ``file:///folder``, without a slash at the end."""

    def stat(self, name: str) -> BucketObject | None:
        """The live object's facts, or None."""

    def read(self, name: str, *, limit_bytes: int, generation: int | None = None) -> tuple[BucketObject, bytes] | None:
        """The live object and its bytes (with ``generation``: only if that is the live one), or None.

        Raises TooLarge, without downloading it, if the object is larger than ``limit_bytes``.
        """

    def digest(self, name: str, *, generation: int) -> str | None:
        """SHA-256 (lower-case hex) of the bytes of that generation, read piece by piece; None if it is not live."""

    def copy(self, source: str, *, generation: int, target: str) -> BucketObject | None:
        """A new object with the bytes of that generation of ``source``; None if that one is not live.

        Raises Conflict if there is a live ``target``: what is there is never overwritten.
        """

    def write(self, name: str, data: bytes, *, if_generation: int, content_type: str) -> BucketObject:
        """Write if the live generation is ``if_generation`` (0: if there is no live object); else Conflict."""

    def delete(self, name: str, *, if_generation: int) -> None:
        """Remove the live object if its generation is ``if_generation``; else (also where there is none) Conflict."""

    def list(self, prefix: str, *, limit: int) -> list[BucketObject]:
        """Live objects whose name starts with ``prefix``, by name, at most ``limit``."""


# --- models being served ---------------------------------------------------------------------------------------


class ModelServer(Protocol):
    """Runs versions behind one endpoint per model. Every call returns at once; nothing waits for an operation.

    Ids of models, endpoints and deployments are derived from (model, version, digest), so each call may be
    repeated: it adopts what is there. A call whose work is already under way raises Conflict (ask again later);
    one the server will never do raises Refused; Unavailable leaves open whether it happened.
    """

    def observe(self, model: str) -> Endpoint | None:
        """The endpoint as it is now; None if there is none. Only versions able to answer are listed."""

    def observe_many(self, models: Sequence[str]) -> dict[str, Endpoint]:
        """The endpoints of these models, by model, in a few round trips however many they are: to show, not to decide.

        A model without an endpoint is left out; so is, with a line in the log, one whose endpoint alone cannot be seen
        (``observe`` says why). Raises Unavailable where nothing could be seen.
        """

    def upload(self, version: ServedVersion) -> Operation | None:
        """Make the version known to the server; None if it is known already."""

    def deploy(self, version: ServedVersion) -> Operation | None:
        """Put the version behind its endpoint at 0 %; None if it is there already.

        Makes the endpoint first where there is none: the operation is then the endpoint's, and the caller asks again.
        """

    def set_traffic(self, model: str, split: Mapping[str, int], etag: str) -> Endpoint:
        """Replace the split (percent by version; whole numbers that sum to 100). Raises Conflict if etag is old."""

    def undeploy(self, model: str, version: str) -> Operation | None:
        """Take a version at 0 % off its endpoint; None if it is not there. Raises Refused while it has traffic."""

    def operation(self, name: str) -> Operation | None:
        """How the operation stands; None if the server does not know it (any more)."""


class MetricSource(Protocol):
    """Measures how deployed versions answer."""

    def measure(self, endpoint: Endpoint, since: datetime, until: datetime) -> Mapping[str, VersionMetrics]:
        """Each version in ``endpoint.deployed`` over ``since`` <= time < ``until``, as far as it is known by now.

        A version without requests has zeros. Raises Unavailable if it could not be measured.
        """


# --- messages --------------------------------------------------------------------------------------------------


class Publisher(Protocol):
    """Sends messages to topics, at least once."""

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str] | None = None) -> str:
        """Store one message durably and return its id. Raises NotFound for an unknown topic, TooLarge over 10 MB."""


# --- people and pipelines --------------------------------------------------------------------------------------


class Secrets(Protocol):
    """Secret texts, by reference (``domain.targets.SecretReference``)."""

    def read(self, reference: str) -> str:
        """The text, without white space around it. NotFound, Refused or ConfigurationError if there is none for us."""


class Notifier(Protocol):
    """Tells one channel, at least once: the notification's id is the key by which a receiver knows it again."""

    def notify(self, notification: Notification) -> None:
        """Returns when the channel has taken it. Raises Refused if it never will, Unavailable if it may later."""


class Trainer(Protocol):
    """Starts retrainings at one target and follows them."""

    def start(self, request: TrainingRequest, *, again: datetime | None) -> Run:
        """Start the run whose key is the episode, or adopt the one there is; ``again``: when it was last asked before.

        Raises Refused if the target will not; Unavailable leaves open whether it happened, unless it is NotAsked.
        """

    def observe(self, request: TrainingRequest, run: Run) -> Run | None:
        """How the run stands; None where the target does not tell."""


class Clock(Protocol):
    """The time, as an aware datetime in UTC."""

    def __call__(self) -> datetime: ...
