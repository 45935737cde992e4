"""A Cloud Storage bucket, through Google's own client.

**Reads** pin the generation the facts were read for, and compare the bytes with that generation's size and CRC32C.
They are repeated for a few seconds where that may help; a download always from its start.

**Writes** and deletions are sent once. A repeated write whose first answer was lost would fail its own precondition,
and from the outside "I was first" and "somebody wrote the same bytes" look the same. So a lost answer is Unavailable
("it may have happened"), and the caller, who reads before it writes, finds out. For the same reason Conflict only ever
means: this request did not write. Objects over 8 MiB go up in a resumable session, again without repeats.

Objects stored with ``Content-Encoding: gzip`` are read as stored: what ``size`` says is what is read, and a small
object cannot unpack to a huge one.
"""

import base64
import hashlib
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import google_crc32c
from google.api_core import exceptions as api
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from urllib3.exceptions import HTTPError

from modeldrop.domain.object_names import check_object_name, check_object_prefix, is_object_name
from modeldrop.errors import ConfigurationError, Conflict, NotFound, Refused, TooLarge, Unavailable
from modeldrop.ports import BucketObject
from modeldrop.settings import Settings

TIMEOUT_SECONDS = (5.0, 15.0)  # to connect; between bytes of the answer
READ_RETRY_SECONDS = 8.0
READ_ATTEMPTS = 5
PAGE_SIZE = 1000
PIECE_BYTES = 8 * 1024 * 1024

_LISTED_FIELDS = "items(name,generation,size,timeCreated),nextPageToken"
# What the API says about a bucket that is not there; about an object it says "No such object: …", also with 404.
_BUCKET_MISSING = "The specified bucket does not exist."
_NOT_NOW = (api.TooManyRequests, api.ServerError, api.RetryError)
_NO_ANSWER = (
    OSError,  # sockets, timeouts, and everything of requests
    HTTPError,  # urllib3's own, while a raw body is read
    http.client.HTTPException,
    GoogleAuthError,
    DataCorruption,
)
# Unauthorized and forbidden: what an administrator mends must not have cost an upload. Request timeout; session over.
_LATER_PERHAPS = (401, 403, 408, 410)


def connect(settings: Settings) -> "StorageBucket":
    """The bucket of the settings, with the machine's own credentials.

    With ``STORAGE_EMULATOR_HOST`` set the client goes there instead, and without credentials.
    """
    if not settings.bucket:
        raise ConfigurationError("MODELDROP_BUCKET is not set")
    return open_bucket(settings.bucket, settings.project)


def open_bucket(name: str, project: str | None = None) -> "StorageBucket":
    """A bucket by its name, as ``connect`` opens it; reading one needs no project."""
    try:
        return StorageBucket(Client(project=project), name)
    except DefaultCredentialsError as error:
        raise ConfigurationError(f"no credentials for Cloud Storage: {error}") from error
    except ValueError as error:
        raise ConfigurationError(f"bucket {name!r}: {error}") from error


