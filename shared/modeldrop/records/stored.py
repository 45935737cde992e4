"""Typed values in documents, with the revision they were read at."""

from typing import Any, Generic, TypeVar

import msgspec

from modeldrop.ports import Create, Document, Replace, Write

T = TypeVar("T", bound=msgspec.Struct)


class Stored(msgspec.Struct, Generic[T], frozen=True):
    """A value and where it stands; ``revision`` None: it is not stored yet."""

    path: str
    value: T
    revision: str | None = None

    def write(self, value: T) -> Write:
        """The write that puts ``value`` in this one's place, and fails if it changed meanwhile."""
        data: dict[str, Any] = msgspec.to_builtins(value)
        if self.revision is None:
            return Create(self.path, data)
        return Replace(self.path, data, self.revision)


def stored(document: Document, kind: type[T]) -> Stored[T]:
    """The document's data as ``kind``."""
    return Stored(document.path, msgspec.convert(document.data, kind), document.revision)
