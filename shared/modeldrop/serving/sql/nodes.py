"""The kinds of nodes a syntax tree may have. Everything else is refused, also what sqlglot learns to parse tomorrow."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modeldrop.serving.sql.functions import ALLOWED_FUNCTIONS
from modeldrop.serving.sql.schema import Dialect
from modeldrop.serving.sql.verdicts import NotAccepted, shown

if TYPE_CHECKING:
    from sqlglot import exp

_STRUCTURE = """
    Select From Where Group Having Order Ordered Limit Offset Fetch LimitOptions Join With CTE Subquery Union Except
    Intersect TableAlias Table Column Identifier Star Alias Distinct Qualify Window WindowSpec Tuple Paren Cube Rollup
    GroupingSets Values Unnest Exists Filter WithinGroup IgnoreNulls RespectNulls
"""
_VALUES = "Literal RawString Null Boolean Var Interval DataType DataTypeParam Struct PropertyEQ Array Bracket Slice Dot"
_OPERATORS = """
    Add Sub Mul Div IntDiv Mod Neg Pow DPipe EQ NEQ GT GTE LT LTE NullSafeEQ NullSafeNEQ And Or Not Is In Between Like
    ILike Escape RegexpLike RegexpILike SimilarTo Glob All Any BitwiseAnd BitwiseOr Case If Cast TryCast AtTimeZone
    JSONExtract JSONExtractScalar JSONPath JSONPathRoot JSONPathKey JSONPathSubscript Collate
"""
# sqlglot's own names for the functions of functions.py.
_FUNCTIONS = """
    Abs Acos AnyValue ApproxDistinct ApproxQuantile ApproxQuantiles ApproxTopK ArgMax ArgMin ArrayAgg ArrayContains
    ArraySize ArrayToString Asin Atan Atan2 Avg Cbrt Ceil Coalesce Concat Contains Corr Cos Cot Count CountIf CovarPop
    ConcatWs CovarSamp CumeDist CurrentDate CurrentDatetime CurrentTime CurrentTimestamp Date DateAdd DateBin DateDiff
    DateFromParts DateSub DateTrunc Datetime DatetimeAdd DatetimeDiff DatetimeSub DatetimeTrunc Day DayOfMonth DayOfWeek
    DayOfWeekIso DayOfYear Dayname Degrees DenseRank EndsWith Exp Extract FirstValue Floor Format Greatest GroupConcat
    Grouping Hour Initcap IsInf IsNan Lag LastDay LastValue Lead Least Left Length Ln Localtime Localtimestamp Log
    LogicalAnd LogicalOr Lower Max Median Min Minute Mode Month Monthname NthValue Ntile Nullif ParseDatetime ParseTime
    PercentRank PercentileCont PercentileDisc Pi Quantile Quarter Radians Rank RegexpExtract RegexpFullMatch
    RegexpReplace RegrIntercept RegrR2 RegrSlope Replace Reverse Right Round RowNumber SafeDivide Second Sign Sin Split
    SplitPart Sqrt StartsWith Stddev StddevPop StddevSamp StrPosition StrToDate StrToTime Substring Sum Tan Time
    TimeToStr TimeToUnix Timestamp TimestampAdd TimestampDiff TimestampSub TimestampTrunc TimeStrToTime Trim Trunc
    TsOrDsAdd TsOrDsToDate TsOrDsToDatetime TsOrDsToTimestamp Unicode UnixDate UnixMicros UnixMillis UnixSeconds
    UnixToTime Upper Variance Typeof VariancePop Week WeekOfYear Year
"""
ALLOWED_NODES = frozenset(f"{_STRUCTURE} {_VALUES} {_OPERATORS} {_FUNCTIONS}".split())
UNKNOWN_FUNCTIONS = frozenset({"Anonymous", "AnonymousAggFunc"})  # allowed by their name alone

_QUERY = "with_ order limit offset"
# Of these nodes also the fields: much that is dangerous or unknown is no node of its own but a field.
ALLOWED_FIELDS: Mapping[str, frozenset[str]] = {
    node: frozenset(fields.split())
    for node, fields in {
        "Select": f"{_QUERY} expressions from_ joins where group having qualify windows distinct kind",
        "Union": f"{_QUERY} this expression distinct by_name",
        "Except": f"{_QUERY} this expression distinct by_name",
        "Intersect": f"{_QUERY} this expression distinct by_name",
        "Subquery": f"{_QUERY} this alias joins",
        "Table": "this db catalog alias joins",
        "Column": "this table db catalog",
        "Join": "this on using kind side method",
        "With": "expressions",
        "CTE": "this alias materialized",
        "TableAlias": "this columns",
        "Unnest": "expressions alias offset",
        "Values": "expressions alias",
        "In": "this expressions query unnest",  # not field: in SQLite ``x IN name`` reads the table of that name
        "Star": "except_ replace rename",
        "Anonymous": "this expressions",
    }.items()
}
JOIN_KINDS = frozenset({"", "INNER", "OUTER", "CROSS", "SEMI", "ANTI"})
_TYPES = """
    ARRAY BIGDECIMAL BIGINT BINARY BOOLEAN CHAR DATE DATETIME DECIMAL DOUBLE FLOAT INT INTERVAL JSON JSONB LIST
    MEDIUMINT NCHAR NVARCHAR SMALLINT STRUCT TEXT TIME TIMESTAMP TIMESTAMPLTZ TIMESTAMPNTZ TIMESTAMPTZ TIMETZ TINYINT
    UBIGINT UINT USMALLINT UTINYINT UUID VARBINARY VARCHAR INT128 UINT128
