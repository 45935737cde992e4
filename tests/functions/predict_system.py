"""functions/predict for tests: packages and pointers in a folder, and the function as the framework mounts it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask.testing import FlaskClient

from modeldrop.domain.serving_pointer import ServingPointer, pointer_name, write_pointer
from modeldrop.settings import SERVING_VARIABLES, ServiceSettings, variable

SOURCE = Path(__file__).parents[2] / "functions" / "predict" / "main.py"
OURS = [*SERVING_VARIABLES.values(), *(variable(field.name) for field in fields(ServiceSettings)), "AIP_HTTP_PORT"]
METADATA: dict[str, Any] = {
    "model": "flights",
    "version": "v7",
    "runtime": "scorecard",
    "features": {"dep_delay": {"type": "numeric"}, "carrier": {"type": "categorical"}},
    "parameters": {"coefficients": {"dep_delay": 0.5, "carrier": {"UA": 1.0}}, "link": "identity", "threshold": 2.0},
}
GOOD = {"dep_delay": 4, "carrier": "UA"}
ANSWER = {"score": 3.0, "decision": True}


def package(folder: Path, metadata: object = None) -> dict[str, str]:
    """Writes a package (bytes as they are, else as JSON) and returns the variables that name it."""
    content = METADATA if metadata is None else metadata
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_bytes(data)
    return {
        "AIP_STORAGE_URI": folder.as_uri(),
        "MODELDROP_SERVED_MODEL": "flights",
        "MODELDROP_SERVED_VERSION": "v7",
        "MODELDROP_SERVED_DIGEST": hashlib.sha256(data).hexdigest(),
    }


def versioned(bucket: Path, version: str, **parameters: object) -> ServingPointer:
    """A package of that version in the bucket, whose score of ``GOOD`` is the version's number; and its pointer."""
    coefficients = {"dep_delay": float(version.removeprefix("v")) / GOOD["dep_delay"]}  # type: ignore[operator]
    content = METADATA | {"version": version, "features": {"dep_delay": {"type": "numeric"}}}
    content["parameters"] = {"coefficients": coefficients, "link": "identity", "threshold": 2.0} | parameters
    digest = package(bucket / "verified" / "flights" / version, content)["MODELDROP_SERVED_DIGEST"]
    return ServingPointer("flights", version, digest, f"verified/flights/{version}")


def point(bucket: Path, pointer: ServingPointer | bytes) -> str:
    """Writes the pointer in one step, as Cloud Storage does; its address."""
    path = bucket / pointer_name("flights")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = bucket / "being-written"
    beside.write_bytes(pointer if isinstance(pointer, bytes) else write_pointer(pointer))
    beside.rename(path)
    return path.as_uri()


def client_of(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The function as the framework mounts it, in an environment of these variables only."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = functions_framework.create_app(target="predict", source=str(SOURCE))
    client: FlaskClient = app.test_client()
    return client


@contextmanager
def process(environment: Mapping[str, str], log: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """functions-framework's own command serving the function; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "functions_framework", "--target", "predict", "--source", str(SOURCE)]
    command += ["--host", host, "--port", str(port)]
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=inherited | dict(environment), stdout=output, stderr=output)
    try:
        wait_until_listening(server, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def wait_until_listening(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until a connection is taken; fails if the process ends before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"not listening after a minute: {log.read_text()}")
