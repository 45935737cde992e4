"""What is installed elsewhere is whole: the wheel, and the functions as they are deployed.

That the upload of a deployment has every file of ``functions`` and ``shared``, the real gcloud shows in
tests/contract/test_deploy_commands.py.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.unit.missing_packages import WITHOUT

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shared" / "modeldrop"

# The dashboard's first page and what it loads, by the package that is found, of an embedded cloud that is empty.
LOOK = """
import re, sys
from pathlib import Path
import modeldrop
from flask import Flask, request
from modeldrop.http.flask_messages import asked_of, response_of
from modeldrop.settings import Settings
from modeldrop.web.application import answer
from modeldrop.wiring import Services

assert Path(modeldrop.__file__).is_relative_to(sys.argv[1]), modeldrop.__file__
services = Services(Settings("local", data=Path(sys.argv[2]), auth="none"))
app = Flask("app")


def look(path):
    with app.test_request_context(path, base_url="http://localhost"):
        reply = response_of(answer(services, asked_of(request)))
    assert reply.status_code == 200, (path, reply.status_code, reply.get_data())
    print(reply.content_type)
    return reply.get_data(as_text=True)


for path in re.findall('(?:href|src)="(/assets/[^"]+)"', look("/")):
    look(path)
"""

# Each function, where nothing can be imported but what requirements.txt installs.
LOAD = (
    WITHOUT
    + """
import importlib, pkgutil
import functions_framework
import modeldrop

for name in sys.argv[2:]:
    functions_framework.create_app(target=name, source=f"functions/{name}/main.py")
for module in pkgutil.walk_packages(modeldrop.__path__, "modeldrop."):
    if not module.name.startswith(("modeldrop.cli", "modeldrop.localcloud")):
        importlib.import_module(module.name)
"""
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves things behind."""
    folder = tmp_path_factory.mktemp("wheel")
    leavings = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "shared", folder / "shared", ignore=leavings)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    command += ["--disable-pip-version-check", f"--wheel-dir={folder}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.startswith("modeldrop/")}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.suffix for path in files} >= {".py", ".html", ".css", ".js", ".typed"}
    assert found == {f"modeldrop/{path.relative_to(PACKAGE).as_posix()}" for path in files}


def test_the_dashboard_is_shown_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    done = _python(LOOK, str(tmp_path / "installed"), str(tmp_path / "data"), path=tmp_path / "installed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kinds = [line.partition(";")[0] for line in done.stdout.splitlines()]
    assert sorted(kinds) == ["text/css", "text/html", "text/javascript"]


def test_functions_need_nothing_that_their_requirements_do_not_install() -> None:
    names = re.findall(r"(?m)^([A-Za-z0-9._-]+)==", (ROOT / "requirements.txt").read_text())
    pinned = {canonicalize_name(name) for name in names}
    missing = [
        module
        for module, owners in packages_distributions().items()
        if pinned.isdisjoint(map(canonicalize_name, owners)) and "modeldrop" not in owners
    ]
    assert {"typer", "rich", "pytest"} <= set(missing)
    functions = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
    done = _python(LOAD, json.dumps(missing), *functions, path=ROOT / "shared", cwd=ROOT)
    assert done.returncode == 0, done.stderr


def _python(script: str, *arguments: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
