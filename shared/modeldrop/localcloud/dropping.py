"""Dropping a package into the embedded bucket as a careful person would: artifacts first, metadata last."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from modeldrop.domain.packages import METADATA_NAME, MODEL_NAME, OUR_FILES, VERSION_NAME
from modeldrop.errors import ConfigurationError, FieldProblem, InvalidInput, Unavailable

SETTLED = frozenset({"live", "rejected", "failed", "superseded", "rolled_back"})
POLL_SECONDS = 0.1


def drop_package(source: Path, bucket: Path) -> tuple[str, str]:
    """Copy the folder to ``models/{model}/{version}/``, as its metadata names them; returns both names."""
    if not bucket.is_dir():
        raise ConfigurationError(f"there is no bucket at {bucket}: is modeldrop up running with this --data?")
    model, version = _names(source)
    folder = bucket / "models" / model / version
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.name not in OUR_FILES)
    for path in sorted(files, key=lambda path: path == source / METADATA_NAME):
        target = folder / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, target, bucket.parent)
    return model, version


def _copy(source: Path, target: Path, beside: Path) -> None:
    """The file appears under its name in one step, whole."""
    with tempfile.TemporaryDirectory(prefix=".dropping-", dir=beside) as folder:
        whole = shutil.copyfile(source, Path(folder) / "file")
        whole.replace(target)


def follow(url: str, model: str, version: str, tell: Callable[[str], Any], timeout_seconds: float = 3600.0) -> bool:
    """Tell each change of the version's status until it is settled; whether it went live.

    Raises Unavailable if nobody answers at ``url``.
    """
    last, deadline = "", time.monotonic() + timeout_seconds
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        while time.monotonic() < deadline:
            answer = _ask(client, f"/v1/models/{model}/versions/{version}")
            status = answer.get("status", "not seen yet")
            if isinstance(status, str) and status != last:
                tell(f"{model} {version}: {status}{_why(answer)}")
                last = status
            if last in SETTLED:
                return last == "live"
            time.sleep(POLL_SECONDS)
    return False


def _why(answer: dict[str, Any]) -> str:
    """What explains the status, where it is not the one hoped for."""
    status = answer.get("status")
    if status == "rejected":
        return f" ({'; '.join((answer.get('decision') or {}).get('reasons', []))})"
    if status in {"failed", "rolled_back"} and answer.get("fallen"):
        return f" ({answer['fallen']})"
    return " (it waits for somebody: see modeldrop rollouts)" if status == "paused" else ""


def _ask(client: httpx.Client, path: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.get(path).json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"{client.base_url} cannot be reached: {error}. Is modeldrop up running?") from None
    return answer


def _names(source: Path) -> tuple[str, str]:
    try:
        metadata = json.loads((source / METADATA_NAME).read_bytes())
        model, version = metadata["model"], metadata["version"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
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
