"""What ports.DocumentStore promises, on SQLite and on Firestore's official emulator.

One promise is shown in tests/unit/test_sqlite_documents.py alone: that ``get_many`` sees one moment. Firestore's
documentation gives it, the emulator does not keep it: beside a writer it answers even a read-only transaction with
documents of two commits under one read time.
"""

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modeldrop.domain.documents import MAX_DOCUMENT_BYTES, check_data
from modeldrop.errors import Conflict, InvalidInput, InvalidName
from modeldrop.ports import Create, Delete, Document, DocumentStore, Replace

THREADS, ROUNDS = 8, 10


def stored(store: DocumentStore, path: str) -> Document:
    found = store.get(path)
    assert found is not None
    return found


def ids(found: list[Document]) -> list[str]:
    return [document.path.rsplit("/", 1)[1] for document in found]


def nested(levels: int) -> dict[str, Any]:
    """A document of so many maps, one in the other."""
    data: dict[str, Any] = {"end": 1}
    for _ in range(levels - 1):
        data = {"in": data}
    return data


# --- one document ----------------------------------------------------------------------------------------------


def test_a_document_lives_from_create_to_delete(store: DocumentStore) -> None:
    assert store.get("models/fraud") is None
    store.commit([Create("models/fraud", {"n": 1})])
    first = stored(store, "models/fraud")
    assert (first.path, first.data) == ("models/fraud", {"n": 1})
    store.commit([Replace("models/fraud", {"m": 2}, first.revision)])
    second = stored(store, "models/fraud")
    assert second.data == {"m": 2}
    assert second.revision != first.revision
    store.commit([Delete("models/fraud", second.revision)])
    assert store.get("models/fraud") is None


def test_create_refuses_what_exists(store: DocumentStore) -> None:
    store.commit([Create("models/fraud", {"n": 1})])
    before = stored(store, "models/fraud")
    with pytest.raises(Conflict):
        store.commit([Create("models/fraud", {"n": 2})])
    assert stored(store, "models/fraud") == before


@pytest.mark.parametrize("kind", ["replace", "delete"])
def test_an_old_revision_is_refused(store: DocumentStore, kind: str) -> None:
    store.commit([Create("models/fraud", {"n": 1})])
    old = stored(store, "models/fraud").revision
    store.commit([Replace("models/fraud", {"n": 2}, old)])
    current = stored(store, "models/fraud")
    write = Replace("models/fraud", {"n": 3}, old) if kind == "replace" else Delete("models/fraud", old)
    with pytest.raises(Conflict):
        store.commit([write])
    assert stored(store, "models/fraud") == current


@pytest.mark.parametrize("kind", ["replace", "delete"])
def test_what_is_gone_can_be_neither_replaced_nor_deleted(store: DocumentStore, kind: str) -> None:
    store.commit([Create("models/fraud", {})])
    revision = stored(store, "models/fraud").revision
    store.commit([Delete("models/fraud", revision)])
    write = Replace("models/fraud", {}, revision) if kind == "replace" else Delete("models/fraud", revision)
    with pytest.raises(Conflict):
        store.commit([write])
    assert store.get("models/fraud") is None


@pytest.mark.parametrize(
    "revision",
    ["", "0", "-1", "1", "01", "x", "1.5", "9" * 30, "²", "\ud800", "1.000000001", "99999999999.000000000", "1 OR 1=1"],
)
def test_a_revision_never_given_out_is_a_conflict(store: DocumentStore, revision: str) -> None:
    store.commit([Create("other/one", {}), Create("other/two", {})])
    store.commit([Create("models/fraud", {})])
    for write in (Replace("models/fraud", {"n": 1}, revision), Delete("models/fraud", revision)):
        with pytest.raises(Conflict):
            store.commit([write])
    assert stored(store, "models/fraud").data == {}


def test_a_document_made_again_never_has_an_old_revision(store: DocumentStore) -> None:
    seen = set()
    for _ in range(5):
        store.commit([Create("models/fraud", {"same": True})])
        revision = stored(store, "models/fraud").revision
        seen.add(revision)
        store.commit([Delete("models/fraud", revision)])
        store.commit([Create("models/fraud", {"same": True})])
        with pytest.raises(Conflict):
            store.commit([Delete("models/fraud", revision)])
        again = stored(store, "models/fraud").revision
        seen.add(again)
        store.commit([Delete("models/fraud", again)])
    assert len(seen) == 10


def test_a_replacement_that_changes_nothing_is_no_conflict(store: DocumentStore) -> None:
    store.commit([Create("models/fraud", {"n": 1})])
    store.commit([Replace("models/fraud", {"n": 1}, stored(store, "models/fraud").revision)])
    store.commit([Replace("models/fraud", {"n": 2}, stored(store, "models/fraud").revision)])
    assert stored(store, "models/fraud").data == {"n": 2}


