"""Go through the audit trail and through every model's history, from their beginning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from modeldrop.domain import history_chain
from modeldrop.domain.audit_chain import Break, Link, Verified, verify
from modeldrop.ports import DocumentStore
from modeldrop.records.audit import AuditTrail
from modeldrop.records.collections import listed
from modeldrop.wiring import Services


class BrokenHistory(msgspec.Struct, frozen=True):
    """A model whose history is no chain, and where."""

    model: str
    broken: Break


class Audited(msgspec.Struct, frozen=True):
    """What was found: the trail, how many models were gone through, and the histories among them that are broken."""

    trail: Verified
    models: int
    histories: list[BrokenHistory]

    @property
    def is_whole(self) -> bool:
        """Whether everything follows from what was before."""
        return self.trail.broken is None and not self.histories


def verify_audit(
    services: Services, anchors: Sequence[Link] = (), progress: Callable[[str], object] = lambda _: None
) -> Audited:
    """Read all of it; ``progress`` is told each model. Raises Unavailable where the store is silent.

    It goes on while others write: what comes meanwhile is either not seen, or follows from what was.
    """
    trail = verify(AuditTrail(services.documents).entries(), anchors=anchors)
    models, histories = 0, []
    for head in listed(services.documents, "models"):
        model = head.path.rsplit("/", 1)[1]
        progress(model)
        models += 1
        last = str(head.data.get("history_hash", ""))
        broken = history_chain.first_break(model, _history(services.documents, head.path), last)
        if broken is not None:
            histories.append(BrokenHistory(model, broken))
    return Audited(trail, models, histories)


def _history(documents: DocumentStore, path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Entries as they are stored; one in a place where none can be has a number that no hash is of."""
    for document in listed(documents, f"{path}/history"):
        name = document.path.rsplit("/", 1)[1]
        yield (int(name) if name.isascii() and name.isdigit() else 0), document.data
