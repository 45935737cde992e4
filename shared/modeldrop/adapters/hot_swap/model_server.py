"""Hot swaps: versions that are metadata alone share one deployment, and take over from each other without a new one.

In front of any ModelServer. A version that is to follow (``ServedVersion.pointer``) gets no deployment of its own. The
first of a model has a *carrier* deployed: containers that follow ``serving/{model}.json`` in the bucket. From then on

- to deploy a version is to check here that it can answer, and to note it in the pointer's object as warm;
- to give it the traffic is to have the pointer name it: one write, which fails if anybody else was faster;
- the version before stays warm there until it is taken off, and to go back is the same one write.

Containers notice within seconds, load the version beside the old one, check it once more, and only then swap. Versions
with deployments of their own stand beside the carrier as ever, so that a model can change its strategy either way.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from hashlib import sha256

import msgspec

from modeldrop.adapters.hot_swap.carried import Carried
from modeldrop.domain.endpoint import CARRIER
from modeldrop.domain.serving_pointer import (
    POINTER_LIMIT_BYTES,
    ServingPointer,
    Swappable,
    pointer_name,
    pointer_to,
    read_pointer,
    swapped,
    why_not_followed,
    with_warm,
    without,
    write_pointer,
)
from modeldrop.errors import (
    ConfigurationError,
    Conflict,
    InvalidInput,
    ModeldropError,
    PermanentError,
    Refused,
    TooLarge,
    Unavailable,
)
from modeldrop.ports import Bucket, DeployedVersion, Endpoint, ModelServer, Operation, ServedVersion

SelfCheck = Callable[[Swappable], None]
"""Loads a version from the bucket and has it check itself. Raises PermanentError if it never will answer."""

log = logging.getLogger(__name__)

_WRITTEN = "pointer-written-"
_READ_AT_ONCE = 8


class HotSwapModelServer:
    """The ModelServer port over ``machines``, another one; ``image`` is what its containers are made of.

    A model whose endpoint has no carrier, and no version that is to follow, is left to the machines alone.
    """

    def __init__(
        self, machines: ModelServer, bucket: Bucket, self_check: SelfCheck, *, image: str | None = None
    ) -> None:
        self.machines = machines
        self._bucket = bucket
        self._self_check = self_check
        self._image = image

    def observe(self, model: str) -> Endpoint | None:
        """See ModelServer. The carrier is shown as the versions it carries: all but the current one at 0 %."""
        endpoint = self.machines.observe(model)
        carried = self._carried(endpoint)
        return carried.shown() if carried else endpoint

    def observe_many(self, models: Sequence[str]) -> dict[str, Endpoint]:
        """See ModelServer. The pointers of those that have a carrier are read beside each other."""
        seen = self.machines.observe_many(models)
        following = [endpoint for endpoint in seen.values() if _carrier_of(endpoint) is not None]
        if not following:
            return seen
        with ThreadPoolExecutor(min(_READ_AT_ONCE, len(following))) as pool:
            read = {each.model: pool.submit(copy_context().run, self._shown, each) for each in following}
        shown = seen | {model: future.result() for model, future in read.items()}
        return {model: endpoint for model, endpoint in shown.items() if endpoint is not None}

    def upload(self, version: ServedVersion) -> Operation | None:
        """See ModelServer. Of versions that follow, only the carrier is ever known to the machines."""
        if version.pointer is None:
            return self.machines.upload(version)
        self._swappable(version)
        if self._carried(self.machines.observe(version.model)) is not None:
            return None
        return self.machines.upload(self._carrier(version))

    def deploy(self, version: ServedVersion) -> Operation | None:
        """See ModelServer. Raises Refused for a version that does not pass its self-check: it would never answer."""
        endpoint = self.machines.observe(version.model)
        carried = self._carried(endpoint)
        if carried is not None and version.version in carried.versions:
            _check_content(version, carried)
            return None
        if version.pointer is None:
            return self.machines.deploy(version)
        if endpoint is not None and any(d.version == version.version for d in endpoint.deployed):
            return None
        one = self._swappable(version)
        if carried is None:
            return self._deploy_carrier(version, one)
        self._check(one)
        return self._write(version.model, _joined(carried, version.model, one), carried.generation)

    def set_traffic(self, model: str, split: Mapping[str, int], etag: str) -> Endpoint:
        """See ModelServer. First the pointer, then the machines' split, where that differs at all."""
        endpoint = self.machines.observe(model)
        carried = self._carried(endpoint)
        if endpoint is None or carried is None:
            return self.machines.set_traffic(model, split, etag)
        if etag != carried.shown().etag:
            raise Conflict(f"the endpoint of {model}, or its pointer, has changed")
        wanted = carried.of_machines(split)
        named = next((v for v, percent in split.items() if percent and v in carried.versions), None)
        if carried.pointer is not None and named not in {None, carried.pointer.version}:
            assert named is not None
            self._write(model, swapped(carried.pointer, named), carried.generation)
            carried = self._read(endpoint, carried)
        if wanted != endpoint.traffic:
            carried = self._read(self.machines.set_traffic(model, wanted, endpoint.etag), carried)
        return carried.shown()

    def undeploy(self, model: str, version: str) -> Operation | None:
        """See ModelServer. With the last version it carries, the carrier itself goes."""
        carried = self._carried(self.machines.observe(model))
        if carried is None or carried.pointer is None or version not in carried.versions:
            return self.machines.undeploy(model, version)
        if version == carried.pointer.version and carried.carrier.traffic_percent:
            raise Refused(f"{model} {version} has traffic")
        left = without(carried.pointer, version)
        if left is None:
            return self.machines.undeploy(model, CARRIER)  # what the pointer says is of no account without it
        return self._write(model, left, carried.generation)

    def operation(self, name: str) -> Operation | None:
        """See ModelServer. What is written to the pointer is done at once."""
        return Operation(name, done=True) if name.startswith(_WRITTEN) else self.machines.operation(name)

    # --- the carrier -------------------------------------------------------------------------------------------

    def _deploy_carrier(self, version: ServedVersion, one: Swappable) -> Operation | None:
        """The pointer first, which the containers need to become healthy. Repeated, it finds the pointer written."""
        generation, pointer = self._pointer(version.model)
        if pointer is None or pointer.current != one:
            self._check(one)
            self._write(version.model, pointer_to(version.model, one), generation)
        carrier = self._carrier(version)
        # Known by now, but for a rollout that began while there was a carrier.
        uploading = self.machines.upload(carrier)
        return self.machines.deploy(carrier) if uploading is None or uploading.done else uploading

    def _carrier(self, version: ServedVersion) -> ServedVersion:
        """Its digest tells containers of one image from those of another, as they are other containers."""
        assert version.pointer is not None
        digest = sha256("\0".join((version.pointer, self._image or "")).encode()).hexdigest()
        return msgspec.structs.replace(version, version=CARRIER, digest=digest, artifact_uri=version.pointer)

    def _swappable(self, version: ServedVersion) -> Swappable:
        why_not = why_not_followed(version.runtime, version.image)
        if why_not is not None:
            raise Refused(f"strategy hot_swap: {why_not}")
        folder = version.artifact_uri.removeprefix(f"{self._bucket.uri}/")
        if folder == version.artifact_uri:
            raise Refused(f"strategy hot_swap: {version.artifact_uri} is not in {self._bucket.uri}")
        return Swappable(version.version, version.digest, folder)

    def _check(self, one: Swappable) -> None:
        try:
            self._self_check(one)
        except PermanentError as error:
            raise Refused(f"{one.version} does not pass its self-check: {error}") from error
        except ConfigurationError as error:  # not the version's fault; it may be mended before the deadline
            raise Unavailable(f"{one.version} cannot be checked here: {error}") from error

    # --- the pointer -------------------------------------------------------------------------------------------

    def _carried(self, endpoint: Endpoint | None) -> Carried | None:
        """None where there is no carrier: then the bucket is not even asked."""
        carrier = _carrier_of(endpoint) if endpoint else None
        if endpoint is None or carrier is None:
            return None
        generation, pointer = self._pointer(endpoint.model)
        return Carried(endpoint, carrier, pointer, generation)

    def _shown(self, endpoint: Endpoint) -> Endpoint | None:
        """One of many: None where its pointer cannot be read, which must not hide the others."""
        try:
            carried = self._carried(endpoint)
        except ModeldropError as error:
            log.warning("the pointer of %s cannot be read: %s", endpoint.model, error)
            return None
        return carried.shown() if carried else endpoint

    def _read(self, endpoint: Endpoint, before: Carried) -> Carried:
        """The same after a change that was just made."""
        return self._carried(endpoint) or before

    def _pointer(self, model: str) -> tuple[int, ServingPointer | None]:
        """The live object's generation, and what it says; one that cannot be read is as good as none."""
        name = pointer_name(model)
        try:
            found = self._bucket.read(name, limit_bytes=POINTER_LIMIT_BYTES)
        except TooLarge:
            live = self._bucket.stat(name)
            return live.generation if live else 0, None
        if found is None:
            return 0, None
        try:
            return found[0].generation, read_pointer(found[1], model)
        except InvalidInput:
            return found[0].generation, None

    def _write(self, model: str, pointer: ServingPointer, generation: int) -> Operation:
        data = write_pointer(pointer)
        written = self._bucket.write(
            pointer_name(model), data, if_generation=generation, content_type="application/json"
        )
        return Operation(f"{_WRITTEN}{written.generation}", done=True)


def _carrier_of(endpoint: Endpoint) -> DeployedVersion | None:
    return next((deployed for deployed in endpoint.deployed if deployed.version == CARRIER), None)


def _check_content(version: ServedVersion, carried: Carried) -> None:
    """What is carried under this name must be what is asked for."""
    assert carried.pointer is not None
    known = carried.pointer.known[version.version]
    if known.digest != version.digest:
        raise Refused(f"{version.model} {version.version} is deployed with other content (sha256 {known.digest})")


def _joined(carried: Carried, model: str, one: Swappable) -> ServingPointer:
    """The pointer that knows one more; a carrier without traffic is to be on the new one before it gets any."""
    if carried.pointer is None:
        return pointer_to(model, one)
    joined = with_warm(carried.pointer, one)
    return joined if carried.carrier.traffic_percent else swapped(joined, one.version)
