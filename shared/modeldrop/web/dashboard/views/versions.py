"""A model's versions as rows."""

from dataclasses import dataclass
from datetime import datetime

from modeldrop.web.dashboard.figures import figure
from modeldrop.web.dashboard.marks import Mark, version_mark
from modeldrop.web.dashboard.moments import Moment, moment
from modeldrop.web.dashboard.reader import Answer, Reader

VERSIONS_A_PAGE = 20
_DIGEST = 12


@dataclass(frozen=True)
class VersionRow:
    """One version; ``roles``: production, previous, staging or latest, as far as it is any of them."""

    name: str
    status: str
    mark: Mark
    roles: list[str]
    score: str
    runtime: str
    declared: Moment | None
    received: Moment | None
    commit: str
    digest: str
    full_digest: str
    note: str


@dataclass(frozen=True)
class Versions:
    """A page of them."""

    rows: list[VersionRow]
    next: str | None


def versions(reader: Reader, model: Answer, before: str | None, now: datetime) -> Versions:
    """The newest first."""
    found = reader.get(f"/v1/models/{model['model']}/versions", limit=VERSIONS_A_PAGE, before=before)
    return Versions([version_row(each, model["aliases"], now) for each in found["versions"]], found["next"])


def version_row(found: Answer, aliases: Answer, now: datetime) -> VersionRow:
    """A version's row from what the API says of it."""
    roles = [role for role in ("production", "staging", "previous") if aliases.get(role) == found["version"]]
    note = found["fallen"] or (f"waits for {', '.join(found['waiting_for'])}" if found["waiting_for"] else "")
    return VersionRow(
        found["version"],
        found["status"],
        version_mark(found["status"]),
        roles,
        figure(found["score"]),
        found["runtime"] or "–",
        moment(found["declared_at"], now),
        moment(found["received_at"], now),
        found["lineage"].get("commit", ""),
        found["digest"][:_DIGEST],
        found["digest"],
        note,
    )
