"""The package that comes of a proposal: the metadata of the version it is about, with another threshold.

A scorecard's metadata are the whole model. Beside them only the reference rows come along, so that the new version is
compared with what the old one was compared with; the manifest does not: other metadata have another digest.
"""

import hashlib
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from modeldrop.domain.packages import METADATA_NAME, PackageLocation, locate
from modeldrop.domain.retraining.closing import PARENT, PROPOSAL_LABEL
from modeldrop.domain.versions import ModelVersion
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, NotFound
from modeldrop.events import strict_json
from modeldrop.events.metadata import METADATA_LIMIT_BYTES, read_metadata
from modeldrop.handlers.packages.package_contents import write_once
from modeldrop.handlers.packages.read_package import served_version
from modeldrop.handlers.reports.choose_baseline import find_reference
from modeldrop.ports import Bucket


def read_checked_metadata(bucket: Bucket, version: ModelVersion) -> dict[str, Any]:
    """The version's metadata as they were checked, whatever lies in its package now.

    Raises NotFound, or InvalidInput if they are not those that were registered.
    """
    folder = served_version(bucket, version).artifact_uri.removeprefix(f"{bucket.uri}/")
    found = bucket.read(f"{folder}/{METADATA_NAME}", limit_bytes=METADATA_LIMIT_BYTES)
    if found is None:
        raise NotFound(f"{folder}/{METADATA_NAME} does not exist")
    actual = hashlib.sha256(found[1]).hexdigest()
    if actual != version.digest:
        raise InvalidInput([FieldProblem("$", f"SHA-256 is {actual}, not {version.digest}: the metadata changed")])
    document = strict_json.decode(found[1], limit_bytes=METADATA_LIMIT_BYTES)
    if not isinstance(document, dict):
        raise InvalidInput([FieldProblem("$", "must be an object")])
    return document


def package_location(model: str, name: str) -> PackageLocation:
    """Where the package of a proposal is."""
    location = locate(f"models/{model}/{name}/{METADATA_NAME}", None)
    assert isinstance(location, PackageLocation)
    return location


def new_metadata(
    old: dict[str, Any], location: PackageLocation, parent: str, threshold: float, created_at: datetime
) -> bytes:
    """The new version's metadata: the same bytes for the same arguments.

    Raises InvalidInput if they could not be registered (too large, too many labels).
    """
    document = old | {
        "model": location.model,
        "version": location.version,
        "created_at": created_at.isoformat(),
        "parameters": old["parameters"] | {"threshold": threshold},
        "lineage": old.get("lineage", {}) | {PARENT: parent},
        "labels": old.get("labels", {}) | {PROPOSAL_LABEL: location.version},
    }
    document.pop("artifact_uri", None)  # nothing is loaded from it, and it may name a folder of the old package
    content = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    read_metadata(content, location, created_at)
    return content


def put_package(bucket: Bucket, location: PackageLocation, content: bytes, version: ModelVersion) -> bool:
    """Put the package into the bucket, the metadata last; repeated, it does nothing. False: another one is there.

    Raises Conflict if the reference of ``version`` was replaced meanwhile: look again.
    """
    _put_reference(bucket, location, version)
    write_once(bucket, location.metadata_name, content)
    found = bucket.read(location.metadata_name, limit_bytes=METADATA_LIMIT_BYTES)
    if found is None:
        raise Conflict(f"{location.metadata_name} was removed again")
    return found[1] == content


def _put_reference(bucket: Bucket, location: PackageLocation, version: ModelVersion) -> None:
    reference = find_reference(bucket, version)
    if reference is None:
        return
    target = location.prefix + reference.name.rpartition("/")[2]
    if bucket.stat(target) is not None:  # an instance before us got as far as this
        return
    copied = True
    with suppress(Conflict):  # another one is as quick
        copied = bucket.copy(reference.name, generation=reference.generation, target=target) is not None
    if not copied:
        raise Conflict(f"{reference.name} was replaced")
