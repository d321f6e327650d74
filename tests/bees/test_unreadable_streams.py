"""One stream that cannot be read keeps no other one from being read, and loses nothing of what it had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from bees.core.errors import GiveUp
from bees.core.pool import shared
from tests.bees.mysql_source import Database as MySQL
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.test_mongodb import Shop, shop
from tests.hive.command import Command, bare_hive
from tests.hive.nest import KEY, Nest, make_nest, nest
from tests.servers.mariadb import MariaDB
from tests.servers.mongo import brisk

__all__ = ["bare_hive", "brisk", "make_nest", "nest", "shop"]
pytestmark = pytest.mark.servers

POINT = (
    "SELECT c.epoch, c.fingerprint, c.sealed_seq, c.sealed_cursor FROM hive.checkpoint c"
    " JOIN hive.stream s ON s.id = c.stream WHERE s.name = 'bad'"
)


def landed(nest: Nest) -> dict[str, list[int]]:
    """What the jar holds: stream -> its ids."""
    found: dict[str, list[int]] = {}
    for stream, key in nest.rows(
        "SELECT s.name, (h.data ->> 'id')::int FROM hive.honey h JOIN hive.stream s ON s.id = h.stream"
        " WHERE h.deleted_at IS NULL ORDER BY 1, 2"
    ):
        found.setdefault(stream, []).append(key)
    return found


def places(nest: Nest) -> dict[str, Any]:
    """The environment in which commands find this hive."""
    return {
        "HIVE_DATABASE_URL": nest.settings.database_url.get_secret_value(),
        "HIVE_DATA_DIR": nest.settings.data_dir,
        "HIVE_KEY": KEY,
    }


def told(flight: Any) -> tuple[str, str, str]:
    """How a flight ended: its state, the error's code and the place it names."""
    error = flight.error or {}
    return flight.state, error.get("code", ""), error.get("place", "")


class TestPostgreSQL:
    @pytest.fixture(autouse=True)
    def tables(self, db: Database) -> Iterator[None]:
        db.run(*(f"CREATE TABLE {t} (id int PRIMARY KEY)" for t in ("a", "bad", "z")))
        db.run(*(f"INSERT INTO {t} VALUES (1), (2)" for t in ("a", "bad", "z")))
        yield
        shared().close()

    def register(self, nest: Nest, db: Database, **more: Any) -> None:
        nest.hive.register_worker("postgresql", {"name": "shop", "source": db.options(**more)})

    @pytest.mark.parametrize("kind", ["int[]", "jsonb", "pair"])
    def test_a_table_whose_key_has_no_order_fails_alone(
        self, nest: Nest, db: Database, bare_hive: Command, kind: str
    ) -> None:
        db.run(
            "CREATE TYPE pair AS (x int, y int)", "TRUNCATE bad", f"ALTER TABLE bad DROP id, ADD id {kind} PRIMARY KEY"
        )
        self.register(nest, db)

        flight = nest.land("shop")

        assert landed(nest) == {"a": [1, 2], "z": [1, 2]}
        assert told(flight) == ("failed", "not_sortable", "streams.bad")
        assert "'id'" in flight.error["message"]
        assert "key" in flight.error["advice"]
        bare_hive.set(places(nest))
        schema, check = bare_hive("schema", "shop"), bare_hive("check", "shop")
        assert (schema.code, "\na " in schema.out) == (0, True)
        assert "bad: it cannot be read: the column 'id'" in schema.err
        assert (check.code != 0, "streams.bad" in check.err, "plain types" in check.err) == (True, True, True)

    def test_a_preview_of_scrubbing_shows_the_others_and_names_it(
        self, nest: Nest, db: Database, bare_hive: Command
    ) -> None:
        db.run("ALTER TABLE a ADD mail text", "UPDATE a SET mail = 'ada' || id || '@example.com'")
        db.run("DROP TABLE bad", "CREATE TABLE bad (id jsonb PRIMARY KEY)")
        late = {"query": "SELECT id, 1 / (id - 2) AS n FROM z", "key": "id"}
        self.register(nest, db, streams={"bad": {}, "late": late, "a": {}})
        bare_hive.set(places(nest))
        told = bare_hive("scrub", "preview", "shop", "--profile", "gdpr_compliant", "--json")
        said = bare_hive("scrub", "preview", "shop", "--profile", "gdpr_compliant")

        assert (told.code, said.code) == (1, 1)
        assert [(f["stream"], f["field"], f["found"]) for f in told.json["fields"]] == [("a", "mail", 2)]
        assert set(told.json["troubles"]) == {"bad", "late"}
        assert "'id'" in told.json["troubles"]["bad"]
        assert "EMAIL_ADDRESS" in said.out
        assert "bee 'shop', stream 'bad' cannot be read: the column 'id'" in said.err
        assert "bee 'shop', stream 'late' cannot be read" in said.err

    def test_a_preview_of_nothing_that_can_be_read_says_why(self, nest: Nest, db: Database, bare_hive: Command) -> None:
        db.run("TRUNCATE bad", "ALTER TABLE bad DROP id, ADD id jsonb PRIMARY KEY")
        self.register(nest, db, streams={"bad": {}})
        bare_hive.set(places(nest))
        said = bare_hive("scrub", "preview", "shop")
        assert (said.code, "bee 'shop': the column 'id'" in said.err) == (1, True)

    @pytest.mark.parametrize("more", [{}, {"consistent": True}])
    def test_a_query_that_the_server_refuses_fails_alone(self, nest: Nest, db: Database, more: dict[str, Any]) -> None:
        bad = {"query": "SELECT id, nowhere FROM bad", "key": "id"}
        self.register(nest, db, streams={"bad": bad, "a": {}, "z": {"query": "SELECT id FROM z", "key": "id"}}, **more)

        assert told(nest.land("shop")) == ("failed", "no_column", "streams.bad")
        assert landed(nest) == {"a": [1, 2], "z": [1, 2]}
        assert nest.rows("SELECT count(*) FROM hive.lease WHERE task IS NOT NULL") == [(0,)]

    def test_where_none_can_be_read_the_first_one_says_why(self, db: Database) -> None:
        with db.bee(streams={"gone": {}, "lost": {}}) as bee, pytest.raises(GiveUp, match="'gone'") as error:
            bee.get_pollen_schema()
        assert error.value.code == "no_table"

    @pytest.mark.parametrize(
        ("harm", "heal", "code"),
        [
            ("ALTER TABLE bad RENAME TO gone", "ALTER TABLE gone RENAME TO bad", "no_table"),
            ("REVOKE SELECT ON bad FROM {}", "GRANT SELECT ON bad TO {}", "no_permission"),
            ("ALTER TABLE bad RENAME at TO when_", "ALTER TABLE bad RENAME when_ TO at", "no_column"),
        ],
    )
    def test_one_that_cannot_be_read_for_a_while_goes_on_where_it_was(
        self, nest: Nest, db: Database, harm: str, heal: str, code: str
    ) -> None:
        db.run("ALTER TABLE bad ADD at timestamptz NOT NULL DEFAULT now()")
        role = sql.Identifier(db.role)
        streams = {"a": {}, "bad": {"cursor": "at", "lookback": 0}, "z": {}}
        self.register(nest, db, streams=streams)
        assert nest.land("shop").state == "complete"
        before = nest.rows(POINT)

        db.run(sql.SQL(harm).format(role), "INSERT INTO a VALUES (3)", "INSERT INTO z VALUES (3)")
        flight = nest.land("shop")

        assert landed(nest) == {"a": [1, 2, 3], "bad": [1, 2], "z": [1, 2, 3]}
        state, said, place = told(flight)
        assert (state, said, place.startswith("streams.bad")) == ("failed", code, True)
        assert nest.rows(POINT) == before

        db.run(sql.SQL(heal).format(role), "INSERT INTO bad VALUES (3)")
        again = nest.land("shop")

        assert (again.state, landed(nest)["bad"]) == ("complete", [1, 2, 3])
        assert nest.rows(POINT)[0][0] == before[0][0]


