"""What a model's inference services follow: ``serving/{model}.json`` in the bucket names the version to serve.

The control plane writes it for ``strategy: hot_swap``; services read it every few seconds. It names a folder of its own
bucket, never an address elsewhere, and the digest the metadata there must have. Beside that it keeps in mind which
other versions may be swapped in at once.
"""

import re
from collections.abc import Iterable

import msgspec

from modeldrop.domain.object_names import is_object_name
from modeldrop.domain.packages import METADATA_NAME, MODEL_NAME, OUR_FOLDER, VERSION_NAME
from modeldrop.errors import FieldProblem, InvalidInput

POINTER_FOLDER = "serving/"
POINTER_LIMIT_BYTES = 8_192

MOST_WARM = 8
FOLLOWED_RUNTIMES = ("gemini", "scorecard")
"""Those that are metadata only: a process that runs one of their versions can take up another at once."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Swappable(msgspec.Struct, frozen=True):
    """A version that can be swapped in at once: it has passed its self-check."""

    version: str
    digest: str
    folder: str


class ServingPointer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The version to serve. Fields that a newer control plane may add are passed over."""

    model: str
    version: str
    digest: str
    """Lower-case hex SHA-256 of ``metadata.json``."""
    folder: str
    """Folder of the bucket with ``metadata.json`` and artifacts, without a slash at either end. Below
    ``verified/{model}/``: there are copies of what passed the gate, which uploaders cannot change."""
    warm: tuple[Swappable, ...] = ()
    """Other versions it may name next; whoever serves passes them over."""

    @property
    def current(self) -> Swappable:
        """The version it names."""
        return Swappable(self.version, self.digest, self.folder)

    @property
    def known(self) -> dict[str, Swappable]:
        """The version it names and the warm ones, by name."""
        return {one.version: one for one in (*self.warm, self.current)}


def pointer_to(model: str, current: Swappable, warm: Iterable[Swappable] = ()) -> ServingPointer:
    """A pointer that names ``current``; of the others the last ``MOST_WARM`` are kept."""
    others = tuple(one for one in warm if one.version != current.version)
    return ServingPointer(model, current.version, current.digest, current.folder, others[-MOST_WARM:])


def swapped(pointer: ServingPointer, version: str) -> ServingPointer:
    """The pointer that names another version it knows; the former one is warm, and the last to be forgotten."""
    return pointer_to(pointer.model, pointer.known[version], (*pointer.warm, pointer.current))


def with_warm(pointer: ServingPointer, one: Swappable) -> ServingPointer:
    """The pointer that knows one more version."""
    return pointer_to(pointer.model, pointer.current, (*pointer.warm, one))


def without(pointer: ServingPointer, version: str) -> ServingPointer | None:
    """The pointer that does not know that version; the last warm one takes the place of the current. None: it is alone.

    >>> v1, v2 = (Swappable(name, "0" * 64, f"verified/fraud/{name}") for name in ("v1", "v2"))
    >>> without(pointer_to("fraud", v2, [v1]), "v2").version
    'v1'
    >>> without(pointer_to("fraud", v1), "v1") is None
    True
    """
    left = [one for one in (*pointer.warm, pointer.current) if one.version != version]
    return pointer_to(pointer.model, left[-1], left[:-1]) if left else None


def why_not_followed(runtime: str, image: str | None) -> str | None:
    """Why versions of this kind cannot be swapped within a running process; None if they can.

    >>> why_not_followed("scorecard", None) is None
    True
    >>> why_not_followed("onnx", None)
    'only versions that are metadata alone (gemini, scorecard) can be swapped, and this one is onnx'
    """
    if runtime in FOLLOWED_RUNTIMES and image is None:
        return None
    own = " with its own container" if image is not None else ""
    kinds = ", ".join(FOLLOWED_RUNTIMES)
    return f"only versions that are metadata alone ({kinds}) can be swapped, and this one is {runtime}{own}"


def pointer_name(model: str) -> str:
    """The object's name in the bucket.

    >>> pointer_name("fraud")
    'serving/fraud.json'
    """
    return f"{POINTER_FOLDER}{model}.json"


def write_pointer(pointer: ServingPointer) -> bytes:
    """The object's bytes; raises InvalidInput for what ``read_pointer`` would not take."""
    _check(pointer, pointer.model)
    return msgspec.json.encode(pointer)


def read_pointer(data: bytes, model: str) -> ServingPointer:
    """The pointer of that model; raises InvalidInput with all its problems.

    >>> pointer = ServingPointer("fraud", "v3", "0" * 64, "verified/fraud/ab")
    >>> read_pointer(write_pointer(pointer), "fraud") == pointer
    True
    >>> read_pointer(b"{}", "fraud")
    Traceback (most recent call last):
    modeldrop.errors.InvalidInput: $: Object missing required field `model`
    """
    try:
        pointer = msgspec.json.decode(data, type=ServingPointer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput([FieldProblem("$", str(error))]) from None
    _check(pointer, model)
    return pointer


def _check(pointer: ServingPointer, model: str) -> None:
    problems = []
    if pointer.model != model or not MODEL_NAME.fullmatch(model):
        problems.append(FieldProblem("model", f"must be {model!a}, the name of a model, not {pointer.model[:80]!a}"))
    problems += _problems_of(pointer.current, model, "")
    for number, one in enumerate(pointer.warm):
        problems += _problems_of(one, model, f"warm.{number}.")
    if problems:
        raise InvalidInput(problems)


def _problems_of(one: Swappable, model: str, place: str) -> list[FieldProblem]:
    problems = []
    if not VERSION_NAME.fullmatch(one.version):
        problems.append(FieldProblem(f"{place}version", f"no version can be called {one.version[:80]!a}"))
    if not _DIGEST.fullmatch(one.digest):
        problems.append(FieldProblem(f"{place}digest", "must be the SHA-256 of the metadata, 64 lower-case hex digits"))
    below = f"{OUR_FOLDER}{model}/"
    if not one.folder.startswith(below) or not is_object_name(f"{one.folder}/{METADATA_NAME}"):
        problems.append(FieldProblem(f"{place}folder", f"must be a folder below {below}, without a slash at its end"))
    return problems
