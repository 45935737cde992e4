"""The image of functions/predict. No Docker engine runs here: what can go wrong without one is checked instead."""

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, distributions, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.missing_packages import WITHOUT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = [
    line for line in re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines() if line and line[0] != " "
]
PINNED = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements-dev.txt").read_text())
INSTALLED = re.search(r"--constraint requirements-dev.txt (.*)", "\n".join(LINES))[1].split()  # type: ignore[index]

# All that the service imports, whatever it is asked and however it is set up; without what the image has not.
IMPORTS = f"""{WITHOUT}
import functions_framework, functions_framework._http.gunicorn
functions_framework.create_app(target="predict", source="functions/predict/main.py")
import modeldrop.adapters.gcp.identity_tokens, modeldrop.adapters.gcp.storage_bucket, modeldrop.client.topic_transport
import modeldrop.adapters.gcp.gemini_connection, modeldrop.serving.sql
from google import genai
import numpy, onnxruntime, sqlglot
genai.Client(api_key="none")
print(json.dumps([module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]))
"""


def test_what_it_copies_is_there_and_goes_to_the_build() -> None:
    copied = [line.split()[1] for line in LINES if line.startswith("COPY ") and "--from" not in line]
    assert copied == ["requirements-dev.txt", "shared/modeldrop", "functions/predict"]
    let_through = {line[2:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert set(copied) == let_through
    assert all((ROOT / path).exists() for path in copied)


def test_it_runs_without_rights_and_listens_where_it_is_told() -> None:
    last = LINES[[number for number, line in enumerate(LINES) if line.startswith("FROM ")][-1] :]
    assert "USER 10001" in last
    assert last.index("USER 10001") > max(n for n, line in enumerate(last) if line.startswith(("COPY", "RUN")))
    (command,) = [json.loads(line.removeprefix("CMD ")) for line in last if line.startswith("CMD ")]
    assert command[:2] == ["sh", "-c"]
    started = {
        settings: subprocess.run(
            ["sh", "-c", command[2].replace("exec ", "exec echo ")],
            env={"PATH": "/usr/bin:/bin"} | dict(settings),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for settings in ((), (("PORT", "9000"),), (("AIP_HTTP_PORT", "9001"), ("PORT", "9000")))
    }
    assert [words[-1] for words in started.values()] == ["8080", "9000", "9001"]
    (words, *_) = started.values()
    assert (ROOT / words[words.index("--source") + 1]).is_file()


@pytest.mark.parametrize(
    ("base", "status"),
    [
        (f"python:3.11-slim@sha256:{'0123456789abcdef' * 4}", 0),
        (f"mirror.example.com/python@sha256:{'f' * 64}", 0),
        ("python:3.11-slim", 1),
        ("python:3.11-slim@sha256:", 1),
        (f"python@sha256:{'f' * 63}", 1),
        (f"python@sha256:{'f' * 65}", 1),
        (f"{'f' * 64}", 1),
        ("", 1),
    ],
)
def test_it_is_built_on_a_digest_alone(base: str, status: int) -> None:
    assert "ARG BASE" in LINES[: LINES.index("FROM ${BASE} AS packages")]  # without one of its own
    (check,) = [line.removeprefix("RUN ") for line in LINES if line.startswith("RUN case ")]
    assert LINES.index("ARG BASE", 1) < LINES.index(f"RUN {check}")
    done = subprocess.run(["sh", "-c", check], env={"BASE": base}, capture_output=True, text=True, check=False)
    assert (done.returncode, "digest" in done.stderr) == (status, status == 1)


@pytest.mark.parametrize("name", INSTALLED)
def test_what_it_installs_is_pinned(name: str) -> None:
    assert name in PINNED


def test_what_it_installs_is_all_it_needs() -> None:
    needed = _with_what_they_need(INSTALLED)
    missing = [
        module
        for module, owners in packages_distributions().items()
        if needed.isdisjoint(map(canonicalize_name, owners)) and "modeldrop" not in owners
    ]
    assert {"pytest", "scipy", "yaml"} <= set(missing)
    command = [sys.executable, "-c", IMPORTS, json.dumps(missing)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    owners = _owners()
    used = {owners[path] for path in json.loads(done.stdout.splitlines()[-1]) if path in owners}
    assert {"google-genai", "onnxruntime", "sqlglot"} <= used
    # A file of setuptools is loaded by every process of an environment that has it.
    assert used - needed <= {"setuptools"}


def _with_what_they_need(names: list[str]) -> set[str]:
    """Their names and those of all they require, directly or not, on this machine."""
    found: set[str] = set()
    waiting = [(canonicalize_name(name), frozenset[str]()) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        found.add(name)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                following = (canonicalize_name(requirement.name), frozenset(requirement.extras))
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
    return found


def _owners() -> dict[str, str]:
    """The distribution of each installed Python file."""
    return {
        str(found.locate_file(file)): canonicalize_name(found.metadata["Name"])
        for found in distributions()
        for file in found.files or []
        if file.suffix in (".py", ".so")
    }
