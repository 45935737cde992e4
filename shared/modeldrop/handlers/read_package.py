"""Read a package as it lies in the bucket now: facts, problems, and artifacts still to come."""

import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

from modeldrop.domain.endpoint import ServedVersion
from modeldrop.domain.packages import MANIFEST_NAME, OUR_FOLDER, VALIDATION_REPORT_NAME, PackageLocation, folder_time
from modeldrop.domain.versions import Metadata, ModelVersion, Status, order_key
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, InvalidName, TooLarge
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.events.metadata import METADATA_LIMIT_BYTES, read_metadata
from modeldrop.ports import Bucket, BucketObject

MOST_FILES = 2_000
RUNTIME_ARTIFACTS = {"onnx": ("model.onnx",)}
METADATA_ONLY = frozenset({"scorecard", "gemini"})


class _ValidationReport(msgspec.Struct, frozen=True):
    passed: bool | None = None


class _Manifest(msgspec.Struct, frozen=True):
    files: Annotated[dict[str, Any], msgspec.Meta(max_length=1_000)]


class Package(msgspec.Struct, frozen=True):
    """What was read: the version's facts without a decision, and the metadata's bytes (empty: too large to read)."""

    version: ModelVersion
    content: bytes


def read_package(
    bucket: Bucket, location: PackageLocation, now: datetime, artifact_wait_seconds: float
) -> Package | None:
    """The package; None if its metadata is not there (not yet, or not any more)."""
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
    validation_passed, report_problems = _validation(bucket, location)
    problems += report_problems
    missing: list[str] = []
    wait_until = metadata_object.created_at + timedelta(seconds=artifact_wait_seconds)
    if metadata is not None:
        missing, artifact_problems = _missing_artifacts(bucket, location, metadata)
        problems += artifact_problems
        if missing and now >= wait_until:
            problems += [FieldProblem(name, f"is not there after {artifact_wait_seconds:g} s") for name in missing]
            missing = []
    version = _version(location, metadata_object, content, metadata, problems)
    return Package(
        msgspec.structs.replace(
            version,
            validation_passed=validation_passed,
            waiting_for=missing,
            wait_until=wait_until if missing else None,
        ),
        content,
    )


def keep_verified(bucket: Bucket, package: Package) -> None:
    """Put the metadata that was checked where nothing is ever overwritten, under its own digest."""
    name = f"{_verified_folder(package.version)}/metadata.json"
    with suppress(Conflict):  # it is there already; whoever loads it checks the digest
        bucket.write(name, package.content, if_generation=0, content_type="application/json")


def served_version(bucket: Bucket, version: ModelVersion) -> ServedVersion:
    """What the model server needs to run the version."""
    assert version.metadata is not None
    folder = version.object_name.rsplit("/", 1)[0]
    uri = f"{bucket.uri}/{folder}"
    if version.metadata.runtime in METADATA_ONLY:
        uri = f"{bucket.uri}/{_verified_folder(version)}"
    elif version.metadata.artifact_uri:
        stated = version.metadata.artifact_uri
        uri = stated if "://" in stated else f"{bucket.uri}/{folder}/{stated}"
    return ServedVersion(
        model=version.model,
        version=version.version,
        digest=version.digest,
        runtime=version.metadata.runtime,
        artifact_uri=uri,
        image=version.metadata.image,
    )


def _verified_folder(version: ModelVersion) -> str:
    return f"{OUR_FOLDER}{version.model}/{version.digest}"


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


def _validation(bucket: Bucket, location: PackageLocation) -> tuple[bool | None, list[FieldProblem]]:
    report, problems = _beside(bucket, location, VALIDATION_REPORT_NAME, _ValidationReport)
    return (report.passed if report else None), problems


def _beside(
    bucket: Bucket, location: PackageLocation, name: str, kind: type[Any]
) -> tuple[Any | None, list[FieldProblem]]:
    """A small JSON file of the package, if it is there, and what is wrong with it."""
    try:
        found = bucket.read(location.prefix + name, limit_bytes=METADATA_LIMIT_BYTES)
        if found is None:
            return None, []
        return convert(strict_json.decode(found[1], limit_bytes=METADATA_LIMIT_BYTES), kind), []
    except InvalidInput as error:
        return None, [FieldProblem(f"{name}:{problem.field}", problem.message) for problem in error.problems]
    except TooLarge:
        return None, [FieldProblem(name, f"has more than {METADATA_LIMIT_BYTES} bytes")]


def _missing_artifacts(
    bucket: Bucket, location: PackageLocation, metadata: Metadata
) -> tuple[list[str], list[FieldProblem]]:
    """Files the package needs and lacks: by its runtime, its ``artifact_uri`` and its manifest."""
    manifest, problems = _beside(bucket, location, MANIFEST_NAME, _Manifest)
    required = {location.prefix + name for name in manifest.files} if manifest else set()
    folder = location.prefix
    stated = metadata.artifact_uri
    if stated is not None:
        folder = stated if "://" in stated else f"{location.prefix}{stated}"
        if folder.startswith(f"{bucket.uri}/"):
            folder = folder.removeprefix(f"{bucket.uri}/")
        elif not folder.startswith("gs://") and "://" in folder:
            return [], [*problems, FieldProblem("artifact_uri", "is neither gs://… nor a path in the package")]
        folder = folder.rstrip("/") + "/"
    if "://" not in folder:
        required |= {folder + name for name in RUNTIME_ARTIFACTS.get(metadata.runtime, ())}
    try:
        return sorted(name for name in required if bucket.stat(name) is None), problems
    except InvalidName as error:
        return [], [*problems, FieldProblem("artifacts", str(error))]
