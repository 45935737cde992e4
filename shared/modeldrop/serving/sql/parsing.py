"""From text to one syntax tree, with limits before and while parsing.

The time sqlglot takes can double with every JOIN that lacks its ON, and every nested ROW(, as it tries one reading
after the other. So the parser's steps are counted, and a statement that needs too many for its length is refused.
"""

import logging
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from modeldrop.serving.sql.schema import Dialect
from modeldrop.serving.sql.verdicts import NotAccepted

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

LONGEST_TEXT = 20_000
MOST_TOKENS = 4_000
DEEPEST_NESTING = 40
DEEPEST_TREE = 120
STEPS_PER_TOKEN = 10  # usual statements take fewer than two
LEAST_STEPS = 500

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_OPENING = frozenset({"L_PAREN", "L_BRACKET", "L_BRACE", "CASE"})
_CLOSING = frozenset({"R_PAREN", "R_BRACKET", "R_BRACE", "END"})


_loading = threading.Lock()
_loaded: set[str] = set()


class _TooManySteps(Exception):
    """Not a ParseError: the parser would catch that, and try on."""


def parse_query(text: str, dialect: Dialect) -> "exp.Expr":
    """The tree of the one SELECT in ``text``; raises NotAccepted."""
    if not isinstance(text, str) or not text.strip():
        raise NotAccepted("there is no statement")
    if len(text) > LONGEST_TEXT:
        raise NotAccepted(f"the statement has {len(text):,} characters, more than {LONGEST_TEXT:,}")
    if _CONTROL.search(text):
        raise NotAccepted("the statement has control characters")
    _load(dialect)
    tokens = _tokens(text, dialect)
    tree = _parse(tokens, text, dialect)
    _check_depth(tree)
    return tree


def _load(dialect: Dialect) -> None:
    """Once, by one thread: sqlglot lists a dialect's class before it is complete, and a thread that finds it then
    writes quotes of another dialect."""
    if dialect not in _loaded:
        with _loading:
            _counting_parser(dialect)
            _loaded.add(dialect)


def _tokens(text: str, dialect: Dialect) -> "list[Token]":
    from sqlglot.dialects.dialect import Dialect as SqlDialect  # noqa: PLC0415 - cold start
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tokens = SqlDialect.get_or_raise(dialect).tokenize(text)
    except SqlglotError:
        raise NotAccepted(f"not {dialect} SQL: its words cannot be told apart") from None
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    if len(tokens) > MOST_TOKENS:
        raise NotAccepted(f"the statement has {len(tokens):,} words and signs, more than {MOST_TOKENS:,}")
    kinds = [token.token_type.name for token in tokens]
    if "SEMICOLON" in kinds:
        raise NotAccepted("more than one statement")
    first = next((kind for kind in kinds if kind != "L_PAREN"), "")
    # Checked here, as what the parser does not know becomes a Command, with a line in the log that quotes it.
    if first not in ("SELECT", "WITH") and not (first == "FROM" and dialect == "duckdb"):
        raise NotAccepted("only SELECT is allowed")
    _check_nesting(kinds)
    return tokens


def _check_nesting(kinds: list[str]) -> None:
    level = 0
    for kind in kinds:
        level += (kind in _OPENING) - (kind in _CLOSING)
        if level > DEEPEST_NESTING:
            raise NotAccepted(f"nested more than {DEEPEST_NESTING} levels deep")


def _parse(tokens: "list[Token]", text: str, dialect: Dialect) -> "exp.Expr":
    from sqlglot.errors import ErrorLevel, SqlglotError  # noqa: PLC0415

    parser = _counting_parser(dialect)(dialect=dialect, error_level=ErrorLevel.RAISE)
    parser.steps_left = LEAST_STEPS + STEPS_PER_TOKEN * len(tokens)
    try:
        statements = parser.parse(tokens, text)
    except _TooManySteps:
        raise NotAccepted("the statement takes too long to read: give every JOIN its ON, and nest less") from None
    except RecursionError:
        raise NotAccepted("nested too deeply") from None
    except SqlglotError:  # its message quotes the statement
        raise NotAccepted(f"not valid {dialect} SQL") from None
    except (ValueError, TypeError, AttributeError, LookupError):
        raise NotAccepted(f"not valid {dialect} SQL") from None  # slips of the parser on odd text
    if len(statements) != 1 or statements[0] is None:
        raise NotAccepted("exactly one statement is allowed")
    tree: exp.Expr = statements[0]
    return tree


def _nothing(_: logging.LogRecord) -> bool:
    return False


@cache
def _counting_parser(dialect: Dialect) -> Any:
    """The dialect's parser, made to stop when ``steps_left`` is used up."""
    from sqlglot.dialects.dialect import Dialect as SqlDialect  # noqa: PLC0415

    # Its warnings quote the statement, and with it what somebody asked; all they could say is in our refusal.
    logging.getLogger("sqlglot").addFilter(_nothing)
    parser_class: Any = SqlDialect.get_or_raise(dialect).parser_class
    advance = parser_class._advance

    def counted_advance(self: Any, times: int = 1) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise _TooManySteps
        advance(self, times)

    return type(parser_class)(
        f"Counting{parser_class.__name__}", (parser_class,), {"_advance": counted_advance, "steps_left": LEAST_STEPS}
    )


def _check_depth(tree: "exp.Expr") -> None:
    """Chains such as 1 + 1 + 1 … are as deep as they are long, and what walks them later is recursive."""
    level = [tree]
    for _ in range(DEEPEST_TREE):
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return
    raise NotAccepted(f"an expression is more than {DEEPEST_TREE} levels deep")
