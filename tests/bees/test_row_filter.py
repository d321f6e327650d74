"""Row filters without a server: what is refused and why, what keys and filters mean, and MySQL's text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from pglast import parse_sql

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.row_filter import apply_row_level_security
from bees.core.sql.rows.keys import TableName, chosen_filters
from bees.core.sql.rows.postgres import filtered
from bees.core.sql.rows.proof import prove
from tests.bees.sql_queries import reads

FILTERS = {"public.orders": "region = 'EU'", "items": "true", "closed": None, 'sales."Orders"': "id > 1"}
FENCE = "(SELECT * FROM public.orders WHERE orders.region = 'EU' OFFSET 0)"
NO_LIMIT = "LIMIT 18446744073709551615"


def refusal(sql: str, filters: dict[str, Any] = FILTERS, **options: Any) -> SecurityViolation:
    with pytest.raises(SecurityViolation) as caught:
        apply_row_level_security(sql, filters, **options)
    return caught.value


def test_a_table_stands_behind_its_filter_under_its_own_name() -> None:
    assert apply_row_level_security("SELECT * FROM orders", FILTERS) == f"SELECT * FROM {FENCE} AS orders"
    assert apply_row_level_security("SELECT o.a FROM Orders o (a)", FILTERS) == f"SELECT o.a FROM {FENCE} AS o (a)"


def test_an_open_table_is_named_with_its_schema_and_nothing_else() -> None:
    assert apply_row_level_security("SELECT i.ctid FROM items i", FILTERS) == "SELECT i.ctid FROM public.items AS i"
    assert apply_row_level_security("TABLE items", {"items": True}) == "SELECT * FROM public.items"


def test_a_whole_row_keeps_the_tables_own_type_where_that_matters() -> None:
    row = FENCE.replace("SELECT *", "SELECT CAST(ROW(orders.*) AS public.orders)")

    typed = apply_row_level_security("SELECT o FROM orders o", FILTERS)
    assert typed == f"SELECT o FROM pg_catalog.unnest(ARRAY{row}) AS o"
    assert apply_row_level_security("SELECT o::text FROM orders o", FILTERS).endswith(f"FROM {FENCE} AS o")


@pytest.mark.parametrize("nothing", [None, False, "false"])
def test_an_unknown_reader_sees_no_row(nothing: object) -> None:
    assert "WHERE FALSE OFFSET 0" in apply_row_level_security("SELECT * FROM closed", {"closed": nothing})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM secrets", "unknown_table"),
        ("SELECT * FROM other.orders", "unknown_table"),
        ('SELECT * FROM "Orders"', "unknown_table"),
        ("SELECT * FROM items WHERE id IN (SELECT id FROM secrets)", "unknown_table"),
        ("SELECT (SELECT max(x) FROM secrets)", "unknown_table"),
        ("VALUES ((SELECT max(x) FROM secrets))", "unknown_table"),
        ("SELECT 1 ORDER BY (SELECT x FROM secrets)", "unknown_table"),
        ("SELECT 1 LIMIT (SELECT x FROM secrets)", "unknown_table"),
        ("SELECT sum(x) OVER (ORDER BY (SELECT x FROM secrets)) FROM items", "unknown_table"),
        ("SELECT count(*) FILTER (WHERE EXISTS (TABLE secrets)) FROM items", "unknown_table"),
        ("SELECT * FROM generate_series(1, (SELECT x FROM secrets))", "unknown_table"),
        ("SELECT * FROM items i JOIN items j ON EXISTS (TABLE secrets)", "unknown_table"),
        ("SELECT * FROM items, LATERAL (SELECT * FROM secrets) s", "unknown_table"),
        ("SELECT ARRAY(SELECT x FROM secrets), ROW((SELECT x FROM secrets))", "unknown_table"),
        ("SELECT x FROM items GROUP BY ROLLUP ((SELECT x FROM secrets))", "unknown_table"),
        # A WITH that is not in view is no reason to trust a name.
        ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "unknown_table"),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "unknown_table"),
        ("WITH a AS (SELECT 1) SELECT * FROM public.a", "unknown_table"),
        ("SELECT * FROM (WITH a AS (SELECT 1) TABLE a) q, a", "unknown_table"),
        ("(WITH a AS (SELECT 1) TABLE a) UNION TABLE a", "unknown_table"),
        ("SELECT ctid FROM orders", "system_column"),
        ("SELECT o.xmin, 1 FROM orders o", "system_column"),
        ("SELECT tableoid::regclass FROM orders", "system_column"),
        ("SELECT (SELECT ctid FROM items LIMIT 1) FROM orders", "system_column"),
        ("SELECT public.orders.ctid FROM orders", "system_column"),
        ("SELECT (o).* FROM orders o GROUP BY o.id", "group_by_key"),
        ("SELECT o.* FROM orders o GROUP BY o.id", "group_by_key"),
        ("SELECT public.orders.id FROM orders o", "ambiguous_column"),
        ("SELECT (SELECT public.orders.id FROM items AS orders), orders FROM orders", "ambiguous_column"),
        ("SELECT db.public.orders.id FROM orders", "ambiguous_column"),
    ],
)
def test_what_cannot_be_filtered_is_refused(sql: str, code: str) -> None:
    assert refusal(sql).code == code


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM pg_class",
        "SELECT * FROM pg_catalog.pg_stats",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM orders TABLESAMPLE system (10)",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT * INTO copy FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "SELECT query_to_xml('SELECT * FROM orders', true, true, '')",
        "SELECT table_to_xml('orders', true, true, '')",
        "SELECT * FROM ts_stat('SELECT v FROM orders')",
        "SELECT ts_rewrite('a', 'SELECT t, s FROM orders')",
        "SELECT * FROM dblink('', 'SELECT * FROM orders') AS t (a int)",
        "SELECT pg_relation_size('orders')",
        "SELECT pg_stat_get_live_tuples('orders'::regclass)",
        "SELECT * FROM read_orders()",
        "SELECT read_orders(o) FROM orders o",
        "SELECT * FROM ROWS FROM (generate_series(1, 2), read_orders()) AS r",
        "SELECT row_security_active('orders')",
        "EXPLAIN SELECT * FROM orders",
        "EXPLAIN ANALYZE SELECT * FROM orders",
        "SHOW ALL",
        "COPY orders TO STDOUT",
        "SELECT 1; SELECT * FROM orders",
        "SELECT * FROM",
        "",
    ],
)
def test_the_filter_is_no_weaker_than_the_guard(sql: str) -> None:
    refusal(sql)


def test_nothing_of_a_catalog_is_filtered_by_a_table_of_its_name() -> None:
    rewritten = filtered(
        "SELECT * FROM pg_class", chosen_filters({"pg_class": "a = 1"}, "postgres", "public"), "public"
    )

    assert rewritten == "SELECT * FROM (SELECT * FROM public.pg_class WHERE pg_class.a = 1 OFFSET 0) AS pg_class"


def test_a_message_names_the_table_and_the_next_step() -> None:
    said = refusal("SELECT * FROM sales.secrets")

    assert said.where == "sales.secrets"
    assert "add it to the filters" in str(said)


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("orders", TableName("main", "orders")),
        ("Public.ORDERS", TableName("public", "orders")),
        ('public."Orders"', TableName("public", "Orders")),
        ('"a.b"."c""d"', TableName("a.b", 'c"d')),
        ('"Über uns"', TableName("main", "Über uns")),
        ("public.order", TableName("public", "order")),
        ("größe", TableName("main", "größe")),
        ("ÄRGER", TableName("main", "Ärger")),
    ],
)
def test_a_key_is_a_table_as_the_server_stores_it(key: str, table: TableName) -> None:
    assert list(chosen_filters({key: "true"}, "postgres", "main")) == [table]


@pytest.mark.parametrize(
    "key", ["", "a b", "a.b.c", "a; DROP TABLE b", 'a"b', '""', "a.", "1a", "a -- b", "x" * 64, "public.orders o", "*"]
)
def test_a_key_that_is_no_table_is_refused(key: str) -> None:
    said = refusal("SELECT 1", {key: "true"})

    assert said.code == "bad_filter_key"
    assert said.where == key


def test_a_table_has_one_filter() -> None:
    assert refusal("SELECT 1", {"orders": "true", "PUBLIC.orders": "false"}).code == "bad_filter_key"
    assert refusal("SELECT 1", {"Orders": "true", "orders": "false"}, dialect="mysql").code == "bad_filter_key"


NO_EXPRESSIONS = [
    "true; DROP TABLE orders",
    "1=1) or (1=1",
    "a = 1 -- and b",
    "a = 1 /* and b */",
    "a, b",
    "a AS b",
    "a FROM b",
    "*",
    "a WHERE b",
    "SELECT 1",
    "DISTINCT a",
    "a = 1 LIMIT 1",
    "a = 1 UNION SELECT 2",
    "a = 'x",
    "orders.*",
    "other.a = 1",
    "EXISTS (SELECT 1 FROM items WHERE other.a = items.b)",
    "EXISTS (SELECT 1 FROM items FOR UPDATE)",
]


@pytest.mark.parametrize("text", ["", "  ", *NO_EXPRESSIONS, "orders IS NULL", "EXISTS (SELECT 1 FROM secrets)"])
def test_a_filter_that_is_no_expression_over_its_table_is_refused_by_its_key(text: str) -> None:
    said = refusal("SELECT * FROM orders", {"public.orders": text, "items": "true"})

    assert said.code == "bad_filter"
    assert said.where == "public.orders"


def test_a_filters_own_tables_are_filtered_and_no_with_of_the_query_takes_their_place() -> None:
    filters = {"orders": "id IN (SELECT order_id FROM items)", "items": "qty > 1 OR qty IS NULL"}
    rewritten = apply_row_level_security("WITH items AS (SELECT 1 AS order_id) SELECT * FROM orders, items", filters)

    fence = "(SELECT * FROM public.items WHERE items.qty > 1 OR items.qty IS NULL OFFSET 0) AS items"
    assert rewritten == (
        "WITH items AS (SELECT 1 AS order_id) SELECT * FROM (SELECT * FROM public.orders "
        f"WHERE orders.id IN (SELECT order_id FROM {fence}) OFFSET 0) AS orders, items"
    )


def test_filters_that_need_each_other_are_refused_with_the_way_round() -> None:
    filters = {"a": "x IN (SELECT x FROM b)", "b": "x IN (SELECT x FROM c)", "c": "EXISTS (TABLE a)"}

    said = refusal("SELECT * FROM b", filters)
    assert said.code == "filter_cycle"
    assert "public.b -> public.c -> public.a -> public.b" in str(said)
    assert refusal("SELECT * FROM a", {"a": "x > (SELECT avg(x) FROM a)"}).code == "filter_cycle"


def test_names_are_printed_so_that_they_stay_names() -> None:
    filters = {'public."select"': '"from" = 1', '"a""b"': "true"}
    rewritten = apply_row_level_security('SELECT "select".* FROM "select", "a""b"', filters)

    fence = '(SELECT * FROM public."select" WHERE "select"."from" = 1 OFFSET 0) AS "select"'
    assert rewritten == f'SELECT "select".* FROM {fence}, public."a""b"'


def test_two_tables_of_one_name_are_told_apart_by_their_schemas() -> None:
    filters = {"public.orders": "a = 1", "sales.orders": "b = 2"}
    rewritten = apply_row_level_security("SELECT sales.orders.b FROM public.orders, sales.orders", filters)

    assert rewritten.startswith('SELECT "sales.orders".b FROM')
    assert refusal("SELECT orders.b FROM public.orders, sales.orders", filters).code == "ambiguous_column"


def test_deep_nesting_is_refused() -> None:
    deep = "id = 1 AND (id = 2 OR " * 900 + "true" + ")" * 900

    refusal(f"SELECT * FROM orders WHERE {deep}")
    assert refusal("SELECT * FROM orders", {"orders": deep}).where in {"orders", "query"}
    refusal(f"SELECT * FROM orders WHERE {deep}", dialect="mysql")
    refusal("SELECT * FROM orders", {"orders": deep}, dialect="mysql")


def test_a_dialect_that_is_unknown_is_refused() -> None:
    assert refusal("SELECT 1", {}, dialect="oracle").code == "unknown_dialect"


MYSQL_FILTERS = {
    "orders": "region = 'EU' OR total > 3",
    "items": "EXISTS (SELECT 1 FROM orders o WHERE o.id = order_id)",
    "customers": "true",
    "`Mixed`": "a RLIKE '^b'",
    "sales.orders": "id > 1",
    "`loop`": "x IN (SELECT x FROM `loop`)",
}
MYSQL_FENCE = f"(SELECT * FROM `shop`.`orders` WHERE (`orders`.region = 'EU' OR `orders`.total > 3) {NO_LIMIT})"


def test_the_proof_finds_a_table_outside_of_its_fence() -> None:
    def tree(sql: str) -> Any:
        return parse_sql(sql)[0].stmt

    condition = tree("SELECT orders.a = 1").targetList[0].val
    fences = {TableName("public", "orders"): condition, TableName("public", "open"): None}
    fence = "(SELECT * FROM public.orders WHERE orders.a = 1 OFFSET 0) AS o"
    prove(tree(f"WITH w AS (SELECT 1) SELECT * FROM {fence}, w, public.open x"), fences)

    for leak in (
        "SELECT * FROM public.orders",
        "SELECT * FROM orders",
        "SELECT * FROM (SELECT * FROM public.orders WHERE orders.a = 1 OR true OFFSET 0) AS o",
        "SELECT * FROM (SELECT * FROM public.orders WHERE orders.a = 1) AS o",
        "SELECT * FROM (SELECT * FROM public.orders, public.open WHERE orders.a = 1 OFFSET 0) AS o",
        "SELECT * FROM (SELECT a FROM public.orders WHERE orders.a = 1 OFFSET 0) AS o",
        "SELECT * FROM (SELECT * FROM public.orders AS orders WHERE orders.a = 1 OFFSET 0) AS o",
        "SELECT * FROM unnest(ARRAY(SELECT ROW(orders.*)::public.orders FROM public.orders OFFSET 0)) AS o",
        "SELECT * FROM unnest(ARRAY(SELECT ROW(1)::public.orders FROM public.orders WHERE orders.a = 1 OFFSET 0)) AS o",
        "SELECT * FROM public.other",
        "SELECT * FROM db.public.open",
        "WITH a AS (TABLE b), b AS (SELECT 1) SELECT * FROM a",
        f"SELECT (SELECT 1 FROM w) FROM {fence}, (WITH w AS (SELECT 1) TABLE w) q",
    ):
        with pytest.raises(SecurityViolation, match="without its filter"):
            prove(tree(leak), fences)


class TestMySQL:
    def rewritten(self, sql: str) -> str:
        return apply_row_level_security(sql, MYSQL_FILTERS, dialect="mysql", default_schema="shop")

    @pytest.mark.parametrize(
        ("sql", "expected"),
        [
            ("SELECT * FROM orders", f"SELECT * FROM {MYSQL_FENCE} AS `orders`"),
            ("SELECT o.id FROM shop.orders AS o USE INDEX (i)", f"SELECT o.id FROM {MYSQL_FENCE} AS o "),
            ("SELECT shop.orders.id FROM orders", f"SELECT orders.id FROM {MYSQL_FENCE} AS `orders`"),
            ("TABLE orders", f"SELECT * FROM {MYSQL_FENCE} AS `orders`"),
            (
                "WITH orders AS (SELECT * FROM orders) SELECT * FROM orders, shop.orders o",
                f"WITH orders AS (SELECT * FROM {MYSQL_FENCE} AS `orders`) SELECT * FROM orders, {MYSQL_FENCE} o",
            ),
            (
                "WITH RECURSIVE orders AS (SELECT 1 AS n UNION SELECT n + 1 FROM orders) SELECT * FROM orders",
                "WITH RECURSIVE orders AS (SELECT 1 AS n UNION SELECT n + 1 FROM orders) SELECT * FROM orders",
            ),
            ("SELECT * FROM (orders, customers)", f"SELECT * FROM ({MYSQL_FENCE} AS `orders`, `shop`.`customers`)"),
            (
                "SELECT 1 FROM customers STRAIGHT_JOIN orders WHERE x RLIKE 'a'",
                f"SELECT 1 FROM `shop`.`customers` STRAIGHT_JOIN {MYSQL_FENCE} AS `orders` WHERE x RLIKE 'a'",
            ),
            (
                "SELECT id FROM orders UNION ALL (SELECT id FROM customers LIMIT 2, 1)",
                f"SELECT id FROM {MYSQL_FENCE} AS `orders` UNION ALL (SELECT id FROM `shop`.`customers` LIMIT 2, 1)",
            ),
            ("SELECT 1 FROM DUAL", "SELECT 1 FROM DUAL"),
            (
                "SELECT * FROM `Mixed`",
                f"SELECT * FROM (SELECT * FROM `shop`.`Mixed` WHERE (`Mixed`.a RLIKE '^b') {NO_LIMIT}) AS `Mixed`",
            ),
            (
                "SELECT (SELECT MAX(id) FROM orders) AS m, 'FROM orders' FROM customers",
                f"SELECT (SELECT MAX(id) FROM {MYSQL_FENCE} AS `orders`) AS m, 'FROM orders' FROM `shop`.`customers`",
            ),
            (
                "SELECT 1 FROM customers c, LATERAL (SELECT 1 FROM orders WHERE c.x) l",
                f"SELECT 1 FROM `shop`.`customers` c, LATERAL (SELECT 1 FROM {MYSQL_FENCE} AS `orders` WHERE c.x) l",
            ),
        ],
    )
    def test_the_fence_is_put_into_the_text_and_the_rest_stays(self, sql: str, expected: str) -> None:
        assert squeezed(self.rewritten(sql)) == squeezed(expected)

    def test_a_filters_own_tables_are_filtered(self) -> None:
        assert squeezed(
            f"FROM `shop`.`items` WHERE (EXISTS (SELECT 1 FROM {MYSQL_FENCE} o WHERE o.id = order_id)) {NO_LIMIT}"
        ) in squeezed(self.rewritten("SELECT * FROM items"))

    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("SELECT * FROM secrets", "unknown_table"),
            ("SELECT * FROM ORDERS", "unknown_table"),
            ("SELECT * FROM mixed", "unknown_table"),
            ("SELECT * FROM other.orders", "unknown_table"),
            ("SELECT * FROM customers WHERE id IN (SELECT id FROM secrets)", "unknown_table"),
            ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "unknown_table"),
            ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", "ambiguous_table"),
            ("WITH Orders AS (SELECT 1) SELECT * FROM orders", "ambiguous_table"),
            ("SELECT * FROM orders, sales.orders", "ambiguous_column"),
            ("SELECT _rowid FROM orders", "system_column"),
            ("SELECT * FROM `loop`", "filter_cycle"),
        ],
    )
    def test_what_cannot_be_filtered_is_refused(self, sql: str, code: str) -> None:
        with pytest.raises(SecurityViolation) as caught:
            self.rewritten(sql)
        assert caught.value.code == code

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM mysql.user",
            "SELECT * FROM orders FOR UPDATE",
            "SELECT * FROM orders INTO OUTFILE '/tmp/x'",
            "SELECT * FROM orders /*!50000 UNION SELECT * FROM secrets */",
            "SELECT LOAD_FILE('/etc/passwd') FROM orders",
            "SELECT read_orders() FROM customers",
            "SHOW TABLES",
            "DESCRIBE orders",
            "DELETE FROM orders",
        ],
    )
    def test_the_filter_is_no_weaker_than_the_guard(self, sql: str) -> None:
        with pytest.raises(SecurityViolation):
            self.rewritten(sql)

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(sql=reads("mysql"))
    def test_generated_reads_are_filtered(self, sql: str) -> None:
        filters = {
            "orders": "id IN (SELECT order_id FROM items)",
            "items": "a = 1 OR b = 2",
            "customers": "c RLIKE 'x'",
        }
        rewritten = apply_row_level_security(sql, filters, dialect="mysql", default_schema="shop")

        fences = [f"FROM `shop`.`{name}` WHERE (" for name in filters]
        assert sum(map(rewritten.count, fences)) == rewritten.count("FROM `shop`.`")
        assert "`shop`" in rewritten or "FROM" not in rewritten

    @pytest.mark.parametrize("text", [*NO_EXPRESSIONS, "a = 1 # and b", "1 /*! or 1 */"])
    def test_a_filter_that_is_no_expression_is_refused(self, text: str) -> None:
        said = refusal("SELECT * FROM orders", {"orders": text, "items": "true"}, dialect="mysql")

        assert said.code == "bad_filter"
        assert said.where == "orders"

    def test_an_unknown_reader_sees_no_row(self) -> None:
        rewritten = apply_row_level_security("SELECT * FROM a", {"a": None}, dialect="mysql", default_schema="shop")

        assert f"WHERE (false) {NO_LIMIT}" in rewritten


def squeezed(text: str) -> str:
    """The text without the space that says nothing."""
    return " ".join(text.replace("(", " ( ").replace(")", " ) ").replace(",", " , ").split())
