"""The document store on Firestore.

Each document is stored as ``{"key": <its id>, "data": {…}}``. Listings order by ``key``: a single field is indexed in
both directions by itself, where descending order by ``__name__`` would need a composite index for each collection.
``data`` is to be exempt from indexing in the database's settings: it is never queried, and large or wide documents
would exceed the limits on index entries.

Data that say in ``expire_at`` when they may go (ISO 8601 text with a zone) have that moment beside them under the same
name, as a timestamp: Firestore's TTL policies go by such a field, and text means nothing to them. Reading passes it
over. ``infra/firestore.indexes.json`` declares both, the exemptions and the policies.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import firestore

from modeldrop.domain.documents import check_commit, check_page, split_document_path
from modeldrop.errors import ConfigurationError, Conflict, Refused, Unavailable
from modeldrop.ports import Create, Delete, Document, Replace, Write
from modeldrop.settings import Settings

KEY_FIELD = "key"
DATA_FIELD = "data"
EXPIRY_FIELD = "expire_at"  # in the data, and beside them

_TIMEOUT_SECONDS = 10.0
_COMMIT_TIMEOUT_SECONDS = 20.0
_READ_RETRY = Retry(
    predicate=if_exception_type(google_errors.ServiceUnavailable, google_errors.InternalServerError),
    initial=0.1,
    maximum=2.0,
    timeout=_TIMEOUT_SECONDS,  # an attempt that starts just before has its own limit on top: 20 s in all
)
_FAILED_PRECONDITIONS = (
    google_errors.AlreadyExists,  # create
    google_errors.FailedPrecondition,  # replace or delete of another revision
    google_errors.NotFound,  # replace or delete of what is gone
    google_errors.Aborted,  # somebody else holds the document
)
_REVISION = re.compile(r"([0-9]{1,11})\.([0-9]{9})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799  # the end of the year 9999, where timestamps end


def connect(settings: Settings) -> "FirestoreDocuments":
    """The store of the settings' project and database (the client itself looks for FIRESTORE_EMULATOR_HOST).

    Raises ConfigurationError without credentials.
    """
    try:
        client = firestore.Client(project=settings.project, database=settings.firestore_database)
    except DefaultCredentialsError as error:
        raise ConfigurationError(f"no Google credentials: {error}") from error
    return FirestoreDocuments(client)


class FirestoreDocuments:
    """A ports.DocumentStore. A revision is the document's update time, in seconds and nanoseconds.

    A replacement that changes nothing may keep the revision: Firestore does not count it as an update.
    """

    def __init__(self, client: firestore.Client) -> None:
        self._client = client

    def get(self, path: str) -> Document | None:
        """See DocumentStore."""
        return self.get_many([path])[0]

    def get_many(self, paths: Sequence[str]) -> list[Document | None]:
        """See DocumentStore.

        One BatchGetDocuments. Its answers may be read at later and later times, but Firestore promises with each that
        the documents before it did not change in between, so that all of them are as of the last one's time. (The
        emulator breaks that promise beside a writer, and in a read-only transaction as well.)
        """
        for path in paths:
            split_document_path(path)
        if not paths:
            return []
        references = [self._client.document(path) for path in dict.fromkeys(paths)]
        with _errors():
            answers = self._client.get_all(references, retry=_READ_RETRY, timeout=_TIMEOUT_SECONDS)
            found = {answer.reference.path: _document(answer) for answer in answers if answer.exists}
        return [found.get(path) for path in paths]

    def commit(self, writes: Sequence[Write]) -> None:
        """See DocumentStore.

        Never retried here: after a lost answer, the second attempt would meet the effect of the first and report a
        conflict with itself. The caller reads again, after Unavailable as after Conflict.
        """
        keys = check_commit([w.path for w in writes], [w.data for w in writes if not isinstance(w, Delete)])
        if not writes:
            return
        batch = self._client.batch()
        for write, (_, name) in zip(writes, keys, strict=True):
            self._add(batch, write, name)
        with _errors(*_FAILED_PRECONDITIONS):
            batch.commit(retry=None, timeout=_COMMIT_TIMEOUT_SECONDS)

    def list(
        self, collection: str, *, after: str | None = None, descending: bool = False, limit: int = 100
    ) -> list[Document]:
        """See DocumentStore."""
        check_page(collection, after, limit)
        direction = firestore.Query.DESCENDING if descending else firestore.Query.ASCENDING
        query = self._client.collection(collection).order_by(KEY_FIELD, direction=direction).limit(limit)
        if after is not None:
            query = query.start_after({KEY_FIELD: after})
        with _errors():
            return [_document(found) for found in query.stream(retry=_READ_RETRY, timeout=_TIMEOUT_SECONDS)]

    def _add(self, batch: firestore.WriteBatch, write: Write, name: str) -> None:
        reference = self._client.document(write.path)
        match write:
            case Create(data=data):
                expiry = _expiry(data)
                beside = {} if expiry is None else {EXPIRY_FIELD: expiry}
                batch.create(reference, {KEY_FIELD: name, DATA_FIELD: data, **beside})
            case Replace(data=data, revision=revision):
                # "Update" with a top-level field name sets that field as a whole, and is the only call of the client
                # that replaces with a precondition on the update time. What is to go has to be said.
                fields = {KEY_FIELD: name, DATA_FIELD: data, EXPIRY_FIELD: _expiry(data) or firestore.DELETE_FIELD}
                batch.update(reference, fields, option=self._still_at(revision, write.path))
            case Delete(revision=revision):
                batch.delete(reference, option=self._still_at(revision, write.path))

    def _still_at(self, revision: str, path: str) -> firestore.WriteOption:
        """The precondition that the document is at the revision; Conflict if it cannot be a revision of Firestore's."""
        parts = _REVISION.fullmatch(revision)
        if parts is None or int(parts[1]) > _LAST_SECOND or int(parts[2]) % 1_000:
            raise Conflict(f"{path!r} was never at revision {revision!r}")
        return self._client.write_option(
            last_update_time=_EPOCH + timedelta(seconds=int(parts[1]), microseconds=int(parts[2]) // 1_000)
        )


def _document(snapshot: firestore.DocumentSnapshot[Any]) -> Document:
    updated = snapshot.update_time.timestamp_pb()
    return Document(snapshot.reference.path, snapshot.get(DATA_FIELD), f"{updated.seconds}.{updated.nanos:09d}")


def _expiry(data: Mapping[str, Any]) -> datetime | None:
    """When the data say they may go, in UTC; None where they do not say it, or not as a moment there is.

    >>> _expiry({"expire_at": "2026-04-01T12:00:00+02:00"}).isoformat()
    '2026-04-01T10:00:00+00:00'
    >>> [_expiry(data) for data in ({}, {"expire_at": "2026-04-01T12:00:00"}, {"expire_at": 1})]
    [None, None, None]
    """
    text = data.get(EXPIRY_FIELD)
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or none of the years 1 to 9999 in UTC
        return None


@contextmanager
def _errors(*conflicts: type[Exception]) -> Iterator[None]:
    """Turns the client's errors into ours; ``conflicts`` are those that mean Conflict.

    Documents are checked before they are sent, so only what the server itself finds malformed is permanent. A missing
    database or permission is an operator's to mend: until then the event has to be delivered again, not dropped.
    """
    try:
        yield
    except conflicts as error:
        raise Conflict(str(error)) from error
    except (google_errors.InvalidArgument, google_errors.OutOfRange) as error:
        if conflicts and "base version" in str(error):
            # The revision is later than the document: known from before the database was restored from a backup.
            raise Conflict(str(error)) from error
        raise Refused(str(error)) from error
    except (google_errors.GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(str(error)) from error
