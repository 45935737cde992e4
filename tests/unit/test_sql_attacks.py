"""Hostile and harmless statements against real databases: what is accepted is run, and must change and betray nothing.

Each database has a table ``secrets`` beside the two that may be read. SQLite itself reports what a statement touches
(its authorizer); of both databases everything that is stored is compared before and after.
"""

import atexit
import gc
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldrop.serving.sql.guard import check_sql
from modeldrop.serving.sql.schema import DatasetSchema, Dialect
from modeldrop.serving.sql.verdicts import Accepted, Refusal
from tests.unit.recorded_sql import ATTACKS, BENIGN, DIALECTS, SECRET, SETUP, TABLES, mutated

# Tests of the inference service set aside what is in memory (process_tuning); DuckDB, which is then never collected,
# would complain of leaks behind the last line of the run.
atexit.register(gc.unfreeze)


def verdict(sql: str, dialect: Dialect, row_limit: int = 1_000) -> Accepted | Refusal:
    return check_sql(sql, DatasetSchema(dialect, TABLES), row_limit=row_limit)


class Sqlite:
    """A database file, and what SQLite says each statement did."""

    def __init__(self, path: Path, setup: list[str]) -> None:
        self.path = path
        self.connection = sqlite3.connect(path)
        for statement in setup:
            self.connection.execute(statement)
        self.connection.commit()
        self.touched: set[tuple[int, str | None]] = set()
        self.connection.set_authorizer(self._note)
        self.connection.set_progress_handler(lambda: 1, 3_000_000)  # a cross join may take for ever: stop it

    def _note(self, action: int, first: str | None, *_: Any) -> int:
        self.touched.add((action, first if action == sqlite3.SQLITE_READ else None))
        return sqlite3.SQLITE_OK

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        self.touched.clear()
        return self.connection.execute(sql).fetchall()

    def tables_read(self) -> set[str | None]:
        return {table for action, table in self.touched if action == sqlite3.SQLITE_READ}

    def stored(self) -> object:
        return hashlib.sha256(self.path.read_bytes()).hexdigest(), self.connection.total_changes


class DuckDb:
    """A database file, whole as it comes: files and extensions may be opened if the guard lets that through."""

    def __init__(self, path: Path) -> None:
        self.connection = duckdb.connect(str(path))
        for statement in SETUP:
            self.connection.execute(statement)

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self.connection.execute(sql).fetchall()
        return rows

    def stored(self) -> object:
        names = self.run("SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY ALL")
        rows = [self.run(f'SELECT * FROM "{name}" ORDER BY ALL') for _, name, _ in names]
        attached = self.run("SELECT database_name FROM duckdb_databases() ORDER BY ALL")
        functions = self.run("SELECT COUNT(*) FROM duckdb_functions()")
        return names, rows, attached, functions


@pytest.fixture(scope="module")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    database = Sqlite(tmp_path_factory.mktemp("sqlite") / "shop.db", SETUP)
    yield database
    database.connection.close()


@pytest.fixture(scope="module")
def bare_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sqlite]:
    """The same without any table that must not be read."""
    permitted = [statement for statement in SETUP if any(f" {table} " in statement for table in TABLES)]
    database = Sqlite(tmp_path_factory.mktemp("bare") / "shop.db", permitted)
    yield database
    database.connection.close()


@pytest.fixture(scope="module")
def duck_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDb]:
    database = DuckDb(tmp_path_factory.mktemp("duckdb") / "shop.duckdb")
    yield database
    database.connection.close()


def test_there_are_enough_statements() -> None:
    assert len({sql for _, _, sql in ATTACKS}) >= 200
    assert len({sql for _, _, sql in BENIGN}) >= 50
    assert len({category for _, category, _ in ATTACKS}) >= 15
    assert {dialect for dialect, _, _ in ATTACKS} == {dialect for dialect, _, _ in BENIGN} == {*DIALECTS}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_attacks_are_refused(dialect: Dialect) -> None:
    verdicts = {sql: verdict(sql, dialect) for of, _, sql in ATTACKS if of == dialect}
    assert {sql: v for sql, v in verdicts.items() if not isinstance(v, Refusal)} == {}
    assert all(v.reason and len(v.reason) < 400 and v.reason.isascii() for v in verdicts.values())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_benign_statements_pass(dialect: Dialect) -> None:
    verdicts = {sql: verdict(sql, dialect) for of, _, sql in BENIGN if of == dialect}
    assert {sql: v for sql, v in verdicts.items() if not isinstance(v, Accepted)} == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_rendered_is_accepted_again_and_stays_the_same(dialect: Dialect) -> None:
    for of, _, sql in BENIGN:
        if of == dialect:
            first = verdict(sql, dialect)
            assert isinstance(first, Accepted)
            assert verdict(first.sql, dialect) == first


