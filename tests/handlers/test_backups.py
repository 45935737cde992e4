"""Backups: everything there and back, byte for byte; under changes, interruptions, and files that are none."""

import gzip
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modeldrop.cli import app
from modeldrop.errors import InvalidInput, Refused, Unavailable
from modeldrop.handlers.backups.restore_backup import restore_backup
from modeldrop.handlers.backups.take_backup import take_backup
from modeldrop.handlers.retraining.ask_retraining import ask_retraining
from modeldrop.ports import Write
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


@pytest.mark.parametrize("spoil", ["cut", "changed", "text", "other gzip", "empty"])
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
    }
    file.write_bytes(spoilt[spoil])
    other = elsewhere(full, tmp_path / "other")
    with pytest.raises(InvalidInput):
        restore_backup(other.services, file)
    assert other.services.documents.list("models") == []


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
