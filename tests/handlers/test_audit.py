"""What is asked and refused stands in the audit trail; whatever is done to the trail, or to a history, shows."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from modeldrop.cli import app
from modeldrop.domain.audit_chain import AuditEntry, link
from modeldrop.errors import Unavailable
from modeldrop.handlers.audit.verify_audit import verify_audit
from modeldrop.handlers.backups.restore_backup import restore_backup
from modeldrop.handlers.backups.take_backup import take_backup
from modeldrop.handlers.rollouts.pause_model import pause_model
from modeldrop.http.messages import Reply, json_reply, problem
from modeldrop.ports import Write
from modeldrop.records.audit import AuditTrail
from modeldrop.web.callers import Caller, audited, refused
from modeldrop.web.callers.audited import LONGEST_REFUSALS_PAUSE_SECONDS, REFUSALS_PAUSE_SECONDS, RefusalPace
from modeldrop.web.roles import ALL_ROLES
from tests.handlers.control import FAST, MODEL, Control
from tests.handlers.prediction_log import between

ADA = Caller("ada@example.com", ALL_ROLES)
CALL = f"POST /v1/models/{MODEL}:promote"


def accept() -> Reply:
    return json_reply(200, {"status": "accepted", "reason": "it goes on"})


def entries(control: Control) -> list[AuditEntry]:
    found = list(AuditTrail(control.services.documents).entries())
    return [entry for entry in found if entry is not None]


def said(control: Control) -> list[tuple[str, str, int, str]]:
    return [(entry.caller, entry.outcome, entry.status, entry.detail) for entry in entries(control)]


# --- changing calls --------------------------------------------------------------------------------------------


def test_a_call_stands_there_before_it_is_carried_out(control: Control) -> None:
    seen: list[list[AuditEntry]] = []

    def carry_out() -> Reply:
        seen.append(entries(control))
        return accept()

    assert audited(control.services, ADA, CALL, carry_out, '{"version":"v1"}') == accept()
    ((asked,),) = seen
    assert (asked.number, asked.outcome, asked.call, asked.detail) == (1, "asked", CALL, '{"version":"v1"}')
    _, answered = entries(control)
    assert (answered.outcome, answered.status, answered.answers) == ("accepted", 200, 1)
    assert (answered.caller, answered.detail) == ("ada@example.com", "it goes on")


@pytest.mark.parametrize(
    ("reply", "outcome", "detail"),
    [
        (json_reply(200, {"status": "refused", "reason": "it is worse"}), "refused", "it is worse"),
        (json_reply(200, {"taken": 3}), "accepted", ""),
        (problem(400, "version: required"), "refused", "version: required"),
        (problem(503, "the store is silent"), "failed", "the store is silent"),
        (Reply(303, b"", {"Location": "/"}), "accepted", ""),
        (Reply(200, iter([b"stream"])), "accepted", ""),
        (Reply(200, b'{"reason": 7}'), "accepted", ""),
        (Reply(200, b"\xff" * 100), "accepted", ""),
        (Reply(200, b"[" * 60_000), "accepted", ""),
    ],
)
def test_what_comes_of_it(control: Control, reply: Reply, outcome: str, detail: str) -> None:
    assert audited(control.services, ADA, CALL, lambda: reply) is reply
    assert said(control)[1] == ("ada@example.com", outcome, reply.status, detail)
    assert verify_audit(control.services).trail.unanswered == []


def test_an_error_is_an_outcome_and_goes_on_its_way(control: Control) -> None:
    with pytest.raises(ZeroDivisionError):
        audited(control.services, ADA, CALL, lambda: json_reply(200, 1 / 0))
    assert said(control)[1] == ("ada@example.com", "failed", 500, "ZeroDivisionError")


def silent(times: int) -> Callable[[Sequence[Write]], None]:
    """No answer, so many times; then it goes well."""
    left = [times]

    def happens(_: Sequence[Write]) -> None:
        if left[0]:
            left[0] -= 1
            raise Unavailable("no answer")

    return happens


def test_what_cannot_be_written_down_is_not_done(control: Control) -> None:
    between(control.services).before = silent(1)
    done: list[int] = []
    reply = audited(control.services, ADA, CALL, lambda: json_reply(200, done.append(1)))
    assert (reply.status, done, said(control)) == (503, [], [])


def test_a_call_whose_outcome_cannot_be_written_is_answered_as_it_was(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    store = between(control.services)

    def carry_out() -> Reply:
        store.before = silent(1)
        return accept()

    assert audited(control.services, ADA, CALL, carry_out) == accept()
    found = verify_audit(control.services)
    assert [entry.number for entry in found.trail.unanswered] == [1]
    assert found.is_whole
    assert "the outcome of entry 1 (accepted 200) is not written" in caplog.text


class Killed(BaseException):
    """The process ends; nothing that would come after is done."""


def test_a_crash_between_asking_and_its_outcome_shows(control: Control) -> None:
    store = between(control.services)

    def dies() -> Reply:
        store.before = lambda _: (_ for _ in ()).throw(Killed)  # nor is anything written any more
        raise Killed

    with pytest.raises(Killed):
        audited(control.services, ADA, CALL, dies)
    after = Control(control.data, control.clock)
    assert audited(after.services, ADA, CALL, accept) == accept()
    found = verify_audit(after.services)
    assert ([entry.number for entry in found.trail.unanswered], found.trail.end.number) == ([1], 3)
    assert found.is_whole


def test_an_outcome_whose_answer_is_lost_is_written_once(control: Control) -> None:
    between(control.services).after = silent(2)
    assert audited(control.services, ADA, CALL, accept) == accept()
    assert [entry.outcome for entry in entries(control)] == ["asked", "accepted"]


def test_many_at_once_over_many_instances(control: Control) -> None:
    instances = [control.another_instance() for _ in range(3)]

    def call(number: int) -> int:
        return audited(instances[number % 3], ADA, CALL, accept, f"{number}").status

    with ThreadPoolExecutor(9) as pool:
        assert set(pool.map(call, range(27))) == {200}
    found = verify_audit(control.services)
    assert (found.trail.end.number, found.trail.broken, found.trail.unanswered) == (54, None, [])


def test_names_and_texts_are_cleaned_and_cut(control: Control) -> None:
    evil = Caller("ada\n\x1b[2J\u202e" + "a" * 999, ALL_ROLES)
    audited(control.services, evil, "POST /" + "x\r\n" * 500, accept, "\udcff" + "é" * 5000)
    for entry in entries(control):
        assert entry.caller.startswith("ada??[2J?aaa")
        assert (len(entry.caller), len(entry.call), len(entry.detail) <= 500) == (320, 300, True)
        assert (entry.caller + entry.call + entry.detail).isprintable()
    assert verify_audit(control.services).is_whole


def test_each_entry_is_anchored_in_the_log(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        audited(control.services, ADA, CALL, accept)
    for entry in entries(control):
        assert f"audit {entry.number}:{entry.hash}" in caplog.text


# --- refused calls ---------------------------------------------------------------------------------------------


def test_a_refusal_is_one_entry(control: Control) -> None:
    reply = problem(403, "ada@example.com is no approver")
    assert refused(control.services, ADA, CALL, reply) is reply
    assert said(control) == [("ada@example.com", "refused", 403, "ada@example.com is no approver")]
    assert entries(control)[0].answers is None


def test_a_flood_of_refusals_is_no_flood_of_entries(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    reply = problem(401, "the caller's identity is not known")
    refused(control.services, None, "GET /v1/models", reply)
    before = len(entries(control))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: refused(control.services, None, "GET /v1/models", reply), range(400)))
    assert len(entries(control)) - before <= 3  # about one a second
    assert caplog.text.count("refused 401: GET /v1/models by somebody unknown") == 401


def test_those_left_out_are_counted() -> None:
    now = [0.0]
    pace = RefusalPace(lambda: now[0])
    assert [pace.turn() for _ in range(4)] == [0, None, None, None]
    now[0] = 1.0
    assert [pace.turn(), pace.turn()] == [3, None]
    pace.again(3)  # that one could not be written
    now[0] = 3.0
    assert pace.turn() == 5
    now[0] = 7.0
    assert pace.turn() == 0


def test_the_longer_a_flood_lasts_the_fewer_are_written() -> None:
    now = [0.0]
    pace = RefusalPace(lambda: now[0])
    written = 0
    for second in range(3600):
        now[0] = float(second)
        written += sum(pace.turn() is not None for _ in range(10))
    assert 60 <= written <= 70
    now[0] += LONGEST_REFUSALS_PAUSE_SECONDS  # quiet
    assert pace.turn() is not None
    now[0] += LONGEST_REFUSALS_PAUSE_SECONDS
    assert pace.turn() == 0
    now[0] += REFUSALS_PAUSE_SECONDS
    assert pace.turn() == 0


def test_a_refusal_that_cannot_be_written_is_one_all_the_same(control: Control) -> None:
    between(control.services).before = silent(10_000)
    reply = problem(403, "no")
    assert refused(control.services, Caller("bob", frozenset()), CALL, reply) is reply
    assert said(control) == []


def test_one_that_could_not_be_written_is_counted_with_the_next(control: Control) -> None:
    between(control.services).before = silent(1)
    calls = 0
    while not said(control):  # for a second
        refused(control.services, None, CALL, problem(401, "not known"))
        calls += 1
    assert said(control) == [("", "refused", 401, f"not known; {calls - 1} more before this one are not written")]


# --- what is done to it afterwards -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls, and a model with a history."""
    control = Control(tmp_path_factory.mktemp("life"))
    control.policy(FAST)
    control.make_live("v1", 0.5, day=1)
    control.make_live("v2", 0.7, day=2)
    for number in range(4):
        audited(control.services, ADA, CALL, accept, f"{number}")
    return control.data


