"""A dry run of the gate on files of a working copy: nothing is registered, nothing asked that was not handed in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modeldrop.domain.gate import decide
from modeldrop.domain.packages import (
    FLAT_METADATA_NAME,
    MANIFEST_NAME,
    METADATA_NAME,
    MODEL_NAME,
    VALIDATION_REPORT_NAME,
    VERSION_NAME,
    PackageLocation,
    locate,
)
from modeldrop.domain.policy import GatePolicy
from modeldrop.domain.replay import replay
from modeldrop.domain.versions import Contender, Decision, Metadata, ModelVersion, Standing, Status, order_key
from modeldrop.errors import FieldProblem, InvalidInput, Unavailable
from modeldrop.events import strict_json
from modeldrop.events.field_errors import convert
from modeldrop.events.metadata import METADATA_LIMIT_BYTES, read_metadata
from modeldrop.events.policy_file import POLICY_LIMIT_BYTES, read_policy

T = TypeVar("T")

UNNAMED = "candidate"
SIGNATURE_NOT_CHECKED = "the signature in manifest.json was taken for right: modeldrop verify checks it"


class _ValidationReport(msgspec.Struct, frozen=True):
    passed: bool | None = None


class _Signature(msgspec.Struct, frozen=True):
    key_id: str


class _Manifest(msgspec.Struct, frozen=True):
    signature: _Signature | None = None


class JudgedBy(msgspec.Struct, frozen=True):
    gate: GatePolicy
    digest: str | None = None


class Measure(msgspec.Struct, frozen=True):
    """What a candidate is judged by: the policy, and who is to be beaten."""

    policy: JudgedBy
    champion: Contender | None = None
    best: Contender | None = None


class DryRun(msgspec.Struct, frozen=True):
    """A decision nobody will act on, and what the reader must know of it."""

    model: str
    version: str
    decision: Decision
    notes: list[str]

    def facts(self) -> dict[str, Any]:
        """As the API explains a decision, for tables and programs."""
        decision: dict[str, Any] = msgspec.to_builtins(self.decision)
        return {"model": self.model, "version": self.version, "notes": self.notes} | decision


class Replayed(msgspec.Struct, frozen=True):
    """Whether a decision follows from its own record."""

    agrees: bool
    says: str


def replayed(answer: dict[str, Any]) -> Replayed:
    """The decision in the API's answer made again, here. Raises Unavailable if there is none in it."""
    decision = _converted(answer, Decision)
    again = replay(decision)
    if again is None:
        return Replayed(False, f"nothing to make again: the rule {decision.rule} is no judgement of the gate")
    if again == decision:
        return Replayed(True, "the same decision, bit for bit")
    differs = [name for name in Decision.__struct_fields__ if getattr(again, name) != getattr(decision, name)]
    return Replayed(False, f"{again.verdict} ({again.rule}); not as recorded: {', '.join(differs)}")


def measure_of_answer(answer: dict[str, Any]) -> Measure:
    """The measure in the API's answer about a model's standing. Raises Unavailable if it is none."""
    return _converted(answer, Measure)


def measure_of_files(policy: Path | None, against: Path | None, measure: Measure | None = None) -> Measure:
    """``measure`` (without one: the defaults and nobody to beat) with what the files say instead.

    Raises InvalidInput with everything that is wrong with either.
    """
    measure = measure or Measure(JudgedBy(GatePolicy()))
    problems: list[FieldProblem] = []
    try:
        if policy is not None:
            gate = read_policy(_content(policy, POLICY_LIMIT_BYTES)).gate
            measure = msgspec.structs.replace(measure, policy=JudgedBy(gate))
    except InvalidInput as error:
        problems += _in_file(policy, error)
    try:
        if against is not None:
            path = _metadata_file(against)
            location, metadata = _read(path, None)
            contender = Contender(f"{location.version} ({against})", "", metadata.metrics)
            measure = msgspec.structs.replace(measure, champion=contender, best=contender)
    except InvalidInput as error:
        problems += _in_file(against, error)
    if problems:
        raise InvalidInput(problems)
    return measure


def candidate_model(path: Path) -> str | None:
    """The model that the metadata name; None if they name none that could be one."""
    try:
        content = _content(_metadata_file(path), METADATA_LIMIT_BYTES)
        document = strict_json.decode(content, limit_bytes=METADATA_LIMIT_BYTES)
    except InvalidInput:
        return None
    named = document.get("model") if isinstance(document, dict) else None
    return named if isinstance(named, str) and MODEL_NAME.fullmatch(named) else None


