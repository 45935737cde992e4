"""What a model server tells of itself: endpoints, deployed versions, operations."""

import msgspec

CARRIER = "~hot-swap"
"""What goes for the version of a deployment that follows a pointer, and so is of none; no version can be called so."""


class ServedVersion(msgspec.Struct, frozen=True):
    """All a model server needs to run one version. ``digest`` is the lower-case hex SHA-256 of its metadata."""

    model: str
    version: str
    digest: str
    runtime: str
    artifact_uri: str  # folder that holds metadata.json and the artifacts: gs://… or file://…
    image: str | None = None  # own container by digest; None: the standard predict image
    pointer: str | None = None  # URI of the object that names what its container serves; None: this version, for good


class DeployedVersion(msgspec.Struct, frozen=True):
    """A version behind an endpoint, able to answer."""

    version: str
    deployed_id: str
    traffic_percent: int


class Endpoint(msgspec.Struct, frozen=True):
    """An endpoint as it is now. Traffic of ``deployed`` sums to 100, or is 0 throughout; ``etag`` guards updates."""

    model: str
    etag: str
    deployed: tuple[DeployedVersion, ...]

    @property
    def traffic(self) -> dict[str, int]:
        """Percent by version, without the zeros."""
        return {d.version: d.traffic_percent for d in self.deployed if d.traffic_percent}


class Operation(msgspec.Struct, frozen=True):
    """A long operation: poll it by name. ``error`` is set only when done and failed."""

    name: str
    done: bool
    error: str | None = None
