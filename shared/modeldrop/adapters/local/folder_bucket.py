"""A folder is the bucket: its files are the objects, and there is nothing else to keep in step with them.

People copy files into it by hand and several processes use it at once, so all that is known about an object is what
the file system knows.

**Generation** = a hash of the file's time of change, inode and size. Any copy, move or overwrite changes one of the
three; a restart changes none. An inode may be used again and a size may repeat, so our own writes stamp their file
with a time no earlier write to this bucket had: a generation once seen never comes back for other bytes. For files
written by others the limit is the file system's clock: two overwrites in place, of the same size and within one tick
of it (4 ms or less), look like one.

**Writing**: one lock for the bucket (``flock``, which the system gives back when its holder dies), held from the check
of the precondition to the end. The bytes go to a file beside the bucket, are forced to disk, and appear under their
name in one step. A new object is *linked* there, which fails if anybody else, even a plain ``cp``, put a file there
meanwhile. Replacing and deleting cannot ask that of the system: a ``cp`` over the same file in that very instant is
lost, as of two ``cp`` one is.

**Symbolic links** are never followed, wherever they lead: every folder on the way is opened from its parent with
O_NOFOLLOW, so not even a link put there in between leads out. Asking for one raises Refused; ``list`` leaves them out.

Folders without files do not exist, as in Cloud Storage. Needs a POSIX system.
"""

import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from modeldrop.domain.object_names import check_object_name, check_object_prefix, is_object_name
from modeldrop.errors import Conflict, Refused, TooLarge, Unavailable
from modeldrop.ports import BucketObject

LOCK_WAIT_SECONDS = 20.0
LOCK_POLL_SECONDS = 0.002
READ_ATTEMPTS = 5
PIECE_BYTES = 1024 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MICROSECOND = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_STAMP_DIGITS = 20
_COPY_PREFIX = "copy-"
_NEW_FILE_MODE = 0o644
_KEPT_TIME_NS = 60 * 10**9  # more than this between a file's time and its inode's: the file's is an older one
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe somebody put there must not wait for its other end. Regular files ignore it.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK_REASON = "a symbolic link is on the way, and a bucket does not follow links"
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ)
_REFUSED = {
    errno.EACCES: "the file system denies access",
    errno.EPERM: "the file system does not permit it",
    errno.EROFS: "the file system is read-only",
    errno.EISDIR: "a folder has this name",
    errno.ENOTDIR: "a file is where a folder is needed",
    errno.ELOOP: _LINK_REASON,
    errno.ENAMETOOLONG: "a segment is longer than the file system allows",
    errno.EILSEQ: "the file system cannot hold such a name",
    errno.EXDEV: "the bucket must be on the same file system as the folder it is in",
    errno.EOPNOTSUPP: "the file system cannot do this",
}

_Entries = list[tuple[str, os.stat_result]]


class _LinkOnTheWay(Refused):
    """The name leads over a symbolic link."""


