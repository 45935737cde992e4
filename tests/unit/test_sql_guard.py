"""The guard of SQL in detail: names, row limits, limits of reading, schemas, and the look at the rendered text."""

import json
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldrop.errors import InvalidInput
from modeldrop.serving.sql.guard import check_sql
from modeldrop.serving.sql.render import check_rendered
from modeldrop.serving.sql.schema import DatasetSchema, Dialect, read_schema
from modeldrop.serving.sql.verdicts import Accepted, NotAccepted, Refusal

ORDERS = {"id": "INTEGER", "amount": "NUMERIC", "note": "TEXT"}
DIALECTS: tuple[Dialect, ...] = ("bigquery", "postgres", "duckdb", "sqlite")

QUALIFIED = {"shop.sales.orders": ORDERS, "shop.sales.people": {"id": "INT64"}, "shop.old.people": {"id": "INT64"}}
BOMBS = {
    "joins without ON": "SELECT 1 FROM orders" + " JOIN orders" * 900,
    "joins in parentheses": "SELECT 1 FROM " + "(orders JOIN " * 30 + "orders" + ")" * 30,
    "rows": "SELECT " + "ROW(" * 38 + "1" + ")" * 38,
    "signs": "SELECT " + "- " * 3_000 + "1",
    "not": "SELECT " + "NOT " * 3_000 + "TRUE",
    "sums": "SELECT 1" + "+1" * 1_900,
    "conditions": "SELECT 1 WHERE TRUE" + " AND TRUE" * 1_900,
    "unions": "SELECT 1" + " UNION ALL SELECT 1" * 900,
    "cases": "SELECT " + "CASE WHEN " * 35 + "1" + " THEN 1 END" * 35,
    "queries": "SELECT 1 FROM " + "(SELECT * FROM " * 35 + "orders" + ") AS o" * 35,
    "with in with": "WITH a AS (" * 35 + "SELECT 1 AS x" + ") SELECT x FROM a" * 35,
    "aliases that double": "SELECT id AS a0" + "".join(f", a{n}+a{n} AS a{n + 1}" for n in range(200)) + " FROM orders",
    "stars that double": "WITH a0 AS (SELECT * FROM orders)"
    + "".join(f", a{n + 1} AS (SELECT * FROM a{n} AS x, a{n} AS y)" for n in range(60))
    + " SELECT * FROM a60",
    "types": "SELECT CAST(1 AS " + "STRUCT<a " * 500 + "INT" + ">" * 500 + ")",
    "texts": "SELECT " + "'x' || " * 1_900 + "'x'",
    "comments": "SELECT 1 " + "/* x */ " * 2_000,
    "nested comments": "SELECT 1 " + "/*" * 5_000,
    "quotes": "SELECT " + "'" * 19_000,
}


def rendered(sql: str, dialect: Dialect = "postgres", tables: Any = None, row_limit: int = 1_000) -> str:
    verdict = check_sql(sql, DatasetSchema(dialect, tables or {"orders": ORDERS}), row_limit=row_limit)
    assert isinstance(verdict, Accepted), verdict
    return verdict.sql


def reason(sql: str, dialect: Dialect = "postgres", tables: Any = None) -> str:
    verdict = check_sql(sql, DatasetSchema(dialect, tables or {"orders": ORDERS}))
    assert isinstance(verdict, Refusal), verdict
    return verdict.reason