# --- several at once -------------------------------------------------------------------------------------------


def test_get_many_keeps_the_order_asked_for(store: DocumentStore) -> None:
    store.commit([Create(f"models/m{n}", {"n": n}) for n in range(3)])
    found = store.get_many(["models/m2", "models/none", "models/m0", "models/m2"])
    assert [d and d.data["n"] for d in found] == [2, None, 0, 2]
    assert store.get_many([]) == []


def test_a_commit_is_all_or_nothing(store: DocumentStore) -> None:
    store.commit([Create("models/a", {"n": 1}), Create("models/b", {"n": 1}), Create("models/c", {"n": 1})])
    a, b, _ = (stored(store, f"models/{name}") for name in "abc")
    with pytest.raises(Conflict):
        store.commit(
            [
                Replace("models/a", {"n": 2}, a.revision),
                Delete("models/b", b.revision),
                Create("models/new", {}),
                Create("models/c", {"n": 2}),
            ]
        )
    assert stored(store, "models/a") == a
    assert stored(store, "models/b") == b
    assert store.get("models/new") is None
    store.commit([Replace("models/a", {"n": 2}, a.revision), Delete("models/b", b.revision), Create("models/new", {})])
    assert [d and d.data for d in store.get_many([f"models/{name}" for name in ("a", "b", "new")])] == [
        {"n": 2},
        None,
        {},
    ]


def test_one_write_a_path(store: DocumentStore) -> None:
    with pytest.raises(InvalidInput, match="twice"):
        store.commit([Create("models/a", {"n": 1}), Create("models/a", {"n": 2})])
    assert store.get("models/a") is None
    store.commit([])


def test_one_wrong_document_keeps_the_others_out(store: DocumentStore) -> None:
    with pytest.raises(InvalidInput):
        store.commit([Create("models/a", {}), Create("models/b", {"n": math.nan})])
    assert store.get("models/a") is None


# --- at the same time ------------------------------------------------------------------------------------------


def increment(store: DocumentStore, path: str) -> None:
    """Adds one, reading again after each conflict. The wait is spread at random, so that rivals part."""
    for attempt in range(1_000):
        before = stored(store, path)
        try:
            store.commit([Replace(path, {"n": before.data["n"] + 1}, before.revision)])
            return
        except Conflict:
            time.sleep(random.random() * 0.005 * min(attempt + 1, 10))
    raise AssertionError("never got through")


def test_no_increment_is_lost(store: DocumentStore) -> None:
    store.commit([Create("counters/one", {"n": 0})])
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(increment, store, "counters/one") for _ in range(THREADS * ROUNDS)]:
            done.result()
    assert stored(store, "counters/one").data == {"n": THREADS * ROUNDS}


def race(store: DocumentStore, attempt: Callable[[int], None]) -> int:
    """How many of some threads that start together succeed; the others must meet a conflict."""
    together = threading.Barrier(THREADS)

    def run(number: int) -> bool:
        together.wait()
        try:
            attempt(number)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(run, range(THREADS)))


def test_one_of_many_creates_wins(store: DocumentStore) -> None:
    assert race(store, lambda n: store.commit([Create("locks/one", {"by": n}), Create(f"winners/{n}", {})])) == 1
    winner = stored(store, "locks/one").data["by"]
    assert ids(store.list("winners")) == [str(winner)]


def test_one_of_many_deletes_wins(store: DocumentStore) -> None:
    store.commit([Create("locks/one", {})])
    revision = stored(store, "locks/one").revision
    assert race(store, lambda _: store.commit([Delete("locks/one", revision)])) == 1


# --- values ----------------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "smallest": -(2**63),
    "largest": 2**63 - 1,
    "float": 1.0,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "text": "Größe ☃ 😀 \x00 \n 'quoted' \"twice\" \\ %s ?",
    "no text": "",
    "bytes": bytes(range(256)),
    "no bytes": b"",
    "list": [1, "two", 3.0, None, b"4", {"five": [6]}],
    "no list": [],
    "map": {"a": {"b": {"c": {}}}},
    "no map": {},
    "list of maps": [{}, {"a": []}],
    "a.b": {"c.d": 1},
    "`tick`": 1,
    "with space": {"*": 1, "~/[]": 2, "__half": 3, "half__": 4, "_": 5, "__": 6, "1": 7},
    "ключ": "😀",
    "line\nbreak": 1,
}


