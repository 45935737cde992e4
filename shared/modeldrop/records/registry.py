"""The registry: models, versions in order, policies and rollouts, over any DocumentStore.

| path | holds |
|---|---|
| ``models/{model}`` | ModelHead: what is desired, serves, is under way |
| ``models/{model}/versions/{declared time}~{version}`` | ModelVersion, so that listing is in the fold's order |
| ``models/{model}/names/{version}`` | the key of that version |
| ``models/{model}/rollouts/{id}`` | Rollout |
| ``policies/{model}`` | PolicyRecord |
| ``quarantine/{hash}`` | Quarantined: uploads and events that have no place in the registry |
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import Policy
from modeldrop.domain.rollout import Rollout
from modeldrop.domain.versions import ModelVersion, Standing
from modeldrop.errors import FieldProblem
from modeldrop.ports import Delete, DocumentStore, Write
from modeldrop.records.stored import Stored, stored

PAGE = 50


class VersionName(msgspec.Struct, frozen=True):
    """Where a version's record is."""

    key: str


class PolicyRecord(msgspec.Struct, frozen=True):
    """The policy in force, and what was wrong with a newer file that was not taken."""

    policy: Policy = Policy()
    digest: str | None = None  # of the file in force; None: the defaults
    seen_generation: int = 0  # of the file looked at last
    problems: list[FieldProblem] = []


class Quarantined(msgspec.Struct, frozen=True):
    """Something that came in and could not be taken, with the reasons."""

    what: str
    problems: list[FieldProblem]
    at: datetime


class Registry:
    """Reads typed records, and commits writes of them."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def head(self, model: str) -> Stored[ModelHead]:
        """The model's head; a new one that is not stored yet where there is none."""
        path = f"models/{model}"
        document = self._documents.get(path)
        return stored(document, ModelHead) if document else Stored(path, ModelHead(model))

    def heads(self, after: str | None = None) -> Iterator[ModelHead]:
        """All models, by name."""
        while True:
            page = self._documents.list("models", after=after, limit=PAGE)
            for document in page:
                yield stored(document, ModelHead).value
            if len(page) < PAGE:
                return
            after = page[-1].path.rsplit("/", 1)[1]

    def version(self, model: str, version: str) -> Stored[ModelVersion] | None:
        """A version by its name."""
        name = self._documents.get(self.name_path(model, version))
        return None if name is None else self.version_at(model, str(name.data["key"]))

    def version_at(self, model: str, key: str) -> Stored[ModelVersion] | None:
        """A version by its key."""
        document = self._documents.get(self.version_path(model, key))
        return stored(document, ModelVersion) if document else None

    def versions(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[ModelVersion]:
        """Versions from the newest declared time on; ``before`` is a key to go on from."""
        page = self._documents.list(f"models/{model}/versions", after=before, descending=True, limit=limit)
        return [stored(document, ModelVersion).value for document in page]

    def standing_before(self, model: str, key: str) -> Standing:
        """The fold's standing just before ``key``, from the version there."""
        previous = self.versions(model, before=key, limit=1)
        return previous[0].standing if previous else Standing()

    def versions_after(self, model: str, key: str) -> Iterator[Stored[ModelVersion]]:
        """Versions beyond ``key`` in the fold's order, read page by page as they are taken."""
        while True:
            page = self._documents.list(f"models/{model}/versions", after=key, limit=PAGE)
            for document in page:
                yield stored(document, ModelVersion)
            if len(page) < PAGE:
                return
            key = page[-1].path.rsplit("/", 1)[1]

    def rollout(self, model: str, rollout: str) -> Stored[Rollout] | None:
        """A rollout by its id."""
        document = self._documents.get(self.rollout_path(model, rollout))
        return stored(document, Rollout) if document else None

    def rollouts(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[Rollout]:
        """Rollouts, the newest first."""
        page = self._documents.list(f"models/{model}/rollouts", after=before, descending=True, limit=limit)
        return [stored(document, Rollout).value for document in page]

    def policy(self, model: str) -> Stored[PolicyRecord]:
        """The policy in force; the defaults where none was ever taken."""
        path = f"policies/{model}"
        document = self._documents.get(path)
        return stored(document, PolicyRecord) if document else Stored(path, PolicyRecord())

    def quarantined(self, digest: str) -> Stored[Quarantined] | None:
        """A quarantined upload or event."""
        document = self._documents.get(self.quarantine_path(digest))
        return stored(document, Quarantined) if document else None

    def quarantine(self, *, after: str | None = None, limit: int = PAGE) -> list[tuple[str, Quarantined]]:
        """What is quarantined, with its ids, in no particular order."""
        page = self._documents.list("quarantine", after=after, limit=limit)
        return [(document.path.rsplit("/", 1)[1], stored(document, Quarantined).value) for document in page]

    def commit(self, writes: Sequence[Write]) -> None:
        """All or nothing; raises Conflict if anything read for it changed meanwhile."""
        self._documents.commit(writes)

    def commit_about(self, head: Stored[ModelHead], new: ModelHead, writes: Sequence[Write] = ()) -> None:
        """Commit writes about a model, if nothing else was committed about it since its head was read.

        The head always changes: Firestore keeps the revision of a document that is replaced by its equal, and a
        decision made on what stood beside it before would go through.
        """
        counted = msgspec.structs.replace(new, changes=head.value.changes + 1)
        self.commit([head.write(counted), *writes])

    def naming(self, version: ModelVersion, old: Stored[ModelVersion] | None) -> list[Write]:
        """The writes that let the version's name lead to its key, and remove what stood under an older key."""
        path = self.name_path(version.model, version.version)
        if old is None:
            return [Stored(path, VersionName(version.key)).write(VersionName(version.key))]
        if old.value.key == version.key:
            return []
        assert old.revision is not None
        name = self._documents.get(path)
        revision = name.revision if name else None
        return [
            Stored(path, VersionName(version.key), revision).write(VersionName(version.key)),
            Delete(old.path, old.revision),
        ]

    @staticmethod
    def version_path(model: str, key: str) -> str:
        """The document of a version."""
        return f"models/{model}/versions/{key}"

    @staticmethod
    def name_path(model: str, version: str) -> str:
        """The document that leads from a version's name to its key."""
        return f"models/{model}/names/{version}"

    @staticmethod
    def rollout_path(model: str, rollout: str) -> str:
        """The document of a rollout."""
        return f"models/{model}/rollouts/{rollout}"

    @staticmethod
    def quarantine_path(digest: str) -> str:
        """The document of something quarantined."""
        return f"quarantine/{digest}"
