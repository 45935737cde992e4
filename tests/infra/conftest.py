"""Tests of the infrastructure by programs of their own: Terraform, and checkov, whose requirements meet ours badly."""

from collections.abc import Iterator

import pytest

from tests.infra.terraform_run import INFRA, Terraform
from tests.programs import find_program
from tests.servers.terraform_provider import terraform_provider


@pytest.fixture(scope="session")
def checkov() -> str:
    """Where checkov is."""
    found = find_program("checkov")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Terraform over a copy of the configuration, with the provider that makes nothing."""
    program = find_program("terraform")
    assert program is not None
    with terraform_provider(INFRA / "terraform/schema/google.json") as reattach:
        yield Terraform(program, tmp_path_factory.mktemp("terraform"), reattach)
