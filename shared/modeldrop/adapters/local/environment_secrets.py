"""Secrets from the environment, for the embedded cloud."""

import re
from collections.abc import Mapping

from modeldrop.errors import NotFound, Refused

_REFERENCE = re.compile(r"env:(MODELDROP_SECRET_[A-Z0-9_]{1,100})")


class EnvironmentSecrets:
    """A ports.Secrets over variables called ``MODELDROP_SECRET_…``: no policy can have another one read."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def read(self, reference: str) -> str:
        """See Secrets. An empty variable is none."""
        match = _REFERENCE.fullmatch(reference)
        # What is no reference of ours is not quoted: it may be the secret itself, written where that should be.
        if reference.startswith("projects/"):
            raise Refused("projects/… is in Secret Manager, which needs the gcp backend")
        if match is None:
            raise Refused("not a reference to a secret: env:MODELDROP_SECRET_… is one")
        text = self._environment.get(match[1], "").strip()
        if not text:
            raise NotFound(f"there is no secret {reference}: the variable is not set, or empty")
        return text
