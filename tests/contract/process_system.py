"""Model serving in local processes for the contract suite: real workers on the repository's ``functions/predict``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.localcloud.serving_supervisor import ServingSupervisor, SupervisorTiming
from modeldrop.ports import ServedVersion
from tests.contract.model_server_system import ModelServerSystem

FUNCTIONS = Path(__file__).parents[2] / "functions"
IMPATIENT = SupervisorTiming(unhealthy=0.3)


def scorecard_version(packages: Path, version: str) -> ServedVersion:
    """A version of model ``fraud`` whose package lies in a folder of its own; asked again, it is the same one."""
    folder = packages / version
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {
        "model": "fraud",
        "version": version,
        "runtime": "scorecard",
        "features": {"amount": {"type": "numeric"}},
        "parameters": {"intercept": -1.0, "coefficients": {"amount": 0.5}, "link": "logit", "threshold": 0.5},
    }
    content = json.dumps(metadata).encode()
    (folder / "metadata.json").write_bytes(content)
    return ServedVersion("fraud", version, sha256(content).hexdigest(), "scorecard", folder.resolve().as_uri())


def tampered_version(packages: Path, version: str) -> ServedVersion:
    """A version whose metadata are not those of its digest: no worker serves it."""
    return msgspec.structs.replace(scorecard_version(packages, version), digest="d" * 64)


@contextmanager
def running(
    data: Path, timing: SupervisorTiming = IMPATIENT, functions: Path = FUNCTIONS
) -> Iterator[ProcessModelServer]:
    """A model server and its supervisor on the state in folder ``data``; all processes are gone at the end."""
    server = ProcessModelServer(data / "serving.sqlite")
    supervisor = ServingSupervisor(server, functions, data / "logs", timing)
    supervisor.start()
    try:
        yield server
    finally:
        supervisor.stop()
        server.close()


@pytest.fixture
def process_system(tmp_path: Path) -> Iterator[ModelServerSystem]:
    """A supervisor of its own for each test, as nothing is deployed at first."""
    with running(tmp_path) as server:
        yield ModelServerSystem(
            server=server,
            loadable=lambda version: scorecard_version(tmp_path / "packages", version),
            broken=lambda version: tampered_version(tmp_path / "packages", version),
        )
