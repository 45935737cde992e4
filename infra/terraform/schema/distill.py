"""Writes ``google.json``: what the Google provider takes, for exactly the kinds of resource that the *.tf files use.

Terraform asks the provider itself, a download of 100 MB from a registry that build machines may not reach. So the names
are kept here: attributes and nested blocks, and whether they are required, optional or computed. They are read from the
bindings that HashiCorp generated from the provider's own schema (npm ``@cdktf/provider-google``, MPL-2.0; names and
flags are taken, no text). How to bring it up to date, after using a new kind of resource::

    npm pack @cdktf/provider-google@16.12.1
    python infra/terraform/schema/distill.py cdktf-provider-google-16.12.1.tgz

Where it stops: the bindings do not tell how often a repeated block may come, which values an attribute allows, nor
which attributes exclude each other.
"""

import base64
import hashlib
import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "google.json"
KINDS = ("resource", "data")

_USED = re.compile(r'^(resource|data) "(google_\w+)"', re.MULTILINE)
_CLASS = re.compile(r"^export class (\w+) extends cdktf\.(\w+)", re.MULTILINE)
_FIELD = re.compile(
    r"^  // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)$", re.MULTILINE
)
_NESTED = re.compile(
    r"^  private _\w+ = new (?!cdktf)(\w+?)(OutputReference|List|Map)\(this, \"\w+\"(?:, (true|false))?", re.MULTILINE
)
_GETTER = re.compile(r"this\.get(\w+?)Attribute\('(\w+)'\)")
_COLLECTION = re.compile(r"^  private _\w+ = new cdktf\.(\w+)\(this, \"\w+\"", re.MULTILINE)
_PRIVATE = re.compile(r"^  private _\w+\?: ([^;|]+?) *[;|]", re.MULTILINE)  # of the provider, which has no such getters
_MAP = re.compile(r"//# sourceMappingURL=data:application/json;base64,(\S+)")
_TYPES = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "StringMap": "map",
    "NumberMap": "map",
    "BooleanMap": "map",
    "AnyMap": "map",
    "List": "list",
    "StringList": "list",
    "NumberList": "list",
    "string": "string",
    "number": "number",
    "boolean": "bool",
    "string[]": "list",
    "{ [key: string]: string }": "map",
}


def used() -> set[tuple[str, str]]:
    """The (kind, type) of every resource and data source in the configuration."""
    return {found for file in HERE.parent.glob("*.tf") for found in _USED.findall(file.read_text())}


def source(archive: tarfile.TarFile, folder: str) -> str:
    """The TypeScript of one resource, which the package holds inside its source map."""
    file = archive.extractfile(f"package/lib/{folder}/index.js")
    assert file is not None
    found = _MAP.search(file.read().decode())
    assert found is not None, folder
    text: str = json.loads(base64.b64decode(found[1]))["sourcesContent"][0]
    return text


def block_of(classes: dict[str, str], name: str) -> dict[str, Any]:
    """The attributes and blocks of one class, and of those nested in it."""
    body = classes[name]
    fields = list(_FIELD.finditer(body))
    ends = [*(field.start() for field in fields), len(body)][1:]
    attributes: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    for field, end in zip(fields, ends, strict=True):
        label, part = field[1], body[field.end() : end]
        flags = [
            flag
            for flag, said in zip(("computed", "optional", "required"), field.groups()[1:], strict=True)
            if said == "true"
        ]
        nested = _NESTED.search(part)
        if nested is None:
            attributes[label] = " ".join([_type_of(label, part), *flags])
        elif flags == ["computed"]:
            attributes[label] = "object computed"
        else:
            inner = block_of(classes, f"{nested[1]}OutputReference")
            nesting = ("set" if nested[3] == "true" else "list") if nested[2] == "List" else "one"
            blocks[label] = {"required": "required" in flags, "nesting": nesting, **inner}
    return {"attributes": attributes, "blocks": blocks}


def _type_of(label: str, part: str) -> str:
    if "cdktf.Fn.tolist" in part:
        return "set"
    collection = _COLLECTION.search(part)
    getters = [found[1] for found in _GETTER.finditer(part) if found[2] == label]
    name = collection[1] if collection else getters[0] if getters else _PRIVATE.findall(part)[0]
    return "object" if name.startswith("GoogleProvider") else _TYPES[name]


def schema_of(text: str) -> dict[str, Any]:
    """The schema of the resource, data source or provider in a module of the bindings."""
    starts = list(_CLASS.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    classes = {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}
    whole = next(
        start[1] for start in starts if start[2] in ("TerraformResource", "TerraformDataSource", "TerraformProvider")
    )
    return block_of(classes, whole)


def main(package: Path) -> None:
    """Read the package, write the schema."""
    with tarfile.open(package) as archive:
        about = archive.extractfile("package/package.json")
        assert about is not None
        facts = json.load(about)
        provider = facts["cdktf"]["provider"]
        found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for kind, name in sorted(used()):
            folder = ("data-google-" if kind == "data" else "") + name.removeprefix("google_").replace("_", "-")
            found[kind][name] = schema_of(source(archive, folder))
        own = schema_of(source(archive, "provider"))
    origin = {
        "package": f"{facts['name']}@{facts['version']}",
        "license": facts["license"],
        "sha512": hashlib.sha512(package.read_bytes()).hexdigest(),
        "source": provider["name"],
        "source_version": provider["version"],
        "made_by": "infra/terraform/schema/distill.py",
    }
    TARGET.write_text(json.dumps({"origin": origin, "provider": own, **found}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
