"""docs/first-model.md and the README do what they say: their commands, in order, against a running cloud."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.embedded_cloud import REPOSITORY, running

COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_guide_to_a_first_model(tmp_path: Path) -> None:
    blocks = COMMANDS.findall((REPOSITORY / "docs/first-model.md").read_text())
    with running(tmp_path / "modeldrop-data") as cloud:
        told = [_run(block.replace("localhost:8080", cloud.url), tmp_path, cloud.url) for block in blocks]
        assert len(told) == 6
        first, second, third, last = told[2:]
        assert "approved" in first
        assert '"modelVersionId":"v1"' in first
        assert "100 %" in second
        assert "rejected, as it should be" in third
        assert "auc is 0.73; the policy wants at least 0.75" in third
        assert '"rule": "limit"' in third
        assert "complaints from the call centre" in last
        assert cloud.status("loans", "v3") == "rejected"
        assert cloud.get("/v1/models/loans")["production"] == "v1"


def test_the_readme_by_hand(tmp_path: Path) -> None:
    (block,) = COMMANDS.findall((REPOSITORY / "README.md").read_text())
    here = block.replace(".venv/bin/", "").replace("examples/", f"{REPOSITORY}/examples/")
    with running(tmp_path / "modeldrop-data") as cloud:
        told = _run(here.replace("localhost:8080", cloud.url), tmp_path, cloud.url)
        assert "flights v1: live" in told
        assert "flights v3: rejected (score" in told
        assert "no_improvement" in told
        assert '"modelVersionId":"v1"' in told
        assert cloud.get("/v1/models/flights")["production"] == "v1"


def _run(block: str, folder: Path, url: str) -> str:
    """What the commands print; fails where one of them does."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "MODELDROP_URL": url}
    bash = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(bash, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
