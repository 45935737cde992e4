"""What Terraform refuses to destroy, and how that is taken back for an environment that is to go."""

from pathlib import Path
from typing import Any

import pytest

from tests.infra.terraform_run import Terraform

pytestmark = pytest.mark.program("terraform")

# As a state has them: what is in them, and what only they are.
THERE: dict[str, dict[str, Any]] = {
    "google_storage_bucket.models": {"id": "b", "name": "b", "location": "EU"},
    "google_firestore_database.state": {"id": "d", "name": "(default)", "location_id": "eur3"},
    "google_secret_manager_secret.secret": {"id": "s", "secret_id": "slack-webhook"},
    "google_pubsub_topic.own": {"id": "t", "name": "predictions"},
}
KEYS = {"google_secret_manager_secret.secret": "slack-webhook", "google_pubsub_topic.own": "predictions"}


def in_a_state(address: str) -> dict[str, Any]:
    """A resource as Terraform's state has it."""
    kind, name = address.split(".")
    instance: dict[str, Any] = {"schema_version": 0, "attributes": THERE[address]}
    if address in KEYS:
        instance["index_key"] = KEYS[address]
    provider = 'provider["registry.terraform.io/hashicorp/google"]'
    return {"mode": "managed", "type": kind, "name": name, "provider": provider, "instances": [instance]}


@pytest.mark.parametrize("address", [address for address in THERE if "topic" not in address])
def test_what_cannot_be_made_again_is_not_destroyed(terraform: Terraform, tmp_path: Path, address: str) -> None:
    """Not by dev either, whose deletion_protection is off; only with the override that is there for it."""
    at = terraform.copy(tmp_path / "infra")
    said = terraform.attempt_to_destroy(at, "dev", [in_a_state(address), in_a_state("google_pubsub_topic.own")])
    assert "Instance cannot be destroyed" in said
    assert address in said
    (at / "teardown_override.tf.example").rename(at / "teardown_override.tf")
    said = terraform.attempt_to_destroy(at, "dev", [in_a_state(address), in_a_state("google_pubsub_topic.own")])
    assert "0 to add, 0 to change, 2 to destroy" in said
