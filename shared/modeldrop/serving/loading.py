"""From a folder of artifacts to a runtime that can answer."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from modeldrop.errors import FieldProblem, InvalidInput, PermanentError
from modeldrop.events import strict_json
from modeldrop.ports import Bucket
from modeldrop.serving.gemini.language_model import ConnectLlm
from modeldrop.serving.gemini_runtime import load_gemini
from modeldrop.serving.onnx_runtime import load_onnx
from modeldrop.serving.package import Package, read_file
from modeldrop.serving.runtime import Runtime
from modeldrop.serving.scorecard_runtime import load_scorecard

METADATA_NAME = "metadata.json"
METADATA_LIMIT_BYTES = 1024 * 1024

RUNTIMES: Mapping[str, Callable[[Package, ConnectLlm], Runtime]] = {
    "gemini": load_gemini,
    "onnx": lambda package, _: load_onnx(package),
    "scorecard": lambda package, _: load_scorecard(package.metadata),
}
"""What this image can run, by the metadata's ``runtime``."""


def load_runtime(
    bucket: Bucket,
    prefix: str,
    digest: str,
    version: str | None = None,
    *,
    connect_llm: ConnectLlm,
    model: str | None = None,
) -> Runtime:
    """The runtime of the version whose ``metadata.json`` lies in folder ``prefix`` ("" is the bucket itself).

    ``digest``: the lower-case hex SHA-256 the metadata must have, so that nothing is served that was not checked.
    ``version``: what answers call it; None: what the metadata or else the folder is called.
    ``connect_llm``: makes the connection of a runtime that calls an LLM; not called for any other.
    ``model``: whose version it must be, where the metadata say (flat ones do not); None: whose is not asked.
    Raises NotFound, TooLarge, InvalidInput, PermanentError (a runtime this image has not), ConfigurationError,
    Unavailable (try again).
    """
    folder = prefix.strip("/")
    metadata = _read_metadata(bucket, folder, digest)
    if model is not None and metadata.get("model") not in (None, model):
        problem = f"the metadata are of {str(metadata['model'])[:80]!a}, not {model!a}"
        raise InvalidInput([FieldProblem("model", problem)])
    runtime = _runtime_name(metadata)
    load = RUNTIMES.get(runtime) if isinstance(runtime, str) else None
    if load is None:
        raise PermanentError(f"runtime {runtime!a} is not supported by this image")
    return load(Package(metadata, version or _own_version(metadata, folder), bucket, folder), connect_llm)


def _runtime_name(metadata: Mapping[str, Any]) -> object:
    """What is stated; metadata that names an LLM and no runtime is the flat layout's, as the gate reads it."""
    return metadata.get("runtime") or ("gemini" if metadata.get("selected_model") else None)


def _own_version(metadata: Mapping[str, Any], folder: str) -> str:
    stated = metadata.get("version")
    return stated if isinstance(stated, str) and stated else folder.rpartition("/")[2]


def _read_metadata(bucket: Bucket, folder: str, digest: str) -> dict[str, Any]:
    data = read_file(bucket, folder, METADATA_NAME, limit_bytes=METADATA_LIMIT_BYTES)
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        raise InvalidInput([FieldProblem("$", f"SHA-256 is {actual}, not {digest}: the metadata changed")])
    metadata = strict_json.decode(data, limit_bytes=METADATA_LIMIT_BYTES)
    if not isinstance(metadata, dict):
        raise InvalidInput([FieldProblem("$", "must be an object")])
    return metadata
