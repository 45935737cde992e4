"""The row limit of the outermost query: added, or lowered."""

from typing import TYPE_CHECKING

from modeldrop.serving.sql.verdicts import NotAccepted

if TYPE_CHECKING:
    from sqlglot import exp

LARGEST_OFFSET = 1_000_000


def limit_rows(tree: "exp.Expr", row_limit: int) -> None:
    """Make ``tree`` return at most ``row_limit`` rows; changes it. Raises NotAccepted for what cannot be bounded."""
    from sqlglot import exp  # noqa: PLC0415 - cold start

    asked = _asked_rows(tree.args.get("limit"))
    rows = row_limit if asked is None else min(asked, row_limit)
    tree.set("limit", exp.Limit(expression=exp.Literal.number(rows)))
    offset = tree.args.get("offset")
    if offset is not None and (_whole_number(offset.args.get("expression")) or 0) > LARGEST_OFFSET:
        raise NotAccepted(f"OFFSET is more than {LARGEST_OFFSET:,}")


def check_limits(tree: "exp.Expr") -> None:
    """Every LIMIT and OFFSET, also of inner queries, must be a whole number (LIMIT: or ALL, NULL, -1)."""
    from sqlglot import exp  # noqa: PLC0415

    for limit in tree.find_all(exp.Limit, exp.Fetch):
        _asked_rows(limit)
    for offset in tree.find_all(exp.Offset):
        if _whole_number(offset.args.get("expression")) is None:
            raise NotAccepted("OFFSET must be a whole number")


def has_limit(tree: "exp.Expr", row_limit: int) -> bool:
    """Whether the outermost query is limited by a number of at most ``row_limit``."""
    limit = tree.args.get("limit")
    rows = _whole_number(limit.args.get("expression")) if limit is not None else None
    return rows is not None and rows <= row_limit


def _asked_rows(limit: "exp.Expr | None") -> int | None:
    """The rows a LIMIT or FETCH asks for; None without one, or where it asks for all."""
    from sqlglot import exp  # noqa: PLC0415

    if limit is None:
        return None
    options = limit.args.get("limit_options")
    if options is not None and (options.args.get("percent") or options.args.get("with_ties")):
        raise NotAccepted("LIMIT in percent or WITH TIES is not allowed")
    if limit.args.get("offset") is not None or limit.args.get("expressions"):
        raise NotAccepted("write LIMIT and OFFSET apart")
    if isinstance(limit, exp.Fetch):
        count = limit.args.get("count")
        rows = 1 if count is None else _whole_number(count)  # FETCH FIRST ROW ONLY is one row
    else:
        count = limit.args.get("expression")
        if isinstance(count, (exp.Null, exp.Neg)) or (isinstance(count, exp.Var) and count.name.upper() == "ALL"):
            if isinstance(count, exp.Neg) and _whole_number(count.this) is None:
                raise NotAccepted("LIMIT must be a whole number")
            return None
        rows = _whole_number(count)
    if rows is None:
        raise NotAccepted("LIMIT must be a whole number")
    return rows


def _whole_number(value: object) -> int | None:
    from sqlglot import exp  # noqa: PLC0415

    if isinstance(value, exp.Literal) and not value.is_string and value.name.isascii() and value.name.isdigit():
        return int(value.name) if len(value.name) <= 18 else None
    return None