class StorageBucket:
    """The Bucket port over one Cloud Storage bucket. ``read_retry_seconds``: how long a failing read is repeated."""

    def __init__(self, client: Client, name: str, *, read_retry_seconds: float = READ_RETRY_SECONDS) -> None:
        self._name = name
        self._client = client
        self._bucket = client.bucket(name)
        retry = DEFAULT_RETRY.with_delay(initial=0.1, maximum=2.0, multiplier=2.0)
        self._retry = retry.with_timeout(read_retry_seconds)

    @property
    def uri(self) -> str:
        """``gs://name``."""
        return f"gs://{self._name}"

    def stat(self, name: str) -> BucketObject | None:
        """The live object's facts, or None."""
        check_object_name(name)
        blob = self._live_blob(name)
        return None if blob is None else _describe(blob)

    def read(self, name: str, *, limit_bytes: int, generation: int | None = None) -> tuple[BucketObject, bytes] | None:
        """The live object and its bytes. Raises Unavailable if it is replaced each time before it can be read."""
        check_object_name(name)
        for _ in range(READ_ATTEMPTS):
            blob = self._live_blob(name)
            if blob is None or generation not in (None, blob.generation):
                return None
            if blob.size > limit_bytes:
                raise TooLarge(f"{name} has {blob.size} bytes, more than {limit_bytes}")
            data = self._download(name, blob.generation)
            if data is None:
                continue  # replaced or deleted since
            if len(data) != blob.size or _crc32c(data) != blob.crc32c:
                raise Unavailable(f"{name} did not arrive whole")
            return _describe(blob), data
        raise Unavailable(f"{name} keeps changing while it is read")

    def digest(self, name: str, *, generation: int) -> str | None:
        """SHA-256 of one generation. Each piece is repeated by itself where that may help."""
        check_object_name(name)
        blob = self._live_blob(name)
        if blob is None or blob.generation != generation:
            return None
        sha256, crc32c = hashlib.sha256(), 0
        for start in range(0, blob.size, PIECE_BYTES):
            end = min(start + PIECE_BYTES, blob.size)
            piece = self._download(name, generation, start=start, end=end - 1)
            if piece is None:
                return None  # replaced or deleted since
            if len(piece) != end - start:
                raise Unavailable(f"{name} did not arrive whole")
            sha256.update(piece)
            crc32c = google_crc32c.extend(crc32c, piece)
        if _as_stated(crc32c) != blob.crc32c:
            raise Unavailable(f"{name} did not arrive whole")
        return sha256.hexdigest()

    def copy(self, source: str, *, generation: int, target: str) -> BucketObject | None:
        """A copy made by the server; a large one in several calls. After Unavailable it may be there: read again."""
        check_object_name(source)
        check_object_name(target)
        if generation <= 0:
            return None
        original, blob = self._bucket.blob(source, generation=generation), self._bucket.blob(target)
        options = {"if_generation_match": 0, "timeout": TIMEOUT_SECONDS, "retry": None}
        with self._storage_errors(target):
            try:
                token, _, _ = blob.rewrite(original, **options)
                while token is not None:
                    token, _, _ = blob.rewrite(original, token=token, **options)
            except api.NotFound as error:
                if _is_bucket_missing(error):
                    raise
                return None
            return _describe(blob)

    def write(self, name: str, data: bytes, *, if_generation: int, content_type: str) -> BucketObject:
        """Write if the live generation is ``if_generation``. After Unavailable it may have been written: read again."""
        check_object_name(name)
        if if_generation < 0:
            raise Conflict(f"{name} is not at generation {if_generation}")
        blob = self._bucket.blob(name)
        with self._storage_errors(name):
            blob.upload_from_string(
                data,
                content_type=content_type,
                if_generation_match=if_generation,
                timeout=TIMEOUT_SECONDS,
                retry=None,
                checksum="crc32c",
            )
            return _describe(blob)

    def delete(self, name: str, *, if_generation: int) -> None:
        """Remove the live object if it is at ``if_generation``. After Unavailable it may be gone: read again."""
        check_object_name(name)
        if if_generation <= 0:
            raise Conflict(f"{name} is not at generation {if_generation}")
        with self._storage_errors(name):
            try:
                blob = self._bucket.blob(name)
                blob.delete(if_generation_match=if_generation, timeout=TIMEOUT_SECONDS, retry=None)
            except api.NotFound as error:
                if _is_bucket_missing(error):
                    raise
                raise Conflict(f"{name} is not there") from error

    def list(self, prefix: str, *, limit: int) -> list[BucketObject]:
        """Live objects below ``prefix`` in order of their UTF-8 bytes; names the port does not allow are left out."""
        check_object_prefix(prefix)
        if limit <= 0:
            return []
        with self._storage_errors(prefix):
            # The limit is on what is left after the filter (a folder made in the console is an object "name/").
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=prefix,
                page_size=min(limit, PAGE_SIZE),
                fields=_LISTED_FIELDS,
                timeout=TIMEOUT_SECONDS,
                retry=self._retry,
            )
            return list(islice((_describe(blob) for blob in blobs if is_object_name(blob.name)), limit))

    def close(self) -> None:
        """Close the connections kept for the next call. Not needed where the process ends with the bucket."""
        self._client.close()

    def _live_blob(self, name: str) -> Any | None:
        blob = self._bucket.blob(name)
        with self._storage_errors(name):
            try:
                blob.reload(timeout=TIMEOUT_SECONDS, retry=self._retry)
            except api.NotFound as error:
                if _is_bucket_missing(error):
                    raise
                return None
        return blob

    def _download(self, name: str, generation: int, **part: int) -> bytes | None:
        """The bytes of one generation (or the part from ``start`` to ``end``), as stored; None if it is gone."""
        blob = self._bucket.blob(name, generation=generation)
        with self._storage_errors(name):
            try:
                # Repeated from outside: when the client itself repeats a download, it leaves the connection of the
                # failed one open until the garbage collector comes. The checksum is compared in ``read``.
                download = self._retry(blob.download_as_bytes)
                data: bytes = download(raw_download=True, checksum=None, timeout=TIMEOUT_SECONDS, retry=None, **part)
            except api.NotFound:
                return None
        return data

    @contextmanager
    def _storage_errors(self, name: str) -> Iterator[None]:
        """Turn the client's errors into ours, in this one place."""
        where = f"{self.uri}/{name}"
        try:
            yield
        except (api.PreconditionFailed, api.Conflict) as error:
            raise Conflict(f"{where}: {error.message}") from error
        except api.NotFound as error:
            if _BUCKET_MISSING in error.message:
                raise NotFound(f"{self.uri}: the bucket does not exist") from error
            raise Unavailable(f"{where}: {error}") from error  # the session of a large upload is lost
        except _NOT_NOW as error:
            raise Unavailable(f"{where}: {error}") from error
        except api.GoogleAPICallError as error:
            kind = Unavailable if error.code in _LATER_PERHAPS else Refused
            raise kind(f"{where}: {error}") from error
        except _NO_ANSWER as error:
            raise Unavailable(f"{where}: no answer: {error}") from error


def _describe(blob: Any) -> BucketObject:
    return BucketObject(name=blob.name, generation=blob.generation, size=blob.size, created_at=blob.time_created)


def _is_bucket_missing(error: api.NotFound) -> bool:
    return any(detail.get("message") == _BUCKET_MISSING for detail in error.errors)


def _crc32c(data: bytes) -> str:
    return _as_stated(google_crc32c.value(data))


def _as_stated(crc32c: int) -> str:
    """As Cloud Storage states it: big-endian, base64."""
    return base64.b64encode(crc32c.to_bytes(4)).decode()
