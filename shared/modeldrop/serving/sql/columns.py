"""Whether the columns a query names exist, as far as that can be told.

A walk of our own, with sets of names: sqlglot's optimizer writes stars and aliases out, which doubles with every level
of a statement made for it. Where the names are not known (fields of an unnested array), every name passes: a column
can only come from a table in FROM, and those are checked by themselves. But not on PostgreSQL, to which ``a.f`` is also
the function ``f`` of ``a``: there a name after a dot must be known.
"""

from typing import TYPE_CHECKING

from modeldrop.serving.sql.schema import DatasetSchema, Dialect
from modeldrop.serving.sql.tables import find_table, visible_query
from modeldrop.serving.sql.verdicts import NotAccepted, shown

if TYPE_CHECKING:
    from sqlglot import exp

MOST_VALUES_COLUMNS = 100
WORDS_OF_POSTGRES = frozenset(
    [
        "user",
        "current_user",
        "session_user",
        "current_role",
        "current_catalog",
        "current_schema",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "system_user",
    ]
)
"""Without quotes these are no columns to it, whatever is called so."""

Names = frozenset[str] | None
"""The columns of a source; None where they are not known."""


class _Scope:
    """What may be named in one SELECT: its sources, its own aliases, and what the queries around it may name."""

    def __init__(self, outer: "_Scope | None") -> None:
        self.sources: dict[str, Names] = {}
        self.aliases: set[str] = set()
        self.outer = outer

    def chain(self) -> "list[_Scope]":
        return [self, *(self.outer.chain() if self.outer else [])]

    def has(self, name: str) -> bool:
        """Whether a column without a table can be meant."""
        return any(
            name in scope.aliases or any(names is None or name in names for names in scope.sources.values())
            for scope in self.chain()
        )

    def all_names(self) -> Names:
        return _union(list(self.sources.values()))


def check_columns(tree: "exp.Expr", schema: DatasetSchema) -> None:
    """Raises NotAccepted with the name of the first column that no table in reach has."""
    _Columns(schema).query(tree, None)