class FolderBucket:
    """The Bucket port over a folder. Making one, and reading, create nothing; a folder that is not there is empty.

    Beside the folder, and only once something is written, ``.{name}-writes`` holds the lock and the file being written.
    ``lock_wait_seconds``: how long a write waits for the one before it, until it is Unavailable.
    """

    def __init__(self, root: Path, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        # Resolved once, so that every process finds the same lock, whatever path it was given.
        self._root = root.resolve()
        writes = self._root.parent / f".{self._root.name}-writes"
        self._lock = writes / "lock"
        self._incoming = writes / "incoming"
        self._lock_wait_seconds = lock_wait_seconds

    @property
    def uri(self) -> str:
        """``file:///folder``, percent-encoded where needed."""
        return self._root.as_uri()

    def stat(self, name: str) -> BucketObject | None:
        """The live object's facts, or None. Raises Refused if the name leads over a symbolic link."""
        *folders, leaf = _segments(name)
        with _file_errors(name, missing_is_none=True), self._folder(folders) as folder:
            status = _live_file(folder, leaf)
            return None if status is None else _describe(name, status)
        return None

    def read(self, name: str, *, limit_bytes: int, generation: int | None = None) -> tuple[BucketObject, bytes] | None:
        """The live object and its bytes. Raises Unavailable if it is being overwritten in place all the time."""
        *folders, leaf = _segments(name)
        with _file_errors(name, missing_is_none=True), self._folder(folders) as folder:
            for _ in range(READ_ATTEMPTS):
                if _live_file(folder, leaf) is None:
                    return None
                with os.fdopen(os.open(leaf, _OPEN_FILE, dir_fd=folder), "rb") as file:
                    found = _describe(name, os.fstat(file.fileno()))
                    if generation not in (None, found.generation):
                        return None
                    if found.size > limit_bytes:
                        raise TooLarge(f"{name} has {found.size} bytes, more than {limit_bytes}")
                    data = file.read(found.size + 1)  # one more: it may have grown
                    # The same facts before and after: these bytes belong to this generation.
                    if len(data) == found.size and _describe(name, os.fstat(file.fileno())) == found:
                        return found, data
            raise Unavailable(f"{name} keeps changing while it is read")
        return None

    def digest(self, name: str, *, generation: int) -> str | None:
        """SHA-256 of one generation; None also if it changes while it is read."""
        sha256 = hashlib.sha256()
        return sha256.hexdigest() if self._pour(name, generation, sha256.update) else None

    def copy(self, source: str, *, generation: int, target: str) -> BucketObject | None:
        """A copy with bytes of its own: a hard link would change with its source."""
        *folders, leaf = _segments(target)
        _segments(source)
        with _file_errors(target), self._copy_file() as (path, file):
            if not self._pour(source, generation, file.write):
                return None
            file.flush()
            os.fsync(file.fileno())  # outside the lock: a large copy keeps nobody waiting
            return self._publish_copy(target, folders, leaf, (path, file))

    def write(self, name: str, data: bytes, *, if_generation: int, content_type: str) -> BucketObject:
        """Write if the live generation is ``if_generation``. A folder does not keep the content type."""
        *folders, leaf = _segments(name)
        with _file_errors(name), self._exclusive() as stamp_ns:
            self._require(name, if_generation)
            self._root.mkdir(parents=True, exist_ok=True)
            with self._folder(folders, create=True) as folder:
                try:
                    status = self._write_incoming(data, stamp_ns)
                    self._publish(self._incoming, folder, leaf, is_new=if_generation == 0)
                    os.fsync(folder)
                finally:
                    self._incoming.unlink(missing_ok=True)
        return _describe(name, status)

    def delete(self, name: str, *, if_generation: int) -> None:
        """Remove the file if it is the live generation; its folder stays."""
        *folders, leaf = _segments(name)
        if if_generation == 0:
            raise Conflict(f"{name}: generation 0 is no object")
        with _file_errors(name), self._exclusive():
            self._require(name, if_generation)
            with self._folder(folders) as folder:
                os.unlink(leaf, dir_fd=folder)
                os.fsync(folder)

    def list(self, prefix: str, *, limit: int) -> list[BucketObject]:
        """Live objects below ``prefix`` in order of their UTF-8 bytes. Only folders that can hold such are opened."""
        check_object_prefix(prefix)
        return list(islice(self._objects(prefix), max(limit, 0)))

    # --- reading ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _folder(self, segments: Sequence[bytes], *, create: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root, reached without following any link."""
        descriptor = os.open(self._root, _OPEN_FOLDER)
        try:
            for segment in segments:
                child = _open_subfolder(descriptor, segment, create=create)
                os.close(descriptor)
                descriptor = child
            yield descriptor
        finally:
            os.close(descriptor)

    def _objects(self, prefix: str) -> Iterator[BucketObject]:
        start, _, _ = prefix.rpartition("/")
        pending = [entry for entry in self._entries(start) if entry[0].startswith(prefix)]
        while pending:
            name, status = pending.pop()
            if stat.S_ISDIR(status.st_mode):
                pending += self._entries(name)
            else:
                yield _describe(name, status)

    def _entries(self, folder_name: str) -> _Entries:
        """The files and folders directly in a folder, the last in order first."""
        found = []
        start = f"{folder_name}/" if folder_name else ""
        segments = folder_name.encode().split(b"/") if folder_name else []
        with (
            suppress(_LinkOnTheWay),
            _file_errors(folder_name, missing_is_none=True),
            self._folder(segments) as folder,
            os.scandir(folder) as entries,
        ):
            for entry in entries:
                # A file's name need not be text as an object's must, and the file may be gone by now.
                with suppress(UnicodeDecodeError, FileNotFoundError):
                    name = start + os.fsencode(entry.name).decode()
                    status = entry.stat(follow_symlinks=False)
                    if is_object_name(name) and (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
                        found.append((name, status))
        # A folder stands where its contents do: "a-b" < "a/…" < "a0", as the slash sorts between.
        return sorted(found, key=lambda e: e[0].encode() + b"/" * stat.S_ISDIR(e[1].st_mode), reverse=True)

    # --- writing ---------------------------------------------------------------------------------------------------

    def _require(self, name: str, generation: int) -> None:
        live = self.stat(name)
        if (live.generation if live else 0) != generation:
            raise Conflict(f"{name} is not at generation {generation}")

    @contextmanager
    def _exclusive(self) -> Iterator[int]:
        """Be the only writer of this bucket; yields a time of change (ns) later than that of any write before."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _wait_for_lock(lock, self._lock_wait_seconds)
            # Whole microseconds, which every file system in use keeps exactly. The last one used is in the lock file,
            # so that stamps rise even if the clock steps back.
            last = os.pread(lock, _STAMP_DIGITS, 0)
            stamp = max(time.time_ns() // 1000, int(last) + 1 if last.isdigit() else 0)
            os.pwrite(lock, b"%0*d" % (_STAMP_DIGITS, stamp), 0)
            yield stamp * 1000
        finally:
            # Unlock by name: closing would not do it while a process forked meanwhile holds a copy of the descriptor.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _pour(self, name: str, generation: int, take: Callable[[bytes], object]) -> bool:
        """Hand over the bytes of one generation, piece by piece; whether it was there, and to the end the same."""
        *folders, leaf = _segments(name)
        with _file_errors(name, missing_is_none=True), self._folder(folders) as folder:
            if _live_file(folder, leaf) is None:
                return False
            with os.fdopen(os.open(leaf, _OPEN_FILE, dir_fd=folder), "rb") as file:
                found = _describe(name, os.fstat(file.fileno()))
                poured = 0
                while found.generation == generation and (piece := file.read(PIECE_BYTES)):
                    take(piece)
                    poured += len(piece)
                same = _describe(name, os.fstat(file.fileno())) == found
                return same and found.generation == generation and poured == found.size
        return False

    @contextmanager
    def _copy_file(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file beside the bucket for one copy. Its lock says that the copy is under way; without, its maker died."""
        with self._exclusive():
            for left_over in self._lock.parent.glob(f"{_COPY_PREFIX}*"):
                _remove_unless_locked(left_over)
            descriptor, name = tempfile.mkstemp(prefix=_COPY_PREFIX, dir=self._lock.parent)
            os.fchmod(descriptor, _NEW_FILE_MODE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield Path(name), file
            finally:
                Path(name).unlink(missing_ok=True)

    def _publish_copy(
        self, name: str, folders: Sequence[bytes], leaf: bytes, copy: tuple[Path, BinaryIO]
    ) -> BucketObject:
        path, file = copy
        with self._exclusive() as stamp_ns:
            self._require(name, 0)
            os.utime(file.fileno(), ns=(stamp_ns, stamp_ns))
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
            with self._folder(folders, create=True) as folder:
                self._publish(path, folder, leaf, is_new=True)
                os.fsync(folder)
        return _describe(name, status)

    def _write_incoming(self, data: bytes, stamp_ns: int) -> os.stat_result:
        """Put the bytes on disk beside the bucket. Holding the lock, a file found there is of a writer that died.

        It is removed, never written to: it may be a second link to an object that was published just before.
        """
        self._incoming.unlink(missing_ok=True)
        with self._incoming.open("xb") as file:
            file.write(data)
            file.flush()
            os.utime(file.fileno(), ns=(stamp_ns, stamp_ns))
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        if status.st_mtime_ns != stamp_ns:
            raise Refused(f"{self._root}: its file system keeps times too coarsely to tell writes apart")
        return status

    def _publish(self, written: Path, folder: int, leaf: bytes, *, is_new: bool) -> None:
        if not is_new:
            os.replace(written, leaf, dst_dir_fd=folder)
            return
        try:
            os.link(written, leaf, dst_dir_fd=folder)
        except FileExistsError:
            if _live_file(folder, leaf) is None:
                raise Refused(f"{os.fsdecode(leaf)}: a folder or a special file has this name") from None
            raise Conflict(f"{os.fsdecode(leaf)} has appeared meanwhile") from None


def _segments(name: str) -> list[bytes]:
    check_object_name(name)
    return name.encode().split(b"/")


def _live_file(folder: int, leaf: bytes) -> os.stat_result | None:
    """Status of a regular file; None for a folder or a special file. Raises Refused for a link."""
    status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise _LinkOnTheWay(f"{os.fsdecode(leaf)}: {_LINK_REASON}")
    return status if stat.S_ISREG(status.st_mode) else None


def _open_subfolder(parent: int, segment: bytes, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(segment, dir_fd=parent)
            os.fsync(parent)
    try:
        return os.open(segment, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    except NotADirectoryError:
        _live_file(parent, segment)  # a link gets its own reason
        raise


def _describe(name: str, status: os.stat_result) -> BucketObject:
    facts = f"{status.st_mtime_ns} {status.st_ino} {status.st_size}".encode()
    number = int.from_bytes(blake2b(facts, digest_size=8).digest())
    # "cp -p" and "rsync -a" give a file the time of its source; it came when the system last changed the inode.
    kept_time = status.st_ctime_ns - status.st_mtime_ns > _KEPT_TIME_NS
    changed_ns = status.st_ctime_ns if kept_time else status.st_mtime_ns
    changed_microseconds = min(max(changed_ns // 1000, 0), _LAST_MICROSECOND)  # a file's time can be anything
    return BucketObject(
        name=name,
        generation=number % (2**63 - 1) + 1,  # 1 … 2^63 - 1: 0 means "no object"
        size=status.st_size,
        created_at=_EPOCH + timedelta(microseconds=changed_microseconds),
    )


def _remove_unless_locked(path: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _wait_for_lock(lock: int, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(f"the bucket has been locked for {wait_seconds:g} s") from None
            time.sleep(LOCK_POLL_SECONDS)


@contextmanager
def _file_errors(name: str, *, missing_is_none: bool = False) -> Iterator[None]:
    """Turn the system's errors into ours, in this one place; ``missing_is_none`` ends the block at a missing file."""
    try:
        yield
    except OSError as error:
        if missing_is_none and error.errno in _MISSING:
            return
        reason = _REFUSED.get(error.errno or 0)
        if reason:
            raise Refused(f"{name}: {reason}") from error
        raise Unavailable(f"{name}: {error}") from error
