"""From a folder of artifacts to a runtime that can answer."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from modeldrop.errors import FieldProblem, InvalidInput, NotFound, PermanentError
from modeldrop.events import strict_json
from modeldrop.ports import Bucket
from modeldrop.serving.runtime import Runtime
from modeldrop.serving.scorecard_runtime import load_scorecard

METADATA_NAME = "metadata.json"
METADATA_LIMIT_BYTES = 1024 * 1024

RUNTIMES: Mapping[str, Callable[[Mapping[str, Any]], Runtime]] = {
    "scorecard": load_scorecard,
}
"""What this image can run, by the metadata's ``runtime``."""


def load_runtime(bucket: Bucket, prefix: str, digest: str) -> Runtime:
    """The runtime of the version whose ``metadata.json`` lies in folder ``prefix`` ("" is the bucket itself).

    ``digest``: the lower-case hex SHA-256 the metadata must have, so that nothing is served that was not checked.
    Raises NotFound, TooLarge, InvalidInput, PermanentError (a runtime this image has not), Unavailable (try again).
    """
    metadata = _read_metadata(bucket, prefix, digest)
    runtime = metadata.get("runtime")
    load = RUNTIMES.get(runtime) if isinstance(runtime, str) else None
    if load is None:
        raise PermanentError(f"runtime {runtime!a} is not supported by this image")
    return load(metadata)


def _read_metadata(bucket: Bucket, prefix: str, digest: str) -> dict[str, Any]:
    folder = prefix.strip("/")
    name = f"{folder}/{METADATA_NAME}" if folder else METADATA_NAME
    found = bucket.read(name, limit_bytes=METADATA_LIMIT_BYTES)
    if found is None:
        raise NotFound(f"{bucket.uri}/{name} does not exist")
    _, data = found
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise InvalidInput([FieldProblem("$", f"SHA-256 is {actual}, not {digest}: the metadata changed")])
    metadata = strict_json.decode(data, limit_bytes=METADATA_LIMIT_BYTES)
    if not isinstance(metadata, dict):
        raise InvalidInput([FieldProblem("$", "must be an object")])
    return metadata
