"""Read a package as it lies in the bucket now: facts, problems, and artifacts still to come."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from modeldrop.domain.endpoint import ServedVersion
from modeldrop.domain.integrity import content_digest
from modeldrop.domain.packages import METADATA_NAME, OUR_FOLDER, VALIDATION_REPORT_NAME, PackageLocation, folder_time
from modeldrop.domain.serving_pointer import pointer_name
from modeldrop.domain.versions import Metadata, ModelVersion, Status, order_key
from modeldrop.errors import FieldProblem, InvalidInput, InvalidName, TooLarge
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.events.metadata import METADATA_LIMIT_BYTES, read_metadata
from modeldrop.handlers.packages.package_contents import Contents, Read, keep_contents, read_contents, write_once
from modeldrop.ports import Bucket, BucketObject


class _ValidationReport(msgspec.Struct, frozen=True):
    passed: bool | None = None


class Package(msgspec.Struct, frozen=True):
    """What was read: the version's facts without a decision, the metadata's bytes (empty: too large), and the files."""

    version: ModelVersion
    content: bytes
    location: PackageLocation
    contents: Contents = Contents()


def read_package(
    bucket: Bucket, location: PackageLocation, now: datetime, artifact_wait_seconds: float, *, keys: Path | None = None
) -> Package | None:
    """The package; None if its metadata is not there (not yet, or not any more). ``keys``: file of signing keys."""
    try:
        found = bucket.read(location.metadata_name, limit_bytes=METADATA_LIMIT_BYTES)
    except TooLarge:
        found = _too_large(bucket, location)
    except InvalidName as error:
        raise InvalidInput([*location.problems, FieldProblem("name", str(error))]) from None
    if found is None:
        return None
    metadata_object, content = found
    metadata, problems = _read_metadata(content, location, metadata_object)
    report, validation_passed, report_problems = _validation(bucket, location)
    wait_until = metadata_object.created_at + timedelta(seconds=artifact_wait_seconds)
    read = _whole_files(location, [found, report])
    contents = read_contents(bucket, location, metadata, read, keys=keys, wait=now < wait_until)
    problems += report_problems + contents.problems
    missing = [location.prefix + path for path in contents.missing] if metadata is not None else []
    if now >= wait_until:
        problems += [FieldProblem(name, f"is not there after {artifact_wait_seconds:g} s") for name in missing]
        missing = []
    version = msgspec.structs.replace(
        _version(location, metadata_object, content, metadata, problems),
        content_digest=content_digest(contents.files) if contents.files and not problems else "",
        signed_by=None if problems else contents.signed_by,
        validation_passed=validation_passed,
        waiting_for=missing,
        wait_until=wait_until if missing else None,
    )
    return Package(version, content, location, contents)


def keep_verified(bucket: Bucket, package: Package) -> None:
    """Put what was checked where nothing is ever overwritten, under its own digest. Repeated, it does nothing.

    Raises Conflict if a file was replaced since the package was read: read it again.
    """
    folder = _verified_folder(package.version)
    if package.version.content_digest:
        keep_contents(bucket, package.location, folder, package.contents, package.content)
    else:
        write_once(bucket, f"{folder}/{METADATA_NAME}", package.content)


def served_version(bucket: Bucket, version: ModelVersion, *, follows: bool = False) -> ServedVersion:
    """What the model server needs to run the version: the files that were checked, never those in the package.

    ``follows``: its container is one that follows the model's pointer.
    """
    assert version.metadata is not None
    return ServedVersion(
        model=version.model,
        version=version.version,
        digest=version.digest,
        runtime=version.metadata.runtime,
        artifact_uri=f"{bucket.uri}/{_verified_folder(version)}",
        image=version.metadata.image,
        pointer=f"{bucket.uri}/{pointer_name(version.model)}" if follows else None,
    )


def _verified_folder(version: ModelVersion) -> str:
    return f"{OUR_FOLDER}{version.model}/{version.content_digest or version.digest}"


def _whole_files(location: PackageLocation, found: list[tuple[BucketObject, bytes] | None]) -> Read:
    """Files that were read whole: what was decided from is what is compared with the manifest."""
    whole = {one.name.removeprefix(location.prefix): (one, data) for one, data in filter(None, found)}
    return Read(
        {path: one for path, (one, _) in whole.items()},
        {path: data for path, (one, data) in whole.items() if len(data) == one.size},
    )


def _too_large(bucket: Bucket, location: PackageLocation) -> tuple[BucketObject, bytes] | None:
    found = bucket.stat(location.metadata_name)
    return (found, b"") if found else None


def _read_metadata(
    content: bytes, location: PackageLocation, found: BucketObject
) -> tuple[Metadata | None, list[FieldProblem]]:
    if found.size > METADATA_LIMIT_BYTES:
        message = f"the metadata has {found.size} bytes; at most {METADATA_LIMIT_BYTES} are read"
        return None, [*location.problems, FieldProblem("$", message)]
    try:
        return read_metadata(content, location, found.created_at), []
    except InvalidInput as error:
        return None, list(error.problems)


def _version(
    location: PackageLocation,
    found: BucketObject,
    content: bytes,
    metadata: Metadata | None,
    problems: list[FieldProblem],
) -> ModelVersion:
    """Declared time: ``created_at`` or ``selection_date``, else the folder's timestamp, else the upload."""
    folder = folder_time(location.version)
    if metadata is not None and metadata.created_at is not None:
        declared_at, declared_by = metadata.created_at, "created_at"
    elif folder is not None and folder <= found.created_at + timedelta(days=1):
        declared_at, declared_by = folder, "folder"
    else:
        declared_at, declared_by = found.created_at, "upload"
    return ModelVersion(
        model=location.model,
        version=location.version,
        key=order_key(declared_at, location.version),
        status=Status.RECEIVED,
        object_name=location.metadata_name,
        generation=found.generation,
        digest=hashlib.sha256(content or str(found.generation).encode()).hexdigest(),
        received_at=found.created_at,
        declared_at=declared_at,
        declared_by=declared_by,
        metadata=metadata,
        problems=problems,
    )


def _validation(
    bucket: Bucket, location: PackageLocation
) -> tuple[tuple[BucketObject, bytes] | None, bool | None, list[FieldProblem]]:
    """The validation report as it was read, whether it says "passed", and what is wrong with it."""
    name = VALIDATION_REPORT_NAME
    found = None
    try:
        found = bucket.read(location.prefix + name, limit_bytes=METADATA_LIMIT_BYTES)
        if found is None:
            return None, None, []
        report = convert(strict_json.decode(found[1], limit_bytes=METADATA_LIMIT_BYTES), _ValidationReport)
        return found, report.passed, []
    except InvalidInput as error:
        return found, None, [FieldProblem(f"{name}:{problem.field}", problem.message) for problem in error.problems]
    except TooLarge:
        return None, None, [FieldProblem(name, f"has more than {METADATA_LIMIT_BYTES} bytes")]
