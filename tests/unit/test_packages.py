"""Which object is what."""

from datetime import UTC, datetime

import pytest

from modeldrop.domain.packages import PackageLocation, PolicyLocation, folder_time, locate


@pytest.mark.parametrize(
    "name",
    [
        "models/fraud/v1/deployment_info.json",
        "models/fraud/v1/model_comparison.json",
        "models/fraud/v1/rejection.json",
        "models/20260110T120000Z_3f9c2d1/rejection.json",
        "verified/fraud/abc/metadata.json",
        "policies/fraud.rejection.json",
        "policies/nested/fraud.yaml",
        "models/metadata.json",
        "models/fraud/metadata.json",
        "other/fraud/v1/metadata.json",
        "metadata.json",
        "",
    ],
)
def test_what_is_ours_or_none_of_our_business(name: str) -> None:
    assert locate(name, "fraud") is None


@pytest.mark.parametrize("name", ["models/fraud/v1.2.3/metadata.json", "models/fraud/v1.2.3/deep/model.onnx"])
def test_every_file_of_a_package_leads_to_its_metadata(name: str) -> None:
    location = locate(name, None)
    assert isinstance(location, PackageLocation)
    assert (location.model, location.version) == ("fraud", "v1.2.3")
    assert location.metadata_name == "models/fraud/v1.2.3/metadata.json"
    assert location.problems == ()


@pytest.mark.parametrize("file", ["best_model_metadata.json", "validation_report.json"])
def test_packages_by_time_and_commit_belong_to_the_default_model(file: str) -> None:
    location = locate(f"models/20260110_120000_3f9c2d1/{file}", "sql")
    assert isinstance(location, PackageLocation)
    assert (location.model, location.version) == ("sql", "20260110_120000_3f9c2d1")
    assert location.metadata_name.endswith("/best_model_metadata.json")
    without = locate(f"models/20260110_120000_3f9c2d1/{file}", None)
    assert isinstance(without, PackageLocation)
    assert [problem.field for problem in without.problems] == ["model"]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("models/../v1/metadata.json", ["model"]),
        ("models/Fraud/v1/metadata.json", ["model"]),
        ("models/%2e%2e%2fetc/v1/metadata.json", ["model"]),
        ("models/fraud/..%2f..%2fetc/metadata.json", ["version"]),
        ("models/fraud/../metadata.json", ["version"]),
        ("models/fraud\n/v1\x01/metadata.json", ["model", "version"]),
        ("models//-/metadata.json", ["model", "version"]),
        (f"models/{'m' * 64}/{'v' * 129}/metadata.json", ["model", "version"]),
        ("models/fräud/v١/metadata.json", ["model", "version"]),
    ],
)
def test_names_that_are_none_are_named_all_at_once(name: str, fields: list[str]) -> None:
    location = locate(name, None)
    assert isinstance(location, PackageLocation)
    assert [problem.field for problem in location.problems] == fields
    assert all(str(problem).isascii() and str(problem).isprintable() for problem in location.problems)


def test_policies() -> None:
    assert locate("policies/fraud.yaml", None) == PolicyLocation("fraud", "policies/fraud.yaml")
    wrong = locate("policies/..yaml", None)
    assert isinstance(wrong, PolicyLocation)
    assert wrong.problems


@pytest.mark.parametrize("folder", ["20260110T120000Z_3f9c2d1", "20260110_120000_abc", "2026-01-10T12:00:00Z_abc"])
def test_the_time_in_a_folders_name(folder: str) -> None:
    assert folder_time(folder) == datetime(2026, 1, 10, 12, tzinfo=UTC)


def test_a_time_that_does_not_exist_is_none() -> None:
    assert folder_time("20261399T990000Z_abc") is None
