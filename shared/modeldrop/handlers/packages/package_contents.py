"""The files of a package: are they what its manifest says, and what exactly is to be deployed.

Hashing gigabytes once is enough: what was found is kept under ``verified/{model}/digests/``, in a file named after the
names and generations of all objects that were hashed. A generation never comes back for other bytes, so the same
objects need no second look, and any object that was replaced makes it another file.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from modeldrop.domain import integrity
from modeldrop.domain.integrity import MOST_FILES, FileDigest, Manifest
from modeldrop.domain.object_names import is_object_name
from modeldrop.domain.packages import FLAT_METADATA_NAME, MANIFEST_NAME, METADATA_NAME, OUR_FOLDER, PackageLocation
from modeldrop.domain.versions import Metadata
from modeldrop.errors import ConfigurationError, Conflict, FieldProblem, InvalidInput, InvalidName, Refused, TooLarge
from modeldrop.events import strict_json
from modeldrop.events.manifest import KEYS_LIMIT_BYTES, MANIFEST_LIMIT_BYTES, read_manifest, read_signing_keys
from modeldrop.ports import Bucket, BucketObject

RUNTIME_ARTIFACTS = {"onnx": ("model.onnx",)}
METADATA_ONLY = frozenset({"scorecard", "gemini"})
_OTHERS_IN_FOLDER = len(integrity.NOT_LISTED) + 1  # one more than allowed shows that there are more


class Contents(msgspec.Struct, frozen=True):
    """What a package consists of; without ``files`` its metadata are all there is to deploy."""

    files: dict[str, FileDigest] = {}  # by path in the package; only once all are there and right
    generations: dict[str, int] = {}  # of each, as it was checked
    manifest: bytes = b""
    signed_by: str | None = None
    missing: list[str] = []  # paths
    problems: list[FieldProblem] = []


class Read(msgspec.Struct, frozen=True):
    """Files of the package that were read whole already, by path."""

    objects: dict[str, BucketObject]
    bytes: dict[str, bytes]


def read_contents(
    bucket: Bucket, location: PackageLocation, metadata: Metadata | None, read: Read, *, keys: Path | None, wait: bool
) -> Contents:
    """Check the package's files against its manifest, or find those its runtime needs where there is none.

    With ``wait`` nothing is hashed while files are missing. Raises Conflict if files change meanwhile (look again),
    ConfigurationError if a signature cannot be checked because the file of keys is not in order.
    """
    try:
        found = bucket.read(location.prefix + MANIFEST_NAME, limit_bytes=MANIFEST_LIMIT_BYTES)
        if found is None:
            return _without_manifest(bucket, location, metadata, read)
        manifest = read_manifest(found[1])
        checked = _with_manifest(bucket, location, metadata, (manifest, read), wait=wait)
    except TooLarge:
        return Contents(problems=[FieldProblem("manifest", f"has more than {MANIFEST_LIMIT_BYTES} bytes")])
    except InvalidInput as error:
        return Contents(problems=list(error.problems))
    except InvalidName as error:
        return Contents(problems=[FieldProblem("artifacts", str(error))])
    problems = checked.problems + signed_problems(manifest, keys, read, location)
    if problems:
        return Contents(missing=checked.missing, problems=problems)
    signed_by = manifest.signature.key_id if manifest.signature and not checked.missing else None
    return msgspec.structs.replace(checked, manifest=found[1], signed_by=signed_by)


def signed_problems(manifest: Manifest, keys: Path | None, read: Read, location: PackageLocation) -> list[FieldProblem]:
    """What is wrong with the signature, and with metadata that would let it be used again elsewhere."""
    if manifest.signature is None:
        return []
    problems = integrity.signature_problems(manifest, load_keys(keys) if keys else {})
    metadata_path = location.metadata_name.removeprefix(location.prefix)
    with suppress(InvalidInput):  # what is wrong with them is said by whoever reads them
        document = strict_json.decode(read.bytes.get(metadata_path, b""), limit_bytes=MANIFEST_LIMIT_BYTES)
        problems += integrity.replay_problems(document, location.model, location.version)
    return problems


def load_keys(path: Path) -> dict[str, bytes]:
    """The signing keys, read anew each time: a key that is added or withdrawn counts at once."""
    try:
        with path.open("rb") as file:
            return read_signing_keys(file.read(KEYS_LIMIT_BYTES + 1))
    except OSError as error:
        raise ConfigurationError(f"the signing keys cannot be read: {error.strerror}") from None


def _with_manifest(
    bucket: Bucket, location: PackageLocation, metadata: Metadata | None, known: tuple[Manifest, Read], *, wait: bool
) -> Contents:
    manifest, read = known
    metadata_path = location.metadata_name.removeprefix(location.prefix)
    folder, problems = _artifact_folder(bucket, location, metadata)
    needed = {metadata_path, *(folder + name for name in _artifacts(metadata))}
    problems += integrity.listing_problems(manifest, sorted(needed))
    if metadata_path == FLAT_METADATA_NAME and METADATA_NAME in manifest.files:
        problems.append(FieldProblem(f"manifest.files.{METADATA_NAME}", f"is not read beside {FLAT_METADATA_NAME}"))
    there = _listed(bucket, location.prefix, MOST_FILES + _OTHERS_IN_FOLDER) | read.objects
    problems += integrity.presence_problems(manifest, {path: found.size for path, found in there.items()})
    missing = integrity.missing_files(manifest, there)
    if location.problems or (missing and wait):
        return Contents(missing=missing, problems=problems)
    sized = {path: there[path] for path, file in manifest.files.items() if _has_size(there.get(path), file)}
    problems += integrity.digest_problems(manifest, _digests(bucket, location, sized, read))
    if problems or missing:
        return Contents(missing=missing, problems=problems)
    return Contents(files=manifest.files, generations={path: found.generation for path, found in sized.items()})


def _without_manifest(bucket: Bucket, location: PackageLocation, metadata: Metadata | None, read: Read) -> Contents:
    """The metadata, and the artifacts the runtime needs; of a container's, all in the folder it names."""
    folder, problems = _artifact_folder(bucket, location, metadata)
    if metadata is None or problems:
        return Contents(problems=problems)
    there = {folder + name: bucket.stat(location.prefix + folder + name) for name in _artifacts(metadata)}
    if metadata.runtime == "container" and metadata.artifact_uri:
        there |= _listed(bucket, location.prefix + folder, MOST_FILES + _OTHERS_IN_FOLDER, folder)
        if not there:
            return Contents(missing=[folder.rstrip("/")])
    found = {path: one for path, one in there.items() if one is not None}
    missing = sorted(there.keys() - found.keys())
    problems = integrity.path_problems(found) + [
        FieldProblem(path, f"has {one.size} bytes; at most {integrity.MOST_FILE_BYTES} are taken")
        for path, one in found.items()
        if one.size > integrity.MOST_FILE_BYTES
    ]
    if len(found) > MOST_FILES:
        problems.append(FieldProblem("artifact_uri", f"holds more than {MOST_FILES} files"))
    if missing or problems or not found or location.problems:
        return Contents(missing=missing, problems=problems)
    metadata_path = location.metadata_name.removeprefix(location.prefix)
    found[metadata_path] = read.objects[metadata_path]
    digests = _digests(bucket, location, found, read)
    files = {path: FileDigest(digests[path], one.size) for path, one in found.items()}
    return Contents(files=files, generations={path: one.generation for path, one in found.items()})


