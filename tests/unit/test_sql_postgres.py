"""The same statements against a real PostgreSQL: what is accepted changes nothing, and reads what may be read alone.

What is accepted is run twice: by the owner of everything, who could change anything (what is stored is compared), and
by somebody who may read the two tables of the schema only (so that the server itself tells of a look elsewhere).
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from modeldrop.serving.sql.guard import check_sql
from modeldrop.serving.sql.schema import DatasetSchema
from modeldrop.serving.sql.verdicts import Accepted, Refusal
from tests.servers.postgres import READER, PostgresServer
from tests.unit.recorded_sql import ATTACKS, BENIGN, SECRET, SETUP, TABLES, mutated

pytestmark = pytest.mark.program("postgres")

HARMLESS = [sql for dialect, _, sql in BENIGN if dialect == "postgres"]
HOSTILE = [sql for dialect, _, sql in ATTACKS if dialect == "postgres"]
# Of other types than the tables here have: the server refuses them, before and after.
MISTYPED = ("note ->> 'a'",)


def verdict(sql: str, row_limit: int = 1_000) -> Accepted | Refusal:
    return check_sql(sql, DatasetSchema("postgres", TABLES), row_limit=row_limit)


def accepted_of(statements: list[str], row_limit: int = 1_000) -> list[str]:
    verdicts = [verdict(sql, row_limit) for sql in statements]
    return [found.sql for found in verdicts if isinstance(found, Accepted)]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        setup = [statement.replace("DOUBLE", "NUMERIC") for statement in SETUP]
        for ran in server.run([*setup, f"GRANT SELECT ON {', '.join(TABLES)} TO {READER}"]):
            assert ran.error == ""
        yield server


def test_benign_statements_give_the_same_rows(server: PostgresServer) -> None:
    before = server.stored()
    rendered = accepted_of(HARMLESS)
    assert len(rendered) == len(HARMLESS)
    originals, found = server.run(HARMLESS), server.run(rendered)
    for sql, expected, ran in zip(HARMLESS, originals, found, strict=True):
        assert bool(ran.error) == bool(expected.error) == any(part in sql for part in MISTYPED), (sql, ran, expected)
        if "ORDER BY" in sql.upper():
            assert ran.rows == expected.rows, sql
        else:  # without, a database may answer in any order
            assert Counter(ran.rows) == Counter(expected.rows), sql
    assert server.stored() == before


def test_benign_statements_need_no_more_than_their_tables(server: PostgresServer) -> None:
    rendered = accepted_of(HARMLESS)
    assert [ran.rows for ran in server.run(rendered, READER)] == [ran.rows for ran in server.run(rendered)]


@pytest.mark.parametrize("rows", [1, 2])
def test_the_row_limit_holds(server: PostgresServer, rows: int) -> None:
    rendered = accepted_of(HARMLESS, rows)
    assert len(rendered) == len(HARMLESS)
    for ran in server.run(rendered):
        assert len(ran.rows) <= rows


def test_many_mutations_change_nothing_and_read_no_other_table(server: PostgresServer) -> None:
    before = server.stored()
    chance = random.Random(20_261_121)
    accepted = accepted_of([mutated(chance, "postgres") for _ in range(2_000)])
    assert len(accepted) >= 50  # else the test would say little
    for part in range(0, len(accepted), 100):
        statements = accepted[part : part + 100]
        for sql, owner, reader in zip(statements, server.run(statements), server.run(statements, READER), strict=True):
            assert "permission denied" not in reader.error, (sql, reader)
            assert SECRET not in str((owner, reader)), sql
    assert server.stored() == before


def test_attacks_are_refused_and_the_server_would_tell(server: PostgresServer) -> None:
    """They are refused, every one; and the server is a witness that would tell."""
    assert accepted_of(HOSTILE) == []
    before = server.stored()
    for sql in ("INSERT INTO customers VALUES (9, 'X', 'x')", "CREATE FUNCTION f() RETURNS INT RETURN 1"):
        assert server.run([sql])[0].error == ""
        assert server.stored() != before
        server.run(["DELETE FROM customers WHERE id = 9", "DROP FUNCTION IF EXISTS f"])
        assert server.stored() == before
    (read, denied) = (server.run(["SELECT token FROM secrets"], user)[0] for user in ("owner", READER))
    assert (read.rows, "permission denied" in denied.error) == ([SECRET], True)
