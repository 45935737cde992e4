"""The files of a package that was read somewhere outside the bucket."""

import hashlib
from typing import IO

import msgspec

from modeldrop.domain.integrity import FileDigest
from modeldrop.errors import FieldProblem

PIECE_BYTES = 1 << 20


class PackageFiles(msgspec.Struct, frozen=True):
    """Its files but the manifest, by path; the bytes of manifest and metadata; what was wrong on the way."""

    digests: dict[str, FileDigest]
    small: dict[str, bytes]
    problems: list[FieldProblem]


def digest_stream(file: IO[bytes], head: bytes = b"") -> FileDigest:
    """What a file is, read piece by piece; ``head`` was read already."""
    sha256, size = hashlib.sha256(head), len(head)
    while piece := file.read(PIECE_BYTES):
        sha256.update(piece)
        size += len(piece)
    return FileDigest(sha256.hexdigest(), size)
