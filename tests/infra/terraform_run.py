"""Terraform over a copy of ``infra/``: its state is local, its provider makes nothing, its plan is read."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

INFRA = Path(__file__).parents[2] / "infra"


class Resource(msgspec.Struct, frozen=True):
    """A planned resource: its type, its name in the configuration, and its attributes as far as they are known.

    ``member_from``: what its attribute ``member``, if it has one, is made from.
    """

    type: str
    name: str
    values: dict[str, Any]
    member_from: list[str]


class Plan(msgspec.Struct, frozen=True):
    """What would be made."""

    resources: list[Resource]
    outputs: dict[str, Any]

    def of(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """The attributes of all resources of a type, or of those made by one block."""
        return [found.values for found in self.resources if found.type == kind and name in (None, found.name)]


class Terraform:
    """Runs the program. Each copy of the configuration is made and initialised when first asked for."""

    def __init__(self, program: str, folder: Path, reattach: str) -> None:
        self._program = program
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # no settings of whoever runs the tests
            "TF_REATTACH_PROVIDERS": reattach,
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        self.plan = cache(self._plan)

    def run(self, at: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What came of one command."""
        command = [self._program, f"-chdir={at}", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    def copy(self, name: str | Path, change: Callable[[Path], object] = lambda infra: None) -> Path:
        """A copy of the configuration, initialised; ``change`` may have altered it first."""
        infra = self._folder / name
        shutil.copytree(INFRA, infra, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars"))
        change(infra)
        at = infra / "terraform"
        (at / "tests_override.tf").write_text('terraform {\n  backend "local" {}\n}\n')
        done = self.run(at, "init", "-no-color")
        assert done.returncode == 0, done.stderr
        return at

    def attempt(self, at: Path, environment: str, /, **variables: Any) -> subprocess.CompletedProcess[str]:
        """What came of planning, with the variables of an example file and some others."""
        given = [
            f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()
        ]
        file = f"-var-file=env/{environment}.tfvars.example"
        return self.run(at, "plan", "-no-color", "-input=false", "-lock=false", "-out=plan", file, *given)

    def attempt_to_destroy(self, at: Path, environment: str, there: list[dict[str, Any]]) -> str:
        """What Terraform says to planning the end of resources that are there (entries of a state's ``resources``)."""
        state = {"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "tests", "resources": there}
        (at / "terraform.tfstate").write_text(json.dumps(state))
        file = f"-var-file=env/{environment}.tfvars.example"
        done = self.run(at, "plan", "-destroy", "-refresh=false", "-no-color", "-input=false", "-lock=false", file)
        return done.stdout + done.stderr

    def _plan(self, environment: str, replay: bool = False) -> Plan:
        at = self.copy(f"{environment}-{replay}")
        done = self.attempt(at, environment, replay_dead_letters=replay)
        assert done.returncode == 0, done.stderr
        shown = json.loads(self.run(at, "show", "-json", "plan").stdout)
        outputs = {name: found.get("value") for name, found in shown["planned_values"]["outputs"].items()}
        return Plan(list(_resources(shown)), outputs)


def _resources(shown: dict[str, Any]) -> Iterator[Resource]:
    written = {(r["type"], r["name"]): r["expressions"] for r in shown["configuration"]["root_module"]["resources"]}
    for found in shown["planned_values"]["root_module"]["resources"]:
        if found["mode"] == "managed":
            kind, name = found["type"], found["name"]
            member = written[kind, name].get("member", {})
            yield Resource(kind, name, found["values"], member.get("references", []))
