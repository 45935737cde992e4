"""An approver lets a version pass that the gate holds for somebody's word."""

import msgspec

from modeldrop.domain.versions import Grant, Status
from modeldrop.errors import Conflict
from modeldrop.handlers.promote_version import Reply, uploader
from modeldrop.handlers.refold import refold
from modeldrop.handlers.register_package import follow_up
from modeldrop.records.registry import HistoryEntry
from modeldrop.wiring import Services

_ATTEMPTS = 20


def approve_version(services: Services, model: str, version: str, *, by: str) -> Reply:
    """Approve ``version``; it is judged again at its place in the order. Given twice, it is carried out once."""
    for _ in range(_ATTEMPTS):
        try:
            reply = _approve(services, model, version, by=by)
        except Conflict:
            continue
        follow_up(services, model)
        return reply
    raise Conflict(f"{model}: lost {_ATTEMPTS} races to approve {version}")


def _approve(services: Services, model: str, version: str, *, by: str) -> Reply:
    head = services.registry.head(model)
    found = services.registry.version(model, version)
    if found is None:
        return Reply("refused", f"{model} has no version {version}")
    if found.value.approval is not None:
        return Reply("accepted", f"{found.value.approval.by} has approved it already")
    if found.value.status is not Status.AWAITING_APPROVAL:
        return Reply("refused", f"{version} does not wait for approval: it is {found.value.status}")
    if by == uploader(found.value):
        return Reply("refused", f"{by} made the package: somebody else must approve it")
    now = services.clock()
    approved = msgspec.structs.replace(found.value, approval=Grant(by, now))
    folded = refold(services.registry, head.value, services.registry.policy(model).value, approved, found)
    note = HistoryEntry(now, "approved by hand", version, by, f"content {found.value.digest}")
    services.registry.commit_about(head, folded.head, folded.writes, note)
    return Reply("accepted", f"approved by {by}")
