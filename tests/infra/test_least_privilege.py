"""Grants: what is planned, what the functions' table says, and what docs/security.md tells are the same."""

import pytest

from tests.infra.grants import document, of_document, of_plan, of_table
from tests.infra.terraform_run import Terraform

PLATFORM = (
    "modeldrop-build",
    "modeldrop-trigger",
    "Pub/Sub's agent",
    "Cloud Storage's agent",
    "publishers",
    "uploaders",
)


def test_the_document_has_the_table_of_functions_with_its_reasons() -> None:
    told = {grant: why for grant, why in of_document(document()).items() if grant.who not in PLATFORM}
    assert told == of_table()


@pytest.mark.program("terraform")
def test_what_is_granted_is_what_the_document_tells_and_nothing_else(terraform: Terraform) -> None:
    granted = sorted(of_plan(terraform.plan("prod")))
    assert len(set(granted)) == len(granted)
    assert granted == sorted(of_document(document()))


@pytest.mark.program("terraform")
def test_secrets_and_topics_that_are_not_in_use_are_granted_to_nobody(terraform: Terraform) -> None:
    unused = {grant for grant in of_table() if grant.on.startswith(("secret:", "policy_"))}
    assert unused
    granted = set(of_plan(terraform.plan("dev")))
    assert granted >= of_table().keys() - unused
    assert not granted & unused
