"""What Terraform itself makes of the configuration, with the tables it reads: the plan of each example environment.

The provider is tests/servers/terraform_provider.py: it has the real one's schema and makes nothing.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.deploy.commands import LOCK
from modeldrop.domain.serving_pointer import POINTER_FOLDER
from modeldrop.records.heartbeats import LATE_AFTER, SLACK
from tests.infra.grants import functions, of_plan
from tests.infra.terraform_run import Plan, Terraform

pytestmark = pytest.mark.program("terraform")

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "prod")


@pytest.fixture(params=ENVIRONMENTS)
def plan(terraform: Terraform, request: pytest.FixtureRequest) -> Plan:
    """The plan of one environment."""
    return terraform.plan(request.param)


@pytest.fixture
def prod(terraform: Terraform) -> Plan:
    """The plan in which every variable is used."""
    return terraform.plan("prod")


def by_trigger(kind: str) -> dict[str, dict[str, Any]]:
    """The functions that are woken so, by the name of their account."""
    return {function["account"]: function for function in functions() if function["trigger"]["type"] == kind}


def address(function: str) -> str:
    """Where a function of the prod example answers."""
    return f"https://europe-west1-my-project-prod.cloudfunctions.net/{function}"


def test_every_account_is_made_and_no_other(plan: Plan) -> None:
    made = {account["account_id"] for account in plan.of("google_service_account")}
    own = {function["account"] for function in functions()}
    assert made == own | {"modeldrop-training", "modeldrop-trigger", "modeldrop-build"}


def test_nobody_is_everybody_and_no_role_is_everything(plan: Plan) -> None:
    members = {
        values["member"] for kind in {r.type for r in plan.resources} for values in plan.of(kind) if "member" in values
    }
    assert not [member for member in members if member.startswith("all")]
    roles = {grant.role for grant in of_plan(plan)}
    assert not roles & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not [role for role in roles if role.lower().endswith("admin")]


def test_roles_of_our_own_have_a_permission_or_two(plan: Plan) -> None:
    roles = {role["role_id"]: role["permissions"] for role in plan.of("google_project_iam_custom_role")}
    assert roles == {
        "modeldropInvokerBinder": ["run.services.getIamPolicy", "run.services.setIamPolicy"],
        "modeldropGeminiCaller": ["aiplatform.endpoints.predict"],
        "modeldropObjectLister": ["storage.objects.list"],
    }


def test_the_container_has_no_more_than_it_needs(plan: Plan) -> None:
    """Where versions are swapped, the pointers lie in the second folder."""
    granted = {(grant.role, grant.on) for grant in of_plan(plan) if grant.who == "modeldrop-serving"}
    assert granted == {
        ("roles/storage.objectViewer", "folder:verified"),
        ("roles/storage.objectViewer", f"folder:{POINTER_FOLDER.rstrip('/')}"),
        ("roles/pubsub.publisher", "topic:predictions"),
        ("modeldropGeminiCaller", "project"),
        ("roles/logging.logWriter", "project"),
    }


def test_the_lock_of_deployments_is_where_the_deployer_looks_for_it(plan: Plan) -> None:
    assert f"object:{LOCK}" in {grant.on for grant in of_plan(plan) if grant.who == "modeldrop-build"}


def test_the_bucket_keeps_what_is_replaced_and_is_closed(prod: Plan) -> None:
    [bucket] = prod.of("google_storage_bucket")
    assert bucket["versioning"] == [{"enabled": True}]
    assert (bucket["uniform_bucket_level_access"], bucket["public_access_prevention"]) == (True, "enforced")
    assert bucket["force_destroy"] is False
    [removal] = [rule for rule in bucket["lifecycle_rule"] if rule["action"][0]["type"] == "Delete"]
    said = {name: value for name, value in removal["condition"][0].items() if value is not None}
    assert said == {"days_since_noncurrent_time": 90, "with_state": "ARCHIVED"}  # never a live object


def test_the_database_is_protected_where_it_must_be(terraform: Terraform) -> None:
    said = {name: terraform.plan(name).of("google_firestore_database")[0] for name in ENVIRONMENTS}
    protected = {name: database["delete_protection_state"] for name, database in said.items()}
    assert protected == {"dev": "DELETE_PROTECTION_DISABLED", "prod": "DELETE_PROTECTION_ENABLED"}
    assert {name: len(terraform.plan(name).of("google_firestore_backup_schedule")) for name in ENVIRONMENTS} == {
        "dev": 0,
        "prod": 1,
    }


def test_fields_are_those_of_the_indexes_file(plan: Plan) -> None:
    declared = json.loads((REPOSITORY / "infra/firestore.indexes.json").read_bytes())["fieldOverrides"]
    expected = {(o["collectionGroup"], o["fieldPath"], o.get("ttl", False)) for o in declared}
    fields = plan.of("google_firestore_field")
    assert {(f["collection"], f["field"], bool(f["ttl_config"])) for f in fields} == expected
    assert len(fields) == len(declared)
    assert all(field["index_config"] == [{"indexes": []}] for field in fields)


def test_every_topic_has_a_subscription_that_never_expires(prod: Plan) -> None:
    topics = {topic["name"] for topic in prod.of("google_pubsub_topic", "own")}
    subscriptions = prod.of("google_pubsub_subscription")
    assert {s["topic"].rpartition("/")[2] for s in subscriptions} == topics
    assert all(s["expiration_policy"] == [{"ttl": ""}] for s in subscriptions)


def test_pushes_go_to_their_function_with_a_token_for_it(prod: Plan) -> None:
    pushed = by_trigger("pubsub")
    subscriptions = {s["name"]: s for s in prod.of("google_pubsub_subscription", "push")}
    assert subscriptions.keys() == pushed.keys()
    for account, function in pushed.items():
        said, trigger = subscriptions[account], function["trigger"]
        token = {"audience": address(function["name"]), "service_account_email": TRIGGER}
        [push] = said["push_config"]
        assert (push["push_endpoint"], push["oidc_token"]) == (address(function["name"]), [token])
        assert said["ack_deadline_seconds"] == trigger["ack_deadline_seconds"] >= function["timeout_seconds"]
        [dead] = said["dead_letter_policy"]
        assert dead["dead_letter_topic"].rpartition("/")[2] == trigger["dead_letter_topic"]
        assert dead["max_delivery_attempts"] == trigger["max_delivery_attempts"]


TRIGGER = "modeldrop-trigger@my-project-prod.iam.gserviceaccount.com"


def test_dead_letters_wait_until_they_are_replayed(terraform: Terraform) -> None:
    [waiting] = terraform.plan("prod").of("google_pubsub_subscription", "dead_letters")
    assert waiting["push_config"] == []
    [replayed] = terraform.plan("prod", replay=True).of("google_pubsub_subscription", "dead_letters")
    assert [push["push_endpoint"] for push in replayed["push_config"]] == [address("prediction_logged")]
    assert replayed["push_config"][0]["oidc_token"][0]["service_account_email"] == TRIGGER
    assert waiting["dead_letter_policy"] == []  # they would go round in circles


def test_jobs_are_the_ticks_of_the_table(prod: Plan) -> None:
    ticks = by_trigger("schedule")
    jobs = {job["name"]: job for job in prod.of("google_cloud_scheduler_job")}
    assert jobs.keys() == ticks.keys()
    for account, function in ticks.items():
        job = jobs[account]
        assert (job["schedule"], job["time_zone"], job["paused"]) == (function["trigger"]["cron"], "Etc/UTC", False)
        assert function["timeout_seconds"] < int(job["attempt_deadline"].rstrip("s")) <= 1800  # Scheduler's own limit
        [target] = job["http_target"]
        assert (target["uri"], target["http_method"]) == (address(function["name"]), "POST")
        assert target["oidc_token"] == [{"audience": address(function["name"]), "service_account_email": TRIGGER}]


def test_secrets_have_no_values(prod: Plan) -> None:
    made = {secret["secret_id"] for secret in prod.of("google_secret_manager_secret")}
    assert made == {"modeldrop-signing-keys", "modeldrop-redaction-key", "slack-webhook"}
    assert not prod.of("google_secret_manager_secret_version")


def test_a_tick_that_stays_away_is_noticed_when_it_is_stale(prod: Plan) -> None:
    policies = prod.of("google_monitoring_alert_policy", "stale_tick")
    seconds = {}
    for policy in policies:
        [condition] = policy["conditions"]
        [absent] = condition["condition_absent"]
        service = re.findall(r'service_name="([^"]+)"', absent["filter"])
        seconds[service[0]] = int(absent["duration"].rstrip("s"))
    intervals = {"health-tick": 60, "outbox-tick": 60, "retrain-tick": 3600}
    assert seconds.keys() == intervals.keys() == {f["name"].replace("_", "-") for f in by_trigger("schedule").values()}
    for service, interval in intervals.items():
        stale = LATE_AFTER * interval + SLACK.total_seconds()
        assert stale < seconds[service] <= 84_600, service  # 23.5 h is the longest there is
        assert seconds[service] % 60 == 0


def test_alerts_look_for_what_the_code_logs(prod: Plan) -> None:
    filters = [
        policy["conditions"][0]["condition_matched_log"][0]["filter"]
        for policy in prod.of("google_monitoring_alert_policy", "logged")
    ]
    texts = {text for said in filters for text in re.findall(r'jsonPayload\.message:"([^"]+)"', said)}
    assert len(texts) == 7
    source = "".join(file.read_text() for file in (REPOSITORY / "shared/modeldrop/handlers").rglob("*.py"))
    logged = re.findall(r'log\.(?:error|warning)\(\s*"([^"]*)"', source)
    assert [text for text in texts if not any(text in line for line in logged)] == []
    services = {
        function["name"].replace("_", "-") for function in functions() if function["trigger"]["type"] != "vertex"
    }
    assert all(set(re.findall(r'service_name="([^"]+)"', said)) == services for said in filters)


def test_every_alert_has_somebody_to_tell_and_says_what_to_do(prod: Plan) -> None:
    policies = prod.of("google_monitoring_alert_policy")
    assert {p["display_name"] for p in policies} >= {
        "modeldrop: messages in predictions-dead-letters",
        "modeldrop: functions answer with errors",
    }
    for policy in policies:
        assert policy["notification_channels"] == [
            "projects/my-project-prod/notificationChannels/ml-oncall@example.com"
        ]
        assert policy["documentation"][0]["content"]


def test_a_budget_is_made_where_there_is_an_account_to_make_it_in(terraform: Terraform) -> None:
    assert not terraform.plan("dev").of("google_billing_budget")
    [budget] = terraform.plan("prod").of("google_billing_budget")
    assert budget["amount"][0]["specified_amount"][0]["units"] == "300"


def test_the_deployer_takes_what_it_is_told_and_uses_what_is_made(plan: Plan) -> None:
    deployer = [sys.executable, str(REPOSITORY / "infra/deploy/deploy.py"), "--dry-run", "--predict-image=none"]
    command = [*deployer, *plan.outputs["deployer_flags"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    flags = re.findall(r"--([a-z-]+)=(\S+)", done.stdout)
    made = {account["email"] for account in plan.of("google_service_account")}
    assert {value for name, value in flags if name == "build-service-account"} == {plan.outputs["build_account"]}
    used = {value for name, value in flags if name in ("service-account", "trigger-service-account")}
    assert used <= made
    assert f"bucket={plan.outputs['bucket']}" in [value for name, value in flags if name == "trigger-event-filters"]
    mounted = set(re.findall(r"=([\w-]+):latest", done.stdout))
    assert mounted == {flag.removeprefix("--secret=") for flag in plan.outputs["deployer_flags"] if "--secret=" in flag}
    assert mounted <= {secret["secret_id"] for secret in plan.of("google_secret_manager_secret")}


def test_the_deployer_is_told_of_roles_of_the_proxy_and_of_ticks_that_are_paused(
    terraform: Terraform, tmp_path: Path
) -> None:
    assert not [flag for flag in terraform.plan("prod").outputs["deployer_flags"] if "iap" in flag or "tick" in flag]
    assert "--approver=head-of-risk@example.com" in terraform.plan("prod").outputs["deployer_flags"]
    at = terraform.copy(tmp_path / "infra")
    audience = "/projects/123456789012/locations/europe-west1/services/api"
    done = terraform.attempt(at, "prod", iap_audience=audience, ticks_paused=True)
    assert done.returncode == 0, done.stderr
    outputs = json.loads(terraform.run(at, "show", "-json", "plan").stdout)["planned_values"]["outputs"]
    flags = outputs["deployer_flags"]["value"]
    agent = "serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com"
    assert {f"--iap-audience={audience}", f"--api-caller={agent}", "--no-tick-smoke"} <= set(flags)
    deployer = [sys.executable, str(REPOSITORY / "infra/deploy/deploy.py"), "--dry-run", "--predict-image=none"]
    done = subprocess.run([*deployer, *flags], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "MODELDROP_AUTH=jwt" in done.stdout
    assert "gcloud functions call health_tick" not in done.stdout


def test_outputs_name_what_is_made(prod: Plan) -> None:
    assert prod.outputs["bucket"] == "my-project-prod-modeldrop"
    assert prod.outputs["images"] == "europe-west1-docker.pkg.dev/my-project-prod/modeldrop"
    assert prod.outputs["addresses"]["prediction_logged"] == address("prediction_logged")
    assert prod.outputs["policy_secrets"] == {"slack-webhook": "projects/my-project-prod/secrets/slack-webhook"}