def judge_file(path: Path, model: str | None, measure: Measure) -> DryRun:
    """What the gate would say of the package (folder or metadata file). Raises InvalidInput with all problems."""
    metadata_file = _metadata_file(path)
    problems: list[FieldProblem] = []
    try:
        location, metadata = _read(metadata_file, model)
    except InvalidInput as error:
        problems += error.problems
    try:
        report = _beside(metadata_file, VALIDATION_REPORT_NAME, _ValidationReport)
        manifest = _beside(metadata_file, MANIFEST_NAME, _Manifest)
    except InvalidInput as error:
        problems += error.problems
    if problems:
        raise InvalidInput(problems)
    signature = manifest.signature if manifest else None
    candidate = msgspec.structs.replace(
        _version(location, metadata),
        validation_passed=report.passed if report else None,
        signed_by=signature.key_id if signature else None,
    )
    standing = Standing(measure.champion, measure.best)
    decision = decide(candidate, standing, measure.policy.gate, measure.policy.digest)
    notes = [SIGNATURE_NOT_CHECKED] if signature and measure.policy.gate.require_signature else []
    if any(c is not None and c.version == location.version for c in (measure.champion, measure.best)):
        notes.append(f"{location.version} is a yardstick itself already: it is not compared with itself")
    return DryRun(location.model, location.version, decision, notes)


def _converted(answer: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        raise Unavailable("the server does not answer as modeldrop does. Is it its address?") from None


def _metadata_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    there = [path / name for name in (METADATA_NAME, FLAT_METADATA_NAME) if (path / name).is_file()]
    if not there:
        raise InvalidInput([FieldProblem(str(path), f"has neither {METADATA_NAME} nor {FLAT_METADATA_NAME}")])
    return there[0]


def _content(path: Path, limit_bytes: int) -> bytes:
    """The file's bytes, at most one more than the limit: the parsers refuse that."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise InvalidInput([FieldProblem(str(path), error.strerror or "cannot be read")]) from None


def _read(path: Path, model: str | None) -> tuple[PackageLocation, Metadata]:
    """The metadata under the names they would be dropped by: their own, else the folder's, else ``candidate``."""
    content = _content(path, METADATA_LIMIT_BYTES)
    document = strict_json.decode(content, limit_bytes=METADATA_LIMIT_BYTES)
    stated = document if isinstance(document, dict) else {}
    folder = path.absolute().parent.name
    fallback = folder if VERSION_NAME.fullmatch(folder) else UNNAMED
    names = [model or _stated(stated, "model", UNNAMED), _stated(stated, "version", fallback)]
    location = locate(f"models/{names[0]}/{names[1]}/{METADATA_NAME}", None)
    if not isinstance(location, PackageLocation) or [location.model, location.version] != names:
        problem = FieldProblem("version", f"model {names[0][:80]!a}, version {names[1][:80]!a}: no names of a package")
        location = PackageLocation(names[0], names[1], "", METADATA_NAME, (problem,))
    return location, read_metadata(content, location, datetime.now(UTC))


def _stated(document: dict[str, Any], name: str, fallback: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else fallback


def _beside(metadata_file: Path, name: str, kind: type[Any]) -> Any | None:
    path = metadata_file.parent / name
    if not path.is_file():
        return None
    try:
        document = strict_json.decode(_content(path, METADATA_LIMIT_BYTES), limit_bytes=METADATA_LIMIT_BYTES)
        return convert(document, kind)
    except InvalidInput as error:
        raise InvalidInput(_in_file(Path(name), error)) from None


def _in_file(path: Path | None, error: InvalidInput) -> list[FieldProblem]:
    return [FieldProblem(f"{path}:{problem.field}", problem.message) for problem in error.problems]


def _version(location: PackageLocation, metadata: Metadata) -> ModelVersion:
    now = datetime.now(UTC)
    return ModelVersion(
        model=location.model,
        version=location.version,
        key=order_key(metadata.created_at or now, location.version),
        status=Status.RECEIVED,
        object_name=location.metadata_name,
        generation=0,
        digest="",
        received_at=now,
        declared_at=metadata.created_at or now,
        declared_by="created_at" if metadata.created_at else "upload",
        metadata=metadata,
    )
