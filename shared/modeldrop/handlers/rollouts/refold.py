"""Fold a changed version into the order of versions again: which records change, and who is champion then."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from modeldrop.domain.champion import command_step, step
from modeldrop.domain.model_head import ModelHead
from modeldrop.domain.versions import Command, Entry, ModelVersion, Standing, Status, settled_status
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
    entry: Entry


class RefoldTooLarge(PermanentError):
    """More records would change than one commit can take."""


def refold(
    registry: Registry,
    head: ModelHead,
    policy: PolicyRecord,
    entry: Entry,
    old: Stored[ModelVersion] | None,
    later: Mapping[str, Entry] = MappingProxyType({}),
) -> Refolded:
    """Put ``entry`` (a version, new or in place of ``old``, or a command) into the fold.

    An entry beyond all others needs nothing but the head. Else the predecessor is read, and successors only until
    the standing after one is what it was before the change: from there on nothing can differ. Whoever was judged
    before is judged by the same policy again; ``policy`` is for ``entry`` alone. ``later`` are entries beyond it, by
    key: stored ones that change with it, and at most one new command, beyond all that is stored.
    """
    stored_later = {key: other for key, other in later.items() if key <= head.last_key}
    changed, tail = _fold_on(registry, head, policy, entry, old, stored_later)
    for command in [c for key, c in later.items() if key not in stored_later and isinstance(c, Command)]:
        tail = command_step(command, head.last_standing if tail is None else tail.standing)
        changed.append((Stored(registry.version_path(head.model, command.key), command), tail))
    desired, desired_key = head.desired, head.desired_key
    if tail is not None:
        champion = tail.standing.champion
        desired, desired_key = (champion.version, champion.key) if champion else (None, None)
    final = [(slot, _with_status(folded, desired)) for slot, folded in changed]
    final += _champions_that_changed(registry, head, desired_key, {folded.key for _, folded in final})
    writes = [slot.write(folded) for slot, folded in final]
    if sum(len(msgspec.json.encode(write)) for write in writes) > MOST_BYTES:
        raise RefoldTooLarge(f"it would change {len(writes)} records at once")
    published = [folded.key for _, folded in final if isinstance(folded, ModelVersion)]
    unpublished = list(dict.fromkeys([*head.unpublished, *published]))
    new_head = msgspec.structs.replace(head, desired=desired, desired_key=desired_key, unpublished=unpublished)
    if tail is not None:
        new_head = msgspec.structs.replace(new_head, last_key=tail.key, last_standing=tail.standing)
    return Refolded(writes, new_head, next((f for _, f in final if f.key == entry.key), entry))


def _fold_on(
    registry: Registry,
    head: ModelHead,
    policy: PolicyRecord,
    entry: Entry,
    old: Stored[ModelVersion] | None,
    later: Mapping[str, Entry],
) -> tuple[list[tuple[Stored[Entry], Entry]], Entry | None]:
    """The records that change, old and new, and the last of all, if the fold had to go that far."""
    start = min(entry.key, old.value.key) if old else entry.key
    beyond = max(entry.key, old.value.key if old else "", *later)
    is_last = start > head.last_key
    standing = head.last_standing if is_last else registry.standing_before(entry.model, start)
    successors = iter(()) if is_last else registry.entries_after(entry.model, start)
    changed: list[tuple[Stored[Entry], Entry]] = []
    folded: Entry | None = None
    for slot in _in_order(registry, entry, old, start, successors):
        folded = _fold_one(later.get(slot.value.key, slot.value), standing, policy)
        standing = folded.standing
        was = old.value if old and slot.value.key == entry.key else slot.value
        if slot.revision is None or was != folded:
            changed.append((slot, folded))
        if slot.value.key > beyond and slot.value.standing == standing:
            return changed, None
    return changed, folded


def _fold_one(entry: Entry, standing: Standing, policy: PolicyRecord) -> Entry:
    if isinstance(entry, Command):
        return command_step(entry, standing)
    judged = entry.decision
    if judged is not None and judged.gate is not None:
        return step(entry, standing, judged.gate, judged.policy)[1]
    return step(entry, standing, policy.policy.gate, policy.digest)[1]


def _in_order(
    registry: Registry,
    entry: Entry,
    old: Stored[ModelVersion] | None,
    start: str,
    successors: Iterator[Stored[Entry]],
) -> Iterator[Stored[Entry]]:
    """From ``start`` on: what is stored, with ``entry`` in its place and ``old`` gone."""
    in_place = old is not None and old.value.key == entry.key
    revision = old.revision if old and in_place else None
    new: Stored[Entry] = Stored(registry.version_path(entry.model, entry.key), entry, revision)
    placed = False
    if start == entry.key:
        yield new
        placed = True
    for slot in successors:
        if not placed and slot.value.key >= entry.key:
            yield new
            placed = True
        if old is None or slot.value.key != old.value.key:
            yield slot
    if not placed:
        yield new


def _with_status(entry: Entry, desired: str | None) -> Entry:
    if isinstance(entry, Command) or entry.status in _UNDER_WAY:
        return entry
    status = Status.APPROVED if entry.version == desired and not entry.fallen else settled_status(entry)
    return msgspec.structs.replace(entry, status=status)


def _champions_that_changed(
    registry: Registry, head: ModelHead, desired_key: str | None, known: set[str]
) -> list[tuple[Stored[Entry], Entry]]:
    """The former desired champion, if it had not even begun to roll out, falls back to what it is without that."""
    former = head.desired_key
    if former is None or former == desired_key or former in known:
        return []
    slot = registry.version_at(head.model, former)
    if slot is None or slot.value.status is not Status.APPROVED:
        return []
    fallen_back: Entry = msgspec.structs.replace(slot.value, status=settled_status(slot.value))
    return [(Stored(slot.path, slot.value, slot.revision), fallen_back)]
