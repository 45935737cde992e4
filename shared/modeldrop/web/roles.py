"""Who may do what.

A viewer looks. An operator promotes, rolls back, pauses, retrains. An approver approves what waits for a second person,
so that none of them is the other by itself: four eyes. Operators and approvers are viewers, too.

They are named in the settings, separated by commas: an e-mail, ``@domain`` (every verified e-mail of exactly that
domain), ``*`` (anybody who is known), or a token's subject where it has no e-mail.
"""

from typing import TYPE_CHECKING, Final, Literal

from modeldrop.http.messages import Reply, problem
from modeldrop.settings import Settings

if TYPE_CHECKING:
    from modeldrop.web.callers.caller import Caller

Role = Literal["viewer", "operator", "approver"]
ALL_ROLES: Final[frozenset[Role]] = frozenset({"viewer", "operator", "approver"})
ANYBODY = "*"


def roles_of(settings: Settings, name: str) -> frozenset[Role]:
    """What somebody known by that name may do.

    >>> from pathlib import Path
    >>> settings = Settings("local", data=Path(), auth="jwt", operators="Ada@example.com", approvers="@example.org")
    >>> [sorted(roles_of(settings, name)) for name in ("ada@example.com", "bob@example.org", "eve@sub.example.org")]
    [['operator', 'viewer'], ['approver', 'viewer'], []]
    """
    viewers = settings.viewers
    if viewers is None:
        viewers = ANYBODY if settings.auth == "iam" else ""
    named: tuple[tuple[Role, str], ...] = (
        ("viewer", viewers),
        ("operator", settings.operators),
        ("approver", settings.approvers),
    )
    roles: set[Role] = {role for role, people in named if _among(name, people)}
    return frozenset(roles | {"viewer"}) if roles else frozenset()


def refusal(settings: Settings, caller: "Caller", role: Role) -> Reply | None:
    """403 if the caller has not the role a call needs; None if they may."""
    if role in caller.roles:
        return None
    return problem(403, f"{caller.name} is no {role}: {settings_name(role)} names them")


def settings_name(role: Role) -> str:
    """The setting that names those who have a role.

    >>> settings_name("approver")
    'MODELDROP_APPROVERS'
    """
    return f"MODELDROP_{role.upper()}S"


def _among(name: str, people: str) -> bool:
    """E-mails are compared without regard to case; subjects, which have no ``@``, as they are."""
    entries = {entry.strip() for entry in people.split(",")} - {""}
    if ANYBODY in entries:
        return True
    local, at, domain = name.rpartition("@")
    if not at:
        return name in entries
    if not local:
        return False
    return bool({name.lower(), f"@{domain.lower()}"} & {entry.lower() for entry in entries})