class TestRowLimit:
    @pytest.mark.parametrize(
        ("ending", "expected"),
        [
            ("", "LIMIT 100"),
            ("LIMIT 7", "LIMIT 7"),
            ("LIMIT 0", "LIMIT 0"),
            ("LIMIT 100000", "LIMIT 100"),
            ("LIMIT ALL", "LIMIT 100"),
            ("LIMIT NULL", "LIMIT 100"),
            ("LIMIT -1", "LIMIT 100"),
            ("FETCH FIRST 7 ROWS ONLY", "LIMIT 7"),
            ("FETCH FIRST ROW ONLY", "LIMIT 1"),
            ("FETCH NEXT 500 ROWS ONLY", "LIMIT 100"),
            ("LIMIT 7 OFFSET 3", "LIMIT 7 OFFSET 3"),
            ("OFFSET 3", "LIMIT 100 OFFSET 3"),
            ("LIMIT 7;", "LIMIT 7"),
            ("LIMIT 500 -- LIMIT 5", "LIMIT 100"),
        ],
    )
    @pytest.mark.parametrize(
        "query", ["SELECT id FROM orders", "SELECT id FROM orders UNION SELECT amount FROM orders"]
    )
    def test_it_is_added_or_lowered(self, query: str, ending: str, expected: str) -> None:
        assert rendered(f"{query} {ending}", row_limit=100).endswith(f" {expected}")

    def test_a_limit_inside_does_not_count(self) -> None:
        assert rendered("SELECT * FROM (SELECT id FROM orders LIMIT 5) AS o").endswith("AS o LIMIT 1000")
        assert rendered("WITH o AS (SELECT id FROM orders LIMIT 5) SELECT * FROM o").endswith("FROM o LIMIT 1000")
        union = rendered("(SELECT id FROM orders LIMIT 5) UNION ALL (SELECT id FROM orders LIMIT 6)")
        assert union.endswith("LIMIT 6) LIMIT 1000")
        assert rendered("((SELECT id FROM orders LIMIT 5000))").endswith("LIMIT 1000")
        assert rendered("(SELECT id FROM orders LIMIT 5) LIMIT 5000").endswith("LIMIT 1000")

    def test_sqlites_comma_is_an_offset(self) -> None:
        assert rendered("SELECT id FROM orders LIMIT 5, 2000", "sqlite").endswith("LIMIT 1000 OFFSET 5")

    @pytest.mark.parametrize("rows", [0, -1])
    def test_a_row_limit_below_one_is_a_mistake_of_the_caller(self, rows: int) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            check_sql("SELECT 1", DatasetSchema("sqlite", {"orders": ORDERS}), row_limit=rows)


class TestTables:
    @pytest.mark.parametrize("written", ["orders", "sales.orders", "shop.sales.orders", "`shop.sales.orders`"])
    def test_a_name_is_completed_from_the_schema(self, written: str) -> None:
        sql = rendered(f"SELECT orders.id FROM {written}", "bigquery", QUALIFIED)
        assert (
            sql == "SELECT orders.id FROM `shop`.`sales`.`orders` AS orders LIMIT 1000" or "`shop.sales.orders`" in sql
        )

    def test_a_name_that_may_mean_two_is_refused(self) -> None:
        assert "may mean any of 2" in reason("SELECT * FROM people", "bigquery", QUALIFIED)
        assert rendered("SELECT * FROM old.people", "bigquery", QUALIFIED)

    @pytest.mark.parametrize(
        "written", ["rders", "es.orders", "public.orders", "x.shop.sales.orders", "other.sales.orders"]
    )
    def test_a_part_of_a_name_is_not_the_name(self, written: str) -> None:
        assert reason(f"SELECT 1 FROM {written}", "bigquery", QUALIFIED)

    def test_postgres_keeps_the_case_of_quoted_names(self) -> None:
        tables = {"Orders": ORDERS, "orders": {"id": "INT"}}
        assert 'FROM "orders" AS Orders' in rendered("SELECT id FROM Orders", tables=tables)
        assert 'FROM "Orders"' in rendered('SELECT note FROM "Orders"', tables=tables)
        assert "not in the schema" in reason('SELECT 1 FROM "ORDERS"', tables=tables)
        # The only table there is, whatever its case: written in quotes, so that no other can be meant.
        assert 'FROM "Orders"' in rendered("SELECT note FROM orders", tables={"Orders": ORDERS})

    def test_a_with_query_may_have_the_name_of_a_table(self) -> None:
        sql = rendered("WITH orders AS (SELECT id FROM orders WHERE id > 1) SELECT id FROM ORDERS")
        assert sql == (
            'WITH orders AS (SELECT id FROM "orders" AS orders WHERE id > 1) SELECT id FROM orders LIMIT 1000'
        )

    def test_the_reason_names_the_table_harmlessly(self) -> None:
        assert reason("SELECT * FROM secrets") == "table 'secrets' is not in the schema"
        strange = reason(f'SELECT * FROM "<b>\u202e{"x" * 500}"')
        assert strange.isascii()
        assert len(strange) < 200

    def test_nothing_else_is_printed_or_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        for sql in (
            "GRANT x",
            "CREATE STRANGE x",
            "SELECT 'unfinished",
            "SHOW x",
            "WITH x",
            "FROM x GRANT",
            "WITH x AS (SELECT 1) CALL y()",
            "SELECT 1 + +",
        ):
            for dialect in DIALECTS:
                reason(sql, dialect)
        for dialect in DIALECTS:
            check_sql("WITH x AS (SELECT 1) SET y = 'what somebody asked'", DatasetSchema(dialect, {"orders": ORDERS}))
        assert caplog.records == []


