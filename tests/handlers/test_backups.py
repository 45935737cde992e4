"""Backups: everything there and back, byte for byte; under changes, interruptions, and files that are none."""

import gzip
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modeldrop.cli import app
from modeldrop.errors import InvalidInput, Refused, Unavailable
from modeldrop.handlers.backups.backup_file import entries_of
from modeldrop.handlers.backups.restore_backup import restore_backup
from modeldrop.handlers.backups.take_backup import take_backup
from modeldrop.handlers.retraining.ask_retraining import ask_retraining
from modeldrop.ports import Create, Write
from modeldrop.records.collections import DECISIONS, NOT_STATE, POLICIES, SAMPLES, SHARED
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW, between, instance, label, message, prediction
from tests.handlers.reporting import report

TARGET = FAST + "retrain: {target: {type: pubsub, topic: retraining}}\n"


@pytest.fixture
def full(control: Control) -> Control:
    """A model with a life behind it."""
    control.clock.now = NOW
    control.policy(TARGET)
    control.tell(f"policies/{MODEL}.yaml")
    control.make_live("v1", 0.5, day=1)
    control.make_live("v2", 0.7, day=2)
    control.drop("v3", 0.1, 3)
    control.tell_version("v3")
    with instance(control.services) as intake:
        intake.take_now(message(*(prediction(n, "v2") for n in range(300)), *map(label, range(300)), {"type": "none"}))
    report(control, 0, "v2")
    assert ask_retraining(control.services, MODEL, by="ann").status == "accepted"
    return control


def stored(data: Path) -> dict[str, bytes]:
    """Every document that is state."""
    with closing(sqlite3.connect(data / "documents.sqlite")) as connection:
        rows = connection.execute("SELECT collection || '/' || id, data FROM documents").fetchall()
    return {path: data for path, data in rows if not path.startswith(NOT_STATE)}


def elsewhere(control: Control, folder: Path) -> Control:
    return Control(folder, control.clock)


def test_everything_there_and_back(full: Control, tmp_path: Path) -> None:
    trailer = take_backup(full.services, tmp_path / "backup")
    assert trailer.documents == len(stored(full.data)) > 30
    assert trailer.unsettled == []
    other = elsewhere(full, tmp_path / "other")
    restored = restore_backup(other.services, tmp_path / "backup")
    assert (restored.documents, restored.there) == (trailer.documents, 0)
    assert stored(other.data) == stored(full.data)
    assert other.head == full.head
    assert [v.version for v in other.services.registry.versions(MODEL)] == ["v3", "v2", "v1"]


def test_a_backup_is_for_its_owners_eyes_and_leaves_nothing_beside_it(full: Control, tmp_path: Path) -> None:
    """Rows of predictions are in it. One that was killed has left its beginning behind, for everybody to read."""
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".backup.part").write_bytes(b"half")
    take_backup(full.services, folder / "backup")
    assert [path.name for path in folder.iterdir()] == ["backup"]
    assert (folder / "backup").stat().st_mode & 0o777 == 0o600


def test_every_collection_of_the_story_is_known(full: Control) -> None:
    named = {*SAMPLES, *DECISIONS, *SHARED, *NOT_STATE, POLICIES, "models", "shards"}
    assert {path.split("/")[-2] for path in stored(full.data)} <= named


def test_documents_come_after_those_below_them(full: Control, tmp_path: Path) -> None:
    """So an interruption never leaves a model, or a window, that looks whole."""
    take_backup(full.services, tmp_path / "backup")
    other = elsewhere(full, tmp_path / "other")
    seen: list[str] = []
    between(other.services).before = lambda writes: seen.extend(write.path for write in writes)
    restore_backup(other.services, tmp_path / "backup")
    assert seen[0].startswith("policies/")
    for number, path in enumerate(seen):
        assert not [later for later in seen[number:] if later.startswith(f"{path}/")]


