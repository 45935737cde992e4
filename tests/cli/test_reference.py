"""Every command is there, explains itself, and stands in the reference as it is."""

import ast
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import modeldrop.cli
from modeldrop.cli import app
from modeldrop.cli.reference import reference
from tests.e2e.embedded_cloud import REPOSITORY, command

PUBLIC = [
    "up",
    "demo",
    "drop",
    "gate",
    "status",
    "explain",
    "promote",
    "rollback",
    "pause",
    "resume",
    "approve",
    "retrain",
    "replay",
    "package",
    "verify",
    "backup",
    "restore",
    "call",
]
"""The commands of the public interface."""
ROOT: Any = get_command(app)
SILENT = {"up", "demo", "call", "open"}
"""Commands whose output is not a report: a server, a story, a function's own answer, an address."""


def every_command() -> dict[tuple[str, ...], Any]:
    """By the words that name them; groups and what is in them."""
    found: dict[tuple[str, ...], Any] = {}
    for name, one in ROOT.commands.items():
        found[name,] = one
        found |= {(name, inner): two for inner, two in getattr(one, "commands", {}).items()}
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_every_command_of_the_public_interface_is_there(name: str) -> None:
    assert name in ROOT.commands


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_says_what_it_does_and_what_its_words_mean(words: tuple[str, ...]) -> None:
    one = every_command()[words]
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert one.help.splitlines()[0] in shown.stdout.replace("\n", " ")
    for parameter in one.params:
        assert parameter.help, f"{' '.join(words)}: {parameter.name} is not explained"


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_that_reports_does_so_as_json_too(words: tuple[str, ...]) -> None:
    options = {name for parameter in every_command()[words].params for name in getattr(parameter, "opts", [])}
    assert ("--json" in options) == (words[0] not in SILENT)


def test_the_reference_is_that_of_the_commands() -> None:
    written = (REPOSITORY / "docs/cli.md").read_text()
    assert written == reference(), "make it anew: python -m modeldrop.cli.reference > docs/cli.md"


def test_help_is_there_at_once() -> None:
    """Nothing heavy is imported to explain a command. Modules are counted: seconds depend on who else is working."""
    script = "import sys; from modeldrop.cli import app; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "httpx",
        "numpy",
        "google.cloud.storage",
        "google.auth",
        "werkzeug",
        "flask",
        "starlette",
        "uvicorn",
        "yaml",
    }
    assert heavy & set(run.stdout.split()) == set()
    started = time.monotonic()
    assert subprocess.run(command("--help"), capture_output=True, check=False).returncode == 0
    assert time.monotonic() - started < 5


def test_the_command_line_prints_through_one_door() -> None:
    """Errors are said in ``ending``: no command prints to standard error by itself, but for progress."""
    folder = Path(modeldrop.cli.__file__).parent
    printing = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "secho"
    }
    assert printing == {"ending.py"}
