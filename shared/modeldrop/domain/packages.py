"""Which object of the bucket is what: the one place that reads object names.

``models/{model}/{version}/metadata.json`` · ``models/{timestamp}_{commit}/best_model_metadata.json`` ·
``policies/{model}.yaml`` · files we write ourselves · everything else.
"""

import re
from datetime import UTC, datetime

import msgspec

from modeldrop.errors import FieldProblem

MODEL_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
FOLDER_TIME = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)[T_-]?(\d\d)[:-]?(\d\d)[:-]?(\d\d)Z?_[0-9A-Za-z]+")

METADATA_NAME = "metadata.json"
FLAT_METADATA_NAME = "best_model_metadata.json"
VALIDATION_REPORT_NAME = "validation_report.json"
MANIFEST_NAME = "manifest.json"

DEPLOYMENT_INFO_NAME = "deployment_info.json"
COMPARISON_NAME = "model_comparison.json"
REJECTION_NAME = "rejection.json"
OUR_FILES = frozenset({DEPLOYMENT_INFO_NAME, COMPARISON_NAME, REJECTION_NAME})
OUR_FOLDER = "verified/"

_PACKAGE_PARTS = 4  # models / model / version / file
_FLAT_PARTS = 3  # models / folder / file


class PackageLocation(msgspec.Struct, frozen=True):
    """Where a package is, and the names its path gives it; ``problems`` says what is wrong with those names."""

    model: str
    version: str
    prefix: str  # ends with a slash
    metadata_name: str
    problems: tuple[FieldProblem, ...] = ()


class PolicyLocation(msgspec.Struct, frozen=True):
    """A model's policy file."""

    model: str
    name: str
    problems: tuple[FieldProblem, ...] = ()


def locate(object_name: str, default_model: str | None) -> PackageLocation | PolicyLocation | None:
    """What the object belongs to; None if it is our own or no business of ours.

    >>> locate("models/fraud/v3/metadata.json", None).version
    'v3'
    >>> locate("models/20260110T120000Z_3f9c2d1/best_model_metadata.json", "sql").model
    'sql'
    >>> locate("models/fraud/v3/rejection.json", None) is None
    True
    """
    parts = object_name.split("/")
    if object_name.startswith(OUR_FOLDER) or parts[-1] in OUR_FILES:
        return None
    if parts[0] == "policies" and len(parts) == 2 and parts[1].endswith(".yaml"):
        model = parts[1].removesuffix(".yaml")
        return PolicyLocation(model, object_name, tuple(_model_problems(model)))
    if parts[0] != "models":
        return None
    if len(parts) == _FLAT_PARTS and (FOLDER_TIME.fullmatch(parts[1]) or parts[2] == FLAT_METADATA_NAME):
        return _flat_package(parts[1], default_model)
    if len(parts) >= _PACKAGE_PARTS:
        return _package(parts[1], parts[2])
    return None


def folder_time(version: str) -> datetime | None:
    """The time in a folder's name ``{timestamp}_{commit}`` (UTC), if it is one.

    >>> folder_time("20260110T120000Z_3f9c2d1")
    datetime.datetime(2026, 1, 10, 12, 0, tzinfo=datetime.timezone.utc)
    >>> folder_time("v3") is None
    True
    """
    match = FOLDER_TIME.fullmatch(version)
    if match is None:
        return None
    try:
        return datetime(*map(int, match.groups()), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None


def _package(model: str, version: str) -> PackageLocation:
    prefix = f"models/{model}/{version}/"
    problems = (*_model_problems(model), *_version_problems(version))
    return PackageLocation(model, version, prefix, prefix + METADATA_NAME, problems)


def _flat_package(folder: str, default_model: str | None) -> PackageLocation:
    prefix = f"models/{folder}/"
    problems = _version_problems(folder)
    if default_model is None:
        problems.append(FieldProblem("model", "packages in models/{timestamp}_{commit}/ need MODELDROP_DEFAULT_MODEL"))
    else:
        problems += _model_problems(default_model)
    return PackageLocation(default_model or "", folder, prefix, prefix + FLAT_METADATA_NAME, tuple(problems))


def _model_problems(name: str) -> list[FieldProblem]:
    if MODEL_NAME.fullmatch(name):
        return []
    return [FieldProblem("model", f"{name[:80]!a} is no model name: [a-z][a-z0-9-]{{0,62}}")]


def _version_problems(name: str) -> list[FieldProblem]:
    if VERSION_NAME.fullmatch(name):
        return []
    return [FieldProblem("version", f"{name[:160]!a} is no version name: [A-Za-z0-9][A-Za-z0-9._-]{{0,127}}")]
