"""What a manifest promises, and whether it is kept: paths, sizes, SHA-256, and a signature over all of it.

**Canonical bytes** (what is signed, and what the content digest is taken of): the JSON object ``{"files": …}`` of the
manifest, without white space, keys in order of their code points, characters as they are (no ``\\u`` escapes), UTF-8.
``jq -cjS '{files}' manifest.json`` writes the same. The signature is HMAC-SHA256 (RFC 2104) of these bytes, base64.

**Paths** are relative to the package's folder, and mean one file wherever they are unpacked: no empty, ``.`` or ``..``
segment, no backslash, no control character; no two that differ only in case or in Unicode's way to write a letter;
none that is a folder of another.
"""

import base64
import binascii
import hashlib
import hmac
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping

import msgspec

from modeldrop.domain.object_names import check_object_name
from modeldrop.domain.packages import MANIFEST_NAME, OUR_FILES
from modeldrop.errors import FieldProblem, InvalidName

MOST_FILES = 1_000
MOST_PATH_BYTES = 512
MOST_FILE_BYTES = 1 << 30
MOST_PROBLEMS = 100
SMALLEST_KEY_BYTES = 16
ALGORITHM = "hmac-sha256"
NOT_LISTED = OUR_FILES | {MANIFEST_NAME}
"""Files of a package that no manifest lists: itself, and what modeldrop writes beside the metadata."""


class FileDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file is: lower-case hex SHA-256, and bytes."""

    sha256: str
    size: int


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who vouches for the files. ``value``: base64."""

    alg: str
    key_id: str
    value: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``manifest.json``."""

    files: dict[str, FileDigest]
    signature: Signature | None = None


def canonical_bytes(files: Mapping[str, FileDigest]) -> bytes:
    """The one way to write down what the files are.

    >>> canonical_bytes({"b": FileDigest("00", 1), "a": FileDigest("ff", 2)})
    b'{"files":{"a":{"sha256":"ff","size":2},"b":{"sha256":"00","size":1}}}'
    """
    content = {"files": {path: {"sha256": file.sha256, "size": file.size} for path, file in files.items()}}
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def content_digest(files: Mapping[str, FileDigest]) -> str:
    """SHA-256 that stands for every byte of every file, and for their names."""
    return hashlib.sha256(canonical_bytes(files)).hexdigest()


def sign(files: Mapping[str, FileDigest], key_id: str, key: bytes) -> Signature:
    """The signature of the files by a key."""
    value = hmac.digest(key, canonical_bytes(files), "sha256")
    return Signature(ALGORITHM, key_id, base64.b64encode(value).decode())


def signature_problems(manifest: Manifest, keys: Mapping[str, bytes]) -> list[FieldProblem]:
    """What is wrong with the signature; a key that is not known cannot vouch for anything."""
    signature = manifest.signature
    if signature is None:
        return []
    if signature.alg != ALGORITHM:
        return [FieldProblem("manifest.signature.alg", f"{signature.alg[:64]!a} is not {ALGORITHM}")]
    key = keys.get(signature.key_id)
    if key is None:
        why = "is no key known here" if keys else "cannot be looked up: no signing keys are configured"
        return [FieldProblem("manifest.signature.key_id", f"{signature.key_id[:64]!a} {why}")]
    try:
        value = base64.b64decode(signature.value, validate=True)
    except (binascii.Error, ValueError):
        return [FieldProblem("manifest.signature.value", "is not base64")]
    if not hmac.compare_digest(value, hmac.digest(key, canonical_bytes(manifest.files), "sha256")):
        return [FieldProblem("manifest.signature.value", "is not the signature of these files by this key")]
    return []


def replay_problems(document: object, model: str, version: str) -> list[FieldProblem]:
    """What signed metadata must say of themselves, so that the signature is of no use under any other name or time."""
    stated = document if isinstance(document, Mapping) else {}
    problems = [
        FieldProblem(field, f"a signed package must name its {field}, {expected[:160]!a}")
        for field, expected in (("model", model), ("version", version))
        if stated.get(field) != expected
    ]
    if not isinstance(stated.get("created_at"), str):
        problems.append(FieldProblem("created_at", "a signed package must say when it was made"))
    return problems


def listing_problems(manifest: Manifest, needed: Iterable[str]) -> list[FieldProblem]:
    """What is wrong with the list as such: paths, sizes, and files that must be on it."""
    problems = [FieldProblem(_field(path), reason) for path in manifest.files for reason in _path_reasons(path)]
    problems += _ambiguous_paths(manifest.files)
    problems += [
        FieldProblem(_field(path), f"{file.size} bytes: a file has 0 to {MOST_FILE_BYTES}")
        for path, file in manifest.files.items()
        if not 0 <= file.size <= MOST_FILE_BYTES
    ]
    problems += [
        FieldProblem(_field(path), "is not listed, and must be") for path in needed if path not in manifest.files
    ]
    return bounded(problems)


def presence_problems(manifest: Manifest, sizes: Mapping[str, int]) -> list[FieldProblem]:
    """Files there (path to size) that are not listed, or not of the size that is listed."""
    problems = [
        FieldProblem(_field(path), "is in the package and not listed")
        for path in sizes
        if path not in manifest.files and path not in NOT_LISTED
    ]
    problems += [
        FieldProblem(_field(path), f"has {sizes[path]} bytes, not the {file.size} listed")
        for path, file in manifest.files.items()
        if path in sizes and sizes[path] != file.size
    ]
    return bounded(problems)


def digest_problems(manifest: Manifest, found: Mapping[str, str]) -> list[FieldProblem]:
    """Files (path to SHA-256) whose bytes are not those listed."""
    return bounded(
        [
            FieldProblem(_field(path), f"has SHA-256 {found[path]}, not the {file.sha256} listed")
            for path, file in manifest.files.items()
            if path in found and found[path] != file.sha256
        ]
    )


def missing_files(manifest: Manifest, there: Collection[str]) -> list[str]:
    """Listed files that are not there."""
    return sorted(path for path in manifest.files if path not in there)


def bounded(problems: list[FieldProblem]) -> list[FieldProblem]:
    """At most ``MOST_PROBLEMS``, and how many more there are: reports must fit into a document."""
    more = len(problems) - MOST_PROBLEMS
    rest = [FieldProblem("manifest", f"and {more} more problems")] if more > 0 else []
    return [*problems[:MOST_PROBLEMS], *rest]


def path_problems(paths: Iterable[str]) -> list[FieldProblem]:
    """What keeps these from being the paths of one package."""
    paths = list(paths)
    problems = [FieldProblem(_field(path), reason) for path in paths for reason in _path_reasons(path)]
    return bounded(problems + _ambiguous_paths(paths))


def _field(path: str) -> str:
    """Paths come from outside: shown in ASCII and cut."""
    shown = path if path.isascii() and path.isprintable() else ascii(path)[1:-1]
    return f"manifest.files.{shown[:128]}"


def _path_reasons(path: str) -> list[str]:
    try:
        check_object_name(path)
    except InvalidName as error:
        return [str(error)]
    reasons = []
    if len(path.encode()) > MOST_PATH_BYTES:
        reasons.append(f"is longer than {MOST_PATH_BYTES} bytes")
    if "\\" in path:
        reasons.append("holds a backslash, which is a folder's end on some systems")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in path):
        reasons.append("holds a control character")
    if path in NOT_LISTED:
        reasons.append("is no part of a package: it is the manifest, or written by modeldrop")
    return reasons


def _ambiguous_paths(paths: Iterable[str]) -> list[FieldProblem]:
    """Two paths that are the same file somewhere, or a file where another needs a folder."""
    seen: dict[str, str] = {}
    problems = []
    for path in paths:
        other = seen.setdefault(_folded(path), path)
        if other != path:
            problems.append(FieldProblem(_field(path), f"is the same file as {other[:128]!a} on some systems"))
    for plain, path in seen.items():
        folders = plain.split("/")[:-1]
        above = ("/".join(folders[:depth]) for depth in range(1, len(folders) + 1))
        problems += [
            FieldProblem(_field(path), f"needs a folder where the file {seen[folder][:128]!a} is")
            for folder in above
            if folder in seen
        ]
    return problems


def _folded(path: str) -> str:
    """As a file system may see it that knows neither case nor how a letter was composed.

    >>> _folded("./A//e\\u0301") == _folded("a/\\u00e9")
    True
    """
    segments = [segment for segment in path.split("/") if segment not in {"", "."}]
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", "/".join(segments)).casefold())
