"""From the checked tree to the text that is run, and a look at that text that does not trust sqlglot."""

import re
from typing import TYPE_CHECKING

from modeldrop.serving.sql.functions import ALLOWED_FUNCTIONS, WORDS_BEFORE_PARENTHESIS
from modeldrop.serving.sql.schema import Dialect
from modeldrop.serving.sql.verdicts import NotAccepted, shown

if TYPE_CHECKING:
    from sqlglot import exp

# How the databases themselves read texts and quoted names; possessive, so that a damaged text takes linear time.
_STANDARD_QUOTES = r"'(?:[^']|'')*+'|\"(?:[^\"]|\"\")*+\""
_BIGQUERY_QUOTES = r"'(?:[^'\\\n]|\\.)*+'|`[^`\\\n]*+`"
_QUOTED = {
    dialect: re.compile(_BIGQUERY_QUOTES if dialect == "bigquery" else _STANDARD_QUOTES, re.DOTALL)
    for dialect in ALLOWED_FUNCTIONS
}
_CALL = re.compile(r"(\x00|[\w.]+)\s*\(")
_OUTSIDE_QUOTES = re.compile(r"[\w\s\x00.,()<>=!+*/%|&~^\[\]:-]*+")
_COMMENT = re.compile(r"--|/\*|\*/|//")
# Where a server reads \' as a quote (standard_conforming_strings = off), such a text would end elsewhere.
_ESCAPED_QUOTE = re.compile(r"\\('|$)")


def render(tree: "exp.Expr", dialect: Dialect) -> str:
    """The statement without comments. Raises NotAccepted if sqlglot cannot write it, or wrote something unforeseen."""
    from sqlglot.errors import ErrorLevel, SqlglotError  # noqa: PLC0415 - cold start

    try:
        text: str = tree.sql(dialect=dialect, comments=False, unsupported_level=ErrorLevel.RAISE)
    except (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError):
        raise NotAccepted(f"cannot be written as {dialect} SQL") from None
    check_rendered(text, dialect, _column_list_owners(tree))
    return text


def check_rendered(text: str, dialect: Dialect, column_lists: frozenset[str] = frozenset()) -> None:
    """Raises NotAccepted if ``text`` outside of quotes has a comment, a second statement or a call not on the list.

    ``column_lists``: names that have a list of columns in parentheses behind them: ``WITH name(a, b)``.
    """
    bare = _QUOTED[dialect].sub("\x00", text)
    if not _OUTSIDE_QUOTES.fullmatch(bare) or _COMMENT.search(bare):
        raise NotAccepted("has signs that are not allowed outside of quotes")
    if dialect != "bigquery" and any(
        _ESCAPED_QUOTE.search(quoted[1:-1]) for quoted in _QUOTED[dialect].findall(text) if quoted[0] == "'"
    ):
        raise NotAccepted("a text has a backslash before a quote or at its end")
    allowed = ALLOWED_FUNCTIONS[dialect] | WORDS_BEFORE_PARENTHESIS | column_lists
    for match in _CALL.finditer(bare):
        name = match[1].lower()
        if name not in allowed and not (name == "\x00" and column_lists):
            raise NotAccepted(
                f"{shown(match[1]) if name != chr(0) else 'a quoted name'} before a parenthesis is not allowed"
            )


def _column_list_owners(tree: "exp.Expr") -> frozenset[str]:
    from sqlglot import exp  # noqa: PLC0415

    owners = [
        alias.this for alias in tree.find_all(exp.TableAlias) if alias.this is not None and alias.args.get("columns")
    ]
    return frozenset(owner.name.lower() for owner in owners)
