"""Which names objects may have, at the edges."""

import pytest

from modeldrop.domain.object_names import MAX_NAME_BYTES, check_object_name, check_object_prefix, is_object_name
from modeldrop.errors import InvalidName

LONGEST = "a" * MAX_NAME_BYTES
LEGAL = [
    "a",
    "a/b/c",
    "...",
    "a..b/..c/d..",
    ".hidden",
    " ",
    "%2f",
    "a\\b",
    "\x01\x7f",
    "é\N{SNOWMAN}\U00010000",
    LONGEST,
]
ILLEGAL = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/..",
    "../a",
    "a/./b",
    "a\0b",
    "a\rb",
    "a\n",
    "\ud800",
    "a/\udcff/b",
    LONGEST + "a",
    "é" * (MAX_NAME_BYTES // 2) + "a",
    "a" * 10_000_000,
]


@pytest.mark.parametrize("name", LEGAL, ids=ascii)
def test_legal_names_pass(name: str) -> None:
    check_object_name(name)
    assert is_object_name(name)


@pytest.mark.parametrize("name", ILLEGAL, ids=lambda name: ascii(name[:12]))
def test_illegal_names_are_refused_with_a_short_printable_reason(name: str) -> None:
    with pytest.raises(InvalidName) as refused:
        check_object_name(name)
    assert not is_object_name(name)
    assert len(str(refused.value).encode()) < 500


@pytest.mark.parametrize("name", LEGAL, ids=ascii)
def test_every_start_of_a_legal_name_is_a_legal_prefix(name: str) -> None:
    for length in {0, 1, len(name) // 2, len(name)}:
        check_object_prefix(name[:length])


@pytest.mark.parametrize("prefix", ["", "a/", "a/.", "a/..", ".."], ids=ascii)
def test_an_unfinished_segment_may_be_empty_or_dots(prefix: str) -> None:
    check_object_prefix(prefix)


@pytest.mark.parametrize("prefix", ["/", "//", "a//", "../", "a/../b", "a\n", "\udcff", LONGEST + "a"], ids=ascii)
def test_a_prefix_no_legal_name_starts_with_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidName):
        check_object_prefix(prefix)
