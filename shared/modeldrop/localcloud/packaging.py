"""Packages outside the bucket: made (``modeldrop package``), signed (``sign``) and checked (``verify``).

An archive is a tar.gz of the package's files under their own paths, the manifest first. It is reproducible: the same
files give the same bytes. Nothing is ever unpacked here.
"""

import io
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modeldrop.domain import integrity
from modeldrop.domain.integrity import MOST_FILES, FileDigest, Manifest
from modeldrop.domain.packages import FLAT_METADATA_NAME, MANIFEST_NAME, METADATA_NAME, OUR_FILES
from modeldrop.errors import Conflict, FieldProblem, InvalidInput, NotFound, TooLarge
from modeldrop.events import strict_json
from modeldrop.events.manifest import MANIFEST_LIMIT_BYTES, read_manifest, write_manifest
from modeldrop.events.metadata import METADATA_LIMIT_BYTES
from modeldrop.handlers.packages.package_contents import load_keys
from modeldrop.localcloud.package_archive import read_archive, write_archive
from modeldrop.localcloud.package_files import PackageFiles, digest_stream
from modeldrop.ports import Bucket, BucketObject

_SMALL = (MANIFEST_NAME, METADATA_NAME, FLAT_METADATA_NAME)


def pack(bucket: Bucket, model: str, version: str, output: Path) -> int:
    """Write the package as it lies in the bucket to an archive; returns the number of its files.

    Raises NotFound, InvalidInput (it is not what its manifest says), Conflict (it changed meanwhile).
    """
    prefix, objects = _find(bucket, model, version)
    own = {path: found for path, found in objects.items() if path not in OUR_FILES | {MANIFEST_NAME}}
    digests = {path: FileDigest(_digest(bucket, found), found.size) for path, found in own.items()}
    small = {path: _read(bucket, objects[path]) for path in _SMALL if path in objects}
    problems = integrity.path_problems(own)
    if MANIFEST_NAME in small:
        problems += check(PackageFiles(digests, small, []), keys=None)
    if problems:
        raise InvalidInput(problems)
    manifest = small.get(MANIFEST_NAME) or write_manifest(Manifest(digests))

    def contents() -> Iterator[tuple[str, bytes]]:
        yield MANIFEST_NAME, manifest
        for path in sorted(own):
            data = _read(bucket, own[path])
            if digest_stream(io.BytesIO(data)) != digests[path]:
                raise Conflict(f"{prefix}{path} changed while it was packed")
            yield path, data

    with _replacing(output) as file:
        write_archive(file, contents())
    return len(own) + 1


def verify(path: Path, keys: Path | None) -> tuple[list[FieldProblem], str]:
    """What is wrong with an archive or a folder, and what may be said of its signature.

    Raises NotFound if there is nothing, InvalidInput if it is neither.
    """
    if path.is_dir():
        files = _read_folder(path)
    elif path.is_file():
        with path.open("rb") as file:
            files = read_archive(file)
    else:
        raise NotFound(f"there is no file or folder {path}")
    problems = check(files, keys)
    return problems, "" if problems else _about_signature(files, keys)


def sign_folder(folder: Path, key_id: str, keys: Path) -> int:
    """Write the folder's manifest with a signature; returns the number of files it lists.

    Raises InvalidInput with everything that would have the package rejected afterwards.
    """
    known = load_keys(keys)
    if key_id not in known:
        raise InvalidInput([FieldProblem("key_id", f"{key_id[:64]!a} is not in the file of keys")])
    files = _read_folder(folder)
    manifest = Manifest(files.digests, integrity.sign(files.digests, key_id, known[key_id]))
    content = write_manifest(manifest)
    problems = check(PackageFiles(files.digests, files.small | {MANIFEST_NAME: content}, files.problems), keys)
    if problems:
        raise InvalidInput(problems)
    with _replacing(folder / MANIFEST_NAME) as file:
        file.write(content)
    return len(files.digests)


