"""Queries over a few related tables, made from a seed, to be run with row-level security and with row filters."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SCHEMA = """
CREATE SCHEMA sales;
CREATE TABLE orders (id int PRIMARY KEY, region text, customer_id int, total numeric(10, 2), note text, at date);
CREATE TABLE items (order_id int, sku text, qty int, price numeric(10, 2), tags text[], data jsonb);
CREATE TABLE customers (id int PRIMARY KEY, name text, region text, parent_id int);
CREATE TABLE "Order Lines" ("Id" int PRIMARY KEY, "select" text, "größe" int, id int);
CREATE TABLE sales.orders (id int PRIMARY KEY, region text, amount int);
CREATE TABLE regions (code text PRIMARY KEY, open boolean);
INSERT INTO orders SELECT i, (ARRAY['EU', 'US', NULL, 'AP'])[i % 4 + 1], nullif(i % 7, 0), i % 5 * 10.5,
    CASE WHEN i % 3 > 0 THEN 'note ' || i % 3 END, date '2024-01-01' + i % 9 FROM generate_series(1, 40) i;
INSERT INTO items SELECT nullif(i % 45, 0), 'sku' || i % 6, nullif(i % 4, 0), i % 3 * 1.5,
    CASE WHEN i % 5 > 0 THEN ARRAY['t' || i % 2, 'u'] END, jsonb_build_object('a', i % 3, 'b', ARRAY[i % 2])
    FROM generate_series(1, 90) i;
INSERT INTO items SELECT * FROM items LIMIT 9;
INSERT INTO customers SELECT i, 'name ' || i, (ARRAY['EU', 'US', 'AP'])[i % 3 + 1], nullif(i / 3, 0)
    FROM generate_series(1, 12) i;
