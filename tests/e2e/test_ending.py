"""The end of the embedded cloud and of the demo: quick and quiet, or with all that is known of why."""

import fcntl
import json
import signal
import time
from pathlib import Path

import pytest

from modeldrop.localcloud.demo.stage import LINES_SHOWN, StepFailed
from modeldrop.localcloud.demo.stage import cloud as stage_cloud
from tests.e2e.embedded_cloud import QUICK, running, scorecard
from tests.servers.receiver import HANG, Receiver

SECONDS = 6.0
"""On a busy machine; less than a target is waited for."""


def test_a_target_that_hangs_delays_no_end(tmp_path: Path) -> None:
    with Receiver() as receiver, running(tmp_path / "cloud") as cloud:
        receiver.always(HANG)
        channel = {"type": "webhook", "url": f"{receiver.url}/hook", "on": ["promoted"]}
        cloud.put("policies/fraud.yaml", f"{QUICK}notify: {json.dumps([channel])}\n")
        cloud.drop_live(scorecard("fraud", "v1"))
        receiver.wait_for(1)
        began = time.monotonic()
        assert cloud.end(signal.SIGINT) == 0
        assert time.monotonic() - began < SECONDS
        said = cloud.log.read_text()
        assert "Traceback" not in said
        assert "ASGI" not in said


def test_a_demo_that_fails_shows_what_the_cloud_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "flights-v1.log").write_text("".join(f"line {number}\n" for number in range(2 * LINES_SHOWN)))
    (logs / "flights-v2.log").touch()
    with (tmp_path / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StepFailed, match="did not start"), stage_cloud(tmp_path, {}):
            raise AssertionError("it has started")
    shown = capsys.readouterr().out.splitlines()
    assert "is in use by another modeldrop up" in " ".join(shown)
    assert [line for line in shown if "the end of" in line] == [
        "-- the end of cloud.log",
        "-- the end of flights-v1.log",
    ]
    assert [line for line in shown if line.startswith("line ")] == [
        f"line {n}" for n in range(LINES_SHOWN, 2 * LINES_SHOWN)
    ]
