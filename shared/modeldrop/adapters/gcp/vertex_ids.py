"""Names on Vertex AI: each derived from what it stands for, so that a call repeated meets its own work.

They name resources that exist: to change the derivation is to lose them.
"""

from hashlib import blake2b
from typing import Any

from modeldrop.ports import ServedVersion

MODEL_LABEL = "modeldrop-model"
_DIGEST_LABEL = "modeldrop-digest"
_LABEL_LENGTH = 63


def endpoint_id(model: str) -> str:
    """The endpoint of a model: at most 63 of ``[a-z0-9-]``, a letter first, a letter or digit last.

    >>> endpoint_id("fraud")
    'modeldrop-fraud-f2a2593513'
    """
    return f"modeldrop-{model[:40]}-{_hash(model)[:10]}"


def model_id(version: ServedVersion) -> str:
    """The Vertex model of a version with this very content: 63 of ``[a-z0-9-]``, a letter first."""
    return f"{model_prefix(version.model, version.version)}{version.digest[:40]}"


def deployed_id(version: ServedVersion) -> str:
    """The deployment of a version: ten digits, the first of them no zero."""
    number = int(_hash(version.model, version.version, version.digest), 16)
    return str(1_000_000_000 + number % 9_000_000_000)


def labels(version: ServedVersion) -> dict[str, str]:
    """The labels of a Vertex model: whose it is and, cut to a label's length, the digest of its content."""
    return {MODEL_LABEL: version.model, _DIGEST_LABEL: version.digest[:_LABEL_LENGTH]}


def model_prefix(model: str, version: str) -> str:
    """What the ids of all Vertex models of a version begin with, whatever their content."""
    return f"modeldrop-{_hash(model, version)[:12]}-"


def model_of(deployed: Any) -> str:
    """The model's id alone: Vertex AI answers with the project's number in its names, and may add ``@version``."""
    name: str = deployed.model
    return name.rpartition("/")[2].partition("@")[0]


def _hash(*parts: str) -> str:
    # No name holds a NUL, so that different parts never join to the same text.
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