def _artifacts(metadata: Metadata | None) -> tuple[str, ...]:
    """Files the runtime cannot do without."""
    return RUNTIME_ARTIFACTS.get(metadata.runtime, ()) if metadata else ()


def _artifact_folder(
    bucket: Bucket, location: PackageLocation, metadata: Metadata | None
) -> tuple[str, list[FieldProblem]]:
    """The folder of ``artifact_uri`` in the package ("" or with a slash at its end).

    It must be in the package: what lies elsewhere can be changed by others after it was checked. Where the metadata
    are the whole model nothing is loaded from it, and it may say what it likes as long as it is a gs:// URI.
    """
    stated = metadata.artifact_uri if metadata else None
    if not metadata or not stated:
        return "", []
    own = f"{bucket.uri}/{location.prefix}"
    inside = f"{stated.rstrip('/')}/".removeprefix(own).removeprefix("./").rstrip("/")
    if "://" not in inside and (not inside or is_object_name(inside)):
        return (f"{inside}/" if inside else ""), []
    if stated.startswith("gs://") and metadata.runtime in METADATA_ONLY:
        return "", []
    message = f"{stated[:160]!a} is not in the package: it must be a path in it, or a URI below {own}"
    return "", [FieldProblem("artifact_uri", message)]


def _listed(bucket: Bucket, prefix: str, limit: int, folder: str = "") -> dict[str, BucketObject]:
    """Live objects below ``prefix``, by path in the package; not the manifest, nor what we write ourselves."""
    found = {folder + one.name.removeprefix(prefix): one for one in bucket.list(prefix, limit=limit)}
    return {path: one for path, one in found.items() if path not in integrity.NOT_LISTED}


