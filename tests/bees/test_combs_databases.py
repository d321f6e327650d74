"""The combs of databases on real servers: what each one reads, and values that would be more than values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings, strategies

from bees.core.pool import shared
from hive.combs import CombLibrary
from hive.config.problems import ConfigProblems
from hive.config.references import resolve
from tests.bees.contract import rows
from tests.bees.mysql_source import Database
from tests.bees.postgresql_source import Database as PostgreSQL
from tests.bees.test_mongodb import Shop, items, shop
from tests.bees.test_postgresql_cdc import CDC, followed_database
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.logical import logical_postgres
from tests.servers.mariadb import MariaDB
from tests.servers.mongo import brisk

__all__ = ["brisk", "followed_database", "logical_postgres", "make_nest", "nest", "shop"]
pytestmark = pytest.mark.servers


@pytest.fixture(name="my")
def database_with_orders(mariadb: MariaDB) -> Iterator[Database]:
    database = Database(mariadb)
    database.run(
        "CREATE TABLE orders (id int PRIMARY KEY, who varchar(20) CHARACTER SET utf8mb4, at datetime)",
        "INSERT INTO orders VALUES (1, 'a', '2024-01-01'), (2, 'z', '2025-01-01'), (3, 'é', NULL)",
    )
    yield database
    database.close()
    shared().close()


def login(database: Any) -> dict[str, Any]:
    return {name: value for name, value in database.options().items() if name != "batch_rows"}


class TestMySQL:
    @pytest.mark.parametrize(
        ("column", "since", "found"),
        [
            ("who", "b", [2, 3]),
            ("who", "b' OR 'a' = 'a", [2, 3]),
            ("who", "\\' OR 1 -- ", []),
            ("who", "zz", []),
            ("at", "2024-06-01", [2]),
            ("orders.id", "2", [2, 3]),
        ],
    )
    def test_a_query_takes_what_it_is_given_as_a_value(
        self, my: Database, column: str, since: str, found: list[int]
    ) -> None:
        chosen = {"table": "orders", "column": column, "since": since, "key": "id"}
        with CombLibrary().create_worker_bee("mysql-query", **login(my), **chosen) as bee:
            bee.validate_flight_path()
            got = [row["id"] for row in rows(bee.collect_nectar("mysql-query", None))]
        assert got == found

    @given(text=strategies.text(strategies.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40))
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    def test_any_text_in_a_query_is_the_value_that_was_given(self, my: Database, text: str) -> None:
        assume("vault" not in text)
        chosen = {"host": "h", "database": "d", "user": "u", "table": "a.b", "column": "c", "key": "k"}
        block = CombLibrary().plan("mysql-query", {**chosen, "since": text}, name="bee").block
        query = resolve(block["streams"]["mysql-query"]["query"], environ={}, vault=str)
        assert query.startswith("select * from `a`.`b` where `c` >= ")
        assert my.rows(f"SELECT {query.partition('>=')[2]}") == [(text,)]

    @pytest.mark.parametrize("table", ["Order Lines", "`Order Lines`", '"Order Lines"', "{}.Order Lines"])
    def test_names_may_hold_blanks_capitals_and_quotes(self, my: Database, table: str) -> None:
        my.run(
            "CREATE TABLE `Order Lines` (`Line Id` int PRIMARY KEY, `Ge``b-1.5` int, `größe` int)",
            "INSERT INTO `Order Lines` VALUES (1, 1, 1), (2, 5, 0), (3, 5, 9)",
        )
        for column, found in {"`Ge``b-1.5`": [2, 3], "größe": [3], "Line Id": [3]}.items():
            chosen = {"table": table.format(my.name), "column": column, "since": "3", "key": "Line Id"}
            with CombLibrary().create_worker_bee("mysql-query", **login(my), **chosen) as bee:
                bee.validate_flight_path()
                assert [row["Line Id"] for row in rows(bee.collect_nectar("mysql-query", None))] == found
        with CombLibrary().create_worker_bee("mysql-table", **login(my), table="Order Lines") as bee:
            assert len(rows(bee.collect_nectar("Order Lines", None))) == 3

    @pytest.mark.parametrize(
        "query",
        [
            "select '{{ param.x }}'", 'select "{{ param.x }}"', "select `{{ param.x }}`", "select 1 -- {{ param.x }}",
            "select 1 # {{ param.x }}", "select /* a */ {{ param.x }}", r"select '\'{{ param.x }}'",
            r'select "\"{{ param.x }}"', "select 'open {{ param.x }}",
        ],
    )  # fmt: skip
    def test_a_parameter_in_quotes_or_comments_is_refused(self, tmp_path: Any, query: str) -> None:
        comb = {"id": "q", "subtype": "mariadb", "parameters": {"x": {}}, "extraction": {"query_template": query}}
        (tmp_path / "q.yml").write_text(yaml.safe_dump(comb))
        with pytest.raises(ConfigProblems, match="in quotes or beside a block comment"):
            CombLibrary(tmp_path).get_comb("q")

    def test_a_table_is_followed_through_the_log(self, my: Database, nest: Nest) -> None:
        my.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{my.user}'@'%'")
        nest.hive.create_from_comb("mysql-changes", "shop", {**login(my), "table": "orders"})
        assert nest.land("shop").state == "complete"
        my.run("DELETE FROM orders WHERE id = 1", "UPDATE orders SET who = 'b' WHERE id = 2")
        assert nest.land("shop").records_deleted == 1
        assert {key: row["who"] for key, row in nest.jar("shop").items()} == {"2": "b", "3": "é"}


@given(name=strategies.text(strategies.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20))
@pytest.mark.parametrize(("comb", "sign"), [("mysql-query", "`"), ("postgresql-query", '"')])
def test_any_name_is_one_name_or_refused(comb: str, sign: str, name: str) -> None:
    assume("vault" not in name)
    chosen = {"host": "h", "database": "d", "user": "u", "column": "c", "key": "k", "since": "1"}
    quoted = sign + name.replace(sign, 2 * sign) + sign

    def source(table: str) -> str:
        block = CombLibrary().plan(comb, {**chosen, "table": table}, name="bee").block
        query = resolve(block["streams"][comb]["query"], environ={}, vault=str)
        return query.removeprefix("select * from ").rpartition(" where ")[0]

    assert source(quoted) == quoted
    assume(name[0] not in '"`')
    with suppress(ConfigProblems):
        assert source(name) == ".".join(sign + part + sign for part in name.split("."))


@pytest.mark.parametrize(
    "name", ["a;b", "a b;", " a", "a ", "a.", ".a", '"a', '"a"b', '""', "a.b.c", "1a", "a\nb", "a--b"]
)
@pytest.mark.parametrize("comb", ["mysql-query", "postgresql-query"])
def test_what_is_no_name_is_refused_in_words(comb: str, name: str) -> None:
    chosen = {"host": "h", "database": "d", "user": "u", "column": "c", "key": "k", "since": "1", "table": name}
    with pytest.raises(
        ConfigProblems, match="'table' is not what it should be, expected a name of the source"
    ) as error:
        CombLibrary().plan(comb, chosen, name="bee")
    assert "in quotes" in str(error.value)


def test_a_table_of_postgresql_is_followed_through_the_log(db: PostgreSQL, nest: Nest) -> None:
    db.run("CREATE TABLE orders (id int PRIMARY KEY, who text)", "INSERT INTO orders VALUES (1, 'a'), (2, 'z')")
    db.run("ALTER PUBLICATION told ADD TABLE orders")
    chosen = {**login(db), **{name: CDC[name] for name in ("slot", "publication", "create_slot")}}
    nest.hive.create_from_comb("postgresql-changes", "shop", {**chosen, "table": "orders"})
    assert nest.land("shop").state == "complete"
    db.run("DELETE FROM orders WHERE id = 1", "UPDATE orders SET who = 'b' WHERE id = 2")
    assert nest.land("shop").records_deleted == 1
    assert {key: row["who"] for key, row in nest.jar("shop").items()} == {"2": "b"}


class TestMongoDB:
    def given(self, shop: Shop) -> dict[str, Any]:
        return {"hosts": f"127.0.0.1:{shop.server.port}", "database": shop.name}

    @pytest.mark.parametrize("mode", ["full_dump", "incremental"])
    def test_a_collection_is_read_in_each_mode(self, shop: Shop, nest: Nest, mode: str) -> None:
        shop.database["it ems"].insert_many(items(5))
        chosen = {**self.given(shop), "collection": "it ems", "cursor": "changed"}
        nest.hive.create_from_comb("mongodb-collection", "shop", chosen, mode=mode)
        assert (nest.land("shop").records_read, len(nest.jar("shop"))) == (5, 5)
        shop.database["it ems"].insert_many(items(1, first=100))
        assert nest.land("shop").records_landed == 1
        assert len(nest.jar("shop")) == 6

    def test_a_database_is_each_of_its_collections(self, shop: Shop) -> None:
        shop.database.items.insert_many(items(2))
        shop.database.more.insert_many(items(3))
        with CombLibrary().create_worker_bee("mongodb-database", **self.given(shop)) as bee:
            names = [stream.name for stream in bee.get_pollen_schema()]
            found = {name: len(rows(bee.collect_nectar(name, None))) for name in names}
        assert found == {"items": 2, "more": 3}

    def test_changes_need_a_replica_set(self) -> None:
        with pytest.raises(ConfigProblems, match="'replica_set' is missing"):
            CombLibrary().plan("mongodb-changes", {"hosts": "h", "database": "d", "collection": "c"}, name="bee")
        given = {"hosts": "h", "database": "d", "collection": "c", "replica_set": "rs0"}
        block = CombLibrary().plan("mongodb-changes", given, name="bee").block
        assert block["streams"]["c"]["mode"] == "cdc"
