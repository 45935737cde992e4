"""What only the Firestore store can get wrong: lost answers, times to go, servers out of reach, the client's traps."""

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud import firestore

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.domain.policy import DriftPolicy
from modeldrop.domain.sampling.rows import Row
from modeldrop.domain.sampling.shards import merge_into
from modeldrop.errors import Conflict, Unavailable
from modeldrop.ports import Create, Delete, DocumentStore, Replace
from modeldrop.records.windows import SHARDS_OUTLIVE, Windows, new_window
from modeldrop.settings import Settings
from tests.servers.wire import Wire

pytestmark = pytest.mark.emulator("firestore")


def connect(project: str) -> DocumentStore:
    return firestore_documents.connect(Settings("gcp", project=project))


@pytest.fixture
def project() -> str:
    return f"p-{uuid.uuid4().hex[:20]}"


def test_a_lost_answer_is_unavailable_and_never_a_conflict_with_itself(
    firestore_host: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = connect(project)
    with Wire(firestore_host) as wire, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", wire.address)
        through = connect(project)
        assert through.get("models/fraud") is None
        wire.swallow_answers()
        pending = pool.submit(through.commit, [Create("models/fraud", {"n": 1})])
        while direct.get("models/fraud") is None:
            assert not pending.done()
        wire.cut()
        with pytest.raises(Unavailable):
            pending.result()
        found = through.get("models/fraud")
        assert found is not None
        assert found.data == {"n": 1}


def test_a_server_out_of_reach_is_unavailable(
    firestore_host: str, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire(firestore_host) as wire:
        address = wire.address
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    store = connect(project)
    with pytest.raises(Unavailable):
        store.commit([Create("models/fraud", {})])


def test_a_revision_from_before_a_restore_is_a_conflict(firestore_host: str, project: str) -> None:
    store = connect(project)
    store.commit([Create("models/fraud", {})])
    for write in (Replace("models/fraud", {}, "4000000000.000001000"), Delete("models/fraud", "4000000000.000001000")):
        with pytest.raises(Conflict):
            store.commit([write])


# --- when documents may go -------------------------------------------------------------------------------------

PATH = "models/fraud/windows/w"
APRIL = datetime(2026, 4, 1, 10, tzinfo=UTC)


def raw(project: str, path: str) -> dict[str, Any]:
    """The document's fields as they are in the database, and as its policies see them."""
    fields: dict[str, Any] | None = firestore.Client(project=project).document(path).get().to_dict()
    assert fields is not None
    return fields


def replace(store: DocumentStore, path: str, data: dict[str, Any]) -> None:
    found = store.get(path)
    assert found is not None
    store.commit([Replace(path, data, found.revision)])


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("2026-04-01T10:00:00Z", APRIL),
        ("2026-04-01T12:00:00.000250+02:00", APRIL + timedelta(microseconds=250)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_the_time_to_go_is_beside_the_data(firestore_host: str, project: str, said: str, moment: datetime) -> None:
    store = connect(project)
    data = {"expire_at": said, "n": 1}
    store.commit([Create(PATH, data), Create("models/fraud/windows/other", {})])
    replace(store, "models/fraud/windows/other", data)
    assert raw(project, PATH) == {"key": "w", "data": data, "expire_at": moment}
    assert raw(project, "models/fraud/windows/other") == {"key": "other", "data": data, "expire_at": moment}


@pytest.mark.parametrize(
    "said",
    [
        *("2026-04-01T10:00:00", "2026-04-01", "", "soon", "2026-02-30T00:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z"),
        *(None, True, 1_775_037_600, b"2026-04-01T10:00:00Z", ["2026-04-01T10:00:00Z"], {"at": "2026-04-01T10:00:00Z"}),
    ],
)
def test_what_is_no_time_to_go_is_data_like_any_other(firestore_host: str, project: str, said: object) -> None:
    store = connect(project)
    data = {"expire_at": said}
    store.commit([Create(PATH, data), Create("models/fraud/windows/other", {"expire_at": APRIL.isoformat()})])
    replace(store, "models/fraud/windows/other", data)
    assert raw(project, PATH) == {"key": "w", "data": data}
    assert raw(project, "models/fraud/windows/other") == {"key": "other", "data": data}


def test_the_time_to_go_follows_the_data_and_is_not_read(firestore_host: str, project: str) -> None:
    store = connect(project)
    store.commit([Create(PATH, {"n": 1, "deep": {"expire_at": APRIL.isoformat()}})])
    assert "expire_at" not in raw(project, PATH)
    for said in (APRIL, APRIL + timedelta(days=1), None, APRIL):
        data: dict[str, Any] = {"n": 1} if said is None else {"n": 1, "expire_at": said.isoformat()}
        replace(store, PATH, data)
        assert raw(project, PATH).get("expire_at") == said
        found, (listed,) = store.get(PATH), store.list("models/fraud/windows")
        assert found is not None
        assert found.data == data
        assert listed == found


def test_a_document_from_before_gets_its_time_when_it_is_replaced(firestore_host: str, project: str) -> None:
    store = connect(project)
    data = {"expire_at": APRIL.isoformat()}
    firestore.Client(project=project).document(PATH).set({"key": "w", "data": data})
    replace(store, PATH, data)
    assert raw(project, PATH)["expire_at"] == APRIL


def test_a_window_goes_before_its_shards(firestore_host: str, project: str) -> None:
    store = connect(project)
    windows = Windows(store)
    (record,) = windows.open([new_window("fraud", "v1", APRIL, DriftPolicy(), APRIL)])
    for number in (1, 17):  # made, and replaced
        slot = windows.shard(record, 1)
        store.commit([slot.write(merge_into(slot.shard, [Row(number, b"", b"x")]))])
    assert raw(project, record.path)["expire_at"] == record.expire_at
    assert raw(project, f"{record.path}/shards/001")["expire_at"] == record.expire_at + SHARDS_OUTLIVE


def test_the_import_is_light() -> None:
    code = (
        "import sys, modeldrop.adapters.gcp.firestore_documents, modeldrop.adapters.gcp.pubsub_publisher;"
        "print(*[m for m in sys.modules if m.startswith(('google.cloud.aiplatform', 'numpy', 'pandas'))])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