class TestColumns:
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT nope FROM orders",
            "SELECT o.nope FROM orders AS o",
            "SELECT id FROM orders WHERE nope > 1",
            "SELECT id FROM orders GROUP BY nope",
            "SELECT SUM(nope) OVER (PARTITION BY id) FROM orders",
            "SELECT a.id FROM orders AS a JOIN orders AS b ON a.id = b.nope",
            "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM orders AS b WHERE b.id = nope)",
            "SELECT nope FROM (SELECT * FROM orders) AS o",
            "WITH a AS (SELECT id FROM orders), b AS (SELECT * FROM a) SELECT nope FROM b",
            "SELECT id FROM orders UNION SELECT id FROM orders ORDER BY nope",
            "SELECT id FROM orders AS a JOIN orders AS b USING (nope)",
            "SELECT x FROM (SELECT id FROM orders) AS o(nope)",
        ],
    )
    def test_an_unknown_one_is_named(self, sql: str) -> None:
        assert "'nope'" in reason(sql) or "nope'" in reason(sql) or "'x'" in reason(sql)

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT id AS n FROM orders ORDER BY n",
            "SELECT count FROM (SELECT COUNT(*) FROM orders) AS o",
            "SELECT n FROM (SELECT id FROM orders) AS o(n)",
            "SELECT n FROM (VALUES (1), (2)) AS v(n)",
            "SELECT o.id FROM orders AS o WHERE EXISTS (SELECT 1 FROM orders AS b WHERE b.id = o.id)",
            "SELECT id FROM orders ORDER BY 1",
            "SELECT b.note FROM (orders AS a JOIN orders AS b ON a.id = b.id)",
            "SELECT * FROM orders AS a NATURAL JOIN orders AS b",
        ],
    )
    def test_a_known_one_passes(self, sql: str) -> None:
        rendered(sql)

    def test_fields_of_structs_and_unnested_arrays(self) -> None:
        tables = {"p.d.orders": {"id": "INT64", "who": "STRUCT<name STRING>", "items": "ARRAY<STRUCT<sku STRING>>"}}
        sql = "SELECT o.who.name, who.name AS n, item.sku FROM `p.d.orders` o, UNNEST(o.items) AS item WITH OFFSET i"
        assert "UNNEST(o.items) AS item" in rendered(sql, "bigquery", tables)
        assert "'nope'" in reason("SELECT x FROM `p.d.orders` AS o, UNNEST(nope) AS x", "bigquery", tables)


class TestResultColumns:
    @pytest.mark.parametrize(
        ("sql", "columns"),
        [
            ('SELECT id, o.amount AS total, note AS "The note" FROM orders AS o', ("id", "total", "The note")),
            ("SELECT id AS a FROM orders UNION ALL SELECT amount FROM orders", ("a",)),
            ("(SELECT id AS a FROM orders) UNION (SELECT amount FROM orders) ORDER BY 1", ("a",)),
            ("WITH o AS (SELECT id AS k FROM orders) SELECT k FROM o", ("k",)),
            ("SELECT * FROM orders", None),
            ("SELECT id, o.* FROM orders AS o", None),
            ("SELECT id, COUNT(*) FROM orders GROUP BY id", None),
            ("SELECT CAST(id AS TEXT) FROM orders", None),
            ("SELECT a.id, b.id FROM orders AS a JOIN orders AS b ON a.id = b.id", None),
        ],
    )
    @pytest.mark.parametrize("dialect", ["postgres", "duckdb", "sqlite"])
    def test_they_are_those_the_statement_names(
        self, sql: str, columns: tuple[str, ...] | None, dialect: Dialect
    ) -> None:
        verdict = check_sql(sql, DatasetSchema(dialect, {"orders": ORDERS}))
        assert isinstance(verdict, Accepted)
        assert verdict.columns == columns

    @pytest.mark.parametrize(
        ("sql", "dialect"),
        [
            ("SELECT id FROM orders UNION BY NAME SELECT note FROM orders", "duckdb"),
            ("SELECT * EXCLUDE (id) FROM orders", "duckdb"),
            ("SELECT AS STRUCT id FROM orders", "bigquery"),
        ],
    )
    def test_where_the_database_alone_knows_them(self, sql: str, dialect: Dialect) -> None:
        verdict = check_sql(sql, DatasetSchema(dialect, {"orders": ORDERS}))
        assert isinstance(verdict, Accepted)
        assert verdict.columns is None


