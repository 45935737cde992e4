"""``drop --wait``: what is told of a rollout while it goes on, on a terminal and in a log, and how it ends."""

import json
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from modeldrop.cli.control_plane import ControlPlane
from modeldrop.cli.following import Seen, Story, look_until_settled
from modeldrop.cli.live_rollout import picture
from modeldrop.errors import Unavailable
from tests.e2e.embedded_cloud import Cloud, command, running, scorecard
from tests.servers.json_api import Answered, Asked, Fault, JsonApi

ENTRY = {"at": "2026-01-01T00:00:00Z", "phase": "baking", "percent": 5, "reason": "the split is set"}
MEASURED = {"at": "2026-01-01T00:00:09Z", "percent": 5, "verdict": "fail", "why": "9 of 10 requests failed"}
ROLLOUT = {
    "version": "v1",
    "phase": "baking",
    "phase_since": "2026-01-01T00:00:00Z",
    "bake_seconds": 600.0,
    "limits": {"min_requests": 100},
    "steps": [5, 100],
    "step": 0,
    "entries": [ENTRY],
    "measurements": [],
    "held": None,
}
APPROVALS = """
gate: {approval: manual}
rollout: {strategy: canary, steps: [20, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("following") / "data") as started:
        started.put("policies/asked.yaml", APPROVALS)
        yield started


def test_a_story_tells_each_thing_once_and_in_order() -> None:
    story = Story()
    assert story.news(Seen("m", "v1")) == ["m v1: not seen yet"]
    waiting = {"status": "received", "waiting_for": ["model.onnx", "reference.csv"]}
    assert story.news(Seen("m", "v1", waiting)) == ["m v1: received", "  waits for model.onnx, reference.csv"]
    assert story.news(Seen("m", "v1", waiting)) == []
    canary = {"status": "canary"}
    assert story.news(Seen("m", "v1", canary, ROLLOUT)) == [
        "  baking at 5 %: the split is set, for at least 600 s and 100 requests",
        "m v1: canary",
    ]
    held = ROLLOUT | {"measurements": [MEASURED], "held": {"cause": "inconclusive", "why": "too few requests"}}
    assert story.news(Seen("m", "v1", {"status": "paused"}, held)) == [
        "  measured at 5 %: fail, 9 of 10 requests failed",
        "m v1: paused",
        "  held: too few requests: modeldrop resume m, or modeldrop rollback m",
    ]
    fallen = {"status": "rolled_back", "fallen": "it failed"}
    assert story.news(Seen("m", "v1", fallen, held | {"held": None})) == ["m v1: rolled_back (it failed)"]


def test_a_step_that_waits_for_approval_says_how() -> None:
    held = ROLLOUT | {"held": {"cause": "approval", "why": "the policy wants it"}}
    assert Seen("m", "v1", {"status": "paused"}, held).waits_for == "waits for approval: modeldrop approve m v1"


def test_the_picture_shows_steps_traffic_measurements_and_what_it_waits_for() -> None:
    from io import StringIO

    from rich.console import Console

    def drawn(seen: Seen) -> str:
        page = Console(file=StringIO(), width=120)
        page.print(picture(seen))
        return str(page.file.getvalue())

    seen = drawn(Seen("m", "v1", {"status": "canary"}, ROLLOUT | {"measurements": [MEASURED]}, 75.0))
    for part in ("m v1: canary   1:15", "░ 5 %", "▶ 5 %  · 100 %", "9 of 10 requests failed", "baked long enough"):
        assert part in seen, part
    live = ROLLOUT | {"phase": "live", "step": 1, "entries": [ENTRY | {"percent": 100}]}
    assert "✓ 5 %  ✓ 100 %" in drawn(Seen("m", "v1", {"status": "live"}, live))
    asked = drawn(Seen("m", "v1", {"status": "awaiting_approval"}))
    assert "modeldrop approve m v1" in asked
    assert "no answer: gone" in drawn(Seen("m", "v1", {"status": "canary"}, None, 1.0, "gone"))
    assert "\x1b" not in drawn(Seen("m", "v1", {"status": "rejected", "decision": {"reasons": ["\x1b[2J"]}}))


def test_it_goes_on_through_answers_that_fail_once_it_has_seen_the_version() -> None:
    statuses = iter(["received", "canary", "live"])

    def answer(asked: Asked) -> Answered:
        if asked.path.endswith("/rollouts"):
            return Answered(200, {"rollouts": [ROLLOUT | {"version": "v0"}, ROLLOUT], "next": None})
        return Answered(200, {"version": "v1", "status": next(statuses)})

    with JsonApi(answer) as api:
        api.inject(None, None, Fault("drop"), Fault("status", 503))
        looks = list(look_until_settled(ControlPlane(api.url), "m", "v1", 30.0))
    assert [(seen.status, bool(seen.trouble)) for seen in looks] == [
        ("received", False),
        ("received", True),
        ("received", True),
        ("canary", False),
        ("live", False),
    ]
    assert looks[-1].rollout == ROLLOUT


def test_nobody_there_from_the_start_is_an_error() -> None:
    with pytest.raises(Unavailable):
        list(look_until_settled(ControlPlane("http://127.0.0.1:9"), "m", "v1", 30.0))


@pytest.mark.parametrize(
    "found", [{"detail": 1}, {"status": "canary"}, {"rollouts": [{"version": "v1"}], "status": "x"}]
)
def test_a_server_that_is_not_ours(found: dict[str, object]) -> None:
    with JsonApi(lambda asked: Answered(200, found)) as api, pytest.raises(Unavailable, match="as modeldrop does"):
        list(look_until_settled(ControlPlane(api.url), "m", "v1", 30.0))


def test_it_waits_for_an_approval_and_goes_on_after_it(cloud: Cloud, tmp_path: Path) -> None:
    package(tmp_path, scorecard("asked", "v1"))
    with subprocess.Popen(dropped(tmp_path, cloud), stdout=subprocess.PIPE, text=True) as process:
        lines: list[str] = []
        assert process.stdout is not None
        approve_when_asked(process.stdout, lines, cloud.url)
        assert process.wait(60) == 0, lines
    assert lines[-1] == "asked v1: live"
    assert any(line.startswith("  live at 100 %") for line in lines)


def test_it_ends_after_its_time_and_says_what_is_waited_for(cloud: Cloud, tmp_path: Path) -> None:
    package(tmp_path, scorecard("asked", "v2", 0.9))
    run = subprocess.run([*dropped(tmp_path, cloud), "--timeout", "3"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "still awaiting_approval after 3 s; waits for approval: modeldrop approve asked v2" in run.stderr
    printed = subprocess.run(
        [*dropped(tmp_path, cloud), "--timeout", "1", "--json"], capture_output=True, text=True, check=False
    )
    assert (printed.returncode, json.loads(printed.stdout)["status"]) == (1, "awaiting_approval")


def test_ctrl_c_ends_it_quietly(cloud: Cloud, tmp_path: Path) -> None:
    package(tmp_path, scorecard("asked", "v3", 0.95))
    with subprocess.Popen(
        dropped(tmp_path, cloud), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if "waits for approval" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == ""


def test_a_terminal_shows_it_live(cloud: Cloud, tmp_path: Path) -> None:
    cloud.put(
        "policies/seen.yaml",
        "rollout: {strategy: canary, steps: [20, 100], bake_seconds: 0, min_requests: 0, keep_warm_seconds: 0}\n",
    )
    package(tmp_path / "one", scorecard("seen", "v1"))
    assert subprocess.run(dropped(tmp_path / "one", cloud), capture_output=True, check=False).returncode == 0
    package(tmp_path / "two", scorecard("seen", "v2", 0.9))
    shown = on_a_terminal(dropped(tmp_path / "two", cloud))
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "seen v2: live" in plain and "✓ 20 %  ✓ 100 %" in plain and "█ 100 %" in plain
    assert shown.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def approve_when_asked(stdout: IO[str], lines: list[str], url: str) -> None:
    """Reads to the end; does what the text says to do, as it says it."""
    for line in stdout:
        lines.append(line.rstrip("\n"))
        if "waits for approval: modeldrop " in line:
            words = line.split("waits for approval: modeldrop ")[1].split()
            subprocess.run([*command(*words), "--url", url], check=True, capture_output=True)


def dropped(folder: Path, cloud: Cloud) -> list[str]:
    return command("drop", str(folder), "--data", str(cloud.data), "--url", cloud.url, "--wait")


def package(folder: Path, metadata: dict[str, object]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(metadata))


def on_a_terminal(words: list[str]) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        shown = bytearray()
        reader = threading.Thread(target=read_all, args=(screen.fileno(), shown))
        reader.start()
        assert process.wait(60) == 0
        reader.join(10)
    return shown.decode()


def read_all(descriptor: int, into: bytearray) -> None:
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # how a terminal without a user ends
            return
        if not piece:
            return
        into.extend(piece)