class _Columns:
    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema
        self._dialect: Dialect = schema.dialect
        self._with_queries: dict[int, Names] = {}

    def query(self, node: "exp.Expr", outer: _Scope | None) -> Names:
        """Check ``node`` and all inside; the names of its columns."""
        from sqlglot import exp  # noqa: PLC0415 - cold start

        self._read_with_queries(node, outer)
        if isinstance(node, exp.Select):
            return self._select(node, outer)
        scope = _Scope(outer)
        if isinstance(node, exp.SetOperation):
            names = _union([self.query(node.left, outer), self.query(node.right, outer)])
            scope.sources[""] = names
        else:
            self._add_source(node, scope, outer)
            names = scope.all_names()
        for part in ("order", "limit", "offset"):
            self._check_inside(node.args.get(part), scope)
        return names

    def _read_with_queries(self, node: "exp.Expr", outer: _Scope | None) -> None:
        with_ = node.args.get("with_")
        for query in with_.expressions if with_ is not None else []:
            if id(query) in self._with_queries:  # read once: else the time doubles with every level
                continue
            names = self.query(query.this, outer)
            self._with_queries[id(query)] = self._renamed(query.args.get("alias"), names)

    def _select(self, node: "exp.Expr", outer: _Scope | None) -> Names:
        scope = _Scope(outer)
        joins = node.args.get("joins") or []
        for clause in [node.args.get("from_"), *joins]:
            if clause is not None:
                self._add_source(clause.this, scope, outer)
        scope.aliases = {self._key(part.args["alias"]) for part in node.expressions if part.args.get("alias")}
        for name, part in node.args.items():
            if name in ("with_", "from_"):
                continue
            for child in part if isinstance(part, list) else [part]:
                if name == "joins":
                    self._check_inside(child.args.get("on"), scope)
                    for identifier in child.args.get("using") or []:
                        self._check_name(identifier, scope)
                elif hasattr(child, "args"):
                    self._check_inside(child, scope)
        if node.args.get("kind"):  # AS STRUCT, AS VALUE
            return None
        return _union([self._output(part, scope) for part in node.expressions])

    def _add_source(self, node: "exp.Expr", scope: _Scope, outer: _Scope | None) -> None:
        from sqlglot import exp  # noqa: PLC0415

        alias = node.args.get("alias")
        if isinstance(node, exp.Table):
            names = self._table(node)
        elif isinstance(node, exp.Subquery) and not isinstance(node.this, (exp.Query, exp.Values)):
            self._add_source(node.this, scope, outer)  # (a JOIN b): its tables keep their names
            names = None if alias and self._dialect != "postgres" else frozenset()
        elif isinstance(node, (exp.Query, exp.Subquery)):
            if isinstance(node, exp.Subquery):
                self._read_with_queries(node, outer)
            names = self.query(node.this, outer) if isinstance(node, exp.Subquery) else self.query(node, outer)
        else:  # UNNEST and VALUES may use the tables before them
            self._check_inside(node, scope, skip_root_query=True)
            names = self._made_names(alias)
        name = alias.this if alias is not None and alias.this is not None else None
        if name is None and isinstance(node, exp.Table):
            name = node.this
        scope.sources[self._key(name) if name is not None else f" {len(scope.sources)}"] = self._renamed(alias, names)
        if alias is not None and name is None:  # BigQuery: UNNEST(x) AS item names the column
            scope.sources.update({self._key(column): None for column in alias.args.get("columns") or []})
        for join in node.args.get("joins") or []:
            self._add_source(join.this, scope, outer)
            self._check_inside(join.args.get("on"), scope)

    def _made_names(self, alias: "exp.Expr | None") -> Names:
        """The columns of UNNEST and VALUES: known on PostgreSQL alone, which names them itself."""
        if self._dialect != "postgres":
            return None
        own = {self._key(alias.this)} if alias is not None and alias.this is not None else set()
        return frozenset({"unnest", *own, *(f"column{number + 1}" for number in range(MOST_VALUES_COLUMNS))})

    def _table(self, node: "exp.Table") -> Names:
        cte = visible_query(node, self._dialect)
        if cte is not None:
            return self._with_queries.get(id(cte))
        full_name = find_table(node, self._schema)
        columns = self._schema.tables[full_name] if full_name is not None else {}
        return frozenset(column if self._dialect == "postgres" else column.lower() for column in columns)

    def _check_inside(self, node: "exp.Expr | None", scope: _Scope, *, skip_root_query: bool = False) -> None:
        """Resolve every column under ``node``; queries inside are scopes of their own."""
        from sqlglot import exp  # noqa: PLC0415

        waiting = [] if node is None else [node]
        while waiting:
            part = waiting.pop()
            if isinstance(part, exp.Query) and not (skip_root_query and part is node):
                self.query(
                    part.unnest() if isinstance(part, exp.Subquery) and not part.args.get("with_") else part, scope
                )
            elif isinstance(part, exp.Column):
                self._check_column(part, scope)
            elif not isinstance(part, exp.TableAlias):
                waiting.extend(part.iter_expressions())

    def _check_column(self, column: "exp.Column", scope: _Scope) -> None:
        from sqlglot import exp  # noqa: PLC0415

        path = [
            part for part in (column.args.get(key) for key in ("catalog", "db", "table", "this")) if part is not None
        ]
        if len(path) == 1:
            if not isinstance(path[0], exp.Star):
                self._check_name(path[0], scope)
            return
        if self._dialect == "postgres" and len(path) > 2:
            raise NotAccepted("a column is named by itself or after its table")
        source = next((s for s in scope.chain() if self._key(path[0]) in s.sources), None)
        if source is None:
            if self._dialect in ("bigquery", "duckdb"):
                self._check_name(path[0], scope)  # the field of a struct
                return
            raise NotAccepted(f"{shown(path[0].name)} is not a table of this query")
        names = source.sources[self._key(path[0])]
        if names is None and self._dialect == "postgres":
            names = frozenset()
        if not isinstance(path[1], exp.Star) and names is not None and self._key(path[1]) not in names:
            raise NotAccepted(f"column {shown('.'.join(part.name for part in path[:2]))} is not in the schema")

    def _check_name(self, identifier: "exp.Identifier", scope: _Scope) -> None:
        is_word = identifier.name.lower() in WORDS_OF_POSTGRES and not identifier.args.get("quoted")
        if (is_word and self._dialect == "postgres") or not scope.has(self._key(identifier)):
            raise NotAccepted(f"column {shown(identifier.name)} is not in the schema")

    def _output(self, part: "exp.Expr", scope: _Scope) -> Names:
        """The names that one projection adds."""
        from sqlglot import exp  # noqa: PLC0415

        star = part.this if isinstance(part, exp.Column) else part
        if isinstance(star, exp.Star):
            if star.args.get("rename"):
                return None
            if isinstance(part, exp.Column):
                return next(
                    (s.sources[k] for s in scope.chain() if (k := self._key(part.args["table"])) in s.sources), None
                )
            return scope.all_names()
        if part.args.get("alias"):
            return frozenset({self._key(part.args["alias"])})
        names = {part.output_name.lower(), part.output_name}
        if isinstance(part, exp.Func):
            names.add(part.sql_name().lower())  # PostgreSQL names a column after its function
        return frozenset(names)

    def _renamed(self, alias: "exp.Expr | None", names: Names) -> Names:
        columns = alias.args.get("columns") if alias is not None else None
        new = frozenset(map(self._key, columns or []))
        return new | names if names is not None else (new or None)

    def _key(self, identifier: "exp.Identifier") -> str:
        name: str = identifier.name if hasattr(identifier, "name") else str(identifier)
        return name if self._dialect == "postgres" and identifier.args.get("quoted") else name.lower()


def _union(parts: list[Names]) -> Names:
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None