def test_benign_statements_give_the_same_rows_in_sqlite(sqlite_database: Sqlite) -> None:
    before = sqlite_database.stored()
    for sql in (sql for dialect, _, sql in BENIGN if dialect == "sqlite"):
        accepted = verdict(sql, "sqlite")
        assert isinstance(accepted, Accepted)
        expected = sqlite_database.run(sql)
        assert sqlite_database.run(accepted.sql) == expected, sql
        assert sqlite_database.tables_read() <= {*TABLES}, sql
    assert sqlite_database.stored() == before


def test_benign_statements_give_the_same_rows_in_duckdb(duck_database: DuckDb) -> None:
    before = duck_database.stored()
    for sql in (sql for dialect, _, sql in BENIGN if dialect == "duckdb"):
        accepted = verdict(sql, "duckdb")
        assert isinstance(accepted, Accepted)
        found, expected = duck_database.run(accepted.sql), duck_database.run(sql)
        # Without ORDER BY a database may answer in any order.
        assert found == expected if "ORDER BY" in sql.upper() else Counter(found) == Counter(expected), sql
    assert duck_database.stored() == before


@pytest.mark.parametrize("rows", [1, 2])
def test_the_row_limit_holds_in_both_databases(rows: int, sqlite_database: Sqlite, duck_database: DuckDb) -> None:
    for dialect, _, sql in BENIGN:
        database = {"sqlite": sqlite_database, "duckdb": duck_database}.get(dialect)
        accepted = verdict(sql, dialect, rows)
        assert isinstance(accepted, Accepted)
        if database is not None:
            assert len(database.run(accepted.sql)) <= rows, accepted.sql


def test_the_columns_a_statement_is_said_to_return_are_those_it_returns(
    sqlite_database: Sqlite, duck_database: DuckDb
) -> None:
    known = 0
    for dialect, _, sql in BENIGN:
        database = {"sqlite": sqlite_database, "duckdb": duck_database}.get(dialect)
        accepted = verdict(sql, dialect)
        assert isinstance(accepted, Accepted)
        if database is not None and accepted.columns is not None:
            described = database.connection.execute(accepted.sql).description
            assert [column[0].lower() for column in described or ()] == [name.lower() for name in accepted.columns], sql
            known += 1
    assert known > 80


def test_the_databases_would_tell(sqlite_database: Sqlite, duck_database: DuckDb) -> None:
    """The witnesses of this file see what the guard must prevent."""
    assert sqlite_database.run("SELECT token FROM secrets") == [(SECRET,)] == duck_database.run("FROM note")
    assert sqlite_database.tables_read() == {"secrets"}
    assert sqlite_database.run("SELECT id FROM orders WHERE note IN note") == []
    assert sqlite_database.tables_read() == {"orders", "note"}
    for database in (sqlite_database, duck_database):
        before = database.stored()
        database.run("INSERT INTO customers VALUES (9, 'X', 'x')")
        sqlite_database.connection.commit()
        assert database.stored() != before
        database.run("DELETE FROM customers WHERE id = 9")
        sqlite_database.connection.commit()


def assert_touches_nothing_else(sql: str, database: Sqlite, bare: Sqlite) -> bool:
    """Whether ``sql`` was accepted; if so, SQLite must have read tables of the schema alone, and done nothing else."""
    accepted = verdict(sql, "sqlite")
    if isinstance(accepted, Refusal):
        return False
    before = database.stored()
    try:
        rows = database.run(accepted.sql)
    except sqlite3.Error:  # not every accepted statement is right: the database says so
        rows = None
    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION}
    assert {action for action, _ in database.touched} <= reading, (sql, accepted.sql)
    if not database.tables_read() <= {*TABLES}:
        # SQLite reports a WITH query, too, if none of its columns is used. So where such a name is reported, the
        # statement must say the same where no table has it.
        assert rows is not None
        assert bare.run(accepted.sql) == rows, (sql, accepted.sql)
    assert not any(SECRET in str(row) for row in rows or [])
    assert database.stored() == before
    return True


@settings(max_examples=200, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_no_mutation_reads_another_table(sqlite_database: Sqlite, bare_database: Sqlite, chance: random.Random) -> None:
    assert_touches_nothing_else(mutated(chance, "sqlite"), sqlite_database, bare_database)


def test_many_mutations_are_accepted_and_read_no_other_table(sqlite_database: Sqlite, bare_database: Sqlite) -> None:
    chance = random.Random(20_261_121)
    statements = [mutated(chance, "sqlite") for _ in range(2_000)]
    accepted = sum(assert_touches_nothing_else(sql, sqlite_database, bare_database) for sql in statements)
    assert accepted >= 50  # else the test would say little
