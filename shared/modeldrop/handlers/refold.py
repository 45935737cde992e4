"""Fold a changed version into the order of versions again: which records change, and who is champion then."""

from collections.abc import Iterator

import msgspec

from modeldrop.domain.champion import step
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import ModelVersion, Status, settled_status
from modeldrop.ports import Write
from modeldrop.records.registry import PolicyRecord, Registry
from modeldrop.records.stored import Stored

_UNDER_WAY = frozenset({Status.DEPLOYING, Status.CANARY, Status.LIVE})


class Refolded(msgspec.Struct, frozen=True):
    """The writes a change leads to, the head that goes with them, and the changed version as it is now."""

    writes: list[Write]
    head: ModelHead
    version: ModelVersion


def refold(
    registry: Registry, head: ModelHead, policy: PolicyRecord, version: ModelVersion, old: Stored[ModelVersion] | None
) -> Refolded:
    """Put ``version`` (new, or in place of ``old``) into the fold.

    Reads the predecessor, and successors only until the standing after one is what it was before the change: from
    there on nothing can differ.
    """
    start = min(version.key, old.value.key) if old else version.key
    changed: list[tuple[Stored[ModelVersion], ModelVersion]] = []
    standing = registry.standing_before(version.model, start)
    at_the_end = True
    for slot in _in_order(registry, version, old, start):
        standing, folded = step(slot.value, standing, policy.policy.gate, policy.digest)
        was = old if slot.value.key == version.key else slot
        agrees = slot.revision is not None and slot.value.standing == standing
        if was is None or was.value != folded or slot.revision is None:
            changed.append((slot, folded))
        if agrees and slot.value.key > max(version.key, old.value.key if old else ""):
            at_the_end = False
            break
    champion = standing.champion if at_the_end else None
    desired = (champion.version if champion else None) if at_the_end else head.desired
    desired_key = (champion.key if champion else None) if at_the_end else head.desired_key
    final = [(slot, _with_status(folded, desired)) for slot, folded in changed]
    writes = [slot.write(folded) for slot, folded in final]
    left_out = _superseded_before_its_rollout(registry, head, desired, {folded.version for _, folded in final})
    writes += [slot.write(folded) for slot, folded in left_out]
    keys = [folded.key for _, folded in (*final, *left_out)]
    new_head = msgspec.structs.replace(
        head, desired=desired, desired_key=desired_key, unpublished=list(dict.fromkeys([*head.unpublished, *keys]))
    )
    return Refolded(writes, new_head, next((f for _, f in final if f.key == version.key), version))


def _in_order(
    registry: Registry, version: ModelVersion, old: Stored[ModelVersion] | None, start: str
) -> Iterator[Stored[ModelVersion]]:
    """From ``start`` on: the stored versions, with ``version`` in its place and ``old`` gone."""
    in_place = old is not None and old.value.key == version.key
    revision = old.revision if old and in_place else None
    new = Stored(registry.version_path(version.model, version.key), version, revision)
    placed = False
    if start == version.key:
        yield new
        placed = True
    for slot in registry.versions_after(version.model, start):
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
    waits = head.rollout is None and former != (head.production.version if head.production else None)
    if former is None or former == desired or former in known or not waits or head.desired_key is None:
        return []
    slot = registry.version_at(head.model, head.desired_key)
    if slot is None or slot.value.status is not Status.APPROVED:
        return []
    return [(slot, msgspec.structs.replace(slot.value, status=settled_status(slot.value)))]
