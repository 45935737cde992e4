"""Proposals of a new decision threshold: what was proposed, who approved it, and what came of it.

| path | holds |
|---|---|
| ``models/{model}/proposals/{name}`` | ProposalRecord |
| ``models/{model}/retraining/proposal`` | OpenProposal: the one that waits for a word, or is being applied |

A model has one open proposal at most: a newer one takes the place of one that waits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from modeldrop.domain.retraining.threshold import Proposal
from modeldrop.ports import DocumentStore, Write
from modeldrop.records.stored import Stored, stored

PAGE = 50

PROPOSED: Final = "proposed"  # waits for somebody's word
APPROVED: Final = "approved"  # is being applied
APPLIED: Final = "applied"  # the version of that name was made the champion
SUPERSEDED: Final = "superseded"  # a newer proposal took its place
OUTDATED: Final = "outdated"  # it cannot be applied any more

Status = Literal["proposed", "approved", "applied", "superseded", "outdated"]


class ProposalRecord(msgspec.Struct, frozen=True):
    """A proposal. Its ``name`` is that of the version that comes of it."""

    name: str
    model: str
    version: str  # it is about
    digest: str  # of that version's metadata
    window: datetime  # start of the window whose predictions it follows from
    reference: str  # kind of the baseline: package | stable_version | first_window
    threshold: float  # present one
    baseline_threshold: float  # what scores in the package's reference are judged by
    proposal: Proposal
    proposed_at: datetime
    status: Status = PROPOSED
    approved_by: str | None = None
    approved_at: datetime | None = None
    ended_at: datetime | None = None
    why: str = ""  # it ended

    @property
    def text(self) -> str:
        """One sentence for people."""
        figures = self.proposal
        return (
            f"{self.version}: threshold {self.threshold} → {figures.threshold} would bring the share of positives from "
            f"{_percent(figures.current_rate)} to {_percent(figures.rate)}; it was {_percent(figures.baseline_rate)} "
            f"in the baseline. Approve {self.name} to apply it"
        )


class OpenProposal(msgspec.Struct, frozen=True):
    """Which proposal is open; None: none is."""

    name: str | None = None


class Proposals:
    """Reads them, and commits writes."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    def find(self, model: str, name: str) -> Stored[ProposalRecord] | None:
        """A proposal by its name."""
        document = self._documents.get(proposal_path(model, name))
        return stored(document, ProposalRecord) if document else None

    def open(self, model: str) -> Stored[OpenProposal]:
        """Which one is open; a record that is not stored yet where there never was one."""
        path = f"models/{model}/retraining/proposal"
        document = self._documents.get(path)
        return stored(document, OpenProposal) if document else Stored(path, OpenProposal())

    def all(self, model: str, *, before: str | None = None, limit: int = PAGE) -> list[ProposalRecord]:
        """Proposals from the last name on backwards: those of a version come the newest first."""
        page = self._documents.list(f"models/{model}/proposals", after=before, descending=True, limit=limit)
        return [stored(document, ProposalRecord).value for document in page]

    def commit(self, writes: Sequence[Write]) -> None:
        """All or none; raises Conflict if anything changed meanwhile."""
        self._documents.commit(writes)


def proposal_path(model: str, name: str) -> str:
    """The document of a proposal.

    >>> proposal_path("fraud", "v2-threshold-20260301T100000Z")
    'models/fraud/proposals/v2-threshold-20260301T100000Z'
    """
    return f"models/{model}/proposals/{name}"


def new_proposal(
    record: ProposalRecord, slot: Stored[OpenProposal], waiting: Stored[ProposalRecord] | None
) -> list[Write]:
    """The writes of a proposal that takes the place of the one that waits, if one does."""
    path = proposal_path(record.model, record.name)
    writes = [Stored(path, record).write(record), slot.write(OpenProposal(record.name))]
    if waiting is not None:
        why = f"{record.name} took its place"
        ended = msgspec.structs.replace(waiting.value, status=SUPERSEDED, ended_at=record.proposed_at, why=why)
        writes.append(waiting.write(ended))
    return writes


def end_of(
    slot: Stored[ProposalRecord], opened: Stored[OpenProposal], status: Status, why: str, now: datetime
) -> list[Write]:
    """The writes that end a proposal; it is open no longer."""
    changes: dict[str, Any] = {"status": status, "why": why[:1000], "ended_at": now}
    writes = [slot.write(msgspec.structs.replace(slot.value, **changes))]
    return [*writes, opened.write(OpenProposal())] if opened.value.name == slot.value.name else writes


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