def test_an_interrupted_restore_goes_on(full: Control, tmp_path: Path) -> None:
    take_backup(full.services, tmp_path / "backup")
    other = elsewhere(full, tmp_path / "other")
    commits = 0

    def dies(_: Sequence[Write]) -> None:
        nonlocal commits
        commits += 1
        if commits == 4:
            raise Unavailable("gone")

    services = other.another_instance()
    between(services).after = dies  # the answer is lost
    with pytest.raises(Unavailable):
        restore_backup(services, tmp_path / "backup", at_once=7)
    assert other.services.registry.head(MODEL).revision is None  # nobody acts on half a model
    restored = restore_backup(other.services, tmp_path / "backup")
    assert restored.there == 28
    assert stored(other.data) == stored(full.data)
    assert restore_backup(other.services, tmp_path / "backup").there == restored.documents


def test_nothing_is_overwritten(full: Control, tmp_path: Path) -> None:
    take_backup(full.services, tmp_path / "backup")
    full.make_live("v4", 0.9, day=4)
    before = stored(full.data)
    with pytest.raises(Refused, match="differ; nothing is overwritten"):
        restore_backup(full.services, tmp_path / "backup")
    assert stored(full.data) == before


def test_all_that_is_in_the_way_is_told_and_nothing_is_written(full: Control, tmp_path: Path) -> None:
    """Also where it comes last in the backup, after all that could have been written."""
    take_backup(full.services, tmp_path / "backup")
    other = elsewhere(full, tmp_path / "other")
    paths = [entry.path for entry in entries_of(tmp_path / "backup")]
    last, version = paths[-1], next(path for path in paths if path.startswith(f"models/{MODEL}/versions/"))
    documents = other.services.documents
    documents.commit([Create(path, {"not": "the same"}) for path in (last, version)])
    documents.commit([Create(path, {}) for path in ("models/another", "policies/another", "quarantine/q1")])
    documents.commit([Create(f"models/{MODEL}/history/zz", {})])
    before = stored(other.data)
    with pytest.raises(Refused, match=r"^nothing was written: ") as refused:
        restore_backup(other.services, tmp_path / "backup", at_once=7)
    assert stored(other.data) == before
    told = [last, version, "models/another", "policies/another", "1 more in quarantine"]
    told.append(f"1 more documents of models/{MODEL}")
    assert [one for one in told if one not in str(refused.value)] == []


