"""Signed packages and approval by hand on a real embedded cloud, through the command line."""

import json
import shutil
import subprocess
from pathlib import Path

from tests.e2e.embedded_cloud import REPOSITORY, command, running

POLICY = "gate: {require_signature: true, approval: manual}\nrollout: {bake_seconds: 0, min_requests: 0}\n"


def _modeldrop(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False)


def test_only_what_is_signed_and_approved_goes_live(tmp_path: Path) -> None:
    keys, package = tmp_path / "keys.json", tmp_path / "v1"
    keys.write_text(json.dumps({"2026": "a2V5IG9mIHRoaXJ0eS10d28gYnl0ZXMgb3IgbW9yZSE="}))
    shutil.copytree(REPOSITORY / "examples/flights/packages/v1", package)
    with running(tmp_path / "data", MODELDROP_SIGNING_KEYS=str(keys)) as cloud:
        at = ("--data", str(cloud.data), "--url", cloud.url)
        cloud.put("policies/flights.yaml", POLICY)
        unsigned = _modeldrop("drop", str(package), *at, "--wait")
        assert (unsigned.returncode, "requires a signature" in unsigned.stdout) == (1, True)

        signed = _modeldrop("sign", str(package), "--key-id", "2026", "--keys", str(keys))
        assert signed.returncode == 0, signed.stderr
        assert _modeldrop("drop", str(package), *at).returncode == 0
        cloud.wait_for("flights", "v1", "awaiting_approval")
        assert _modeldrop("approve", "flights", "v1", "--url", cloud.url).returncode == 0
        cloud.wait_for("flights", "v1", "live")
