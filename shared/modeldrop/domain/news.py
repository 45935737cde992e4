"""Changes of state that somebody may want to hear of."""

from typing import Literal

import msgspec

Kind = Literal["promoted", "rejected", "rolled_back", "drift", "retraining", "unhealthy"]
"""What a policy's ``notify.on`` chooses from."""


class News(msgspec.Struct, frozen=True):
    """One change: what happened to which version, and why. ``resolved``: a trouble told of before is over."""

    kind: Kind
    version: str
    what: str
    why: str
    resolved: bool = False
