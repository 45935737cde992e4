"""The recorded statements, hostile and harmless, the tables they are about, and mutations of both."""

import json
import random
import re
from pathlib import Path

from modeldrop.serving.sql.schema import Dialect

DIALECTS: tuple[Dialect, ...] = ("bigquery", "postgres", "duckdb", "sqlite")
RECORDED = Path(__file__).parent / "recorded" / "sql"
TABLES = {
    "orders": dict.fromkeys(("id", "customer_id", "amount", "status", "ordered_at", "note"), "TEXT"),
    "customers": dict.fromkeys(("id", "name", "region"), "TEXT"),
}
SECRET = "TOPSECRET"
SETUP = [
    "CREATE TABLE orders (id INTEGER, customer_id INTEGER, amount DOUBLE, status TEXT, ordered_at TIMESTAMP, note TEXT,"
    " hidden TEXT)",
    "CREATE TABLE customers (id INTEGER, name TEXT, region TEXT)",
    f"CREATE TABLE secrets AS SELECT 1 AS id, '{SECRET}' AS token",
    f"CREATE TABLE note AS SELECT '{SECRET}' AS note",  # named like a column of orders
    f"CREATE TABLE skills AS SELECT 1 AS id, '{SECRET}' AS token",
    "INSERT INTO customers VALUES (1, 'Ada', 'north'), (2, 'Bo', 'south'), (3, 'Cy', 'north')",
    "INSERT INTO orders VALUES (1, 1, 10.5, 'paid', '2024-01-03 08:00:00', 'gift wrap', 'x'),"
    " (2, 1, 70.25, 'open', '2024-01-20 09:30:00', NULL, 'x'), (3, 2, 33, 'paid', '2024-02-02 10:00:00', 'call', 'x'),"
    " (4, 3, 5, 'paid', '2024-02-11 11:00:00', NULL, 'x'), (5, 3, 64, 'lost', '2024-03-01 12:00:00', 'a gift', 'x')",
]


def recorded(name: str) -> list[tuple[Dialect, str, str]]:
    """(dialect, category, statement) of every line, once for each of its dialects."""
    lines = [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]
    return [(dialect, line.get("category", ""), line["sql"]) for line in lines for dialect in line["dialects"]]


ATTACKS = recorded("attacks.jsonl")
BENIGN = recorded("benign.jsonl")


FRAGMENTS = [
    *(
        ", secrets",
        " UNION SELECT token FROM secrets",
        "; DROP TABLE orders",
        "--",
        "/*",
        "*/",
        "'",
        '"',
        "`",
        "\\",
        "(",
    ),
    *(
        ")",
        " JOIN secrets ON 1 = 1",
        "(SELECT token FROM secrets)",
        " IN secrets",
        " IN note",
        "WITH secrets AS (SELECT 1) ",
    ),
    *(
        " main.",
        "[secrets]",
        '"secrets"',
        " LIMIT -1",
        " OR 1 = 1",
        ", note",
        " AS secrets",
        "''",
        " FROM secrets ",
        ";",
    ),
]
POOLS = {
    dialect: [sql for of, _, sql in (*BENIGN, *ATTACKS) if of == dialect and len(sql) < 500] for dialect in DIALECTS
}
WORD = re.compile(r"\w+|\s+|.", re.DOTALL)


def mutated(chance: random.Random, dialect: Dialect) -> str:
    """Two statements cut and joined, words exchanged between them, and fragments of attacks put in."""
    first, second = (WORD.findall(chance.choice(POOLS[dialect])) or [" "] for _ in range(2))
    words = first[: chance.randint(0, len(first))] + second[chance.randint(0, len(second)) :]
    if chance.random() < 0.5:
        words = first
    for _ in range(chance.randint(0, 3)):
        place = chance.randint(0, len(words))
        action = chance.random()
        if action < 0.4:
            words[place:place] = [chance.choice(FRAGMENTS)]
        elif action < 0.7:
            words[place : place + 1] = [chance.choice([*second, "secrets", "orders", "note"])]
        else:
            words[place : place + 1] = []
    return "".join(words)