def _has_size(found: BucketObject | None, file: FileDigest) -> bool:
    return found is not None and found.size == file.size <= integrity.MOST_FILE_BYTES


def _digests(
    bucket: Bucket, location: PackageLocation, objects: Mapping[str, BucketObject], read: Read
) -> dict[str, str]:
    """SHA-256 of each, by path: of the bytes at hand, of memory, or of the bucket's bytes."""
    known = {path: hashlib.sha256(data).hexdigest() for path, data in read.bytes.items() if path in objects}
    rest = {path: one for path, one in objects.items() if path not in known}
    if not rest:
        return known
    facts = [[one.name, one.generation] for _, one in sorted(rest.items())]
    name = f"{OUR_FOLDER}{location.model}/digests/{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}.json"
    remembered = bucket.read(name, limit_bytes=4 * MANIFEST_LIMIT_BYTES)
    if remembered is not None:
        return known | msgspec.json.decode(remembered[1], type=dict[str, str])
    computed = {path: _digest(bucket, one) for path, one in rest.items()}
    with suppress(Conflict):  # another instance was as quick
        bucket.write(name, msgspec.json.encode(computed), if_generation=0, content_type="application/json")
    return known | computed


def _digest(bucket: Bucket, found: BucketObject) -> str:
    digest = bucket.digest(found.name, generation=found.generation)
    if digest is None:
        raise Conflict(f"{found.name} was replaced while it was checked")
    return digest


def keep_contents(bucket: Bucket, location: PackageLocation, folder: str, contents: Contents, content: bytes) -> None:
    """Copy every file, as it was checked, to a folder named after all of them; the manifest is the last.

    Where the manifest is, everything is. ``content``: of the metadata. Raises Conflict if a file was replaced since
    it was checked: nothing is registered then, and the next look sees what is there now.
    """
    if bucket.stat(f"{folder}/{MANIFEST_NAME}") is not None:
        return
    for path in sorted(contents.files):
        source, target = location.prefix + path, f"{folder}/{path}"
        if source == location.metadata_name:
            write_once(bucket, f"{folder}/{METADATA_NAME}", content)
            if path == METADATA_NAME:
                continue
        copied = None
        with suppress(Conflict):  # an instance before us got as far as this
            copied = bucket.copy(source, generation=contents.generations[path], target=target)
        if copied is None:
            _check_copy(bucket, target, contents.files[path])
    write_once(bucket, f"{folder}/{MANIFEST_NAME}", contents.manifest or integrity.canonical_bytes(contents.files))


def write_once(bucket: Bucket, name: str, data: bytes) -> None:
    """Write what nobody may ever change; it may be there already."""
    with suppress(Conflict):
        bucket.write(name, data, if_generation=0, content_type="application/json")


def _check_copy(bucket: Bucket, name: str, file: FileDigest) -> None:
    found = bucket.stat(name)
    if found is None:
        raise Conflict(f"the file for {name} was replaced after it was checked")
    if found.size != file.size or bucket.digest(name, generation=found.generation) != file.sha256:
        raise Refused(f"{name} holds other bytes than its name says: somebody else has written there")
