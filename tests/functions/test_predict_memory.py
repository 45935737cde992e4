"""What a process has loaded to serve is set aside from garbage collection; in processes of their own: it stays so."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.functions.predict_system import GOOD, OURS, SOURCE, package

CODE = """
import gc, json, sys
import functions_framework
client = functions_framework.create_app(target="predict", source=sys.argv[1]).test_client()
body = {"instances": [json.loads(sys.argv[2])]}
found = [[0, gc.get_freeze_count()]]
for ask in (lambda: client.get("/health"), lambda: client.get("/health"), lambda: client.post("/predict", json=body)):
    found.append([ask().status_code, gc.get_freeze_count()])
print(json.dumps(found))
"""


def frozen(environment: dict[str, str]) -> list[list[int]]:
    """Status, and how many objects are set aside: at first, after two questions for health, after a prediction."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    command = [sys.executable, "-c", CODE, str(SOURCE), json.dumps(GOOD)]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    found: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_what_is_loaded_is_set_aside_once(tmp_path: Path) -> None:
    (_, before), (status, first), (_, second), (predicted, third) = frozen(package(tmp_path) | {"AIP_HTTP_PORT": "1"})
    assert (before, status, predicted) == (0, 200, 200)
    assert first > 10_000
    assert first >= second >= third > 0.9 * first  # some end with their last user, none are added


def test_nothing_is_set_aside_before_something_is_loaded(tmp_path: Path) -> None:
    environment = package(tmp_path) | {"AIP_HTTP_PORT": "1", "MODELDROP_SERVED_DIGEST": "0" * 64}
    assert frozen(environment) == [[0, 0], [503, 0], [503, 0], [503, 0]]
