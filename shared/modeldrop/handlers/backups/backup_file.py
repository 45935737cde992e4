"""The file of a backup: gzip of a msgpack stream. A header, the documents in an order safe to restore, and a trailer.

The trailer has their number and a SHA-256 over them all, so that a file that was cut off or changed is never restored.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from modeldrop.errors import FieldProblem, InvalidInput

FORMAT = 1
_LENGTH_BYTES = 4
_LARGEST_ENTRY = 2 << 20  # a document has at most 1 MiB


class Header(msgspec.Struct, frozen=True, tag="modeldrop-backup"):
    """What the file is."""

    format: int
    version: str  # of modeldrop
    made_at: datetime


class Entry(msgspec.Struct, frozen=True, tag="document"):
    """A document."""

    path: str
    data: dict[str, Any]


class Trailer(msgspec.Struct, frozen=True, tag="end"):
    """Its end. ``unsettled``: models that were changed again and again while they were read."""

    documents: int
    digest: str
    unsettled: list[str] = []


_Part = Header | Entry | Trailer
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Part)


def write_backup(path: Path, header: Header, entries: Iterable[Entry], unsettled: list[str]) -> Trailer:
    """Write it beside ``path`` first: under that name there is a whole backup, or none. Nobody else may read it.

    ``unsettled`` is read when all entries are.
    """
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)  # that of one that was killed
    beside.touch(mode=0o600, exist_ok=False)
    try:
        with gzip.open(beside, "wb", compresslevel=3) as file:
            _put(file, header)
            digest, count = hashlib.sha256(), 0
            for entry in entries:
                digest.update(_put(file, entry))
                count += 1
            trailer = Trailer(count, digest.hexdigest(), unsettled)
            _put(file, trailer)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return trailer


def check_backup(path: Path) -> tuple[Header, Trailer]:
    """Read it to its end; raises InvalidInput if it is no backup, is of another format, was cut off, or changed."""
    parts = _parts(path)
    header = next(parts, None)
    if not isinstance(header, Header):
        raise _invalid(path, "is no backup of modeldrop")
    if header.format != FORMAT:
        raise _invalid(path, f"has format {header.format}; this modeldrop reads {FORMAT}")
    digest = hashlib.sha256()
    for count, part in enumerate(parts):
        if isinstance(part, Trailer):
            if (part.documents, part.digest) != (count, digest.hexdigest()) or next(parts, None) is not None:
                raise _invalid(path, "was changed since it was made")
            return header, part
        digest.update(_ENCODER.encode(part))
    raise _invalid(path, "was cut off: it has no end")


def entries_of(path: Path) -> Iterator[Entry]:
    """The documents of a backup that was checked."""
    return (part for part in _parts(path) if isinstance(part, Entry))


def _put(file: gzip.GzipFile, part: _Part) -> bytes:
    encoded = _ENCODER.encode(part)
    file.write(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
    return encoded


def _parts(path: Path) -> Iterator[_Part]:
    try:
        with gzip.open(path, "rb") as file:
            while length := file.read(_LENGTH_BYTES):
                size = int.from_bytes(length, "big")
                if len(length) < _LENGTH_BYTES or size > _LARGEST_ENTRY:
                    raise _invalid(path, "is no backup of modeldrop")
                yield _DECODER.decode(file.read(size))
    except (OSError, EOFError, zlib.error, RecursionError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "is no whole backup of modeldrop"
        raise _invalid(path, reason) from None


def _invalid(path: Path, message: str) -> InvalidInput:
    return InvalidInput([FieldProblem(str(path), message)])