def check(files: PackageFiles, keys: Path | None) -> list[FieldProblem]:
    """Everything that is wrong, as the bucket would find it. Without ``keys`` signatures are not looked at."""
    data = files.small.get(MANIFEST_NAME)
    if data is None:
        return [*files.problems, FieldProblem(MANIFEST_NAME, "is missing")]
    try:
        manifest = read_manifest(data)
    except InvalidInput as error:
        return [*files.problems, *error.problems]
    metadata_path = FLAT_METADATA_NAME if FLAT_METADATA_NAME in files.digests else METADATA_NAME
    problems = files.problems + integrity.listing_problems(manifest, [metadata_path])
    problems += integrity.presence_problems(manifest, {path: file.size for path, file in files.digests.items()})
    problems += integrity.digest_problems(manifest, {path: file.sha256 for path, file in files.digests.items()})
    missing = integrity.missing_files(manifest, files.digests)
    problems += [FieldProblem(f"manifest.files.{path[:128]}", "is listed and not there") for path in missing]
    return problems + _signature_problems(manifest, files.small.get(metadata_path, b""), keys)


def _signature_problems(manifest: Manifest, metadata: bytes, keys: Path | None) -> list[FieldProblem]:
    if manifest.signature is None:
        return [FieldProblem("manifest.signature", "is missing")] if keys else []
    problems = integrity.signature_problems(manifest, load_keys(keys)) if keys else []
    try:
        document = strict_json.decode(metadata, limit_bytes=METADATA_LIMIT_BYTES)
    except InvalidInput as error:
        return problems + [FieldProblem(METADATA_NAME, problem.message) for problem in error.problems]
    model, version = (_text(document, name) for name in ("model", "version"))
    return problems + integrity.replay_problems(document, model, version)


def _about_signature(files: PackageFiles, keys: Path | None) -> str:
    signature = read_manifest(files.small[MANIFEST_NAME]).signature
    if signature is None:
        return "not signed"
    return f"signed by {signature.key_id}" if keys else "the signature was not checked: no --keys"


def _text(document: object, name: str) -> str:
    """A name the metadata give; one that is not text equals nothing they may say."""
    value = document.get(name) if isinstance(document, Mapping) else None
    return value if isinstance(value, str) else ""


def _find(bucket: Bucket, model: str, version: str) -> tuple[str, dict[str, BucketObject]]:
    for prefix, metadata_name in (
        (f"models/{model}/{version}/", METADATA_NAME),
        (f"models/{version}/", FLAT_METADATA_NAME),
    ):
        if bucket.stat(prefix + metadata_name) is not None:
            found = bucket.list(prefix, limit=MOST_FILES + len(OUR_FILES) + 2)
            return prefix, {one.name.removeprefix(prefix): one for one in found}
    raise NotFound(f"{bucket.uri} holds no package of {model} {version}")


def _digest(bucket: Bucket, found: BucketObject) -> str:
    digest = bucket.digest(found.name, generation=found.generation)
    if digest is None:
        raise Conflict(f"{found.name} changed while it was read")
    return digest


def _read(bucket: Bucket, found: BucketObject) -> bytes:
    read = bucket.read(found.name, limit_bytes=integrity.MOST_FILE_BYTES, generation=found.generation)
    if read is None:
        raise Conflict(f"{found.name} changed while it was read")
    return read[1]


def _read_folder(folder: Path) -> PackageFiles:
    digests: dict[str, FileDigest] = {}
    small: dict[str, bytes] = {}
    problems = []
    for path in _entries(folder):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or name in OUR_FILES:
            continue
        if not stat.S_ISREG(mode):
            problems.append(FieldProblem(ascii(name)[1:-1][:160], "is a link or a special file"))
            continue
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            head = b""
            if name in _SMALL:
                head = small[name] = file.read(MANIFEST_LIMIT_BYTES + 1)
            if name != MANIFEST_NAME:
                digests[name] = digest_stream(file, head)
    return PackageFiles(digests, small, [*problems, *integrity.path_problems(digests)])


def _entries(folder: Path) -> Iterable[Path]:
    entries = []
    for path in folder.rglob("*"):
        entries.append(path)
        if len(entries) > 10 * MOST_FILES:
            raise TooLarge(f"{folder} holds more than {10 * MOST_FILES} entries: that is no package")
    return sorted(entries)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name whole, or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".packing-", delete=False) as file:
        try:
            yield file  # type: ignore[misc]
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