class TestFormat:
    @pytest.mark.parametrize("text", ["%d", "%.2f%%", "%05d", "%-20s|", "%'d", "%t of %T", "100 %%", "%+.3e", "äöü %s"])
    def test_a_narrow_one_passes_on_bigquery(self, text: str) -> None:
        assert rendered(f'SELECT FORMAT("{text}", id) AS x FROM orders', "bigquery")

    @pytest.mark.parametrize(
        "text", ["%100d", "%.100f", "%*d", "%.*f", "%1000000000d", "%%%100d", "% ", "%", "%n", "%\\x31000d"]
    )
    def test_others_are_refused(self, text: str) -> None:
        assert "two digits" in reason(f'SELECT FORMAT("{text}", id) AS x FROM orders', "bigquery")

    @pytest.mark.parametrize("first", ["note", "CONCAT('%', 'd')", "r'%d'", "(SELECT '%d')", "'%' '1000d'"])
    def test_only_a_text_that_is_written_out(self, first: str) -> None:
        assert reason(f"SELECT FORMAT({first}, id) AS x FROM orders", "bigquery")


class TestReading:
    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("sql", BOMBS.values(), ids=BOMBS.keys())
    def test_no_statement_takes_long_to_read(self, sql: str, dialect: Dialect) -> None:
        start = time.thread_time()
        check_sql(sql, DatasetSchema(dialect, {"orders": ORDERS}))
        assert time.thread_time() - start < 2

    def test_a_small_stack_is_enough_to_refuse(self) -> None:
        """Wherever the stack ends: while the words are told apart, while parsing, binding or writing."""
        verdicts: list[object] = []
        schema = DatasetSchema("duckdb", {"orders": ORDERS})
        sql = "SELECT " + "abs(" * 30 + "1" + ")" * 30
        assert isinstance(check_sql(sql, schema), Accepted)

        def deep(levels: int) -> None:
            if levels:
                deep(levels - 1)
            else:
                verdicts.append(check_sql(sql, schema))

        for left in range(20, 600, 20):
            thread = threading.Thread(target=deep, args=(sys.getrecursionlimit() - left,))
            thread.start()
            thread.join()
        assert len(verdicts) == 29
        assert {type(verdict) for verdict in verdicts} <= {Accepted, Refusal}
        assert isinstance(verdicts[0], Refusal)

    @pytest.mark.parametrize("dialect", DIALECTS)
    @given(text=st.text() | st.text(alphabet="SELECT FROMordersid'\"`;-*/()\\\n$@[]{}.,0", max_size=80))
    def test_no_text_breaks_it(self, dialect: Dialect, text: str) -> None:
        for sql in (text, f"SELECT {text} FROM orders", f"SELECT '{text}' FROM orders"):
            verdict = check_sql(sql, DatasetSchema(dialect, {"orders": ORDERS}))
            assert isinstance(verdict, (Accepted, Refusal))

    def test_sqlglot_waits_for_the_first_statement(self) -> None:
        code = "import sys, modeldrop.serving.sql.guard; print('sqlglot' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_many_threads_get_the_same_verdicts(self) -> None:
        expected = [rendered(f"SELECT id FROM orders LIMIT {n}") for n in range(20)]
        found: list[list[str]] = []
        threads = [
            threading.Thread(
                target=lambda: found.append([rendered(f"SELECT id FROM orders LIMIT {n}") for n in range(20)])
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [expected] * 4


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("DROP TABLE orders", "only SELECT is allowed"),
        ("((DELETE FROM orders))", "only SELECT is allowed"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("", "there is no statement"),
        ("SELECT 1\x00", "the statement has control characters"),
        ("SELECT pg_sleep(1)", "the function 'pg_sleep' is not allowed"),
        ("SELECT id FROM orders LIMIT 1 + 1", "LIMIT must be a whole number"),
        ("SELECT id FROM orders WHERE id IN (SELECT id FROM secrets)", "table 'secrets' is not in the schema"),
    ],
)
def test_the_reason_says_what_is_wrong(sql: str, expected: str, dialect: Dialect) -> None:
    assert reason(sql, dialect) == expected


class TestRenderedText:
    @pytest.mark.parametrize(
        "text",
        [
            "SELECT 1; SELECT 2",
            "SELECT 1 -- x",
            "SELECT /* x */ 1",
            "SELECT pg_sleep(1)",
            'SELECT "pg_sleep"(1)',
            "SELECT 'x",
            "SELECT $$x$$",
            "SELECT @x",
            "SELECT ?",
            "SELECT 1 # x",
            "SELECT a.pg_sleep (1)",
            "SELECT 'a\\''",
            "SELECT {x}",
        ],
    )
    def test_what_must_not_stand_outside_of_quotes_is_found(self, text: str) -> None:
        with pytest.raises(NotAccepted):
            check_rendered(text, "postgres")

    def test_texts_may_hold_anything(self) -> None:
        check_rendered("SELECT '; -- /* pg_sleep(1) @ $$ \\d ''' AS \"a;(\"", "postgres")
        check_rendered("SELECT '; \\' -- pg_sleep(1)' AS `a;(`", "bigquery")

    @pytest.mark.parametrize("dialect", DIALECTS)
    @given(text=st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30))
    def test_a_text_keeps_its_value(self, dialect: Dialect, text: str) -> None:
        written = text.replace("\\", "\\\\").replace("'", "\\'") if dialect == "bigquery" else text.replace("'", "''")
        schema = DatasetSchema(dialect, {"orders": ORDERS})
        verdict = check_sql(f"SELECT '{written}' AS x FROM orders", schema)
        if isinstance(verdict, Accepted):
            assert f"'{written}' AS x" in verdict.sql
        else:
            assert "backslash" in verdict.reason or "\ufeff" in text