@pytest.fixture(name="my")
def mariadb_database(mariadb: MariaDB) -> Iterator[MySQL]:
    database = MySQL(mariadb)
    database.run(*(f"CREATE TABLE {t} (id int PRIMARY KEY)" for t in ("a", "bad", "z")))
    database.run(*(f"INSERT INTO {t} VALUES (1), (2)" for t in ("a", "bad", "z")))
    yield database
    database.close()
    shared().close()


def test_a_table_of_mysql_that_is_gone_for_a_while_goes_on_where_it_was(nest: Nest, my: MySQL) -> None:
    streams = {"bad": {"cursor": "id", "lookback": 0}, "a": {}, "z": {}}
    nest.hive.register_worker("mysql", {"name": "shop", "source": my.options(streams=streams)})
    assert nest.land("shop").state == "complete"
    before = nest.rows(POINT)

    my.run("RENAME TABLE bad TO gone", "INSERT INTO a VALUES (3)", "INSERT INTO z VALUES (3)")
    assert told(nest.land("shop")) == ("failed", "no_table", "streams.bad.table")
    assert landed(nest) == {"a": [1, 2, 3], "bad": [1, 2], "z": [1, 2, 3]}
    assert nest.rows(POINT) == before

    my.run("RENAME TABLE gone TO bad", "INSERT INTO bad VALUES (3)")
    assert nest.land("shop").state == "complete"
    assert landed(nest)["bad"] == [1, 2, 3]
    assert nest.rows(POINT)[0][0] == before[0][0]


def test_a_collection_that_is_gone_fails_alone(nest: Nest, shop: Shop) -> None:
    for name in ("a", "z"):
        shop.database[name].insert_many([{"_id": n, "id": n} for n in (1, 2)])
    nest.hive.register_worker(
        "mongodb", {"name": "shop", "source": shop.options(), "streams": {"bad": {}, "a": {}, "z": {}}}
    )

    assert told(nest.land("shop")) == ("failed", "no_collection", "streams.bad")
    assert landed(nest) == {"a": [1, 2], "z": [1, 2]}
