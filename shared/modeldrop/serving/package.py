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
        """The bytes of a file of the folder. Raises as ``read_file``."""
        return read_file(self.bucket, self.folder, name, limit_bytes=limit_bytes)


def read_file(bucket: Bucket, folder: str, name: str, *, limit_bytes: int) -> bytes:
    """The bytes of a file of a folder ("" is the bucket itself). Raises NotFound, TooLarge, Unavailable (try again)."""
    place = f"{folder}/{name}" if folder else name
    found = bucket.read(place, limit_bytes=limit_bytes)
    if found is None:
        raise NotFound(f"{bucket.uri}/{place} does not exist")
    return found[1]
