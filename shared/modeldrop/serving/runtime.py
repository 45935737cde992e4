"""What runs one version: instances in, one answer for each out."""

from typing import Any, Protocol


class Runtime(Protocol):
    """A loaded version. Used by many threads at once."""

    def predict(self, instances: list[object]) -> list[dict[str, Any]]:
        """One JSON answer per instance, in order. An instance that fails is answered ``{"error": "why"}``."""
