"""Dropping a package as a careful person would: artifacts first, metadata last, whole or not at all."""

import hashlib
import json
import mimetypes
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.domain.integrity import MOST_FILE_BYTES
from modeldrop.domain.packages import (
    DEPLOYMENT_INFO_NAME,
    METADATA_NAME,
    MODEL_NAME,
    OUR_FILES,
    REJECTION_NAME,
    VERSION_NAME,
)
from modeldrop.errors import ConfigurationError, Conflict, FieldProblem, InvalidInput, TooLarge, Unavailable
from modeldrop.events.metadata import METADATA_LIMIT_BYTES
from modeldrop.ports import Bucket, BucketObject

WRITE_ATTEMPTS = 3
WRITE_PAUSE_SECONDS = 0.3
JSON_LINES = "application/jsonl"


def drop_package(source: Path, bucket: Path) -> tuple[str, str]:
    """Write the folder into an embedded cloud's bucket, as ``upload_package`` does."""
    if not bucket.is_dir():
        raise ConfigurationError(f"there is no bucket at {bucket}: is modeldrop up running with this --data?")
    return upload_package(source, FolderBucket(bucket), lambda _: None)


def upload_package(source: Path, bucket: Bucket, tell: Callable[[str], Any]) -> tuple[str, str]:
    """Write the folder to ``models/{model}/{version}/``, as its metadata names them; returns both names.

    Can be repeated: files that are there already are left alone. A package whose metadata are there is complete:
    nothing of it is changed any more, unless it was rejected; then it is mended, and its metadata are written anew so
    that it is looked at again. Raises Conflict where it says something else, or somebody else writes it as well.
    """
    model, version = names_of(source)
    prefix = f"models/{model}/{version}/"
    files = files_of(source)
    rejected = _is_rejected(bucket, prefix)
    complete = bucket.stat(prefix + METADATA_NAME) is not None and not rejected
    mended = False
    for path in files:
        name = prefix + path.relative_to(source).as_posix()
        data = _content(path)
        found = bucket.stat(name)
        again = mended and path == source / METADATA_NAME
        if found is not None and not again and _is_same(bucket, found, data):
            tell(f"{name} is there already")
        elif complete:
            raise Conflict(f"{bucket.uri}/{prefix} is complete, and its {path.name} is another: take a new version")
        else:
            _write(bucket, name, data, found.generation if found else 0)
            mended = rejected
            tell(name)
    return model, version


def _is_rejected(bucket: Bucket, prefix: str) -> bool:
    """Whether the package stands there and was rejected, and never approved."""
    approved = bucket.stat(prefix + DEPLOYMENT_INFO_NAME) is not None
    return not approved and bucket.stat(prefix + REJECTION_NAME) is not None


def files_of(source: Path) -> list[Path]:
    """The files of a package's folder in the order they are dropped in: its metadata last.

    Raises InvalidInput for links and special files: to leave one out would break the package, and to follow one could
    drop what was never meant to leave this machine.
    """
    files, problems = [], []
    for path in sorted(source.rglob("*")):
        mode = path.lstat().st_mode
        if path.name in OUR_FILES or stat.S_ISDIR(mode):
            continue
        files.append(path)
        if not stat.S_ISREG(mode):
            name = ascii(path.relative_to(source).as_posix())[1:-1][:160]
            problems.append(FieldProblem(name, "is a link or a special file: only plain files are dropped"))
    if problems:
        raise InvalidInput(problems)
    return sorted(files, key=lambda path: path == source / METADATA_NAME)


def names_of(source: Path) -> tuple[str, str]:
    """Model and version, as the metadata name them. Raises InvalidInput where they are no names."""
    try:
        # Nothing is waited for, should it be a pipe.
        with os.fdopen(os.open(source / METADATA_NAME, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            metadata = json.loads(file.read(METADATA_LIMIT_BYTES + 1))
        model, version = metadata["model"], metadata["version"]
    except OSError as error:
        raise InvalidInput([FieldProblem(METADATA_NAME, error.strerror or "cannot be read")]) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        problem = FieldProblem(METADATA_NAME, "must be a JSON object that names its model and version")
        raise InvalidInput([problem]) from None
    wrong = [
        FieldProblem(f"{METADATA_NAME}:{field}", f"{str(name)[:160]!a} is no {field} name: {pattern.pattern}")
        for field, name, pattern in (("model", model, MODEL_NAME), ("version", version, VERSION_NAME))
        if not isinstance(name, str) or not pattern.fullmatch(name)
    ]
    if wrong:
        raise InvalidInput(wrong)
    return model, version


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_FILE_BYTES + 1)
    if len(data) > MOST_FILE_BYTES:
        raise TooLarge(f"{path} has more than {MOST_FILE_BYTES} bytes")
    return data


def _write(bucket: Bucket, name: str, data: bytes, generation: int) -> None:
    """Write over that generation (0: over nothing). An answer that was lost is looked for before it is asked again."""
    for attempt in range(1, WRITE_ATTEMPTS + 1):
        try:
            bucket.write(name, data, if_generation=generation, content_type=_content_type(name))
            return
        except (Unavailable, Conflict) as error:
            found = bucket.stat(name)
            if found is not None and _is_same(bucket, found, data):
                return
            if isinstance(error, Conflict) or attempt == WRITE_ATTEMPTS:
                raise
            time.sleep(attempt * WRITE_PAUSE_SECONDS)


def _is_same(bucket: Bucket, found: BucketObject, data: bytes) -> bool:
    if found.size != len(data):
        return False
    return bucket.digest(found.name, generation=found.generation) == hashlib.sha256(data).hexdigest()


def _content_type(name: str) -> str:
    if name.endswith(".jsonl"):
        return JSON_LINES
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
