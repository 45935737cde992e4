"""Who may do what: from the table of functions, from a plan, and from the document; in the same words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.infra.terraform_run import INFRA, Plan, Resource

AGENTS = {
    "gcp-sa-pubsub": "Pub/Sub's agent",
    "gs-project-accounts": "Cloud Storage's agent",
}
VARIABLES = ("publisher", "uploader", "uploader_lists")
"""Blocks that grant to members of a variable."""
IAM = re.compile(r"google_\w+_iam_(member|binding|policy)")
_MEMBER = re.compile(r"serviceAccount:([^@]+)@([a-z0-9-]+)\.iam\.gserviceaccount\.com")
_ROW = re.compile(r"^\| `?([^|`]+)`? \| `([^|`]+)` \| `?([^|`]+?)`? \| ([^|]+) \|$", re.MULTILINE)


class Grant(msgspec.Struct, frozen=True, order=True):
    """``who`` has ``role`` ``on`` something, as the scopes of infra/functions.yaml say it."""

    who: str
    role: str
    on: str


def functions() -> list[dict[str, Any]]:
    """The table of functions."""
    found: list[dict[str, Any]] = yaml.safe_load((INFRA / "functions.yaml").read_bytes())["functions"]
    return found


def of_table() -> dict[Grant, str]:
    """What the functions' table grants, and why."""
    return {
        Grant(function["account"], permission["role"], permission["scope"]): permission["why"]
        for function in functions()
        for permission in function["permissions"]
    }


def of_document(text: str) -> dict[Grant, str]:
    """The rows of the document's tables of permissions, and their reasons."""
    return {Grant(who, role, on): why for who, role, on, why in _ROW.findall(text)}


def of_plan(plan: Plan) -> Iterator[Grant]:
    """Every grant of a plan; topics and secrets that variables name are ``policy_topics`` and ``policy_secrets``."""
    own_topics = {topic["name"] for topic in plan.of("google_pubsub_topic", "own")}
    known_secrets = {secret["name"] for function in functions() for secret in function["secrets"]}
    for found in plan.resources:
        if not IAM.fullmatch(found.type):
            continue
        assert found.type.endswith("_iam_member"), "a binding or policy takes away what others have granted"
        values = found.values
        match found.type:
            case "google_project_iam_member":
                on = _on_project(values)
            case "google_storage_bucket_iam_member":
                on = _in_bucket(values)
            case "google_pubsub_topic_iam_member":
                on = f"topic:{values['topic']}" if values["topic"] in own_topics else "policy_topics"
            case "google_pubsub_subscription_iam_member":
                on = f"subscription:{values['subscription']}"
            case "google_service_account_iam_member":
                on = f"account:{values['service_account_id'].rpartition('/')[2].partition('@')[0]}"
            case "google_secret_manager_secret_iam_member":
                on = f"secret:{values['secret_id']}" if values["secret_id"] in known_secrets else "policy_secrets"
            case _:
                raise AssertionError(f"what is {found.type} granted on?")
        who = f"{found.name.removesuffix('_lists')}s" if found.name in VARIABLES else _who(found)
        yield Grant(who, re.sub("^projects/[^/]+/roles/", "", values["role"]), on)  # a role of our own by its id


def _in_bucket(values: dict[str, Any]) -> str:
    """The whole bucket, folders of it, or one object."""
    if not values["condition"]:
        return "bucket"
    expression = values["condition"][0]["expression"]
    if one := re.fullmatch(r'resource\.name == "projects/_/buckets/[^/"]+/objects/([^"]+)"', expression):
        return f"object:{one[1]}"
    folders = re.findall(r'resource\.name\.startsWith\("projects/_/buckets/[^/"]+/objects/([^"]+)/"\)', expression)
    assert len(expression.split(" || ")) == len(folders) > 0
    return f"folder:{folders[0]}" if len(folders) == 1 else "bucket, " + " and ".join(f"{one}/" for one in folders)


def _on_project(values: dict[str, Any]) -> str:
    if not values["condition"]:
        return "project"
    expression = values["condition"][0]["expression"]
    if re.fullmatch(r'resource\.name == "projects/[a-z0-9-]+/databases/[^"/]+"', expression):
        return "database"
    assert '"projects/_/buckets/gcf-v2-sources-' in expression
    return "sources of builds"


def _who(found: Resource) -> str:
    if "member" not in found.values:  # it is asked for when the plan is carried out
        assert "data.google_storage_project_service_account.agent.member" in found.member_from
        return AGENTS["gs-project-accounts"]
    match = _MEMBER.fullmatch(found.values["member"])
    assert match is not None, found
    name, project = match[1], match[2]
    return AGENTS.get(project, name)


def document() -> str:
    """docs/security.md."""
    return (Path(__file__).parents[2] / "docs/security.md").read_text()
