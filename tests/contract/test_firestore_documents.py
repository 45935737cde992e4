"""What only the Firestore store can get wrong: lost answers, servers out of reach, the client's own traps."""

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from modeldrop.adapters.gcp import firestore_documents
from modeldrop.errors import Conflict, Unavailable
from modeldrop.ports import Create, Delete, DocumentStore, Replace
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


def test_the_import_is_light() -> None:
    code = (
        "import sys, modeldrop.adapters.gcp.firestore_documents, modeldrop.adapters.gcp.pubsub_publisher;"
        "print(*[m for m in sys.modules if m.startswith(('google.cloud.aiplatform', 'numpy', 'pandas'))])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
