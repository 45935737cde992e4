"""The Vertex AI adapter for the contract suite: the real Google client, over the wire, against a server of our own."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from modeldrop.adapters.gcp.vertex_model_server import VertexModelServer, connect
from modeldrop.ports import ServedVersion
from modeldrop.settings import Settings
from tests.contract.model_server_system import ModelServerSystem
from tests.servers.vertex import VertexServer

IMAGE = "registry.example/test-project/modeldrop/predict@sha256:" + "0" * 64


def vertex_settings(url: str, project: str = "test-project") -> Settings:
    """Settings of the gcp backend with Vertex AI at ``url``."""
    return Settings(
        backend="gcp",
        project=project,
        bucket="models",
        vertex_url=url,
        predict_image=IMAGE,
        serving_account="serving@test-project.iam.gserviceaccount.com",
    )


def vertex_adapter(server: VertexServer, *, call_seconds: float = 15.0) -> VertexModelServer:
    """The adapter as the product builds it."""
    return connect(vertex_settings(server.url, server.project), call_seconds=call_seconds)


def fraud(version: str, contents: str = "") -> ServedVersion:
    """A version of model ``fraud``; other contents give it another digest."""
    return ServedVersion(
        model="fraud",
        version=version,
        digest=sha256(f"{version} {contents}".encode()).hexdigest(),
        runtime="scorecard",
        artifact_uri=f"gs://models/models/fraud/{version}{contents}",
    )


@pytest.fixture
def vertex_server() -> Iterator[VertexServer]:
    """An empty Vertex AI."""
    with VertexServer() as server:
        yield server


@pytest.fixture
def vertex_system(vertex_server: VertexServer) -> ModelServerSystem:
    """Every version can be served, but those asked for as broken ones."""

    def broken(version: str) -> ServedVersion:
        served = fraud(version)
        vertex_server.state.broken_artifacts.add(served.artifact_uri)
        return served

    return ModelServerSystem(server=vertex_adapter(vertex_server), loadable=fraud, broken=broken)