@pytest.fixture
def lived(life: Path, tmp_path: Path) -> Control:
    """All that was written of that life, for somebody to change."""
    data = tmp_path / "lived"
    data.mkdir()
    with (
        closing(sqlite3.connect(life / "documents.sqlite")) as old,
        closing(sqlite3.connect(data / "documents.sqlite")) as new,
    ):
        old.backup(new)
    return Control(data)


def tamper(control: Control, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(control.data / "documents.sqlite")) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def rewrite(control: Control, collection: str, number: str, /, **changes: Any) -> None:
    """Other content in a document, as somebody with access to the store could write it."""
    with closing(sqlite3.connect(control.data / "documents.sqlite")) as connection:
        query = "SELECT data FROM documents WHERE collection = ? AND id = ?"
        (data,) = connection.execute(query, (collection, number)).fetchone()
    content = msgspec.msgpack.decode(data) | changes
    statement = "UPDATE documents SET data = ? WHERE collection = ? AND id = ?"
    tamper(control, statement, msgspec.msgpack.encode(content), collection, number)


def verified(control: Control, *options: str) -> Result:
    return CliRunner().invoke(app, ["audit", "verify", "--data", str(control.data), *options])


def test_nothing_was_done(lived: Control) -> None:
    result = verified(lived)
    assert (result.exit_code, "audit trail: 8 entries" in result.output) == (0, True)
    assert "models whose history holds: 1 of 1" in result.output
    found = json.loads(verified(lived, "--json").stdout)
    assert (found["is_whole"], found["trail"]["end"]["number"], found["histories"]) == (True, 8, [])