"""
ALLOWED_TYPES = frozenset(_TYPES.split())
_WORDS = """
    YEAR QUARTER MONTH WEEK DAY HOUR MINUTE SECOND MILLISECOND MICROSECOND NANOSECOND YEARS QUARTERS MONTHS WEEKS
    DAYS HOURS MINUTES SECONDS MILLISECONDS MICROSECONDS ISOWEEK ISOYEAR DAYOFWEEK DAYOFYEAR DOW DOY ISODOW EPOCH DATE
    TIME DECADE CENTURY MILLENNIUM ALL NOCASE RTRIM
"""
ALLOWED_WORDS = frozenset(_WORDS.split())
# A percent sign, flags, width, precision, and what to write; not ``*``, which takes the width from a value.
_NARROW_FORMAT = re.compile(r"(?:[^%]|%%|%[-+ #0']{0,5}\d{0,2}(?:\.\d{0,2})?[diouxXfFeEgGpPsStTc])*+")


def check_nodes(tree: "exp.Expr", dialect: Dialect) -> None:
    """Walk every node of ``tree``; raises NotAccepted at the first that is not on a list."""
    for node in tree.walk():
        kind = type(node).__name__
        if kind not in ALLOWED_NODES and kind not in UNKNOWN_FUNCTIONS:
            raise NotAccepted(f"{_description(node, kind)} is not allowed")
        allowed = ALLOWED_FIELDS.get(kind)
        if allowed is not None:
            present = [name for name, value in node.args.items() if _is_written(name, value)]
            if extra := next((name for name in present if name not in allowed), None):
                raise NotAccepted(f"{kind.upper()} with {extra.strip('_').upper()} is not allowed")
        check = _CHECKS.get(kind)
        if check is not None:
            check(node, dialect)


def _is_written(field: str, value: object) -> bool:
    """Whether a field stands for something in the text; SQLite's NOT INDEXED is a field that is False."""
    return value is not None and value != [] and (value is not False or field == "indexed")


def _description(node: "exp.Expr", kind: str) -> str:
    from sqlglot import exp  # noqa: PLC0415 - cold start

    if isinstance(node, exp.Func):
        return f"the function {node.sql_name()}"
    return f"{kind.upper()}"


def _check_anonymous(node: "exp.Expr", dialect: Dialect) -> None:
    name = node.this
    if not isinstance(name, str) or name.lower() not in ALLOWED_FUNCTIONS[dialect]:
        raise NotAccepted(f"the function {shown(getattr(name, 'name', name))} is not allowed")


def _check_type(node: "exp.Expr", _: Dialect) -> None:
    if getattr(node.this, "value", node.this) not in ALLOWED_TYPES:
        raise NotAccepted(f"the type {shown(node.sql())} is not allowed")


def _check_word(node: "exp.Expr", _: Dialect) -> None:
    if str(node.this).upper() not in ALLOWED_WORDS:
        raise NotAccepted(f"{shown(node.this)} is not allowed")


def _check_format(node: "exp.Expr", dialect: Dialect) -> None:
    """A format that is known, whose fields are not made wide: ``%1000000000d`` would fill the memory from one row."""
    text = node.this
    if dialect != "bigquery" or type(text).__name__ != "Literal" or not text.is_string:
        raise NotAccepted("the function FORMAT is not allowed but on bigquery, with a text written out")
    if not _NARROW_FORMAT.fullmatch(text.name):
        raise NotAccepted("FORMAT may have widths and precisions of two digits at most")


def _check_join(node: "exp.Expr", _: Dialect) -> None:
    if node.args.get("method") not in (None, "NATURAL") or (node.args.get("kind") or "") not in JOIN_KINDS:
        raise NotAccepted("this kind of JOIN is not allowed")


def _check_dot(node: "exp.Expr", dialect: Dialect) -> None:
    """A field of a struct. ``schema.function()`` would be one, too; and on PostgreSQL ``(x).f`` is ``f(x)``."""
    if dialect == "postgres":
        raise NotAccepted("fields of values are not allowed: they may be functions")
    if type(node.expression).__name__ not in ("Identifier", "Star") or type(node.this).__name__ == "Identifier":
        raise NotAccepted("functions of a schema or package are not allowed")


def _check_with_query(node: "exp.Expr", _: Dialect) -> None:
    if type(node.this).__name__ not in ("Select", "Union", "Except", "Intersect", "Subquery"):
        raise NotAccepted("WITH must hold a SELECT")
    if node.args.get("alias") is None or type(node.args["alias"].this).__name__ != "Identifier":
        raise NotAccepted("WITH must name its query")


_CHECKS = {
    "Anonymous": _check_anonymous,
    "AnonymousAggFunc": _check_anonymous,
    "DataType": _check_type,
    "Format": _check_format,
    "Var": _check_word,
    "Join": _check_join,
    "Dot": _check_dot,
    "CTE": _check_with_query,
}
