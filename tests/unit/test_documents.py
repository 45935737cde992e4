"""The check of documents: never below what Firestore counts, all problems at once, quick on hostile input."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain.documents import MAX_PROBLEMS, check_commit, check_data
from modeldrop.errors import InvalidInput

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
LEAVES = st.one_of(SCALARS, TEXTS, st.binary(max_size=20))
KEYS = TEXTS.filter(lambda key: key != "" and not key.startswith("__"))


def maps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(KEYS, values, max_size=5)


VALUES = st.recursive(LEAVES, lambda inner: maps(inner) | st.lists(LEAVES | maps(inner), max_size=5), max_leaves=20)


def firestore_size(value: Any) -> int:
    """As Firestore's documentation counts."""
    match value:
        case None | bool():
            return 1
        case int() | float():
            return 8
        case str():
            return len(value.encode()) + 1
        case bytes():
            return len(value)
        case list():
            return sum(map(firestore_size, value))
        case _:
            return sum(firestore_size(key) + firestore_size(item) for key, item in value.items())


@given(maps(VALUES))
def test_the_estimate_is_never_below_firestores_own(data: dict[str, Any]) -> None:
    assert check_data(data) >= firestore_size(data)


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_data({"a": float("inf"), "b": [[1], {"c": 2**63}], "": 1, "__d__": 1, "e": "\ud800", "f f": object()})
    assert [problem.field for problem in caught.value.problems] == ["a", "b[0]", "b[1].c", "''", "__d__", "e", "f f"]


def test_the_list_of_problems_ends() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_data({"x": [float("nan")] * 10_000})
    assert len(caught.value.problems) == MAX_PROBLEMS


def test_a_message_about_hostile_names_stays_short_and_printable() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_data({"k" * 100_000: 1, "\x1b[31m": {"\ud800": 1}})
    text = str(caught.value)
    assert text.isprintable()
    assert text.isascii()
    assert len(text) < 500


def test_hostile_documents_are_refused_quickly() -> None:
    bomb: dict[str, Any] = {"x": 1}
    for _ in range(18):
        bomb = dict.fromkeys("abcdefghij", bomb)
    started = time.process_time()
    with pytest.raises(InvalidInput):
        check_data(bomb)
    assert time.process_time() - started < 5


def test_a_commit_fits_one_request() -> None:
    paths = [f"models/{n}" for n in range(8)]
    with pytest.raises(InvalidInput, match="one commit"):
        check_commit(paths, [{"x": b"x" * 1_000_000}] * 8)
    assert len(check_commit(paths[:5], [{"x": b"x" * 1_000_000}] * 5)) == 5
