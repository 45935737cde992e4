"""A version of a model as the registry knows it, and the order of versions."""

from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from modeldrop.domain.policy import GatePolicy
from modeldrop.errors import FieldProblem


class Status(StrEnum):
    """Where a version is in its life (DESIGN: received → rejected | approved → deploying → canary → live → …)."""

    RECEIVED = "received"  # waits for artifacts
    REJECTED = "rejected"
    AWAITING_APPROVAL = "awaiting_approval"  # passed the gate; the policy wants somebody's word as well
    APPROVED = "approved"
    DEPLOYING = "deploying"
    CANARY = "canary"
    LIVE = "live"
    SUPERSEDED = "superseded"
    PAUSED = "paused"  # its rollout waits for somebody
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


class Metadata(msgspec.Struct, frozen=True):
    """What a package declares of itself, after every check, in one shape for all dialects."""

    runtime: str
    created_at: datetime | None = None
    metrics: dict[str, float] = {}
    stated_composite: float | None = None  # points of 100
    features: dict[str, str] = {}  # name: numeric | categorical | boolean | text
    lineage: dict[str, str] = {}
    labels: dict[str, str] = {}
    deployment_ready: bool = True
    llm: str | None = None
    image: str | None = None
    artifact_uri: str | None = None


class Term(msgspec.Struct, frozen=True):
    """One metric of a decision. ``scaled`` is 0 (worst) to 1 (best); ``contribution`` = weight x scaled."""

    metric: str
    value: float | None
    weight: float | None
    direction: str  # higher | lower: which is better
    scaled: float | None
    contribution: float | None
    passed: bool | None  # of its floor and ceiling; None: not reported


class Comparison(msgspec.Struct, frozen=True):
    """Candidate and yardstick, both scored over the metrics they share."""

    version: str
    role: str  # production | best
    score: float
    candidate_score: float
    required: float
    passed: bool


class Facts(msgspec.Struct, frozen=True):
    """What the gate looked at in a candidate. With yardsticks and policy, all that a decision follows from."""

    version: str
    metrics: dict[str, float]  # those with a weight or a limit
    deployment_ready: bool = True
    validation_passed: bool | None = None
    stated_composite: float | None = None
    llm: str | None = None  # which the runtime would call
    signed_by: str | None = None  # id of the key
    approved_by: str | None = None


class Yardstick(msgspec.Struct, frozen=True):
    """What a candidate had to beat, with the metrics that count."""

    version: str
    role: str  # production | best (only where that is another version)
    metrics: dict[str, float]


class Decision(msgspec.Struct, frozen=True):
    """What the gate said of a version, and everything it said it from: ``domain.replay`` makes it again."""

    verdict: str  # approved | rejected | held: for somebody's word
    rule: str
    reasons: list[str]
    score: float | None = None
    compared_with: list[Comparison] = []
    terms: list[Term] = []
    preset: str | None = None
    policy: str | None = None  # digest of the policy file; None: the defaults
    gate: GatePolicy | None = None  # what it was judged by, also when it is judged again
    facts: Facts | None = None  # None: it was not judged (unreadable, late)
    yardsticks: list[Yardstick] = []


class Grant(msgspec.Struct, frozen=True):
    """An operator's or approver's word on a version."""

    by: str
    at: datetime


class Contender(msgspec.Struct, frozen=True):
    """A version as a yardstick for later ones."""

    version: str
    key: str
    metrics: dict[str, float]
    by: str = "gate"  # by whose word it became champion


class Standing(msgspec.Struct, frozen=True):
    """The fold's state after a version: who is champion, and whose score is the best so far."""

    champion: Contender | None = None
    best: Contender | None = None


class ModelVersion(msgspec.Struct, frozen=True):
    """A version's record: facts of its package, the decision, and the fold's standing after it."""

    model: str
    version: str
    key: str
    status: Status
    object_name: str
    generation: int
    digest: str  # SHA-256 of the metadata, hex
    received_at: datetime
    declared_at: datetime
    declared_by: str  # created_at | folder | upload
    metadata: Metadata | None = None  # None: it could not be read
    problems: list[FieldProblem] = []
    validation_passed: bool | None = None
    waiting_for: list[str] = []
    wait_until: datetime | None = None
    content_digest: str = ""  # stands for the metadata and every artifact; empty: there is only the metadata
    signed_by: str | None = None  # id of the key whose signature over the manifest was found right
    approval: Grant | None = None  # who let it pass where the policy wants approval by hand
    late: str | None = None  # why it came too late to be a candidate
    rolled_out: bool = False  # a rollout has begun for it: this content is out
    fallen: str | None = None  # why it may not serve any more: its rollout failed, or it was rolled back
    rolled_back: bool = False  # it fell after it had been deployed
    decision: Decision | None = None
    standing: Standing = Standing()

    @property
    def is_candidate(self) -> bool:
        """Whether the fold looks at it: whole, in time, and not fallen."""
        return self.metadata is not None and not (self.problems or self.waiting_for or self.late or self.fallen)

    @property
    def is_approved(self) -> bool:
        """Whether the gate let it pass."""
        return self.decision is not None and self.decision.verdict == "approved"

    @property
    def content_is_final(self) -> bool:
        """Whether other content under the same name is refused: it was approved, or a rollout of it has begun."""
        return self.is_approved or self.rolled_out


class Command(msgspec.Struct, frozen=True, tag_field="kind", tag="command"):
    """An operator's word in the order of versions: from here on, this version is champion.

    Later versions must beat it, and the best in history. Versions declared before it do not undo it.
    """

    model: str
    key: str
    version: str
    by: str
    at: datetime
    forced: bool
    champion: Contender
    void: str | None = None  # why it no longer holds: the version's rollout failed after it
    standing: Standing = Standing()


Entry = ModelVersion | Command
"""What stands in the fold's order."""


def order_key(declared_at: datetime, version: str) -> str:
    """A key that sorts versions by declared time, then by name. It is the id of the version's document.

    >>> order_key(datetime(2026, 1, 1, tzinfo=UTC), "v1")
    '2026-01-01T00:00:00.000000Z~v1'
    """
    moment = declared_at.astimezone(UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='microseconds')}Z~{version}"


def settled_status(version: ModelVersion) -> Status:
    """The status of a version that neither serves nor is on its way there; the same however it came to that."""
    if version.waiting_for:
        return Status.RECEIVED
    if version.fallen:
        deployed = Status.ROLLED_BACK if version.rolled_back else Status.FAILED
        return deployed if version.rolled_out else Status.REJECTED
    if version.decision is not None and version.decision.verdict == "held":
        return Status.AWAITING_APPROVAL
    return Status.SUPERSEDED if version.is_approved else Status.REJECTED


class WentLive(msgspec.Struct, frozen=True):
    """When a version went live."""

    key: str
    at: datetime


def arrives_late(key: str, received_at: datetime, went_live: list[WentLive], late_seconds: float) -> bool:
    """Whether a newer version had been live for more than ``late_seconds`` when this one arrived."""
    return any(live.key > key and (received_at - live.at).total_seconds() > late_seconds for live in went_live)


def with_live(went_live: list[WentLive], new: WentLive, most: int = 50) -> list[WentLive]:
    """The list with ``new``, without entries that can no longer make a difference, and bounded.

    An entry is of no use once another one has a newer key and went live no later.
    """
    entries = [*went_live, new]
    useful = [e for e in entries if not any(o is not e and o.key >= e.key and o.at <= e.at for o in entries)]
    return sorted(useful, key=lambda e: e.at)[-most:]