INSERT INTO "Order Lines" SELECT i, 's' || i % 3, nullif(i % 4, 0), i % 10 FROM generate_series(1, 25) i;
INSERT INTO sales.orders SELECT i, (ARRAY['EU', 'US', NULL])[i % 3 + 1], i % 6 FROM generate_series(1, 20) i;
INSERT INTO regions VALUES ('EU', true), ('US', false), ('AP', true);
"""
FILTERS = {
    "public.orders": "region = 'EU' OR total > 30 AND region IN (SELECT code FROM regions WHERE orders.id > 3)",
    "items": "EXISTS (SELECT FROM orders o WHERE o.id = order_id) AND qty <> 3",
    "customers": "true",
    '"Order Lines"': '"größe" IS DISTINCT FROM 2 AND "select" LIKE \'s%\'',
    "sales.orders": "amount < 4 AND region IS NOT NULL",
    "regions": "open",
}
# Values that only hidden rows hold: an expression that fails on them must not fail.
HIDDEN = {"items": ("qty", 3), '"Order Lines"': ('"größe"', 2), "sales.orders": ("amount", 5)}

_TABLES = {
    "orders": {"id": "int", "region": "text", "customer_id": "int", "total": "num", "note": "text", "at": "date"},
    "items": {"order_id": "int", "sku": "text", "qty": "int", "price": "num"},
    "customers": {"id": "int", "name": "text", "region": "text", "parent_id": "int"},
    '"Order Lines"': {'"Id"': "int", '"select"': "text", '"größe"': "int", "id": "int"},
    "sales.orders": {"id": "int", "region": "text", "amount": "int"},
    "regions": {"code": "text", "open": "bool"},
}
_KEYS = {"orders": "id", "customers": "id", '"Order Lines"': '"Id"', "sales.orders": "id"}


@dataclass
class _Source:
    alias: str
    columns: dict[str, str]
    table: str | None = None
    bare: bool = False


@dataclass
class _Scope:
    sources: list[_Source] = field(default_factory=list)
    outer: _Scope | None = None
    ctes: dict[str, dict[str, str]] = field(default_factory=dict)

    def columns(self, kind: str | None = None, *, outer: bool = False) -> list[str]:
        """Names of columns of a kind, each with its alias."""
        found = [f"{s.alias}.{c}" for s in self.sources for c, k in s.columns.items() if kind in (None, k)]
        for s in self.sources:
            if s.bare and s.table and "." not in s.table:
                found += [f"public.{s.table}.{c}" for c, k in s.columns.items() if kind in (None, k)]
        return found + (self.outer.columns(kind, outer=True) if self.outer and outer else [])


class Queries:
    """`Queries(seed).query()` is one SELECT; most are valid."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0

    def query(self) -> str:
        text, _ = self._select(_Scope(), depth=self.random.randint(1, 3), width=None)
        return text

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _alias(self) -> str:
        self.number += 1
        # Aliases that are names of tables are the hard ones.
        tricky = ["orders", "items", "customers", "public", '"Order Lines"']
        return self.random.choice(tricky) if self._chance(0.12) else f"a{self.number}"

    def _select(self, around: _Scope, depth: int, width: list[str] | None) -> tuple[str, dict[str, str]]:
        """A query and its output columns; `width` are the kinds that are asked for, for set operations."""
        scope = _Scope(ctes=dict(around.ctes), outer=around if around.sources else around.outer)
        head = self._with(scope, depth) if depth > 1 and self._chance(0.3) else ""
        if depth > 1 and self._chance(0.15):
            kinds = width or self.random.choices(["int", "text", "num"], k=self.random.randint(1, 3))
            around = _Scope(ctes=scope.ctes, outer=scope.outer)
            left, columns = self._select(around, depth - 1, kinds)
            right, _ = self._select(around, depth - 1, kinds)
            word = self.random.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"])
            text = f"{head}({left}) {word} ({right})"
            return text + self._order(len(columns)), columns
        text, columns = self._plain(scope, depth, width)
        return head + text, columns

    def _with(self, scope: _Scope, depth: int) -> str:
        parts: list[str] = []
        recursive = self._chance(0.25)
        for _ in range(self.random.randint(1, 2)):
            name = self.random.choice(["c1", "c2", "orders", "items", "customers"])
            if name in [p.split(" ")[0] for p in parts]:
                continue
            how = self.random.choice(["", "", "MATERIALIZED ", "NOT MATERIALIZED "])
            if recursive and self._chance(0.7):
                top = (
                    self.random.choice(["public.customers", "customers k"])
                    if name != "customers"
                    else "public.customers"
                )
                rows = top if " " in top else f"{top} k"
                text = (
                    f"SELECT k.id, k.name FROM {rows} WHERE k.parent_id IS NULL UNION ALL "
                    f"SELECT k.id, k.name FROM {rows} JOIN {name} up ON up.id = k.parent_id"
                )
                parts.append(f"{name} (n, m) AS ({text.replace('up.id', 'up.n')})")
                scope.ctes[name] = {"n": "int", "m": "text"}
                continue
            inner = _Scope(ctes=dict(scope.ctes), outer=scope.outer)
            if recursive:
                inner.ctes.pop(name, None)
                if name in _TABLES:
                    name = f"c{self.random.randint(3, 9)}"
            text, columns = self._select(inner, depth - 1, None)
            parts.append(f"{name} AS {how}({text})")
            scope.ctes[name] = columns
        return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(parts)} " if parts else ""

    def _source(self, scope: _Scope, depth: int) -> tuple[str, _Source]:
        choice = self.random.random()
        if depth > 1 and choice < 0.15:
            lateral = "LATERAL " if scope.sources and self._chance(0.5) else ""
            around = scope if lateral else _Scope(ctes=scope.ctes, outer=scope.outer)
            text, columns = self._select(around, depth - 1, None)
            alias = self._alias()
            return f"{lateral}({text}) {alias}", _Source(alias, columns)
        if scope.ctes and choice < 0.4:
            name = self.random.choice(sorted(scope.ctes))
            if self._chance(0.5):
                return name, _Source(name, scope.ctes[name])
            alias = self._alias()
            return f"{name} AS {alias}", _Source(alias, scope.ctes[name])
        if choice < 0.45:
            alias = self._alias()
            return f"generate_series(1, 3) WITH ORDINALITY {alias}(g, o)", _Source(alias, {"g": "int", "o": "int"})
        if choice < 0.5:
            alias = self._alias()
            return f"(VALUES (1, 'EU'), (2, NULL)) AS {alias}(v, w)", _Source(alias, {"v": "int", "w": "text"})
        table = self.random.choice(sorted(_TABLES))
        columns = _TABLES[table]
        text = table if "." in table else self.random.choice([table, table, f"public.{table}", f"ONLY {table}"])
        if text != f"public.{table}" and table in scope.ctes:
            text = f"public.{table}"
        if self._chance(0.4):
            bare = table.rsplit(".", 1)[-1]
            return text, _Source(bare, columns, table, bare=True)
        alias = self._alias()
        if self._chance(0.15):
            names = {f"r{i}": kind for i, kind in enumerate(columns.values())}
            return f"{text} AS {alias} ({', '.join(names)})", _Source(alias, names, None)
        return f"{text} {self.random.choice(['', 'AS '])}{alias}", _Source(alias, columns, table)

    def _from(self, scope: _Scope, depth: int) -> str:
        text, source = self._source(scope, depth)
        scope.sources.append(source)
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            more, other = self._source(scope, depth)
            if any(other.alias == s.alias for s in scope.sources):
                if other.alias == "orders" and self._chance(0.3) and other.table == "sales.orders":
                    text += f", {more}"  # the same name in two schemas
                continue
            shared = [c for c in source.columns if c in other.columns and source.columns[c] == other.columns[c]]
            word = self.random.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
            lateral = more.startswith("LATERAL")
            if lateral:
                word = self.random.choice(["JOIN", "LEFT JOIN"])
            if self._chance(0.12):
                text += f" CROSS JOIN {more}"
                scope.sources.append(other)
            elif shared and len(scope.sources) == 1 and self._chance(0.3) and not lateral:
                text += f" {word} {more} USING ({shared[0]})"
                scope.sources.append(other)
            elif shared and len(scope.sources) == 1 and self._chance(0.1) and not lateral:
                text += f" NATURAL {word} {more}"
                scope.sources.append(other)
            else:
                scope.sources.append(other)
                left = [f"{s.alias}.{c}" for s in scope.sources[:-1] for c, k in s.columns.items() if k == "int"]
                right = [f"{other.alias}.{c}" for c, k in other.columns.items() if k == "int"]
                if left and right:
                    condition = f"{self.random.choice(left)} = {self.random.choice(right)}"
                    if word != "FULL JOIN" and self._chance(0.2):
                        condition += f" AND {self._condition(scope, depth - 1)}"
                else:
                    condition, word = "true", "JOIN"
                text += f" {word} {more} ON {condition}"
        return text

    def _value(self, scope: _Scope, kind: str, depth: int) -> str:
        columns = scope.columns(kind, outer=self._chance(0.2))
        choice = self.random.random()
        plain = self.random.choice(columns) if columns else None
        if plain and choice < 0.55:
            return plain
        if depth > 0 and choice < 0.65:
            return f"({self._scalar(scope, kind, depth - 1)})"
        if kind == "int":
            hidden = [
                f"100 / ({s.alias}.{HIDDEN[s.table][0]} - {HIDDEN[s.table][1]})"
                for s in scope.sources
                if s.table in HIDDEN
            ]
            options = ["1", "NULL::int", "length('abc')"]
            options += [f"coalesce({plain}, 0)", f"{plain} + 1", f"abs({plain})", f"-{plain}"] if plain else []
            options += [f"CASE WHEN {self._condition(scope, 0)} THEN {plain or 3} ELSE 7 END", *hidden, *hidden]
            return self.random.choice(options)
        if kind == "num":
            return self.random.choice([f"{plain} * 2", f"round({plain})", f"({plain})::numeric"] if plain else ["1.5"])
        if kind == "text":
            rows = [f"row_to_json({s.alias})::text" for s in scope.sources if s.table]
            rows += [f"{s.alias}::text" for s in scope.sources if s.table]
            rows += [f"to_jsonb({s.alias}) ->> 'id'" for s in scope.sources if s.table]
            options = ["'x'", "'drop table'", *rows]
            options += [f"upper({plain})", f"{plain} || '!'", f'left({plain}, 2) COLLATE "C"'] if plain else []
            return self.random.choice(options)
        if kind == "bool":
            return self._condition(scope, 0)
        return "date '2024-01-03'"

    def _scalar(self, scope: _Scope, kind: str, depth: int) -> str:
        """A subquery with one row at most, whose value is certain."""
        inner = _Scope(ctes=dict(scope.ctes), outer=scope)
        rows = self._from(inner, depth)
        where = f" WHERE {self._condition(inner, depth)}" if self._chance(0.6) else ""
        if kind == "int":
            what = self.random.choice(["count(*)::int", f"max({self._value(inner, 'int', 0)})"])
        elif kind == "bool":
            what = f"bool_and({self._condition(inner, 0)})"
        else:
            what = f"{self.random.choice(['min', 'max'])}({self._value(inner, kind, 0)})"
        return f"SELECT {what} FROM {rows}{where}"

    def _condition(self, scope: _Scope, depth: int) -> str:
        choice = self.random.random()
        if depth > 0 and choice < 0.12:
            return f"({self._condition(scope, depth - 1)} OR {self._condition(scope, depth - 1)})"
        if depth > 0 and choice < 0.2:
            return f"{self._condition(scope, depth - 1)} AND NOT {self._condition(scope, depth - 1)}"
        if depth > 0 and choice < 0.32:
            inner = _Scope(ctes=dict(scope.ctes), outer=scope)
            text = f"SELECT FROM {self._from(inner, depth - 1)} WHERE {self._condition(inner, depth - 1)}"
            return f"{self.random.choice(['', 'NOT '])}EXISTS ({text})"
        if depth > 0 and choice < 0.42:
            listed, _ = self._select(scope, depth, ["int"])
            word = self.random.choice(["IN", "NOT IN", "= ANY", "< ALL"])
            return f"{self._value(scope, 'int', 0)} {word} ({listed})"
        kind = self.random.choice(["int", "int", "text", "num"])
        columns = scope.columns(kind, outer=True)
        if not columns:
            return "1 = 1"
        one = self.random.choice(columns)
        if kind == "int":
            return self.random.choice(
                [f"{one} > {self._value(scope, 'int', 0)}", f"{one} IS NULL", f"{one} IN (1, 2, 5)", f"{one} <> 2"]
            )
        if kind == "num":
            return f"{one} {self.random.choice(['>', '<=', '='])} 10.5"
        return self.random.choice([f"{one} = 'EU'", f"{one} LIKE '%1%'", f"{one} IS NOT NULL", f"{one} ~ 'o'"])

    def _plain(self, scope: _Scope, depth: int, width: list[str] | None) -> tuple[str, dict[str, str]]:
        rows = self._from(scope, depth)
        where = f" WHERE {self._condition(scope, depth)}" if self._chance(0.6) else ""
        if width is None and self._chance(0.12):
            return self._star(scope, rows, where)
        kinds = width or self.random.choices(["int", "text", "num", "int", "date"], k=self.random.randint(1, 3))
        names = [f"o{i}" for i in range(len(kinds))]
        outputs = dict(zip(names, kinds, strict=True))
        shape = self.random.random()
        if shape < 0.3:
            return self._grouped(scope, rows, where, outputs, depth), outputs
        values = [self._value(scope, kind, depth) for kind in kinds]
        if shape < 0.42:
            values = [
                self._windowed(scope, kind) if self._chance(0.5) else v for kind, v in zip(kinds, values, strict=True)
            ]
        listed = ", ".join(f"{v} AS {n}" for v, n in zip(values, names, strict=True))
        if shape < 0.5:
            order = ", ".join(values)
            return f"SELECT DISTINCT ON ({values[0]}) {listed} FROM {rows}{where} ORDER BY {order}", outputs
        distinct = "DISTINCT " if self._chance(0.15) else ""
        return f"SELECT {distinct}{listed} FROM {rows}{where}{self._order(len(kinds))}", outputs

    def _star(self, scope: _Scope, rows: str, where: str) -> tuple[str, dict[str, str]]:
        one = self.random.choice(scope.sources)
        text = f"SELECT {self.random.choice([one.alias + '.*', '(' + one.alias + ').*'])} FROM {rows}{where}"
        return text, dict(one.columns)

    def _windowed(self, scope: _Scope, kind: str) -> str:
        columns = scope.columns() or ["1"]
        part, order = self.random.choice(columns), ", ".join(columns)
        if kind == "int":
            call = self.random.choice(
                ["count(*)", "rank()", "row_number()", f"count(*) FILTER (WHERE {self._condition(scope, 0)})"]
            )
            return f"({call} OVER (PARTITION BY {part} ORDER BY {order}))::int"
        if kind == "num":
            return f"sum({self._value(scope, 'num', 0)}) OVER (PARTITION BY {part})"
        return f"first_value({self._value(scope, kind, 0)}) OVER (PARTITION BY {part} ORDER BY {order})"

    def _grouped(self, scope: _Scope, rows: str, where: str, outputs: dict[str, str], depth: int) -> str:
        keyed = [s for s in scope.sources if s.table in _KEYS]
        by_key = keyed and self._chance(0.5)
        if by_key:
            one = self.random.choice(keyed)
            keys = [f"{one.alias}.{_KEYS[one.table or '']}"]
            free = _Scope(
                [_Source(one.alias, one.columns, one.table, bare=one.bare)], outer=scope.outer, ctes=scope.ctes
            )
        else:
            keys = self.random.sample(scope.columns() or ["1"], k=1)
            free = _Scope([], outer=None, ctes=scope.ctes)
        values = []
        for kind in outputs.values():
            if by_key and self._chance(0.6):
                values.append(self._value(free, kind, depth))
            elif kind in ("int", "num"):
                inner = self._value(scope, kind, 0)
                call = self.random.choice(["sum", "max", "min"])
                filtered = f" FILTER (WHERE {self._condition(scope, 0)})" if self._chance(0.3) else ""
                values.append(f"({call}({inner}){filtered})::{'int' if kind == 'int' else 'numeric'}")
            elif kind == "text":
                inner = self._value(scope, "text", 0)
                values.append(f"string_agg({inner}, ',' ORDER BY {inner})")
            else:
                values.append(f"max({self._value(scope, kind, 0)})")
        word = self.random.choice(["{}", "{}", "ROLLUP ({})", "GROUPING SETS (({}), ())"]) if not by_key else "{}"
        having = f" HAVING count(*) > {self.random.choice(['0', '1'])}" if self._chance(0.4) else ""
        listed = ", ".join(f"{v} AS {n}" for v, n in zip(values, outputs, strict=True))
        groups = word.format(", ".join(keys))
        return f"SELECT {listed} FROM {rows}{where} GROUP BY {groups}{having}{self._order(len(values))}"

    def _order(self, width: int) -> str:
        """Nothing, or the order by all columns: then LIMIT has one answer."""
        if self._chance(0.5):
            return ""
        places = [str(i + 1) + self.random.choice(["", " DESC", " NULLS FIRST"]) for i in range(width)]
        self.random.shuffle(places)
        limit = self.random.choice(["", " LIMIT 5", " LIMIT 3 OFFSET 1", " OFFSET 2", " FETCH FIRST 4 ROWS WITH TIES"])
        return f" ORDER BY {', '.join(places)}{limit}"