@pytest.mark.parametrize("commits", [1, 3, 5])
def test_a_restore_that_was_killed_goes_on(full: Control, tmp_path: Path, commits: int) -> None:
    """SIGKILL, after so many commits; the next one needs no word about it."""
    take_backup(full.services, tmp_path / "backup")
    script = f"""
import os, signal, sys
from pathlib import Path
from modeldrop.handlers.backups.restore_backup import restore_backup
from modeldrop.settings import Settings
from modeldrop.wiring import Services
seen = []
def progress(done):
    seen.append(done)
    if len(seen) == {commits}:
        os.kill(os.getpid(), signal.SIGKILL)
services = Services(Settings("local", data=Path(sys.argv[2]), auth="none"))
restore_backup(services, Path(sys.argv[1]), progress, at_once=7)
"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "backup", tmp_path / "other"], check=False)
    assert killed.returncode == -signal.SIGKILL
    other = elsewhere(full, tmp_path / "other")
    assert restore_backup(other.services, tmp_path / "backup").there == 7 * commits
    assert stored(other.data) == stored(full.data)


def test_two_restores_at_once_both_end(full: Control, tmp_path: Path) -> None:
    """Another one writes some of each batch just before this one does, and the rest of it while this one looks."""
    take_backup(full.services, tmp_path / "backup")
    other = elsewhere(full, tmp_path / "other")
    services = other.another_instance()
    documents = services.documents
    taken: list[str] = []

    def faster(writes: Sequence[Write]) -> None:
        if len(writes) > 1:
            documents.commit(list(writes[::2]))
            taken.extend(write.path for write in writes[::2])

    between(services).before = faster
    restored = restore_backup(services, tmp_path / "backup", at_once=7)
    assert restored.there == len(taken) > restored.documents / 2
    assert stored(other.data) == stored(full.data)


def test_what_somebody_else_writes_meanwhile_is_not_overwritten(full: Control, tmp_path: Path) -> None:
    take_backup(full.services, tmp_path / "backup")
    other = elsewhere(full, tmp_path / "other")
    services = other.another_instance()
    documents = services.documents
    policy = f"policies/{MODEL}"
    between(services).before = lambda _: documents.get(policy) or documents.commit([Create(policy, {"another": 1})])
    with pytest.raises(Refused, match=f"by somebody else meanwhile: .*{policy}"):
        restore_backup(services, tmp_path / "backup")
    assert stored(other.data).keys() == {policy}


def test_a_model_that_changes_meanwhile_is_read_again(full: Control, tmp_path: Path) -> None:
    """A version is registered between the reading of the versions and of the head."""
    services = full.another_instance()
    store = between(services)
    changed = False

    def change(path: str) -> object:
        nonlocal changed
        if path == f"models/{MODEL}" and not changed:
            changed = True
            full.make_live("v4", 0.9, day=4)
        return full.services.documents.get(path)

    store.__dict__["get"] = change
    assert take_backup(services, tmp_path / "backup").unsettled == []
    other = elsewhere(full, tmp_path / "other")
    restore_backup(other.services, tmp_path / "backup")
    assert other.head == full.head
    assert other.services.registry.version(MODEL, "v4") is not None


@pytest.mark.parametrize("spoil", ["cut", "changed", "text", "other gzip", "empty", "damaged"])
def test_what_is_no_whole_backup_is_refused_before_anything_is_written(
    full: Control, tmp_path: Path, spoil: str
) -> None:
    file = tmp_path / "backup"
    take_backup(full.services, file)
    content = gzip.decompress(file.read_bytes())
    spoilt = {
        "cut": gzip.compress(content[: len(content) // 2]),
        "changed": gzip.compress(content.replace(b"webhook", b"wobhook").replace(b"superseded", b"superceded")),
        "text": b"not gzip",
        "other gzip": gzip.compress(b"hello, this is something else"),
        "empty": b"",
        "damaged": file.read_bytes()[:100] + bytes(50) + file.read_bytes()[150:],
    }
    file.write_bytes(spoilt[spoil])
    other = elsewhere(full, tmp_path / "other")
    with pytest.raises(InvalidInput):
        restore_backup(other.services, file)
    assert other.services.documents.list("models") == []


@pytest.mark.parametrize("place", ["not-there/backup", "full/backup"])
def test_a_backup_that_cannot_be_written_is_told_and_leaves_nothing(full: Control, tmp_path: Path, place: str) -> None:
    """A folder that is not there; and a disk that is full, which a limit on the length of files stands for."""
    (tmp_path / "full").mkdir()
    command = [sys.executable, "-m", "modeldrop.cli", "backup", str(tmp_path / place), "--data", str(full.data)]
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f "$1"; shift; exec "$@"', "bash", "1", *command]
    done = subprocess.run(limited if "full" in place else command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search("No such file|File too large", done.stderr)
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "full").iterdir()) == []


def test_the_commands(full: Control, tmp_path: Path) -> None:
    run, file = CliRunner(), tmp_path / "backup"
    taken = run.invoke(app, ["backup", str(file), "--data", str(full.data)])
    assert taken.exit_code == 0 and f"documents in {file}" in taken.output.replace("\n", "")
    assert run.invoke(app, ["backup", str(file), "--data", str(full.data)]).exit_code == 2  # it is there
    assert run.invoke(app, ["backup", str(file), "--data", str(full.data), "--force"]).exit_code == 0
    assert run.invoke(app, ["backup", str(tmp_path / "b"), "--data", str(tmp_path / "nobody")]).exit_code == 2
    assert not (tmp_path / "b").exists()
    back = run.invoke(app, ["restore", str(file), "--data", str(tmp_path / "new")])
    assert back.exit_code == 0 and "documents restored" in back.output
    assert stored(tmp_path / "new") == stored(full.data)
    assert json.loads(json.dumps(sorted(stored(full.data)))) == sorted(stored(tmp_path / "new"))
