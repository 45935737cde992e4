"""A version's folder, as a runtime is loaded from it."""

from typing import Any

import msgspec

from modeldrop.errors import NotFound
from modeldrop.ports import Bucket


class Package(msgspec.Struct, frozen=True):
    """The checked metadata of a version, and the folder with its other files."""

    metadata: dict[str, Any]
    version: str
    bucket: Bucket
    folder: str  # without a slash at its end; "" is the bucket itself

    def read(self, name: str, *, limit_bytes: int) -> bytes:
        """The bytes of a file of the folder. Raises NotFound, TooLarge, Unavailable (try again)."""
        place = f"{self.folder}/{name}" if self.folder else name
        found = self.bucket.read(place, limit_bytes=limit_bytes)
        if found is None:
            raise NotFound(f"{self.bucket.uri}/{place} does not exist")
        return found[1]
