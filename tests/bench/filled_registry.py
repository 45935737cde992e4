"""A registry that has seen many versions of one model, and their packages in the bucket, made without waiting for each.

Every record is what the product itself would have written: facts read from a real package, decisions and standings from
the fold, a champion that serves.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from modeldrop.adapters.local.folder_bucket import FolderBucket
from modeldrop.adapters.local.process_model_server import ProcessModelServer
from modeldrop.adapters.local.router_metrics import RouterMetrics
from modeldrop.domain.champion import fold
from modeldrop.domain.endpoint import Operation
from modeldrop.domain.model_head import ModelHead, Serving
from modeldrop.domain.packages import PackageLocation, locate
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.versions import ModelVersion, Standing, Status, order_key, settled_status
from modeldrop.handlers.packages.decision_records import publish_decisions
from modeldrop.handlers.packages.read_package import keep_verified, read_package, served_version
from modeldrop.handlers.rollouts.reconcile import reconcile
from modeldrop.ports import Create, DocumentStore, Write
from modeldrop.records.registry import Registry, VersionName
from modeldrop.settings import Settings
from modeldrop.wiring import utc_now
from tests.bench.counting import CountedServices, counted
from tests.bench.running_cloud import NO_BAKE, PACKAGES

MODEL = "bench"
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
VERSIONS_A_COMMIT = 100
_ARTIFACT_WAIT_SECONDS = 900
_PORT_OF_NOBODY = 9  # no prediction is asked for here
_FIRST_SCORE, _LAST_SCORE = 0.3, 0.6


class FilledRegistry:
    """Services over a registry of ``size`` versions; ``drop`` puts one more package into the bucket."""

    def __init__(self, folder: Path, documents: DocumentStore, size: int, model: str = MODEL) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.model = model
        self._bucket_folder = folder / "bucket"
        self._model_server = ProcessModelServer(folder / "serving.sqlite")
        bucket = FolderBucket(self._bucket_folder)
        settings = Settings("local", data=folder)
        metrics = RouterMetrics(folder / "router-metrics.sqlite", folder / "serving.sqlite")
        serving = (self._model_server, metrics)
        self.services: CountedServices = counted(settings, documents, bucket, serving, utc_now)
        self._dropped = 0
        self._best = _LAST_SCORE
        self._write(f"policies/{model}.yaml", NO_BAKE.encode())
        champion = self._fill(size)
        self._serve(champion)

    def close(self) -> None:
        """Let go of the model server's database."""
        self._model_server.close()

    def drop(self, *, better: bool) -> PackageLocation:
        """One more package, newer than all before; better than the champion, or worse."""
        self._best += 0.002 * better
        location = self._package(self._dropped, self._best if better else self._best - 0.1)
        self._dropped += 1
        return location

    def settle(self) -> None:
        """Bring the rollout under way to its end, playing the supervisor that would start the worker."""
        head = self.services.registry.head(self.model).value
        if head.rollout is not None:
            slot = self.services.registry.rollout(self.model, head.rollout)
            assert slot is not None and slot.value.operation is not None
            self._model_server.report_answering(slot.value.operation, _PORT_OF_NOBODY)
        reconcile(self.services, self.model)
        publish_decisions(self.services, self.model)
        settled = self.services.registry.head(self.model).value
        assert settled.is_settled, f"something is left to do: {settled}"

    # --- filling ---------------------------------------------------------------------------------------------------

    def _fill(self, size: int) -> ModelVersion:
        """Registers ``size`` versions; returns the champion among them, which is live."""
        versions = list(fold(self._facts(size), Standing(), GatePolicy()))
        best = versions[-1].standing.champion
        assert best is not None
        champion = next(version for version in versions if version.key == best.key)
        for begin in range(0, size, VERSIONS_A_COMMIT):
            several = versions[begin : begin + VERSIONS_A_COMMIT]
            self.services.documents.commit([write for version in several for write in self._writes(version, champion)])
        since = champion.declared_at
        head = ModelHead(
            self.model,
            desired=champion.version,
            desired_key=champion.key,
            production=Serving(champion.version, champion.key, since),
            last_key=versions[-1].key,
            last_standing=versions[-1].standing,
        )
        self.services.documents.commit([Create(f"models/{self.model}", msgspec.to_builtins(head))])
        return champion

    def _facts(self, size: int) -> Iterator[ModelVersion]:
        """What ``read_package`` says of each package: asked once, then told for all the others."""
        template: ModelVersion | None = None
        for number in range(size):
            location = self._package(number, _FIRST_SCORE + (_LAST_SCORE - _FIRST_SCORE) * (number + 1) / size)
            if template is None:
                package = read_package(self.services.bucket, location, utc_now(), _ARTIFACT_WAIT_SECONDS)
                assert package is not None and not package.version.problems
                template = package.version
            yield self._like(template, location, number)
        self._dropped = size

    def _like(self, template: ModelVersion, location: PackageLocation, number: int) -> ModelVersion:
        content = (self._bucket_folder / location.metadata_name).read_bytes()
        declared_at = _declared_at(number)
        assert template.metadata is not None
        metrics = json.loads(content)["metrics"]
        return msgspec.structs.replace(
            template,
            version=location.version,
            key=order_key(declared_at, location.version),
            object_name=location.metadata_name,
            generation=number + 1,
            digest=sha256(content).hexdigest(),
            received_at=declared_at,
            declared_at=declared_at,
            metadata=msgspec.structs.replace(template.metadata, created_at=declared_at, metrics=metrics),
        )

    def _writes(self, version: ModelVersion, champion: ModelVersion) -> list[Write]:
        status = Status.LIVE if version.key == champion.key else settled_status(version)
        record = msgspec.structs.replace(version, status=status)
        return [
            Create(Registry.version_path(self.model, version.key), msgspec.to_builtins(record)),
            Create(Registry.name_path(self.model, version.version), msgspec.to_builtins(VersionName(version.key))),
        ]

    def _serve(self, champion: ModelVersion) -> None:
        """Deploy the champion with all traffic, as the rollouts before would have left it."""
        location = locate(champion.object_name, None)
        assert isinstance(location, PackageLocation)
        package = read_package(self.services.bucket, location, utc_now(), _ARTIFACT_WAIT_SECONDS)
        assert package is not None
        keep_verified(self.services.bucket, package)
        served = served_version(self.services.bucket, champion)
        self._model_server.upload(served)
        operation = self._model_server.deploy(served)
        assert isinstance(operation, Operation)
        self._model_server.report_answering(operation.name, _PORT_OF_NOBODY)
        endpoint = self._model_server.observe(self.model)
        assert endpoint is not None
        self._model_server.set_traffic(self.model, {champion.version: 100}, endpoint.etag)

    def _package(self, number: int, score: float) -> PackageLocation:
        version = f"v{number:06d}"
        metadata = json.loads((PACKAGES / "v1" / "metadata.json").read_bytes()) | {
            "model": self.model,
            "version": version,
            "created_at": _declared_at(number).isoformat(),
            "metrics": dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc"), score),
        }
        location = locate(f"models/{self.model}/{version}/metadata.json", None)
        assert isinstance(location, PackageLocation)
        self._write(location.metadata_name, json.dumps(metadata).encode())
        return location

    def _write(self, name: str, content: bytes) -> None:
        path = self._bucket_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _declared_at(number: int) -> datetime:
    return BEGIN + timedelta(minutes=number)
