"""What Terraform must refuse: values of variables, and a configuration that is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.terraform_run import INFRA, Terraform

pytestmark = pytest.mark.program("terraform")


@pytest.fixture(scope="session")
def copy(terraform: Terraform) -> Path:
    """A copy for values that are refused."""
    return terraform.copy("refusals")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("project", "123456"),
        ("project", "My-Project"),
        ("region", "europe-west1-b"),
        ("region", "EU"),
        ("environment", "Prod"),
        ("bucket", "models.example.com"),
        ("firestore_database", "x"),
        ("noncurrent_days", 0),
        ("firestore_backup_days", 99),
        ("budget", 0.5),
        ("billing_account", "billingAccounts/000000-000000-000000"),
        ("mounted_secrets", ["unheard-of"]),
        ("policy_secrets", ["projects/p/secrets/s"]),
        ("policy_secrets", ["modeldrop-signing-keys"]),
        ("policy_topics", ["predictions"]),
        ("policy_topics", ["google-topic"]),
        ("publishers", ["allUsers"]),
        ("uploaders", ["allAuthenticatedUsers"]),
        ("uploaders", ["domain:example.com"]),
        ("api_callers", ["allUsers"]),
        ("alert_emails", ["nobody"]),
        ("viewers", ["group:people@example.com"]),
        ("operators", ["ann"]),
        ("approvers", ["a@example.com,b@example.com"]),
        ("iap_audience", "projects/my-project"),
    ],
)
def test_values_that_are_refused(terraform: Terraform, copy: Path, variable: str, value: Any) -> None:
    done = terraform.attempt(copy, "prod", **{variable: value})
    assert done.returncode == 1
    assert "Invalid value for variable" in done.stderr
    assert f"var.{variable}" in done.stderr


def _edit(file: str, old: str, new: str) -> Callable[[Path], object]:
    def change(infra: Path) -> None:
        text = (infra / file).read_text()
        assert old in text
        (infra / file).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("functions.yaml", "scope: database", "scope: planet", "it would be granted nowhere"),
        ("functions.yaml", 'cron: "7 * * * *"', 'cron: "7 7 * * *"', "Invalid template interpolation value"),
        ("terraform/storage.tf", "uniform_bucket_level_access", "uniform_bucket_level_acces", "Unsupported argument"),
        ("terraform/storage.tf", "versioning {", "versions {", "Unsupported block type"),
        (
            "terraform/pubsub.tf",
            "  topic = google_pubsub_topic.own[each.value.trigger.topic].id\n",
            "",
            "Missing required argument",
        ),
        (
            "terraform/pubsub.tf",
            "google_service_account.trigger.email",
            "google_service_account.triger.email",
            "undeclared resource",
        ),
        (
            "terraform/pubsub.tf",
            "google_service_account.trigger.email",
            "google_service_account.trigger.mail",
            "Unsupported attribute",
        ),
        (
            "terraform/firestore.tf",
            'retention = "${var.firestore_backup_days * 86400}s"',
            "retention = [1]",
            "Incorrect attribute value type",
        ),
        ("terraform/scheduler.tf", "http_target {", "http_target {}\n  http_target {", "Too many http_target blocks"),
    ],
)
def test_mistakes_that_are_found(
    terraform: Terraform, tmp_path: Path, file: str, old: str, new: str, complaint: str
) -> None:
    at = terraform.copy(tmp_path / "infra", _edit(file, old, new))
    done = terraform.attempt(at, "prod")
    assert done.returncode == 1
    assert complaint in " ".join(done.stderr.replace("│", " ").split())


def test_the_format_is_terraforms_own(terraform: Terraform) -> None:
    done = terraform.run(INFRA / "terraform", "fmt", "-check", "-recursive", "-diff")
    assert (done.returncode, done.stdout) == (0, "")