@pytest.mark.parametrize("replaced", [False, True])
def test_values_come_back_as_they_were(store: DocumentStore, replaced: bool) -> None:
    store.commit([Create("models/fraud", {"stale": {"x": 1}, "map": {"stale": 1}} if replaced else VALUES)])
    if replaced:
        store.commit([Replace("models/fraud", VALUES, stored(store, "models/fraud").revision)])
    found = stored(store, "models/fraud").data
    assert found == VALUES
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in VALUES.items()}
    assert stored(store, "models/fraud") == store.list("models")[0] == store.get_many(["models/fraud"])[0]


def test_negative_zero_keeps_its_sign(store: DocumentStore) -> None:
    store.commit([Create("models/fraud", {"x": -0.0})])
    assert math.copysign(1, stored(store, "models/fraud").data["x"]) == -1


def test_twenty_levels_are_kept(store: DocumentStore) -> None:
    lists: dict[str, Any] = {"x": 1}
    for _ in range(9):
        lists = {"l": [lists]}
    store.commit([Create("models/maps", nested(20)), Create("models/lists", {"top": lists})])
    assert stored(store, "models/maps").data == nested(20)
    assert stored(store, "models/lists").data == {"top": lists}


@pytest.mark.parametrize(
    "data",
    [
        {"bytes": b"\xff" * 900_000},
        {"text": "x" * (MAX_DOCUMENT_BYTES - 12 - 4)},
        {"list": [1] * 130_000},
        {"map": {f"key-{n}": None for n in range(50_000)}},
    ],
    ids=["bytes", "text", "numbers", "keys"],
)
def test_documents_up_to_the_limit_are_kept(store: DocumentStore, data: dict[str, Any]) -> None:
    assert 900_000 <= check_data(data) <= MAX_DOCUMENT_BYTES
    store.commit([Create("models/large", data)])
    assert stored(store, "models/large").data == data


def cyclic() -> dict[str, Any]:
    data: dict[str, Any] = {}
    data["self"] = data
    return data


def bomb() -> dict[str, Any]:
    """Twenty levels of ten references to the level below: 10^20 values in a few bytes."""
    data: dict[str, Any] = {"x": 1}
    for _ in range(18):
        data = dict.fromkeys("abcdefghij", data)
    return data


WRONG: list[tuple[Any, str]] = [
    ({"x": math.nan}, "finite"),
    ({"x": math.inf}, "finite"),
    ({"x": -math.inf}, "finite"),
    ({"x": 2**63}, "64-bit"),
    ({"x": -(2**63) - 1}, "64-bit"),
    ({"x": [[1]]}, "list"),
    ({"x": [{"y": [[]]}]}, "list"),
    ({"x": "\ud800"}, "Unicode"),
    ({"x": ["ok", "\udfff"]}, "Unicode"),
    ({"\ud800": 1}, "Unicode"),
    ({"": 1}, "key"),
    ({"x": {"": 1}}, "key"),
    ({"__type__": "__vector__", "value": []}, "reserved"),
    ({"x": {"__oid__": "a" * 24}}, "reserved"),
    ({1: 2}, "key"),
    ({"x": {None: 2}}, "key"),
    ({b"x": 2}, "key"),
    ({"k" * 1_501: 1}, "key"),
    ({"x": (1, 2)}, "tuple"),
    ({"x": {1, 2}}, "set"),
    ({"x": object()}, "object"),
    ({"x": bytearray(b"x")}, "bytearray"),
    (nested(21), "deeper"),
    (cyclic(), "deeper"),
    ({"x": "x" * 1_048_577}, "larger"),
    ({"x": b"x" * 1_048_577}, "larger"),
    ({"x": [None] * 300_000}, "larger"),
    (bomb(), "larger"),
    (None, "map"),
    ([], "map"),
    ("text", "map"),
]


