"""``modeldrop drop`` without a cloud behind it: what is checked first, and how a package comes into a real bucket."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from tests.e2e.embedded_cloud import REPOSITORY, scorecard
from tests.servers.storage import StorageServer

FLIGHTS = REPOSITORY / "examples/flights/packages"
BUCKET = "models-of-tests"
FOLDER = "models/flights/v1"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StorageServer]:
    """Cloud Storage, where Google's own client finds it."""
    with StorageServer([BUCKET]) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of a package that may be changed, with what a run of ours left beside it."""
    folder = tmp_path / "package"
    shutil.copytree(FLIGHTS / "v1", folder)
    (folder / "deployment_info.json").write_text("{}")
    (folder / "plots").mkdir()
    (folder / "plots/zz.txt").write_text("after metadata.json in the alphabet")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["drop", *map(str, arguments)])


def contents(storage: StorageServer) -> dict[str, bytes]:
    return {name: found.data for name, found in storage.objects(BUCKET).items()}


def files(package: Path) -> dict[str, bytes]:
    found = [path for path in package.rglob("*") if path.is_file() and path.name != "deployment_info.json"]
    return {f"{FOLDER}/{path.relative_to(package).as_posix()}": path.read_bytes() for path in found}


def test_a_package_goes_into_cloud_storage_its_metadata_last(storage: StorageServer, package: Path) -> None:
    shown = run(package, "--bucket", f"gs://{BUCKET}")
    assert (shown.exit_code, shown.stderr) == (0, ""), shown.output
    assert shown.stdout.splitlines()[-2:] == [f"  {FOLDER}/metadata.json", "dropped flights v1"]
    assert contents(storage) == files(package)
    assert storage.objects(BUCKET)[f"{FOLDER}/metadata.json"].content_type == "application/json"


def test_dropping_again_changes_nothing(storage: StorageServer, package: Path) -> None:
    assert run(package, "--bucket", f"gs://{BUCKET}").exit_code == 0
    before = dict(storage.objects(BUCKET))
    again = run(package, "--bucket", f"gs://{BUCKET}", "--json")
    assert (again.exit_code, json.loads(again.stdout)["version"]) == (0, "v1")
    assert storage.objects(BUCKET) == before


def test_an_interrupted_drop_is_finished_by_the_next(storage: StorageServer, package: Path) -> None:
    storage.fail_next(503, kind="upload", times=3)
    refused = run(package, "--bucket", f"gs://{BUCKET}")
    assert (refused.exit_code, contents(storage)) == (3, {})
    storage.put(BUCKET, f"{FOLDER}/plots/zz.txt", (package / "plots/zz.txt").read_bytes())
    storage.put(BUCKET, f"{FOLDER}/reference.csv", (package / "reference.csv").read_bytes())
    (package / "reference.csv").write_text("departed_late\ntrue\n")
    assert run(package, "--bucket", f"gs://{BUCKET}").exit_code == 0
    assert contents(storage) == files(package)


def test_an_answer_that_was_lost_is_looked_for(storage: StorageServer, package: Path) -> None:
    storage.drop_next(kind="upload", after_effect=True)
    assert run(package, "--bucket", f"gs://{BUCKET}").exit_code == 0
    assert contents(storage) == files(package)


def test_a_complete_package_is_not_changed(storage: StorageServer, package: Path) -> None:
    assert run(package, "--bucket", f"gs://{BUCKET}").exit_code == 0
    before = contents(storage)
    (package / "reference.csv").write_text("departed_late\ntrue\n")
    shown = run(package, "--bucket", f"gs://{BUCKET}", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["title"]) == (1, "Not done")
    assert "take a new version" in shown.stderr
    assert contents(storage) == before


def test_a_folder_as_bucket(tmp_path: Path, package: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    assert run(package, "--bucket", bucket.as_uri()).exit_code == 0
    assert (bucket / FOLDER / "metadata.json").read_bytes() == (package / "metadata.json").read_bytes()


@pytest.mark.parametrize(
    ("bucket", "said"),
    [("gs://models/folder", "name the bucket alone"), ("s3://models", "not from"), ("models", "not from")],
)
def test_what_is_no_bucket(storage: StorageServer, package: Path, bucket: str, said: str) -> None:
    shown = run(package, "--bucket", bucket)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert said in shown.stderr


def test_everything_wrong_is_said_at_once_and_nothing_is_dropped(tmp_path: Path) -> None:
    package, bucket = tmp_path / "package", tmp_path / "data/bucket"
    package.mkdir()
    bucket.mkdir(parents=True)
    wrong = scorecard("fraud", "v1", runtime="abacus", created_at="yesterday", metrics={"f1": "good"})
    (package / "metadata.json").write_text(json.dumps(wrong))
    (package / "validation_report.json").write_text('{"passed": "perhaps"}')
    (package / "manifest.json").write_text('{"files": {"model.onnx": {"sha256": "0", "size": 1}}}')
    shown = run(package, "--data", tmp_path / "data")
    assert (shown.exit_code, shown.stdout) == (2, "")
    for field in ("runtime", "created_at", "metrics.f1", "validation_report.json", "manifest"):
        assert field in shown.stderr, field
    printed = run(package, "--data", tmp_path / "data", "--json")
    assert len(json.loads(printed.stdout)["problems"]) == len(shown.stderr.splitlines()) >= 5
    assert list(bucket.iterdir()) == []
    assert run(package, "--data", tmp_path / "data", "--no-check").exit_code == 0
    assert (bucket / "models/fraud/v1/metadata.json").is_file()


def test_a_dry_run_needs_no_bucket_and_drops_nothing(tmp_path: Path, package: Path) -> None:
    shown = run(package, "--dry-run", "--data", tmp_path / "nothing")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-2:] == [
        "would drop metadata.json",
        f"as flights v1 into {tmp_path / 'nothing/bucket'}",
    ]
    printed = json.loads(run(package, "--dry-run", "--bucket", "gs://b", "--json").stdout)
    assert printed["bucket"] == "gs://b" and printed["files"][-1] == "metadata.json"
    (package / "metadata.json").write_text("{}")
    assert run(package, "--dry-run").exit_code == 2
    assert not (tmp_path / "nothing").exists()


def test_links_and_special_files_are_not_dropped(tmp_path: Path, package: Path) -> None:
    """To follow one could drop what was never meant to be; to leave one out would break the package."""
    secret = tmp_path / "secret"
    secret.write_text("never to leave this machine")
    (package / "secret.txt").symlink_to(secret)
    (package / "weights").symlink_to(tmp_path)
    (package / "nothing").symlink_to(tmp_path / "nothing")
    os.mkfifo(package / "pipe")
    (tmp_path / "data/bucket").mkdir(parents=True)
    for arguments in ((), ("--no-check",), ("--dry-run",)):
        shown = run(package, "--data", tmp_path / "data", *arguments)
        assert (shown.exit_code, shown.stdout) == (2, "")
        for name in ("secret.txt", "weights", "nothing", "pipe"):
            assert f"{name}: is a link or a special file" in shown.stderr
    assert list((tmp_path / "data/bucket").iterdir()) == []


def test_metadata_that_cannot_be_read_are_not_waited_for(tmp_path: Path) -> None:
    pipe, folder, huge = tmp_path / "pipe", tmp_path / "folder", tmp_path / "huge"
    for one in (pipe, folder, huge):
        one.mkdir()
    os.mkfifo(pipe / "metadata.json")
    (folder / "metadata.json").mkdir()
    with (huge / "metadata.json").open("wb") as file:
        file.truncate(1 << 40)
    for one, said in ((pipe, "must be a JSON object"), (folder, "Is a directory"), (huge, "must be a JSON object")):
        shown = run(one, "--dry-run")
        assert (shown.exit_code, said in shown.stderr) == (2, True), shown.stderr


def test_a_bucket_that_is_not_there_is_not_made(tmp_path: Path, package: Path) -> None:
    shown = run(package, "--bucket", (tmp_path / "bukcet").as_uri())
    assert (shown.exit_code, "there is no bucket at" in shown.stderr) == (2, True)
    assert not (tmp_path / "bukcet").exists()


def test_what_the_disk_refuses_is_one_line(tmp_path: Path, package: Path) -> None:
    (tmp_path / "data/bucket/models").mkdir(parents=True)
    (tmp_path / "data/bucket/models/flights").write_text("in the way")
    shown = run(package, "--data", tmp_path / "data", "--json")
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert "models/flights" in json.loads(shown.stdout)["detail"]


def test_the_embedded_bucket_keeps_a_complete_package_as_it_is(tmp_path: Path, package: Path) -> None:
    """Other bytes under the name of a version that is live would be told to be live, too."""
    (tmp_path / "data/bucket").mkdir(parents=True)
    assert run(package, "--data", tmp_path / "data").exit_code == 0
    there = tmp_path / "data/bucket" / FOLDER / "metadata.json"
    before = there.read_bytes()
    (package / "metadata.json").write_text(before.decode().replace("0.5962", "0.9962"))
    shown = run(package, "--data", tmp_path / "data")
    assert (shown.exit_code, shown.stdout, "take a new version" in shown.stderr) == (1, "", True)
    assert there.read_bytes() == before


def test_a_rejected_package_is_mended(tmp_path: Path, package: Path) -> None:
    bucket = tmp_path / "data/bucket"
    bucket.mkdir(parents=True)
    assert run(package, "--data", bucket.parent).exit_code == 0
    metadata = bucket / FOLDER / "metadata.json"
    before = metadata.stat().st_mtime_ns
    (bucket / FOLDER / "rejection.json").write_text("{}")
    (package / "manifest.json").write_text('{"files": {}}')
    assert run(package, "--data", bucket.parent, "--no-check").exit_code == 0
    assert (bucket / FOLDER / "manifest.json").read_text() == '{"files": {}}'
    assert metadata.stat().st_mtime_ns > before  # written anew, the last: it is looked at again
    (bucket / FOLDER / "deployment_info.json").write_text("{}")
    (package / "manifest.json").write_text('{"files": []}')
    assert run(package, "--data", bucket.parent, "--no-check").exit_code == 1
