"""The command line among other programs: pipes that close, keys, colours, widths, and completion in a real bash."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.embedded_cloud import command
from tests.servers.json_api import Answered, Asked, JsonApi

MODELDROP = Path(sys.executable).parent / "modeldrop"
LONG = "a-reason-that-is-far-too-long-for-a-line-of-eighty-signs-" * 5


def model(name: str) -> dict[str, Any]:
    keys = ("production", "desired", "endpoint", "rollout", "paused", "health", "drift")
    return {"model": name} | dict.fromkeys(keys)


@pytest.fixture(scope="module")
def api() -> Iterator[JsonApi]:
    """Two hundred models, and a third kind whose names would be commands in a shell."""
    names = ["flights", "fraud", *(f"model-{number}" for number in range(198)), "$(touch pwned)", "a b;c", "`id`"]
    ticks = {"stale": [], "never": [], "incomplete": [], "oldest_news": None}

    def answer(asked: Asked) -> Answered:
        if asked.path.endswith("/versions"):
            return Answered(200, {"versions": [{"version": "v10"}, {"version": "v9"}, {"version": "$(x)"}]})
        if asked.path.endswith("/health"):
            return Answered(200, {"model": "a", "status": "unhealthy"})
        if asked.path.endswith("/history"):
            line = {"at": "2026-01-01T00:00:00Z", "version": "v1", "what": "promoted", "by": "me", "why": LONG}
            return Answered(200, {"history": [line], "next": None})
        return Answered(200, {"models": [model(name) for name in names], "ticks": ticks, "next": None})

    with JsonApi(answer) as server:
        yield server


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELDROP_")}
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"):
        kept.pop(name, None)
    return kept | {"PATH": f"{MODELDROP.parent}:{os.environ['PATH']}"} | changes


def bash(script: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    words = ["bash", "--noprofile", "--norc", "-c", script]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environment(**changes))


@pytest.mark.parametrize("words", ["status", "status --json", "open --print", "versions a --json", "health a --json"])
def test_a_pipe_that_closes_early_ends_it_quietly(api: JsonApi, words: str) -> None:
    """The pipe is closed before anything is written; little stays in Python's buffer, much does not."""
    reading, writing = os.pipe()
    os.close(reading)
    asked = command("--url", api.url, *words.split())
    run = subprocess.run(asked, stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60)
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, b"")


def test_head(api: JsonApi) -> None:
    run = bash(f"set -o pipefail; modeldrop status --json --url {api.url} | head -n 1")
    assert (run.stdout, run.stderr) == ("{\n", "")
    assert run.returncode in (0, 141), "head may have been too slow to close it"


def test_without_a_terminal_nothing_is_cut_off_or_coloured(api: JsonApi) -> None:
    shown = bash(f"modeldrop history m --url {api.url}").stdout
    assert LONG in shown and "\x1b" not in shown
    assert bash(f"modeldrop status --url {api.url}").stdout.count("\n") == 205
    broken = bash(f"modeldrop versions a/b --url {api.url.replace('http', 'ftp')}")
    assert "\x1b" not in broken.stderr


