"""The one small document per model that all decisions are serialised by."""

from datetime import datetime, timedelta

import msgspec

from modeldrop.domain.endpoint import Endpoint
from modeldrop.domain.versions import Standing, WentLive


class Serving(msgspec.Struct, frozen=True):
    """A version that serves, or served, and since when."""

    version: str
    key: str
    since: datetime
    fallen: bool = False  # it was rolled back: nobody returns to it


class Paused(msgspec.Struct, frozen=True):
    """Nothing goes forward until an operator resumes: no rollout begins, no step ends, nothing is tidied up."""

    by: str
    why: str
    at: datetime
    out_of_band: bool = False  # somebody else changed what is behind the endpoint: nothing at all is touched


class Recalled(msgspec.Struct, frozen=True):
    """The version that was rolled back while its rollout was under way."""

    key: str
    why: str


class Retired(msgspec.Struct, frozen=True):
    """A version nobody needs any more: ``operation`` takes it off the endpoint, or still brings it there."""

    version: str
    operation: str


class ModelHead(msgspec.Struct, frozen=True):
    """A model: what is desired, what serves, what is under way. Every commit about the model replaces it."""

    model: str
    changes: int = 0  # how often it was replaced: no two states of it are ever equal
    desired: str | None = None  # version
    desired_key: str | None = None
    rollout: str | None = None  # id of the rollout under way
    rollouts: int = 0  # how many there have been
    production: Serving | None = None
    previous: Serving | None = None
    keep_warm_seconds: float = 0.0  # of the rollout that went live last
    waiting: list[str] = []  # metadata objects of packages whose artifacts are not there yet
    unpublished: list[str] = []  # keys of versions whose decision is not beside the metadata yet
    went_live: list[WentLive] = []
    paused: Paused | None = None
    recalled: Recalled | None = None
    back_to: str | None = None  # key of the version that a rollback brings back, at once
    went_back_to: str | None = None  # key of the version the last rollback led to, if nothing new began since
    retiring: Retired | None = None
    untidy: bool = False  # deployments may be left that nobody needs
    untidy_until: datetime | None = None  # until then a deployment may come up whose operation nobody knows
    last_key: str = ""  # of the last version in the fold's order
    last_standing: Standing = Standing()  # the fold's standing after it: what the next version is judged by
    history_hash: str = ""  # of the last entry of the history: the next one is chained to it

    @property
    def is_settled(self) -> bool:
        """Whether a tick has nothing to do here."""
        serves_desired = self.desired is None or (
            self.production is not None and self.desired == self.production.version
        )
        return serves_desired and not (self.rollout or self.waiting or self.unpublished or self.untidy or self.retiring)


def version_to_retire(head: ModelHead, endpoint: Endpoint, now: datetime) -> str | None:
    """A deployed version nobody needs any more, with no traffic: not production, nor a warm predecessor."""
    kept = {head.production.version} if head.production else set()
    if head.previous and head.production:
        warm_until = head.production.since + timedelta(seconds=head.keep_warm_seconds)
        kept |= {head.previous.version} if now < warm_until and not head.previous.fallen else set()
    leftovers = [d.version for d in endpoint.deployed if d.version not in kept and d.traffic_percent == 0]
    return min(leftovers, default=None)
