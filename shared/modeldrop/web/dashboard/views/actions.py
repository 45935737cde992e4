"""What the caller may do with a model just now: the buttons of its page, and the words that ask "sure?"."""

from collections.abc import Collection
from dataclasses import dataclass

from modeldrop.web.dashboard.reader import Answer
from modeldrop.web.dashboard.views.retraining import Retraining
from modeldrop.web.dashboard.views.rollouts import Rollouts
from modeldrop.web.dashboard.views.versions import VersionRow, Versions

ROLE_OF = dict.fromkeys(("promote", "rollback", "pause", "resume", "retrain"), "operator") | {"approve": "approver"}
WAITS = "the gate let it pass; the policy wants somebody's word"


@dataclass(frozen=True)
class Choice:
    """A version to choose."""

    version: str
    text: str


@dataclass(frozen=True)
class Approval:
    """Something that waits for an approver's word."""

    name: str
    why: str


@dataclass(frozen=True)
class Actions:
    """The buttons. Empty lists and False: no such button for this caller, or not now."""

    promote: list[Choice]
    rollback: list[Choice]
    falls: str | None  # whom a rollback takes the traffic from
    pause: bool
    resume: bool
    retrain: bool
    approvals: list[Approval]

    @property
    def any(self) -> bool:
        """Whether there is a button at all."""
        return bool(self.promote or self.rollback or self.pause or self.resume or self.retrain or self.approvals)


@dataclass(frozen=True)
class Sections:
    """The parts of the page that buttons follow from."""

    model: Answer
    versions: Versions
    rollouts: Rollouts
    retraining: Retraining


def actions(sections: Sections, roles: Collection[str]) -> Actions:
    """Those the caller has a role for."""
    operator, approver = "operator" in roles, "approver" in roles
    model, rows = sections.model, sections.versions.rows
    paused, serves = model["paused"] is not None, model["production"] or model["rollout"]
    return Actions(
        [_choice(row) for row in rows if row.name != model["production"]] if operator else [],
        _ways_back(model, rows) if operator and serves else [],
        falls(model),
        operator and not paused,
        operator and paused,
        operator and model["production"] is not None,
        _approvals(sections) if approver else [],
    )


def falls(model: Answer) -> str | None:
    """The version that a rollback is about: the one on its way, else the one that serves."""
    version: str | None = model["desired"] if model["rollout"] else model["production"]
    return version


def sure(model: Answer, command: str, target: str) -> str:
    """The question before a command that changes who answers. (``data-sure`` in actions.html is the same.)"""
    name = model["model"]
    if command == "approve":
        return f"Approve {target}? It goes on at once towards all traffic of {name}."
    if command == "promote":
        return f"Make {target} the champion of {name}? Its rollout begins at once."
    return f"Roll {name} back to {target or 'the version before'}? {falls(model)} loses its traffic at once."


def _choice(row: VersionRow) -> Choice:
    return Choice(row.name, f"{row.name} · {row.mark.word} · score {row.score}")


def _ways_back(model: Answer, rows: list[VersionRow]) -> list[Choice]:
    """The version before comes first, by its name: a page may be older than the last change of who serves.

    One that was rolled back is no place to go back to.
    """
    before = model["production"] if model["rollout"] else model["aliases"]["previous"]
    first = [Choice(before, f"{before} · the version before")] if before else []
    return first + [_choice(row) for row in rows if row.status == "superseded" and row.name != before]


def _approvals(sections: Sections) -> list[Approval]:
    waiting = [Approval(row.name, WAITS) for row in sections.versions.rows if row.status == "awaiting_approval"]
    staging = sections.model["aliases"]["staging"]
    if staging and not sections.model["rollout"] and staging not in [row.name for row in sections.versions.rows]:
        waiting.append(Approval(staging, WAITS))  # newer ones have pushed it off this page
    waiting += [Approval(one.version, one.held) for one in sections.rollouts.rows if one.waits_for_approver]
    return waiting + [Approval(one.name, one.text) for one in sections.retraining.proposals if one.open]
