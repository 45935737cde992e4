"""Which table a name in FROM means: one of the schema, or a WITH query that is visible there."""

from typing import TYPE_CHECKING

from modeldrop.serving.sql.schema import DatasetSchema, Dialect
from modeldrop.serving.sql.verdicts import NotAccepted, shown

if TYPE_CHECKING:
    from sqlglot import exp

# Lower case of ASCII alone, as the databases do: for Python the Kelvin sign's lower case is the letter k, and a WITH
# query could then take a name that the database does not find there.
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def name_key(identifier: "exp.Expr", dialect: Dialect) -> str:
    """What two identifiers must have in common to mean the same. PostgreSQL keeps the case of quoted ones."""
    name: str = identifier.this
    return name if dialect == "postgres" and identifier.args.get("quoted") else name.translate(_ASCII_LOWER)


def bind_tables(tree: "exp.Expr", schema: DatasetSchema) -> None:
    """Give every table its full name of the schema, quoted, and an alias so that its columns are found as before.

    Changes ``tree``. Raises NotAccepted for a table that is neither in the schema nor a visible WITH query.
    """
    from sqlglot import exp  # noqa: PLC0415 - cold start

    for table in list(tree.find_all(exp.Table)):
        written = table.this
        if not isinstance(written, exp.Identifier):
            raise NotAccepted("functions that return tables are not allowed")
        query = visible_query(table, schema.dialect)
        if query is not None:
            written.replace(query.args["alias"].this.copy())
            continue
        names = [part.name for part in table.parts]
        full_name = find_table(table, schema)
        if full_name is None:
            raise NotAccepted(f"table {shown('.'.join(names))} is not in the schema")
        if not table.alias:
            # After the dots within BigQuery's quoted names, the last word is what columns are addressed by.
            alias = exp.to_identifier(written.name, quoted=written.args.get("quoted") or None)
            columns = table.args["alias"].args.get("columns") if table.args.get("alias") else None
            table.set("alias", exp.TableAlias(this=alias, columns=columns))
        parts = [exp.to_identifier(part, quoted=True) for part in full_name.split(".")]
        for place, part in zip(("this", "db", "catalog"), reversed(parts), strict=False):
            table.set(place, part)


def find_table(table: "exp.Table", schema: DatasetSchema) -> str | None:
    """The full name in the schema that ``table`` means: equal to it, or the only one that ends with it.

    Raises NotAccepted if several could be meant.
    """
    parts = table.parts
    spellings = [[name_key(part, schema.dialect) for part in parts], [part.name for part in parts]]
    for names in spellings if schema.dialect == "postgres" else reversed(spellings):
        if (full_name := _only(names, schema)) is not None:
            return full_name
    if any(part.args.get("quoted") for part in parts) and schema.dialect == "postgres":
        return None
    folded = DatasetSchema(schema.dialect, {name.translate(_ASCII_LOWER): {} for name in schema.tables})
    found = _only([part.name.translate(_ASCII_LOWER) for part in parts], folded)
    same = [name for name in schema.tables if name.translate(_ASCII_LOWER) == found]
    if len(same) > 1:
        raise NotAccepted(f"table {shown('.'.join(part.name for part in parts))} may mean any of {len(same)} tables")
    return same[0] if same else None


def _only(names: list[str], schema: DatasetSchema) -> str | None:
    written = ".".join(names)
    if written in schema.tables:
        return written
    found = [name for name in schema.tables if name.endswith(f".{written}")]
    if len(found) > 1:
        raise NotAccepted(f"table {shown(written)} may mean any of {len(found)} tables: write its full name")
    return found[0] if found else None


def visible_query(table: "exp.Table", dialect: Dialect) -> "exp.CTE | None":
    """The WITH query a table's name means: an earlier one of the same WITH, or any of a query around the place."""
    from sqlglot import exp  # noqa: PLC0415

    if table.args.get("db") or table.args.get("catalog"):
        return None
    key = name_key(table.this, dialect)
    inside: exp.Expr = table
    around = table.parent
    while around is not None:
        candidates: list[exp.CTE] = []
        if isinstance(around, exp.With):
            candidates = around.expressions[: [id(query) for query in around.expressions].index(id(inside))]
        elif (with_ := around.args.get("with_")) is not None and with_ is not inside:
            candidates = with_.expressions
        for query in reversed(candidates):
            if name_key(query.args["alias"].this, dialect) == key:
                return query
        inside, around = around, around.parent
    return None
