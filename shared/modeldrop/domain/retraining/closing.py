"""How an episode ends: by the version that came of it, or because none came; and whether that version is a gain."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from modeldrop.domain.retraining.episode import Episode
from modeldrop.domain.versions import ModelVersion, Status

PROPOSAL_LABEL: Final = "proposal"
"""Versions with this label came of a proposal of ours, not of a retraining."""
RUN_ID, PARENT = "run_id", "parent"  # in a version's lineage
_NO_GAIN = {
    Status.REJECTED: "the gate rejected it",
    Status.FAILED: "it could not be deployed",
    Status.ROLLED_BACK: "it was rolled back",
}


def came_of(episode: Episode, versions: Iterable[ModelVersion]) -> ModelVersion | None:
    """The version that closes the episode: the first to arrive of those whose ``lineage.run_id`` names it.

    Where none does, and the episode is open, the first whose ``lineage.parent`` is the version the episode is about, of
    those that came after the target had been asked and took it: before, nothing could come of the episode.
    """
    arrived = sorted(
        (version for version in versions if version.metadata is not None and version.received_at >= episode.opened_at),
        key=lambda version: version.received_at,
    )
    names = {episode.id, episode.run.id} - {None}
    by_run = (version for version in arrived if _lineage(version, RUN_ID) in names)
    by_parent = (version for version in arrived if _is_child(episode, version))
    return next(by_run, None) or next(by_parent, None)


def gained(
    version: ModelVersion, *, serves_since: datetime | None, watched_seconds: float, now: datetime
) -> bool | None:
    """Whether the version is a gain: it went live, and was not taken back while it was watched. None: not known yet.

    ``serves_since``: since when it has been production; None: it is not.
    """
    if version.status in _NO_GAIN or version.fallen:
        return False
    if serves_since is not None:
        return True if (now - serves_since).total_seconds() >= watched_seconds else None
    if version.status is Status.SUPERSEDED:
        return version.rolled_out  # others came after it; what never began is no gain
    return None


def why_no_gain(version: ModelVersion) -> str:
    """For people."""
    return version.fallen or _NO_GAIN.get(version.status, "it was superseded before it served")


def _is_child(episode: Episode, version: ModelVersion) -> bool:
    """Whether it may have come of the episode, though it names no run."""
    return (
        episode.is_open
        and episode.accepted_at is not None
        and version.received_at >= episode.accepted_at
        and episode.request.version is not None
        and _lineage(version, PARENT) == episode.request.version
        and _lineage(version, RUN_ID) is None
        and version.metadata is not None
        and PROPOSAL_LABEL not in version.metadata.labels
    )


def _lineage(version: ModelVersion, name: str) -> str | None:
    return None if version.metadata is None else version.metadata.lineage.get(name)
