"""What the columns of a statement's result are called, as far as the statement itself tells."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp


def result_columns(tree: "exp.Expr") -> tuple[str, ...] | None:
    """The names in their order, as they are written; None if one of them is for the database to choose.

    That is so for stars, for names that come twice (some clients number them), and for values without an alias:
    ``COUNT(*)`` is ``count``, ``f0_``, ``count_star()`` or ``COUNT(*)``, by the database.
    """
    from sqlglot import exp  # noqa: PLC0415 - cold start

    while isinstance(tree, (exp.SetOperation, exp.Subquery)):
        if tree.args.get("by_name"):  # DuckDB: the names of both sides
            return None
        tree = tree.this  # the first query names the columns of all
    if not isinstance(tree, exp.Select) or tree.args.get("kind"):  # BigQuery's AS STRUCT, AS VALUE
        return None
    names = [_name(part) for part in tree.expressions]
    known = [name for name in names if name]
    if len(known) < len(names) or len({name.casefold() for name in known}) < len(known):
        return None
    return tuple(known)


def _name(part: "exp.Expr") -> str | None:
    from sqlglot import exp  # noqa: PLC0415

    if isinstance(part, exp.Alias):
        return part.alias
    if isinstance(part, (exp.Column, exp.Dot)) and not part.find(exp.Star):
        return part.output_name
    return None