RESOURCE = {
    "tableReference": {"projectId": "my-shop", "datasetId": "sales", "tableId": "orders"},
    "schema": {
        "fields": [
            {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
            {"name": "tags", "type": "STRING", "mode": "REPEATED"},
            {
                "name": "items",
                "type": "RECORD",
                "mode": "REPEATED",
                "fields": [{"name": "sku", "type": "STRING"}, {"name": "n", "type": "INTEGER", "mode": "REPEATED"}],
            },
        ]
    },
}
COLUMNS = {"id": "INTEGER", "tags": "ARRAY<STRING>", "items": "ARRAY<STRUCT<sku STRING, n ARRAY<INTEGER>>>"}


class TestSchema:
    @pytest.mark.parametrize(
        "value", [RESOURCE, [RESOURCE], {"tables": [RESOURCE]}, {"dialect": "bigquery", **RESOURCE}]
    )
    @pytest.mark.parametrize("encode", [lambda value: value, json.dumps], ids=["object", "text"])
    def test_bigquery_resources(self, value: Any, encode: Any) -> None:
        assert read_schema(encode(value)) == DatasetSchema("bigquery", {"my-shop.sales.orders": COLUMNS})

    def test_our_own_shape(self) -> None:
        value = {"dialect": "duckdb", "tables": {"orders": ORDERS, "s.Größe 2": {"a b": "INT"}}}
        assert read_schema(value) == read_schema(json.dumps(value)) == DatasetSchema("duckdb", value["tables"])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "a..b",
            "a.b.c.d",
            "x" * 257,
            "a;b",
            'a"b',
            "a`b",
            "a'b",
            "a\\b",
            "a/b",
            "a*",
            "a$1",
            "a@1",
            "a\nb",
            "a\x00",
            "sqlite_master",
            "pg_shadow",
            "pg_catalog.x",
            "information_schema.tables",
            "INFORMATION_SCHEMA",
            "duckdb_tables",
            *("x.csv", "a.b.parquet", "https://x", "*", "-x", " x"),
        ],
    )
    def test_names_that_are_more_than_names(self, name: str) -> None:
        with pytest.raises(InvalidInput):
            read_schema({"dialect": "duckdb", "tables": {name: ORDERS}})

    @pytest.mark.parametrize(
        "value",
        [
            *(
                "",
                "x",
                "null",
                "[]",
                "{}",
                "1",
                '"x"',
                "[1]",
                "\ud800",
                '{"dialect": "sqlite"}',
                "[" * 100_000,
                1,
                None,
                b"x",
            ),
            {"dialect": "mysql", "tables": {"orders": ORDERS}},
            {"tables": {"orders": ORDERS}},
            {"dialect": ["sqlite"], "tables": {"orders": ORDERS}},
            *(
                {"dialect": "sqlite", "tables": tables}
                for tables in ({}, {"orders": {}}, {"orders": []}, {"orders": {"a": 1}}, 1)
            ),
            {"dialect": "sqlite", "tables": {"orders": {'a"b': "INT"}}},
            {"dialect": "sqlite", "tables": {"orders": {"a\n": "INT"}}},
            {"dialect": "sqlite", "tables": {"orders": {"": "INT"}}},
            {"dialect": "sqlite", "tables": {"orders": {"a" * 257: "INT"}}},
            {"dialect": "sqlite", "tables": {f"t{n}": {"a": "INT"} for n in range(201)}},
            {"dialect": "sqlite", "tables": {"t": {f"c{n}": "INT" for n in range(2_001)}}},
            {"dialect": "sqlite", "tables": {"t": {"c": "x" * 300_000}}},
            {"dialect": "postgres", "tables": {"ö" * 32: {"c": "INT"}}},
            {"tables": [RESOURCE, RESOURCE]},
            {"tableReference": {"projectId": "p", "datasetId": "d"}, "schema": {"fields": []}},
            {**RESOURCE, "schema": {"fields": [{"name": "a"}]}},
            {**RESOURCE, "schema": {"fields": [{"name": "a", "type": "INT64"}] * 2}},
            {**RESOURCE, "schema": {"fields": [{"name": "a", "type": "RECORD"}]}},
            {**RESOURCE, "schema": {}},
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_damaged_or_hostile_metadata(self, value: Any) -> None:
        with pytest.raises(InvalidInput):
            read_schema(value)

    def test_values_that_contain_themselves(self) -> None:
        value: dict[str, Any] = {"dialect": "sqlite"}
        value["tables"] = value
        with pytest.raises(InvalidInput):
            read_schema(value)

    def test_all_problems_at_once(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            read_schema({"dialect": "mysql", "tables": {"a;": {"x": "INT"}, "b": {"y\n": "INT", "z": 1}}})
        assert [problem.field for problem in caught.value.problems] == [
            "tables.b.z",
            "dialect",
            "tables.a;",
            "tables.b.y\\n",
        ]

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["tables", "dialect", "schema", "fields", "name", "type"]), inner)
            ),
            max_leaves=8,
        )
    )
    def test_no_value_breaks_it(self, value: Any) -> None:
        try:
            assert isinstance(read_schema(value), DatasetSchema)
        except InvalidInput as error:
            assert error.problems
            assert msgspec.json.encode(error.problems)


def test_a_usual_statement_is_checked_in_milliseconds() -> None:
    sql = (
        "WITH monthly AS (SELECT note, SUM(amount) AS total FROM orders WHERE amount > 0 GROUP BY note) "
        "SELECT note, total, RANK() OVER (ORDER BY total DESC) AS place FROM monthly WHERE total > 10 ORDER BY place"
    )
    times = []
    for _ in range(40):
        start = time.thread_time()
        rendered(sql)
        times.append(time.thread_time() - start)
    assert sorted(times)[20] < 0.02  # about 0.003 measured; a machine under load must not fail this


@pytest.mark.parametrize("dialect", ["bigquery", "postgres", "duckdb", "sqlite"])
def test_with_in_with_is_read_once(dialect: Dialect) -> None:
    """Each level twice would be a thousand million times for thirty."""
    sql = "SELECT id FROM orders"
    for level in range(30):
        sql = f"WITH w{level} AS ({sql}) (SELECT id FROM w{level}) ORDER BY 1 LIMIT 5"
    start = time.thread_time()
    assert isinstance(check_sql(sql, DatasetSchema(dialect, {"orders": {"id": "INTEGER"}})), Accepted)
    assert time.thread_time() - start < 10
