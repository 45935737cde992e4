"""Changes of state that somebody may want to hear of."""

from typing import Literal

import msgspec

Kind = Literal["promoted", "rejected", "rolled_back", "drift", "retraining", "unhealthy"]
"""What a policy's ``notify.on`` chooses from."""
AnyKind = Literal[Kind, "undelivered"]
"""``undelivered``: a channel could not be told something; all the others hear of it, whatever they chose."""


class News(msgspec.Struct, frozen=True):
    """One change: what happened to which version, and why. ``resolved``: a trouble told of before is over."""

    kind: AnyKind
    version: str
    what: str
    why: str
    resolved: bool = False
