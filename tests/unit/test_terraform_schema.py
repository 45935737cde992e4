"""``infra/terraform`` against the Google provider's schema, without Terraform: what exists, what lacks, what refers.

tests/infra has Terraform itself plan it all; this one runs wherever Python does.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

TERRAFORM = Path(__file__).parents[2] / "infra/terraform"
FILES = sorted(TERRAFORM.glob("*.tf"))
META = {"for_each", "count", "depends_on", "lifecycle", "provider"}
SCHEMA = json.loads((TERRAFORM / "schema/google.json").read_bytes())

Body = Mapping[str, Any]


def parsed(text: str) -> dict[str, Any]:
    """The blocks of a file, by kind."""
    return dict(hcl2.loads(text))


def plain(name: str) -> str:
    """A label without its quotes."""
    return name.strip('"')


def declared(files: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str, Body]]:
    """(type, name, body) of the resources or data sources in a file."""
    for block in files.get(kind, []):
        for label, named in block.items():
            for name, body in named.items():
                yield plain(label), plain(name), body


def problems_of(where: str, body: Body, schema: Mapping[str, Any], *, outermost: bool = False) -> list[str]:
    """What is wrong with one block: not known, not to be set, missing, too often."""
    found: list[str] = []
    attributes, blocks = schema["attributes"], schema["blocks"]
    inner = list(_blocks(body))
    given = {name for name, value in body.items() if not name.startswith("__") and not _is_blocks(value)}
    for name in sorted(given - (META if outermost else set()) - {"dynamic"}):
        words = attributes.get(name, "").split()
        if not words:
            found.append(f"{where}: no attribute {name}")
        elif words[1:] == ["computed"]:
            found.append(f"{where}: {name} cannot be set")
    found += [f"{where}: {n} is missing" for n, w in attributes.items() if "required" in w and n not in given]
    names = [name for name, _ in inner]
    found += [f"{where}: block {n} is missing" for n, b in blocks.items() if b["required"] and n not in names]
    for name, content in inner:
        if outermost and name == "lifecycle":
            continue
        if name not in blocks:
            found.append(f"{where}: no block {name}")
            continue
        if blocks[name]["nesting"] == "one" and names.count(name) > 1:
            found.append(f"{where}: {name} more than once")
        found += problems_of(f"{where}.{name}", content, blocks[name])
    return found


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) and "__is_block__" in v for v in value)


def _blocks(body: Body) -> Iterator[tuple[str, Body]]:
    """The blocks in a body, dynamic ones by the block they make."""
    for name, value in body.items():
        if name == "dynamic":
            for block in value:
                for label, dynamic in block.items():
                    if not label.startswith("__"):
                        yield plain(label), dynamic["content"][0]
        elif _is_blocks(value):
            yield from ((name, block) for block in value)


def problems(text: str) -> list[str]:
    """What is wrong with the resources and data sources of a file."""
    found = []
    for kind in ("resource", "data"):
        for label, name, body in declared(parsed(text), kind):
            if label not in SCHEMA[kind]:
                found.append(f"{label}.{name}: not in the schema")
            else:
                found += problems_of(f"{label}.{name}", body, SCHEMA[kind][label], outermost=True)
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_everything_is_in_the_schema(file: Path) -> None:
    assert problems(file.read_text()) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('name = "a"\n tpoic = "b"', "no attribute tpoic"),
        ("", "name is missing"),
        ('name = "a"\n effective_labels = {}', "effective_labels cannot be set"),
        ('name = "a"\n schema_setting {}', "no block schema_setting"),
        ('name = "a"\n schema_settings {}', "schema is missing"),
        ('name = "a"\n dynamic "schema_settings" {\n for_each = []\n content {}\n }', "schema is missing"),
        (
            'name = "a"\n message_storage_policy {\n nonsense = 1\n allowed_persistence_regions = []\n }',
            "no attribute nonsense",
        ),
        ('name = "a"\n schema_settings {\n schema = "s"\n }\n schema_settings {\n schema = "s"\n }', "more than once"),
    ],
)
def test_what_is_wrong_is_found(body: str, problem: str) -> None:
    found = problems(f'resource "google_pubsub_topic" "t" {{\n {body}\n}}\n')
    assert any(problem in said for said in found), found


def test_the_schema_has_what_is_used_and_says_where_it_is_from() -> None:
    for kind in ("resource", "data"):
        assert {label for file in FILES for label, _, _ in declared(parsed(file.read_text()), kind)} == SCHEMA[
            kind
        ].keys()
    origin = SCHEMA["origin"]
    assert (TERRAFORM.parents[1] / origin["made_by"]).is_file()
    assert origin["package"].startswith("@cdktf/provider-google@")
    [settings] = parsed((TERRAFORM / "versions.tf").read_text())["terraform"]
    provider = settings["required_providers"][0]["google"]
    assert plain(provider["source"]) == origin["source"].removeprefix("registry.terraform.io/")
    assert plain(provider["version"]) == "~> " + ".".join(origin["source_version"].split(".")[:2])


def code() -> str:
    """The configuration without comments."""
    return "\n".join(re.sub(r"(^|\s)#.*$", "", file.read_text(), flags=re.MULTILINE) for file in FILES)


def names(kind: str) -> set[str]:
    """What is declared as ``var``, ``local``."""
    found = [parsed(file.read_text()) for file in FILES]
    if kind == "local":
        return {name for blocks in found for block in blocks.get("locals", []) for name in block if name[0] != "_"}
    return {plain(name) for blocks in found for block in blocks.get("variable", []) for name in block if name[0] != "_"}


@pytest.mark.parametrize("kind", ["var", "local"])
def test_every_name_is_declared_and_used(kind: str) -> None:
    assert set(re.findall(rf"\b{kind}\.(\w+)", code())) == names(kind)


def test_references_lead_to_something() -> None:
    made = {
        (kind, label, name)
        for file in FILES
        for kind in ("resource", "data")
        for label, name, _ in declared(parsed(file.read_text()), kind)
    }
    pattern = r"(?<![\w./])(data\.)?(google_\w+)\.(\w+)(?:\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\])?(?:\.(\w+))?"
    found = re.findall(pattern, code())
    assert len(found) > 40
    for data, label, name, attribute in found:
        kind = "data" if data else "resource"
        assert (kind, label, name) in made, f"{label}.{name}"
        assert not attribute or attribute in SCHEMA[kind][label]["attributes"], f"{label}.{name}.{attribute}"


def test_every_scope_of_the_table_is_granted_on() -> None:
    table = yaml.safe_load((TERRAFORM.parent / "functions.yaml").read_bytes())
    used = {p["scope"].partition(":")[0] for function in table["functions"] for p in function["permissions"]}
    listed = re.search(r"scope_kinds = toset\(\[([^\]]*)\]\)", code())
    assert listed is not None
    assert used == set(re.findall(r'"(\w+)"', listed[1]))
    assert used == set(re.findall(r'local\.by_kind\["(\w+)"\]', code()))


def test_no_role_is_everything_and_nobody_is_everybody() -> None:
    roles = set(re.findall(r'"(roles/[\w.]+)"', code()))
    table = yaml.safe_load((TERRAFORM.parent / "functions.yaml").read_bytes())
    roles |= {permission["role"] for function in table["functions"] for permission in function["permissions"]}
    assert len(roles) > 10
    assert not roles & {"roles/owner", "roles/editor", "roles/viewer"}
    assert not [role for role in roles if role.lower().endswith("admin")]
    assert not re.search(r"allUsers|allAuthenticatedUsers", code())


def test_grants_add_and_take_nothing_away() -> None:
    assert not re.search(r"google_\w+_iam_(binding|policy)\b", code())
