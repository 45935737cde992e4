"""The example of an app in Node: what it publishes with Google's own client arrives in the reports."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.embedded_cloud import QUICK, REPOSITORY, running, until
from tests.programs import find_program

EXAMPLE = REPOSITORY / "examples/publish-node"
FLIGHTS = REPOSITORY / "examples/flights"
COUNT = 300


@pytest.mark.emulator("firestore")
@pytest.mark.emulator("pubsub")
@pytest.mark.program("node")
def test_what_a_node_app_publishes_is_what_the_reports_count(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--emulators") as cloud:
        cloud.put("policies/flights.yaml", QUICK + "drift: {window_seconds: 86400}\n")
        for name in ("reference.csv", "metadata.json"):
            cloud.put(f"models/flights/v2/{name}", (FLIGHTS / "packages/v2" / name).read_bytes())
        cloud.wait_for("flights", "v2", "live")
        told = dict(re.findall(r"(PUBSUB_EMULATOR_HOST|GOOGLE_CLOUD_PROJECT)=([^\s)]+)", cloud.ready_line))
        node = find_program("node")
        assert node is not None
        app = subprocess.run(
            [node, str(EXAMPLE / "publish.mjs"), str(COUNT)],
            check=False,
            env=os.environ | told | {"MODELDROP_URL": cloud.url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert app.returncode == 0, app.stderr
        assert app.stdout == f"{COUNT} predictions and their labels, 0 failed, 0 dropped\n"

        def reported() -> bool:
            answer = cloud.client.get("/v1/models/flights/drift?version=v2")
            return answer.status_code == 200 and answer.json()["rows"] == COUNT

        until(reported, f"{COUNT} rows in the report")
        until(
            lambda: cloud.get("/v1/models/flights/quality?version=v2")["versions"][0]["labelled"] == COUNT,
            "every prediction has its label",
        )
