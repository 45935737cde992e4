"""What is behind an endpoint as the machines know it, and as it is shown: a carrier stands for the versions it carries.

Pure: from what was observed, and what the pointer says.
"""

from collections.abc import Mapping

import msgspec

from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.serving_pointer import ServingPointer
from modeldrop.errors import Refused
from modeldrop.ports import DeployedVersion, Endpoint


class Carried(msgspec.Struct, frozen=True):
    """An endpoint with a carrier behind it, and the pointer; None where there is none that could be read."""

    endpoint: Endpoint
    carrier: DeployedVersion
    pointer: ServingPointer | None
    generation: int
    """Of the pointer's object; 0 if there is none."""

    @property
    def versions(self) -> frozenset[str]:
        """Those the carrier serves, or can. One with traffic of its own, on a deployment of its own, is not of them."""
        if self.pointer is None:
            return frozenset()
        own = {version for version in self.endpoint.traffic if version != CARRIER}
        return frozenset(self.pointer.known) - own

    def shown(self) -> Endpoint:
        """The endpoint in the port's words; its etag guards the pointer as well.

        A carrier without a pointer goes by its own name: nobody knows what it answers.
        """
        etag = f"{self.endpoint.etag} {self.generation}"
        if self.pointer is None:
            return msgspec.structs.replace(self.endpoint, etag=etag)
        carried = self.versions
        deployed = [d for d in self.endpoint.deployed if d.version != CARRIER and d.version not in carried]
        deployed += [self._as_deployed(version, self.pointer.version) for version in carried]
        return Endpoint(self.endpoint.model, etag, tuple(sorted(deployed, key=lambda d: d.version)))

    def _as_deployed(self, version: str, current: str) -> DeployedVersion:
        """The current one has the carrier's id, as all figures of the carrier are its own; a warm one has none."""
        if version == current:
            return DeployedVersion(version, self.carrier.deployed_id, self.carrier.traffic_percent)
        return DeployedVersion(version, f"{self.carrier.deployed_id} {version}", 0)

    def of_machines(self, split: Mapping[str, int]) -> dict[str, int]:
        """The split in the machines' words, without zeros. Raises Refused for one that can never be."""
        _check(split, {deployed.version for deployed in self.shown().deployed})
        carried = sorted(version for version, percent in split.items() if percent and version in self.versions)
        if len(carried) > 1:
            raise Refused(f"{' and '.join(carried)} share one deployment: traffic cannot be split between them")
        return {CARRIER if version in carried else version: percent for version, percent in split.items() if percent}


def _check(split: Mapping[str, int], deployed: set[str]) -> None:
    whole = all(type(percent) is int and 0 <= percent <= 100 for percent in split.values())
    if not whole or sum(split.values()) != 100:
        raise Refused(f"a split is whole numbers from 0 to 100 that sum to 100, not {dict(split)!r}")
    if unknown := sorted(split.keys() - deployed):
        raise Refused(f"not behind the endpoint: {', '.join(unknown)}")
