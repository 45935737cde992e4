"""SQL a language model wrote, checked: one SELECT over the given tables, or a refusal with its reason."""

from typing import TYPE_CHECKING

from modeldrop.serving.sql.columns import check_columns
from modeldrop.serving.sql.nodes import check_nodes
from modeldrop.serving.sql.parsing import parse_query
from modeldrop.serving.sql.render import render
from modeldrop.serving.sql.result_columns import result_columns
from modeldrop.serving.sql.row_limit import check_limits, has_limit, limit_rows
from modeldrop.serving.sql.schema import DatasetSchema
from modeldrop.serving.sql.tables import bind_tables, find_table, visible_query
from modeldrop.serving.sql.verdicts import Accepted, NotAccepted, Refusal

if TYPE_CHECKING:
    from sqlglot import exp

ROW_LIMIT = 1_000


def check_sql(text: str, schema: DatasetSchema, *, row_limit: int = ROW_LIMIT) -> Accepted | Refusal:
    """The statement in ``text`` as it may be run, or why not. ``row_limit``: most rows it may return, at least 1.

    >>> orders = DatasetSchema("sqlite", {"orders": {"id": "INTEGER"}})
    >>> check_sql("select id from orders -- all", orders)
    Accepted(sql='SELECT id FROM "orders" AS orders LIMIT 1000', columns=('id',))
    >>> check_sql("select * from secrets", orders)
    Refusal(reason="table 'secrets' is not in the schema")
    """
    if row_limit < 1:
        raise ValueError("row_limit must be at least 1")
    try:
        return _checked(text, schema, row_limit)
    except NotAccepted as refusal:
        return Refusal(str(refusal))
    except RecursionError:  # the limits prevent it, unless the caller is deep in a stack of its own
        return Refusal("nested too deeply")


def _checked(text: str, schema: DatasetSchema, row_limit: int) -> Accepted:
    tree = _unwrapped(parse_query(text, schema.dialect))
    _check_root(tree)
    check_nodes(tree, schema.dialect)
    check_limits(tree)
    bind_tables(tree, schema)
    limit_rows(tree, row_limit)
    rendered = render(tree, schema.dialect)
    again = parse_query(rendered, schema.dialect)
    _check_root(again)
    check_nodes(again, schema.dialect)
    _check_bound(again, schema)
    check_columns(again, schema)
    if not has_limit(again, row_limit) or (again != tree and render(again, schema.dialect) != rendered):
        raise NotAccepted("does not read the same after it is written again")
    return Accepted(rendered, result_columns(again))


def _unwrapped(tree: "exp.Expr") -> "exp.Expr":
    """Without parentheses around the whole: SQLite does not know them."""
    from sqlglot import exp  # noqa: PLC0415 - cold start

    while isinstance(tree, exp.Subquery) and not any(value for name, value in tree.args.items() if name != "this"):
        tree = tree.this
        tree.pop()
    return tree


def _check_root(tree: "exp.Expr") -> None:
    from sqlglot import exp  # noqa: PLC0415

    if not isinstance(tree, (exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Subquery)):
        raise NotAccepted("only SELECT is allowed")


def _check_bound(tree: "exp.Expr", schema: DatasetSchema) -> None:
    """In the text that will be run, every table must be a WITH query, or have its full name of the schema in quotes."""
    from sqlglot import exp  # noqa: PLC0415

    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise NotAccepted("functions that return tables are not allowed")
        if visible_query(table, schema.dialect) is not None:
            continue
        full_name = find_table(table, schema)
        quoted = all(part.args.get("quoted") for part in table.parts)
        if full_name is None or not quoted or ".".join(part.name for part in table.parts) != full_name:
            raise NotAccepted("a table's name does not read the same after it is written again")