@pytest.mark.parametrize(("changes", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_of_a_terminal(changes: dict[str, str], coloured: bool) -> None:
    ours, theirs = pty.openpty()
    words = command("status", "--url", "nonsense")
    run = subprocess.run(
        words, stdout=theirs, stderr=theirs, env=environment(TERM="xterm", **changes), check=False, timeout=60
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert (run.returncode, "\x1b[31m" in shown) == (2, coloured)


def test_a_narrow_terminal_folds_and_cuts_nothing_off(api: JsonApi) -> None:
    ours, theirs = pty.openpty()
    words = command("history", "m", "--url", api.url)
    run = subprocess.run(words, stdout=theirs, env=environment(TERM="xterm", COLUMNS="70"), check=False, timeout=60)
    os.close(theirs)
    lines = os.read(ours, 65_536).decode().splitlines()
    os.close(ours)
    assert run.returncode == 0
    assert all(len(line) <= 70 or "\x1b" in line for line in lines)
    assert LONG in "".join(line.rsplit("│", 1)[-1].strip() for line in lines[2:])


def test_an_alphabet_that_lacks_signs(api: JsonApi) -> None:
    run = bash(f"modeldrop open --print a --url {api.url} && modeldrop --help", PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")


def test_ctrl_c_while_it_waits_for_an_answer() -> None:
    """130, as of any program, and nothing said."""

    def answer(asked: Asked) -> Answered:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        return Answered()

    with (
        JsonApi(answer) as slow,
        subprocess.Popen(command("status", "--url", slow.url), stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.wait(30) == 130
        assert process.stderr is not None and process.stderr.read() == ""


def completed(words: str, **changes: str) -> list[str]:
    """What bash offers for the last of these words, by the script that ``--show-completion`` prints."""
    script = f"""
        eval "$(modeldrop --show-completion)" || exit 1
        COMP_WORDS=({words}) ; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        complete -p modeldrop >/dev/null || exit 1
        _modeldrop_completion modeldrop
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    run = bash(script, **changes)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.split("\n")[:-1]


def test_commands_models_and_versions_are_completed(api: JsonApi) -> None:
    assert completed("modeldrop roll") == ["rollouts", "rollback"]
    assert completed("modeldrop promote f", MODELDROP_URL=api.url) == ["flights", "fraud"]
    assert completed(f"modeldrop --url {api.url} versions fl") == ["flights"]
    assert completed("modeldrop promote flights ''", MODELDROP_URL=api.url) == ["v10", "v9"]
    assert completed("modeldrop rollback flights --to v1", MODELDROP_URL=api.url) == ["v10"]


def test_names_a_shell_might_carry_out_are_not_offered(api: JsonApi, tmp_path: Path) -> None:
    offered = completed("modeldrop status ''", MODELDROP_URL=api.url)
    assert len(offered) == 200 and not any(set(name) & set("$`; (") for name in offered)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://elsewhere.example.com", "nonsense"])
def test_where_nobody_answers_nothing_is_offered(url: str) -> None:
    assert completed("modeldrop promote f", MODELDROP_URL=url) in ([], [""])


def test_the_scripts_of_other_shells_are_printed() -> None:
    for shell, sign in (("zsh", "#compdef modeldrop"), ("fish", "complete --command modeldrop")):
        run = bash(f"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 modeldrop --show-completion {shell}")
        assert (run.returncode, sign in run.stdout) == (0, True), run.stderr


def test_json_is_json_whoever_reads(api: JsonApi) -> None:
    assert len(json.loads(bash(f"modeldrop status --json --url {api.url}").stdout)["models"]) == 203


@pytest.mark.parametrize("words", ["status", "status --json", "open --print", "history m", "versions a/b --json"])
def test_a_full_disk_is_one_line(api: JsonApi, words: str) -> None:
    run = bash(f"modeldrop --url {api.url} {words} > /dev/full")
    assert (run.returncode, run.stderr) == (2, "modeldrop: No space left on device\n")


def test_without_any_output_it_still_says_how_it_ended(api: JsonApi) -> None:
    assert bash(f"modeldrop status --url {api.url} >&- 2>&-").returncode == 0
    assert bash("modeldrop status --url nonsense >&- 2>&-").returncode == 2
    assert bash("modeldrop status --url nonsense --json 2>&-").returncode == 2


def test_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    """A file is put in place whole, by its name: a device of that name would be gone."""
    device, data = tmp_path / "device", tmp_path / "data"
    os.mkfifo(device)
    (data / "bucket").mkdir(parents=True)
    for words in (f"backup {device} --force", f"package m v1 --output {device}"):
        run = bash(f"modeldrop {words} --data {data}")
        assert (run.returncode, run.stderr) == (2, f"modeldrop: {device} is no file\n")
    assert device.is_fifo()
