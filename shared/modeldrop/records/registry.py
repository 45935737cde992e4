"""The registry: models, versions in order, policies and rollouts, over any DocumentStore.

| path | holds |
|---|---|
| ``models/{model}`` | ModelHead: what is desired, serves, is under way |
| ``models/{model}/versions/{declared time}~{version}`` | ModelVersion, so that listing is in the fold's order |
| ``models/{model}/versions/{time}~!{number}`` | Command: an operator's word, in the same order |
| ``models/{model}/names/{version}`` | the key of that version |
| ``models/{model}/rollouts/{id}`` | Rollout |
| ``models/{model}/history/{number}`` | HistoryEntry, one a commit that means something; a chain of hashes |
| ``models/{model}/ledger/{digest}`` | LedgerEntry: content that fell |
| ``models/{model}/served/{time}~{rollout}`` | Served: what served when |
| ``models/{model}/health/live`` | HealthRecord of the version that serves |
| ``policies/{model}`` | PolicyRecord |
| ``outbox/{model}~{changes}~{kind}`` | Dispatch: news to be told |
| ``quarantine/{hash}`` | Quarantined: uploads and events that have no place in the registry |

Beside them, in modules of their own:

| path | holds |
|---|---|
| ``models/{model}/windows/{start}~{version}`` | WindowRecord: a window of a version's predictions (``windows``) |
| ``models/{model}/windows/{start}~{version}/shards/{index}`` | a shard of the window's sample, packed |
| ``models/{model}/labels/{start}`` | WindowRecord: a window of the model's labels |
| ``models/{model}/labels/{start}/shards/{index}`` | a shard of theirs |
| ``models/{model}/drift/{start}~{version}`` | DriftRecord: what moved in a window (``reports``) |
| ``models/{model}/quality/{start}~{version}`` | QualityRecord: how good the answers were |
| ``models/{model}/baselines/{version}`` | FirstWindow: which of its own windows a version is compared with |
| ``outbox/{model}~health~{time}`` | Dispatch: news of a model's health (``outbox``) |
| ``models/{model}/deliveries/{time}~{id}`` | Dispatch: news that were told, or given up |
| ``models/{model}/retraining/state`` | RetrainingState: alarms, and the governor's memory (``retraining``) |
| ``models/{model}/episodes/{number}`` | Episode: one retraining |
| ``training/{episode}`` | Order: a run to be started or followed |
| ``models/{model}/proposals/{name}`` | ProposalRecord: another decision threshold (``proposals``) |
| ``models/{model}/retraining/proposal`` | OpenProposal: the one that waits or is being applied |
| ``quarantine/{hash}`` | QuarantinedEvent: a prediction event that is none, with its bytes (``quarantined_events``) |
| ``unknown/quarantine`` | Room: how many more of them are taken |
| ``unknown/events`` | PassedOver: how many events belong to nothing registered, or came too late (``passed_over``) |
| ``heartbeats/{tick}`` | Heartbeat: a tick's last run (``heartbeats``) |
| ``audit/{number}`` | AuditEntry: what was asked of the API, and what came of it; a chain of hashes (``audit``) |

Windows, shards, reports, news and quarantined events say in ``expire_at`` when they may go; all else stays. What is
added here belongs into ``infra/firestore.indexes.json`` as well.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from modeldrop.domain.history_chain import history_hash
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.policy import Policy
from modeldrop.domain.rollout import Rollout
from modeldrop.domain.versions import Command, Entry, ModelVersion, Standing, order_key
from modeldrop.errors import FieldProblem
from modeldrop.ports import Create, Delete, Document, DocumentStore, Write
from modeldrop.records.health import HealthRecord, health_path
from modeldrop.records.outbox import Dispatch, outgoing
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


class HistoryEntry(msgspec.Struct, frozen=True):
    """A line of the audit trail: what happened to which version, when, by whose word, and why.

    The hashes are made when it is committed (``domain.history_chain``).
    """

    at: datetime
    what: str
    version: str
    by: str
    why: str
    previous: str = ""  # hash of the entry before
    hash: str = ""


class LedgerEntry(msgspec.Struct, frozen=True):
    """Content that fell: it is not deployed again by itself, under whatever name it comes."""

    version: str
    reason: str


class Served(msgspec.Struct, frozen=True):
    """A version that began to serve, and on whose decision."""

    version: str
    digest: str
    since: datetime
    by: str
    why: str
    rollout: str


class Quarantined(msgspec.Struct, frozen=True):
    """Something that came in and could not be taken, with the reasons."""

    what: str
    problems: list[FieldProblem]
    at: datetime
    expire_at: datetime | None = None  # of an upload: its owner will want to know


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
        versions: list[ModelVersion] = []
        while len(versions) < limit:
            wanted = limit - len(versions)
            page = self._documents.list(f"models/{model}/versions", after=before, descending=True, limit=wanted)
            versions += [entry.value for entry in map(_entry, page) if isinstance(entry.value, ModelVersion)]
            if len(page) < wanted:
                break
            before = page[-1].path.rsplit("/", 1)[1]
        return versions

    def standing_before(self, model: str, key: str) -> Standing:
        """The fold's standing just before ``key``, from the version or command there."""
        page = self._documents.list(f"models/{model}/versions", after=key, descending=True, limit=1)
        return _entry(page[0]).value.standing if page else Standing()

    def entries_after(self, model: str, key: str) -> Iterator[Stored[Entry]]:
        """Versions and commands beyond ``key`` in the fold's order, read page by page as they are taken."""
        while True:
            page = self._documents.list(f"models/{model}/versions", after=key, limit=PAGE)
            yield from map(_entry, page)
            if len(page) < PAGE:
                return
            key = page[-1].path.rsplit("/", 1)[1]

    def history(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[tuple[str, HistoryEntry]]:
        """What was committed about the model, the newest first, each with its number."""
        page = self._documents.list(f"models/{model}/history", after=before, descending=True, limit=limit)
        return [(document.path.rsplit("/", 1)[1], stored(document, HistoryEntry).value) for document in page]

    def served_at(self, model: str, moment: datetime) -> Served | None:
        """What served at ``moment``; None if nothing did."""
        after = order_key(moment, "~")  # beyond every number
        page = self._documents.list(f"models/{model}/served", after=after, descending=True, limit=1)
        return stored(page[0], Served).value if page else None

    def ledger_entry(self, model: str, digest: str) -> LedgerEntry | None:
        """Whether content with this digest has fallen before."""
        document = self._documents.get(self.ledger_path(model, digest))
        return stored(document, LedgerEntry).value if document else None

    def health(self, model: str) -> Stored[HealthRecord]:
        """How the live version was at the last look; a record that is not stored yet where there was none."""
        path = health_path(model)
        document = self._documents.get(path)
        return stored(document, HealthRecord) if document else Stored(path, HealthRecord())

    def outbox(self, *, after: str | None = None, limit: int = PAGE) -> list[Stored[Dispatch]]:
        """News that are to be told, by id."""
        return [stored(document, Dispatch) for document in self._documents.list("outbox", after=after, limit=limit)]

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

    def commit_about(
        self,
        head: Stored[ModelHead],
        new: ModelHead,
        writes: Sequence[Write] = (),
        note: HistoryEntry | None = None,
        news: Sequence[Dispatch] = (),
    ) -> None:
        """Commit writes about a model, if nothing else was committed about it since its head was read.

        ``note`` becomes the next entry of the model's history, which is only ever added to; ``news`` go to the outbox,
        under ids that follow from the commit, so that nothing is told twice.

        The head always changes: Firestore keeps the revision of a document that is replaced by its equal, and a
        decision made on what stood beside it before would go through.
        """
        last = head.value.history_hash
        counted = msgspec.structs.replace(new, changes=head.value.changes + 1, history_hash=last)
        noted: list[Write] = []
        if note is not None:
            entry = _chained(head.value.model, counted.changes, note, last)
            noted = [Create(f"{head.path}/history/{counted.changes:010d}", entry)]
            counted = msgspec.structs.replace(counted, history_hash=entry["hash"])
        told = [outgoing(head.value.model, counted.changes, item) for item in news]
        self.commit([head.write(counted), *writes, *noted, *told])

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
    def ledger_path(model: str, digest: str) -> str:
        """The document of content that fell."""
        return f"models/{model}/ledger/{digest}"

    @staticmethod
    def served_path(model: str, since: datetime, rollout: str) -> str:
        """The document that says that a version began to serve."""
        return f"models/{model}/served/{order_key(since, rollout)}"

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


def _chained(model: str, number: int, note: HistoryEntry, previous: str) -> dict[str, Any]:
    """The note as it is stored, behind the entry with that hash."""
    entry: dict[str, Any] = msgspec.to_builtins(note)
    return entry | {"previous": previous, "hash": history_hash(model, number, entry, previous)}


def _entry(document: Document) -> Stored[Entry]:
    if document.data.get("kind") == "command":
        return Stored(document.path, msgspec.convert(document.data, Command), document.revision)
    return Stored(document.path, msgspec.convert(document.data, ModelVersion), document.revision)