FIELDS = {
    name: f"{name} that was changed" for name in ("caller", "call", "outcome", "detail", "key", "previous", "hash")
}
FIELDS |= {"number": 9, "at": "2026-01-01T00:00:00Z", "status": 999, "answers": 1, "more": "than we write"}  # type: ignore[dict-item]


def test_every_field_is_changed_below() -> None:
    assert set(FIELDS) == {*AuditEntry.__struct_fields__, "more"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", [1, 5, 8])
def test_a_changed_field_is_found(lived: Control, field: str, number: int) -> None:
    rewrite(lived, "audit", f"{number:012d}", **{field: FIELDS[field]})
    result = verified(lived)
    assert result.exit_code == 1
    assert f"the audit trail is broken at entry {number}:" in result.output.replace("\n", " ")


@pytest.mark.parametrize("number", [1, 5])
def test_a_removed_entry_is_found(lived: Control, number: int) -> None:
    tamper(lived, "DELETE FROM documents WHERE collection = 'audit' AND id = ?", f"{number:012d}")
    result = verified(lived)
    assert (result.exit_code, f"broken at entry {number}: it is missing" in result.output) == (1, True)


def test_entries_in_another_order_are_found(lived: Control) -> None:
    for old, new in (("4", "x"), ("5", "4"), ("x", "5")):
        statement = "UPDATE documents SET id = ? WHERE collection = 'audit' AND id = ?"
        tamper(lived, statement, f"{new:0>12}", f"{old:0>12}")
    assert "broken at entry 4" in verified(lived).output


def test_an_entry_under_another_name_or_in_another_writing_is_found(lived: Control) -> None:
    at = msgspec.to_builtins(entries(lived)[4])["at"]
    rewrite(lived, "audit", f"{5:012d}", at=at.replace("Z", "+00:00"))
    assert "broken at entry 5: what stands there is no entry" in verified(lived).output
    rewrite(lived, "audit", f"{5:012d}", at=at)
    assert verified(lived).exit_code == 0
    tamper(lived, "UPDATE documents SET id = ? WHERE collection = 'audit' AND id = ?", f"{5:012d}x", f"{5:012d}")
    assert "broken at entry 5: what stands there is no entry" in verified(lived).output


def test_what_is_cut_off_is_found_by_an_anchor(lived: Control) -> None:
    anchor = link(entries(lived)[6])
    given = ("--anchor", f"{anchor.number}:{anchor.hash}")
    assert verified(lived, *given).exit_code == 0
    tamper(lived, "DELETE FROM documents WHERE collection = 'audit' AND id >= ?", f"{7:012d}")
    assert verified(lived).exit_code == 0
    result = verified(lived, *given)
    assert (result.exit_code, "ends before the anchor 7" in result.output) == (1, True)


def test_an_anchor_that_is_none_and_a_folder_that_is_not_there(lived: Control, tmp_path: Path) -> None:
    assert verified(lived, "--anchor", "7").exit_code == 2
    assert CliRunner().invoke(app, ["audit", "verify", "--data", str(tmp_path / "nowhere")]).exit_code == 2


def history_of(control: Control) -> list[str]:
    return [number for number, _ in control.services.registry.history(MODEL)][::-1]


@pytest.mark.parametrize("field", ["at", "what", "version", "by", "why", "previous", "hash"])
def test_a_changed_history_is_found(lived: Control, field: str) -> None:
    number = history_of(lived)[2]
    rewrite(lived, f"models/{MODEL}/history", number, **{field: "2026-01-01T00:00:00Z"})
    result = verified(lived)
    assert result.exit_code == 1
    assert f"the history of {MODEL} is broken at entry {int(number)}" in result.output.replace("\n", " ")


@pytest.mark.parametrize("place", [0, 2, -1])
def test_a_removed_part_of_a_history_is_found(lived: Control, place: int) -> None:
    statement = "DELETE FROM documents WHERE collection = ? AND id = ?"
    tamper(lived, statement, f"models/{MODEL}/history", history_of(lived)[place])
    assert verified(lived).exit_code == 1


def test_histories_from_before_the_chain_are_taken_as_they_are(control: Control) -> None:
    """As an upgrade finds them: no hash in the head, none in the entries."""
    control.make_live("v1", 0.5, day=1)
    for number in history_of(control):
        rewrite(control, f"models/{MODEL}/history", number, previous="", hash="")
    rewrite(control, "models", MODEL, history_hash="")
    assert verified(control).exit_code == 0
    control.make_live("v3", 0.9, day=3)
    assert verified(control).exit_code == 0
    newest = history_of(control)[-1]
    rewrite(control, f"models/{MODEL}/history", newest, by="eve")
    assert verified(control).exit_code == 1


def test_a_backup_has_both_chains(lived: Control, tmp_path: Path) -> None:
    take_backup(lived.services, tmp_path / "backup")
    other = Control(tmp_path / "other", lived.clock)
    restore_backup(other.services, tmp_path / "backup")
    assert entries(other) == entries(lived)
    assert verified(other).exit_code == 0
    audited(other.services, ADA, CALL, accept)
    pause_model(other.services, MODEL, by="ada")
    assert verified(other).exit_code == 0
