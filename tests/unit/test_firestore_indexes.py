"""``infra/firestore.indexes.json`` against what is stored: the collections the code names, and those it writes.

A story has every kind of document written; a reader of the source finds the same collections in the paths it names.
So neither a collection that the story forgets goes unseen, nor a path that the reader does not understand.
"""

import ast
import json
import re
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldrop.adapters.gcp.firestore_documents import DATA_FIELD, EXPIRY_FIELD
from modeldrop.domain.audit_chain import AuditEntry
from modeldrop.domain.news import News
from modeldrop.domain.retraining.episode import Episode, TrainingRequest, episode_id
from modeldrop.domain.retraining.state import RetrainingState
from modeldrop.domain.retraining.threshold import Proposal
from modeldrop.handlers.reports.report_quality import report_quality
from modeldrop.handlers.rollouts.roll_back import roll_back
from modeldrop.ports import DocumentStore
from modeldrop.records import registry
from modeldrop.records.audit import AuditTrail
from modeldrop.records.heartbeats import Heartbeat, Heartbeats
from modeldrop.records.outbox import Outbox, dispatch, into_log, numbered_dispatch
from modeldrop.records.proposals import ProposalRecord, Proposals, new_proposal
from modeldrop.records.retraining import Retraining, new_episode
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import NOW, WINDOW, instance, label, message, prediction
from tests.handlers.reporting import report

REPOSITORY = Path(__file__).parents[2]
RECORDS = REPOSITORY / "shared/modeldrop/records"
PATH = re.compile(r"[^\s/]+(/[^\s/]+)+")
NAME = re.compile(r"[a-z_]+")


def declared() -> list[dict[str, Any]]:
    """The overrides of single fields."""
    document = json.loads((REPOSITORY / "infra/firestore.indexes.json").read_bytes())
    assert document.keys() == {"indexes", "fieldOverrides"}
    assert document["indexes"] == []  # listings need none
    overrides: list[dict[str, Any]] = document["fieldOverrides"]
    return overrides


def collections_of(path: str) -> set[str]:
    """The collections in a path with ``{}`` for what is filled in. One that begins so goes on from a document.

    >>> sorted(collections_of("models/{}/versions/{}~{}")), collections_of("{}/shards/{}"), collections_of("a/{}/{}")
    (['models', 'versions'], {'shards'}, {'a'})
    """
    parts = path.split("/")
    return {part for part in parts[parts[0] == "{}" :: 2] if NAME.fullmatch(part)}


def named_in_code() -> set[str]:
    """The collections in the paths that the modules of records write down."""
    texts = [
        _template(node)
        for module in RECORDS.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.JoinedStr | ast.Constant)
    ]
    return set[str]().union(*(collections_of(text) for text in texts if PATH.fullmatch(text)))


def _template(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """The collections of a story in which everything happens; whether any of their documents says when it may go."""
    control = Control(tmp_path_factory.mktemp("story"))
    control.clock.now = NOW - timedelta(days=1)
    control.policy(FAST)
    control.tell(f"policies/{MODEL}.yaml")
    control.make_live("v1", 0.6, day=1)
    control.clock.now = NOW
    with instance(control.services) as intake:
        strangers = [prediction(n, model="stranger") for n in range(3)]
        intake.take_now(message(*map(prediction, range(30)), *map(label, range(30)), *strangers, {"type": "nonsense"}))
    report(control)
    report_quality(control.services, MODEL)
    control.make_live("v2", 0.7, day=2)
    roll_back(control.services, MODEL, to=None, by="ada")
    control.settle()
    _of_ticks(control.services.documents)
    return _stored(control.data)


def _of_ticks(documents: DocumentStore) -> None:
    """A tick that ran, a call, a retraining that is asked for, a threshold that is proposed, and news that are told."""
    Heartbeats(documents).beat(Heartbeat("health_tick", NOW, 0.1, "ok", 1, 0, 60.0))
    AuditTrail(documents).append(AuditEntry(0, NOW, "ada", "POST /", "asked", 0, "", None, "k", "", ""))
    retraining, outbox = Retraining(documents), Outbox(documents)
    asked = TrainingRequest(episode_id(MODEL, 1, NOW), MODEL, "v1", "manual", None, None)
    episode = Episode(asked, "", "ada", NOW, NOW + timedelta(days=1), "nowhere")
    retraining.commit([retraining.state(MODEL).write(RetrainingState(1)), *new_episode(1, episode)])
    proposals, figures = Proposals(documents), Proposal(0.4, 0.2, 0.1, 0.2, 300, 300)
    proposed = ProposalRecord("v1-t", MODEL, "v1", "", WINDOW, "package", 0.5, 0.5, figures, NOW)
    proposals.commit(new_proposal(proposed, proposals.open(MODEL), None))
    news = dispatch(MODEL, News("rejected", "v1", "rejected", ""), NOW)
    outbox.commit([numbered_dispatch("story", 1, number, news) for number in range(2)])
    told = outbox.waiting()[0]
    outbox.commit(into_log(told, told.value))  # the other waits


def _stored(data: Path) -> dict[str, bool]:
    with closing(sqlite3.connect(data / "documents.sqlite")) as connection:
        rows = connection.execute("SELECT collection, data FROM documents").fetchall()
    found: dict[str, bool] = {}
    for collection, document in rows:
        group = collection.rpartition("/")[2]
        found[group] = found.get(group, False) or EXPIRY_FIELD in msgspec.msgpack.decode(document)
    return found


def test_the_story_has_every_collection_the_code_names(written: dict[str, bool]) -> None:
    assert set(written) == named_in_code()


def test_every_collection_and_no_other_is_declared(written: dict[str, bool]) -> None:
    expected = [{"collectionGroup": group, "fieldPath": DATA_FIELD, "indexes": []} for group in written]
    expected += [
        {"collectionGroup": group, "fieldPath": EXPIRY_FIELD, "ttl": True, "indexes": []}
        for group, expires in written.items()
        if expires
    ]
    by_name = sorted(declared(), key=lambda override: (override["collectionGroup"], override["fieldPath"]))
    assert by_name == sorted(expected, key=lambda override: (override["collectionGroup"], override["fieldPath"]))


def test_the_registrys_table_tells_of_all_of_them(written: dict[str, bool]) -> None:
    assert registry.__doc__ is not None
    rows = [line for line in registry.__doc__.splitlines() if line.startswith("| ``")]
    paths = [re.sub(r"\{[^}]*\}", "{}", path) for row in rows for path in re.findall(r"``([^`]*/[^`]*)``", row)]
    assert set[str]().union(*map(collections_of, paths)) == set(written)
