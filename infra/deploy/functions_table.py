"""infra/functions.yaml, read: the one table of functions."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "infra" / "functions.yaml"
CONTAINER = "vertex"
"""The type of trigger of what is no function: the container that Vertex AI runs."""


@dataclass(frozen=True)
class Secret:
    """A secret that is a file for the function; ``setting`` names the file."""

    name: str
    path: str
    setting: str


@dataclass(frozen=True)
class Function:
    """A row. Only those that are deployed as functions are read so; ``trigger`` is as the table has it."""

    name: str
    trigger: dict[str, Any]
    memory: str
    cpu: int
    concurrency: int
    timeout_seconds: int
    min_instances: int
    max_instances: int
    retry: bool
    account: str
    invoked_by: list[str]
    permissions: list[dict[str, str]]
    secrets: list[Secret] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    with_iap: dict[str, str] = field(default_factory=dict)
    """Further variables, where Identity-Aware Proxy stands before it."""

    @property
    def service(self) -> str:
        """The Cloud Run service behind it, as Google Cloud names it."""
        return self.name.replace("_", "-")


@dataclass(frozen=True)
class Table:
    """What is the same for all functions, and the functions in their order. ``env`` has places to be filled in."""

    runtime: str
    env: dict[str, str]
    functions: list[Function]


def read_table(path: Path = TABLE) -> Table:
    """The table. Raises TypeError where a row has a field too many or too few."""
    content = yaml.safe_load(path.read_text())
    rows = [row for row in content["functions"] if row["trigger"]["type"] != CONTAINER]
    return Table(content["runtime"], content["env"], [_function(row) for row in rows])


def _function(row: dict[str, Any]) -> Function:
    return Function(**(row | {"secrets": [Secret(**secret) for secret in row["secrets"]]}))
