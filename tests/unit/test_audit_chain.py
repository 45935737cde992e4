"""The chain of the audit trail, and that of a model's history: what was changed, removed, added or moved is found."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.domain import history_chain
from modeldrop.domain.audit_chain import (
    START,
    AuditEntry,
    Link,
    canonical,
    cleaned,
    link,
    read_anchor,
    sealed,
    verify,
)

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def chain(count: int = 8) -> list[AuditEntry]:
    """``asked`` and ``accepted`` in turn."""
    entries: list[AuditEntry] = []
    end = START
    for number in range(1, count + 1):
        outcome, answers = ("asked", None) if number % 2 else ("accepted", number - 1)
        at = AT + timedelta(seconds=number)
        entry = AuditEntry(0, at, "ada", "POST /v1/models/m:pause", outcome, 0, 'é"\\', answers, f"k{number}", "", "")  # type: ignore[arg-type]
        entries.append(sealed(entry, end))
        end = link(entries[-1])
    return entries


def test_a_whole_chain() -> None:
    entries = chain()
    found = verify(entries)
    assert (found.end, found.broken, found.unanswered) == (link(entries[-1]), None, [])
    assert [entry.number for entry in entries] == list(range(1, 9))
    assert verify([]).end == START
    later = verify(entries[3:], start=link(entries[2]))
    assert (later.end, later.broken) == (found.end, None)


def test_the_bytes_are_as_documented() -> None:
    """Anybody can make them, without our code."""
    first, second = chain(2)
    fields = ["modeldrop audit 1", 2, "2026-05-01T12:00:02Z", "ada", "POST /v1/models/m:pause", "accepted", 0]
    expected = json.dumps([*fields, 'é"\\', 1, "k2", first.hash], ensure_ascii=False, separators=(",", ":")).encode()
    assert canonical(second) == expected
    assert second.hash == hashlib.sha256(expected).hexdigest()
    assert (first.previous, second.previous) == ("", first.hash)


def test_what_was_never_answered_is_listed() -> None:
    entries = chain(3)
    assert [entry.number for entry in verify(entries).unanswered] == [3]


CHANGED: dict[str, Any] = {
    "number": 9,
    "at": AT,
    "caller": "eve",
    "call": "POST /v1/models/m:promote",
    "outcome": "refused",
    "status": 200,
    "detail": "",
    "answers": 2,
    "key": "k",
    "previous": "0" * 64,
    "hash": "0" * 64,
}


def test_all_fields_are_changed_below() -> None:
    assert set(CHANGED) == set(AuditEntry.__struct_fields__)


@pytest.mark.parametrize("field", CHANGED)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_changed_field_is_found_where_it_is(field: str, place: int) -> None:
    entries = chain()
    entries[place] = msgspec.structs.replace(entries[place], **{field: CHANGED[field]})
    broken = verify(entries).broken
    assert broken is not None and broken.number == place + 1


def test_one_that_is_sealed_anew_is_found_by_the_next() -> None:
    entries = chain()
    forged = msgspec.structs.replace(entries[3], caller="eve")
    entries[3] = sealed(forged, link(entries[2]))
    broken = verify(entries).broken
    assert broken is not None and broken.number == 5


SPOILT: dict[str, tuple[Callable[[list[Any]], list[Any]], int]] = {
    "the first is gone": (lambda e: e[1:], 1),
    "one is gone": (lambda e: e[:3] + e[4:], 4),
    "one comes twice": (lambda e: e[:4] + e[3:], 4),
    "two are in another order": (lambda e: [*e[:3], e[4], e[3], *e[5:]], 4),
    "one is no entry": (lambda e: [*e[:3], None, *e[4:]], 4),
    "one was put in between": (lambda e: [*e[:3], sealed(e[0], link(e[2])), *e[3:]], 4),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_another_sequence_is_found(kind: str) -> None:
    spoil, number = SPOILT[kind]
    found = verify(spoil(chain()))
    assert found.broken is not None and found.broken.number == number
    assert found.end.number == number - 1 or kind in {"one comes twice", "one was put in between"}


def test_only_an_anchor_finds_what_was_cut_off_or_made_anew() -> None:
    entries = chain()
    anchor = link(entries[6])
    assert verify(entries, anchors=[anchor]).broken is None
    assert verify(entries[:6]).broken is None
    cut = verify(entries[:6], anchors=[anchor]).broken
    assert cut is not None and "ends before the anchor 7" in cut.why
    anew: list[AuditEntry] = []
    for entry in entries:
        anew.append(sealed(msgspec.structs.replace(entry, caller="eve"), link(anew[-1]) if anew else START))
    assert verify(anew).broken is None
    broken = verify(anew, anchors=[anchor]).broken
    assert broken is not None and (broken.number, "anchor" in broken.why) == (7, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7:",
        f"x:{'a' * 64}",
        f"7:{'A' * 64}",
        f"7:{'a' * 63}",
        f"-7:{'a' * 64}",
        f"0:{'a' * 64}",
        f"٣:{'a' * 64}",
    ],
)
def test_anchors_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="NUMBER:HASH"):
        read_anchor(text)


def test_of_two_anchors_of_one_entry_both_count() -> None:
    entries = chain()
    true, wrong = link(entries[6]), Link(7, "0" * 64)
    for anchors in ([true, wrong], [wrong, true]):
        broken = verify(entries, anchors=anchors).broken
        assert broken is not None and broken.number == 7
    assert verify(entries, anchors=[true, true]).broken is None


def test_an_anchor_is_as_the_log_writes_it() -> None:
    assert read_anchor(f"7:{'0f' * 32}") == Link(7, "0f" * 32)


@given(st.text(), st.integers(2, 50))
def test_text_is_cut_and_cleaned(text: str, longest: int) -> None:
    clean = cleaned(text, longest)
    assert len(clean) <= longest
    assert not any(ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000 for sign in clean)
    assert cleaned(clean, longest) == clean
    clean.encode()


# --- a model's history -----------------------------------------------------------------------------------------


def history(count: int = 5) -> list[tuple[int, dict[str, Any]]]:
    """Numbers with gaps, chained."""
    previous, entries = "", []
    for number in range(2, 2 + 3 * count, 3):
        entry = {"at": AT.isoformat(), "what": "live", "version": f"v{number}", "by": "ada", "why": ""}
        digest = history_chain.history_hash("m", number, entry, previous)
        entries.append((number, entry | {"previous": previous, "hash": digest}))
        previous = digest
    return entries


def last(entries: list[tuple[int, dict[str, Any]]]) -> str:
    return str(entries[-1][1]["hash"])


def plain(number: int) -> tuple[int, dict[str, Any]]:
    """An entry from before there was a chain."""
    return number, {"at": AT.isoformat(), "what": "live", "version": "v0", "by": "ada", "why": ""}


def test_a_whole_history() -> None:
    entries = history()
    assert history_chain.first_break("m", entries, last(entries)) is None
    assert history_chain.first_break("m", entries, entries[2][1]["hash"]) is None  # the head was read before the rest
    assert history_chain.first_break("m", [], "") is None
    assert history_chain.first_break("m", [plain(1)], "") is None
    assert history_chain.first_break("m", [plain(0), plain(1), *entries], last(entries)) is None


@pytest.mark.parametrize("field", ["at", "what", "version", "by", "why", "previous", "hash"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_changed_entry_is_found(field: str, place: int) -> None:
    entries = history()
    known = last(entries)
    entries[place] = (entries[place][0], entries[place][1] | {field: "x"})
    broken = history_chain.first_break("m", entries, known)
    assert broken is not None and broken.number == entries[place][0]


def test_history_that_was_moved_cut_or_made_to_look_old_is_found() -> None:
    entries = history()
    known = last(entries)
    for spoilt in (
        entries[1:],
        entries[:2] + entries[3:],
        entries[:-1],
        [],
        [entries[0], entries[2], entries[1], *entries[3:]],
        [(number + 1, entry) for number, entry in entries],
        [plain(2), *entries[1:]],
        [*entries[:2], plain(8), *entries[3:]],
        [*entries, plain(99)],
    ):
        assert history_chain.first_break("m", spoilt, known) is not None
    assert history_chain.first_break("another", entries, known) is not None
