"""Somebody who is known, and what they may do."""

from dataclasses import dataclass

from modeldrop.web.roles import Role


@dataclass(frozen=True)
class Caller:
    """Who asks: a verified e-mail, a token's subject, or the local operator."""

    name: str
    roles: frozenset[Role]
