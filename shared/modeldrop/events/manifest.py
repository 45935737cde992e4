"""``manifest.json`` and the file of signing keys: bytes → checked values, with every limit."""

import base64
import binascii
from typing import Annotated

import msgspec
from msgspec import Meta

from modeldrop.domain.integrity import MOST_FILES, SMALLEST_KEY_BYTES, FileDigest, Manifest, Signature
from modeldrop.errors import ConfigurationError, FieldProblem, InvalidInput
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert

MANIFEST_LIMIT_BYTES = 1 << 20
KEYS_LIMIT_BYTES = 64 * 1024


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    size: int


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: Annotated[str, Meta(max_length=64)]
    key_id: Annotated[str, Meta(min_length=1, max_length=128)]
    value: Annotated[str, Meta(max_length=256)]


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As it stands in the file. Unknown fields are errors: what is not understood cannot be verified."""

    files: Annotated[dict[str, _File], Meta(max_length=MOST_FILES)]
    signature: _Signature | None = None


def read_manifest(data: bytes) -> Manifest:
    """The manifest; raises InvalidInput with everything wrong with its form (paths are for domain.integrity)."""
    try:
        document = strict_json.decode(data, limit_bytes=MANIFEST_LIMIT_BYTES)
    except InvalidInput as error:
        raise InvalidInput([FieldProblem("manifest", problem.message) for problem in error.problems]) from None
    read = convert(document, _Manifest, "manifest")
    files = {path: FileDigest(file.sha256, file.size) for path, file in read.files.items()}
    if read.signature is None:
        return Manifest(files)
    return Manifest(files, Signature(read.signature.alg, read.signature.key_id, read.signature.value))


def write_manifest(manifest: Manifest) -> bytes:
    """The file for people to read: indented, paths in order."""
    content: dict[str, object] = {"files": {path: manifest.files[path] for path in sorted(manifest.files)}}
    if manifest.signature is not None:
        content["signature"] = manifest.signature
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def read_signing_keys(data: bytes) -> dict[str, bytes]:
    """``{"key id": "secret in base64", …}``. Raises ConfigurationError, which never shows a secret."""
    try:
        document = strict_json.decode(data, limit_bytes=KEYS_LIMIT_BYTES)
    except InvalidInput:
        raise ConfigurationError("the file of signing keys is not JSON, or has a key id twice") from None
    if not isinstance(document, dict) or not document:
        raise ConfigurationError('the file of signing keys must be {"key id": "secret in base64", …}')
    return {key_id: _secret(key_id, value) for key_id, value in document.items()}


def _secret(key_id: str, value: object) -> bytes:
    try:
        secret = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        secret = None
    if secret is None:
        raise ConfigurationError(f"signing key {key_id[:64]!a} is not base64")
    if len(secret) < SMALLEST_KEY_BYTES:
        raise ConfigurationError(f"signing key {key_id[:64]!a} has fewer than {SMALLEST_KEY_BYTES} bytes")
    return secret
