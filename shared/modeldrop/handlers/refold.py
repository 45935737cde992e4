"""Fold a changed version into the order of versions again: which records change, and who is champion then."""

from collections.abc import Iterator

import msgspec

from modeldrop.domain.champion import step
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import ModelVersion, Status, settled_status
from modeldrop.errors import PermanentError
from modeldrop.ports import Write
from modeldrop.records.registry import PolicyRecord, Registry
from modeldrop.records.stored import Stored

MOST_BYTES = 4 << 20  # a commit takes 5 MiB, and there is more in it than versions
_UNDER_WAY = frozenset({Status.DEPLOYING, Status.CANARY, Status.LIVE})


class Refolded(msgspec.Struct, frozen=True):
    """The writes a change leads to, the head that goes with them, and the changed version as it is now."""

    writes: list[Write]
    head: ModelHead
    version: ModelVersion


class RefoldTooLarge(PermanentError):
    """More records would change than one commit can take."""


def refold(
    registry: Registry, head: ModelHead, policy: PolicyRecord, version: ModelVersion, old: Stored[ModelVersion] | None
) -> Refolded:
    """Put ``version`` (new, or in place of ``old``) into the fold.

    A version beyond all others needs nothing but the head. Else the predecessor is read, and successors only until
    the standing after one is what it was before the change: from there on nothing can differ. Whoever was judged
    before is judged by the same policy again; ``policy`` is for ``version`` alone.
    """
    changed, tail = _fold_on(registry, head, policy, version, old)
    desired, desired_key = head.desired, head.desired_key
    if tail is not None:
        champion = tail.standing.champion
        desired, desired_key = (champion.version, champion.key) if champion else (None, None)
    final = [(slot, _with_status(folded, desired)) for slot, folded in changed]
    final += _superseded_before_its_rollout(registry, head, desired, {folded.version for _, folded in final})
    writes = [slot.write(folded) for slot, folded in final]
    if sum(len(msgspec.json.encode(write)) for write in writes) > MOST_BYTES:
        raise RefoldTooLarge(f"{version.version} would change {len(writes)} versions at once")
    unpublished = list(dict.fromkeys([*head.unpublished, *(folded.key for _, folded in final)]))
    new_head = msgspec.structs.replace(head, desired=desired, desired_key=desired_key, unpublished=unpublished)
    if tail is not None:
        new_head = msgspec.structs.replace(new_head, last_key=tail.key, last_standing=tail.standing)
    return Refolded(writes, new_head, next((f for _, f in final if f.key == version.key), version))


def _fold_on(
    registry: Registry, head: ModelHead, policy: PolicyRecord, version: ModelVersion, old: Stored[ModelVersion] | None
) -> tuple[list[tuple[Stored[ModelVersion], ModelVersion]], ModelVersion | None]:
    """The records that change, old and new, and the last version of all, if the fold had to go that far."""
    start = min(version.key, old.value.key) if old else version.key
    beyond = max(version.key, old.value.key) if old else version.key
    is_last = start > head.last_key
    standing = head.last_standing if is_last else registry.standing_before(version.model, start)
    successors = iter(()) if is_last else registry.versions_after(version.model, start)
    changed: list[tuple[Stored[ModelVersion], ModelVersion]] = []
    folded: ModelVersion | None = None
    for slot in _in_order(registry, version, old, start, successors):
        judged = slot.value.decision
        own = judged.gate if judged else None
        gate, digest = (own, judged.policy) if judged and own else (policy.policy.gate, policy.digest)
        standing, folded = step(slot.value, standing, gate, digest)
        was = old.value if old and slot.value.key == version.key else slot.value
        if slot.revision is None or was != folded:
            changed.append((slot, folded))
        if slot.value.key > beyond and slot.value.standing == standing:
            return changed, None
    return changed, folded


def _in_order(
    registry: Registry,
    version: ModelVersion,
    old: Stored[ModelVersion] | None,
    start: str,
    successors: Iterator[Stored[ModelVersion]],
) -> Iterator[Stored[ModelVersion]]:
    """From ``start`` on: the stored versions, with ``version`` in its place and ``old`` gone."""
    in_place = old is not None and old.value.key == version.key
    revision = old.revision if old and in_place else None
    new = Stored(registry.version_path(version.model, version.key), version, revision)
    placed = False
    if start == version.key:
        yield new
        placed = True
    for slot in successors:
        if not placed and slot.value.key >= version.key:
            yield new
            placed = True
        if old is None or slot.value.key != old.value.key:
            yield slot
    if not placed:
        yield new


def _with_status(version: ModelVersion, desired: str | None) -> ModelVersion:
    if version.status in _UNDER_WAY and not version.fallen:
        return version
    status = Status.APPROVED if version.version == desired and not version.fallen else settled_status(version)
    return msgspec.structs.replace(version, status=status)


def _superseded_before_its_rollout(
    registry: Registry, head: ModelHead, desired: str | None, known: set[str]
) -> list[tuple[Stored[ModelVersion], ModelVersion]]:
    """The former desired champion, if it had not even begun to roll out."""
    former = head.desired
    if former is None or former == desired or former in known or head.desired_key is None:
        return []
    slot = registry.version_at(head.model, head.desired_key)
    if slot is None or slot.value.status is not Status.APPROVED:
        return []
    return [(slot, msgspec.structs.replace(slot.value, status=settled_status(slot.value)))]
