"""Who may do what: viewers, operators, approvers."""

from pathlib import Path
from typing import Any

import pytest

from modeldrop.settings import Settings
from modeldrop.web.callers import Caller
from modeldrop.web.roles import ALL_ROLES, refusal, roles_of

OPERATOR, APPROVER, VIEWER = {"viewer", "operator"}, {"viewer", "approver"}, {"viewer"}


def settings(auth: str = "jwt", **named: Any) -> Settings:
    return Settings("local", data=Path("nowhere"), auth=auth, **named)


@pytest.mark.parametrize(
    ("named", "name", "roles"),
    [
        ({}, "ada@example.com", set()),
        ({"operators": "ada@example.com"}, "ada@example.com", OPERATOR),
        ({"operators": " bob@example.com , ADA@Example.com ,"}, "ada@example.com", OPERATOR),
        ({"operators": "ada@example.com"}, "da@example.com", set()),
        ({"operators": "ada@example.com"}, "ada@example.com.org", set()),
        ({"operators": "ada@example.com"}, "", set()),
        ({"operators": ""}, "", set()),
        ({"approvers": "@example.com"}, "ada@example.com", APPROVER),
        ({"approvers": "@example.com"}, "ada@sub.example.com", set()),
        ({"approvers": "@example.com"}, "ada@evil-example.com", set()),
        ({"approvers": "@example.com"}, "@example.com", set()),
        ({"approvers": "@example.com"}, "1234567", set()),
        ({"approvers": "example.com"}, "ada@example.com", set()),
        ({"viewers": "*"}, "1234567", VIEWER),
        ({"viewers": "@example.com"}, "ada@example.org", set()),
        ({"operators": "1234567"}, "1234567", OPERATOR),
        ({"operators": "Sub"}, "sub", set()),
        ({"operators": "a@b.c", "approvers": "a@b.c"}, "a@b.c", ALL_ROLES),
        ({"viewers": "", "operators": "a@b.c"}, "a@b.c", OPERATOR),
    ],
)
def test_roles_follow_from_the_settings(named: dict[str, str], name: str, roles: set[str]) -> None:
    assert roles_of(settings(**named), name) == roles


def test_behind_cloud_run_everybody_may_look_unless_viewers_are_named() -> None:
    assert roles_of(settings("iam"), "eve@example.com") == VIEWER
    assert roles_of(settings("iam", viewers="@example.org"), "eve@example.com") == set()


def test_an_approver_is_no_operator_and_the_reverse() -> None:
    four_eyes = settings(operators="ada@example.com", approvers="bob@example.com")
    ada = Caller("ada@example.com", roles_of(four_eyes, "ada@example.com"))
    bob = Caller("bob@example.com", roles_of(four_eyes, "bob@example.com"))
    assert refusal(four_eyes, ada, "operator") is None and refusal(four_eyes, bob, "approver") is None
    assert refusal(four_eyes, ada, "viewer") is None and refusal(four_eyes, bob, "viewer") is None
    for caller, role in ((ada, "approver"), (bob, "operator")):
        reply = refusal(four_eyes, caller, role)  # type: ignore[arg-type]
        assert reply is not None and reply.status == 403
        assert isinstance(reply.body, bytes) and caller.name.encode() in reply.body
