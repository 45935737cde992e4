"""Deployments that do not end as they should: interrupted, left behind by gcloud, two at once, answers cut off."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.deploy.deployment import Deployment, read
from infra.deploy.smoke import Read, what_is_wrong
from tests.contract.deploying import ANSWERS, PROJECT, ROOT, begin, deploy
from tests.contract.test_deploy_commands import TABLE, TO
from tests.servers.deployments import Deployments, show

pytestmark = pytest.mark.program("gcloud")

OLD = "health-tick-00003-old"
ONLY = ("--predict-image=none", "--only", "health_tick")


@pytest.fixture
def cloud() -> Iterator[Deployments]:
    with Deployments(PROJECT, "europe-west1") as cloud:
        cloud.answers = {name: (200, answer) for name, answer in ANSWERS.items()}
        cloud.traffic = {"health-tick": OLD}
        yield cloud


@contextmanager
def under_way(cloud: Deployments, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A deployment whose gcloud waits for the end of what it has begun."""
    cloud.slow = {"health_tick"}
    with begin(cloud, folder, *ONLY) as process:
        try:
            assert cloud.under_way.wait(60), show(cloud.asked)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_it_is_taken_back_when_what_gcloud_began_has_ended(
    cloud: Deployments, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C goes to all that runs in the terminal; SIGTERM, of a build that is cancelled, to the deployer."""
    with under_way(cloud, tmp_path) as process:
        os.killpg(process.pid, number)
        assert process.stdout is not None
        said = ""
        while "once more ends it" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        assert cloud.traffic == {"health-tick": OLD}  # nothing was moved, as the deployment would move it again
        cloud.finish("health_tick")
        said += process.communicate(timeout=60)[0]
    assert process.returncode == 1, said
    assert f"interrupted by {number.name}" in said
    assert cloud.traffic == {"health-tick": OLD}, said
    assert f"{OLD} serves again" in said
    assert cloud.calls == []
    assert cloud.lock is None


def test_interrupted_twice_it_says_what_is_left_to_do(cloud: Deployments, tmp_path: Path) -> None:
    with under_way(cloud, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while "once more ends it" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        # It looks at the function now, which stays in the making.
        while "waits for its end" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1, said
    assert f"NOT taken back. By hand: gcloud run services update-traffic health-tick --project={PROJECT}" in said
    assert OLD in said
    assert cloud.lock is None


def test_a_deployment_that_gcloud_left_behind_is_waited_for(cloud: Deployments, tmp_path: Path) -> None:
    cloud.lost, cloud.looks_until_done = {"health_tick"}, 3  # gcloud itself looks once, before it begins
    done = deploy(cloud, tmp_path, *ONLY)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "still under way" in done.stdout
    assert cloud.functions["health_tick"]["state"] == "ACTIVE"
    assert cloud.traffic == {"health-tick": OLD}, done.stdout


@pytest.mark.parametrize("earlier", [0, 1], ids=["taken", "renewed"])
def test_the_lock_is_given_back_though_its_answer_came_after_the_interruption(
    cloud: Deployments, tmp_path: Path, earlier: int
) -> None:
    processes: list[subprocess.Popen[str]] = []
    for _ in range(earlier):
        cloud.storage.before_next("upload", lambda: None)
    cloud.storage.before_next("upload", lambda: processes[0].send_signal(signal.SIGINT))
    with begin(cloud, tmp_path, *ONLY) as process:
        processes.append(process)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1, said
    assert "interrupted by SIGINT" in said
    assert cloud.storage.unused_faults() == 0
    assert cloud.lock is None, said
    assert cloud.functions == {}


# --- one at a time -----------------------------------------------------------------------------------------------


def test_two_deployments_do_not_meet(cloud: Deployments, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with under_way(cloud, first) as process:
        asked = len(cloud.asked)
        done = deploy(cloud, second, *ONLY)
        assert done.returncode == 1
        assert "is deploying, and was seen 0 minutes ago" in done.stdout
        assert "--force-unlock" in done.stdout
        assert not [one for one in cloud.asked[asked:] if one.method in ("PATCH", "PUT")]
        cloud.finish("health_tick")
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert cloud.lock is None


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_cut_off_is_a_failed_smoke_test(cloud: Deployments) -> None:
    """Here gcloud is not needed: its commands are answered as it would."""
    said: list[str] = []
    ran: list[str] = []
    cloud.raw_answers["api"] = (b'{"ticks": [', 500)
    traffic = [{"revisionName": "api-00002-old", "percent": 100}]
    answers = {
        "services list": json.dumps([{"metadata": {"name": "api"}, "status": {"traffic": traffic}}]),
        "describe api": f"{cloud.url}/called/api",
        "print-identity-token": "token",
    }

    def run(command: Sequence[str]) -> str:
        ran.append(" ".join(command))
        return next((answer for part, answer in answers.items() if part in ran[-1]), "")

    (api,) = [function for function in TABLE.functions if function.name == "api"]
    assert not Deployment(TABLE, TO, said.append, run, 0, attempts=2).deploy([api])
    assert "failed: api: IncompleteRead" in "\n".join(said)
    assert ran[-1].startswith("gcloud run services update-traffic api ")
    assert "--to-revisions=api-00002-old=100" in ran[-1]


def test_an_answer_that_is_no_text_is_read_all_the_same(cloud: Deployments) -> None:
    cloud.raw_answers["api"] = (b"\xff\xfe{}", 4)
    answer = read(f"{cloud.url}/called/api/v1/ticks", "token")
    assert "no JSON" in str(what_is_wrong(Read("/v1/ticks", "ticks"), answer))


def test_it_runs_on_gclouds_own_python(tmp_path: Path) -> None:
    """Which is the only one in the build's image; with PyYAML beside it, made for another release of Python."""
    import yaml

    info = ["gcloud", "info", "--format=value(basic.python_location)"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)}
    python = subprocess.run(info, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "yaml").symlink_to(Path(yaml.__file__).parent)
    dry = ["infra/deploy/deploy.py", f"--project={PROJECT}", "--region=europe-west1", "--dry-run"]
    done = subprocess.run(
        [python, *dry],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "gcloud functions deploy model_uploaded" in done.stdout
