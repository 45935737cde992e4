"""Packages as tar.gz: written so that the same files give the same bytes, read so that no archive can do harm.

Nothing is unpacked. Members other than plain files and folders, paths that lead elsewhere, the same file twice, and
more bytes than a package may have are refused; an archive that is small but unpacks to very much is left off early.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import IO

from modeldrop.domain import integrity
from modeldrop.domain.integrity import MOST_FILE_BYTES, MOST_FILES
from modeldrop.domain.packages import FLAT_METADATA_NAME, MANIFEST_NAME, METADATA_NAME, OUR_FILES
from modeldrop.errors import FieldProblem, InvalidInput, TooLarge
from modeldrop.events.manifest import MANIFEST_LIMIT_BYTES
from modeldrop.localcloud.package_files import PackageFiles, digest_stream

MOST_BYTES = 16 << 30
_MOST_MEMBERS = 4 * MOST_FILES
_LARGEST_READ = 4 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def write_archive(file: IO[bytes], contents: Iterable[tuple[str, bytes]]) -> None:
    """Write files (path, bytes) in the order given; times, owners and the archive's own name are left out."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, data in contents:
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))


def read_archive(file: IO[bytes]) -> PackageFiles:
    """The files of an archive and what is wrong with it; raises InvalidInput if it is none, or a damaged one."""
    is_packed = file.read(2) == _GZIP_MAGIC
    file.seek(0)
    plain: IO[bytes] = gzip.GzipFile(fileobj=file) if is_packed else file  # type: ignore[assignment]
    try:
        with tarfile.TarFile(fileobj=_Bounded(plain), mode="r") as archive:  # type: ignore[arg-type]
            return _read_members(archive)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise InvalidInput([FieldProblem("archive", f"cannot be read: {str(error)[:160]}")]) from None
    except TooLarge as error:
        raise InvalidInput([FieldProblem("archive", str(error))]) from None


class _Bounded:
    """A stream that refuses large reads (a header may claim any size) and to go on without end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_READ:
            raise TooLarge("a header claims more bytes than any package needs")
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        if whence == 0 and position > MOST_BYTES:
            raise TooLarge(f"it holds more than {MOST_BYTES} bytes")
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


def _read_members(archive: tarfile.TarFile) -> PackageFiles:
    files = PackageFiles({}, {}, [])
    seen: set[str] = set()
    total = 0
    for count, member in enumerate(archive):
        total += member.size
        if count >= _MOST_MEMBERS or member.size > MOST_FILE_BYTES or total > MOST_BYTES:
            files.problems.append(_about(member.name, "is too much: the rest was not looked at"))
            break
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            files.problems.append(_about(member.name, "is neither a plain file nor a folder"))
        elif member.name in seen:
            files.problems.append(_about(member.name, "is there twice"))
        elif member.name not in OUR_FILES:
            _read_member(archive, member, files)
        seen.add(member.name)
    files.problems.extend(integrity.path_problems(files.digests))
    return files


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo, files: PackageFiles) -> None:
    stream = archive.extractfile(member)
    assert stream is not None  # a plain file has one
    with stream:
        head = b""
        if member.name in {MANIFEST_NAME, METADATA_NAME, FLAT_METADATA_NAME}:
            head = files.small[member.name] = stream.read(MANIFEST_LIMIT_BYTES + 1)
        if member.name != MANIFEST_NAME:
            files.digests[member.name] = digest_stream(stream, head)


def _about(name: str, message: str) -> FieldProblem:
    return FieldProblem(ascii(name)[1:-1][:160] or "archive", message)
