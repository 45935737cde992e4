"""Every document store, for the suites that hold each of them to the same."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.adapters.local.sqlite_documents import SqliteDocuments
from modeldrop.ports import DocumentStore
from modeldrop.settings import Settings


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.emulator("firestore"))])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DocumentStore]:
    """One that is empty."""
    if request.param == "sqlite":
        sqlite = SqliteDocuments(tmp_path / "documents.sqlite", busy_seconds=30)
        yield sqlite
        sqlite.close()
        return
    request.getfixturevalue("firestore_host")
    yield firestore_documents.connect(Settings("gcp", project=f"p-{uuid.uuid4().hex[:20]}"))