@pytest.mark.parametrize(("data", "reason"), WRONG, ids=[f"{n}-{reason}" for n, (_, reason) in enumerate(WRONG)])
def test_values_that_cannot_be_kept_are_refused(store: DocumentStore, data: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        store.commit([Create("models/fraud", data)])
    assert store.get("models/fraud") is None


# --- names -----------------------------------------------------------------------------------------------------

BAD_IDS = ["", ".", "..", "__x__", "____", "\ud800", "nul\x00", "line\nbreak", "\x7f", "x" * 1_501, "é" * 751]
BAD_PATHS = [
    "",
    "models",
    "/",
    "/models/fraud",
    "models/fraud/",
    "models//fraud",
    "models/fraud/versions",
    "a/../b/c",
    "a/b/../c",
    "../b",
    "a/.",
    "__x__/b",
    "/".join(["x" * 1_500] * 4),
    "/".join("ab" * 101),
    *(f"models/{name}" for name in BAD_IDS),
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=[str(n) for n in range(len(BAD_PATHS))])
def test_bad_paths_are_refused(store: DocumentStore, path: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: store.get(path),
        lambda: store.get_many(["models/fraud", path]),
        lambda: store.commit([Create(path, {})]),
        lambda: store.commit([Replace(path, {}, "1")]),
        lambda: store.commit([Delete(path, "1")]),
    ]
    for call in calls:
        with pytest.raises(InvalidName):
            call()


@pytest.mark.parametrize("collection", ["", "models/fraud", "/models", "models/", "a/../c", "__x__", "a/b/__x__"])
def test_bad_collections_are_refused(store: DocumentStore, collection: str) -> None:
    with pytest.raises(InvalidName):
        store.list(collection)


@pytest.mark.parametrize("after", [*BAD_IDS, "a/b"], ids=[str(n) for n in range(len(BAD_IDS) + 1)])
def test_bad_ids_to_list_after_are_refused(store: DocumentStore, after: str) -> None:
    with pytest.raises(InvalidName):
        store.list("models", after=after)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_has_at_least_one(store: DocumentStore, limit: int) -> None:
    with pytest.raises(InvalidInput):
        store.list("models", limit=limit)


ODD_IDS = [
    " ",
    " lead",
    "...",
    "2026-01-01T00:00:00.000Z~v1@3",
    "CASE",
    "_",
    "__",
    "__x",
    "a",
    "a b",
    "a%2fb",
    "a'b\"c;--",
    "a,b=c(d)[e]{f}",
    "a.b",
    "a:b",
    "a\\b",
    "a`b",
    "case",
    "x" * 1_500,
    "~",
    "é",
    "\ue000",
    "\uffee",
    "😀",
    "😀😀",
]


def test_odd_ids_come_back_in_order_of_code_points(store: DocumentStore) -> None:
    assert sorted(ODD_IDS) == ODD_IDS
    for name in random.Random(1).sample(ODD_IDS, len(ODD_IDS)):
        store.commit([Create(f"odd/{name}", {"id": name})])
    assert [d and d.data["id"] for d in store.get_many([f"odd/{name}" for name in ODD_IDS])] == ODD_IDS
    assert ids(store.list("odd")) == ODD_IDS
    assert ids(store.list("odd", descending=True)) == ODD_IDS[::-1]
    for n, name in enumerate(ODD_IDS):
        assert ids(store.list("odd", after=name)) == ODD_IDS[n + 1 :]
        assert ids(store.list("odd", after=name, descending=True)) == ODD_IDS[:n][::-1]


# --- lists -----------------------------------------------------------------------------------------------------


def test_a_list_is_of_one_collection_only(store: DocumentStore) -> None:
    store.commit(
        [
            Create("models/m", {"n": 1}),
            Create("models/m/versions/v1", {"n": 2}),
            Create("models/m/versions/v1/notes/x", {}),
            Create("models/m2/versions/v9", {}),
            Create("models2/m", {}),
            Create("models/only-below/versions/v1", {}),
        ]
    )
    assert [(d.path, d.data) for d in store.list("models")] == [("models/m", {"n": 1})]
    assert [(d.path, d.data) for d in store.list("models/m/versions")] == [("models/m/versions/v1", {"n": 2})]
    assert store.list("nothing") == []


def test_pages_go_through_all_in_both_directions(store: DocumentStore) -> None:
    names = [f"{n:03}" for n in range(0, 50, 2)]
    store.commit([Create(f"pages/{name}", {}) for name in names])
    for descending in (False, True):
        seen: list[str] = []
        while page := ids(store.list("pages", after=seen[-1] if seen else None, descending=descending, limit=7)):
            assert len(page) <= 7
            seen += page
        assert seen == (names[::-1] if descending else names)


def test_a_page_may_start_after_an_id_that_does_not_exist(store: DocumentStore) -> None:
    store.commit([Create(f"pages/{name}", {}) for name in ("b", "d", "f")])
    assert ids(store.list("pages", after="c")) == ["d", "f"]
    assert ids(store.list("pages", after="c", descending=True)) == ["b"]
    assert ids(store.list("pages", after="a")) == ["b", "d", "f"]
    assert ids(store.list("pages", after="a", descending=True)) == []
    assert ids(store.list("pages", after="z")) == []
    assert ids(store.list("pages", after="z", descending=True, limit=2)) == ["f", "d"]


def test_a_list_shows_what_was_just_committed(store: DocumentStore) -> None:
    for n in range(20):
        store.commit([Create(f"log/{n:02}", {"n": n})])
        (last,) = store.list("log", descending=True, limit=1)
        assert last.data == {"n": n}
        assert last == stored(store, f"log/{n:02}")
