"""A role that can do more than read is refused, whichever way it came by that, unless somebody accepts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, numbers, source_database  # noqa: F401 - the fixture `db`

if TYPE_CHECKING:
    from collections.abc import Iterator


def granted(role: str, what: str) -> sql.Composed:
    return sql.SQL("GRANT {} TO {}").format(sql.SQL(what), sql.Identifier(role))  # type: ignore[arg-type]


def altered(role: str, what: str) -> sql.Composed:
    return sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(what))  # type: ignore[arg-type]


@pytest.fixture
def group(db: Database) -> Iterator[str]:
    """A role of which others are made members."""
    name = f"group {next(numbers)}"
    db.run(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield name
    db.run(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.fixture(autouse=True)
def table(db: Database) -> None:
    db.run("CREATE TABLE t (id int PRIMARY KEY, name text)", "INSERT INTO t VALUES (1, 'a')", "CREATE SEQUENCE s")


def refusal(db: Database, **options: Any) -> str:
    with db.bee(streams={"t": {}}, **options) as bee:
        with pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        with pytest.raises(GiveUp) as again:
            list(bee.collect_nectar("t", None))
    assert (error.value.code, again.value.code) == ("writable_role", "writable_role")
    assert "allow_writable_role" in str(error.value)
    return str(error.value)


class TestOfItsOwn:
    @pytest.mark.parametrize(
        ("attribute", "told"),
        [
            ("SUPERUSER", "is a superuser"),
            ("BYPASSRLS", "has BYPASSRLS"),
            ("CREATEROLE", "has CREATEROLE"),
            ("CREATEDB", "has CREATEDB"),
            ("REPLICATION", "has REPLICATION"),
        ],
    )
    def test_an_attribute(self, db: Database, attribute: str, told: str) -> None:
        db.run(altered(db.role, attribute))
        assert told in refusal(db)

    @pytest.mark.parametrize(
        ("right", "told"),
        [
            ("INSERT ON t", "INSERT on table t"),
            ("UPDATE (name) ON t", "UPDATE on column name of t"),
            ("TRIGGER ON t", "TRIGGER on table t"),
            ("USAGE ON SEQUENCE s", "USAGE on sequence s"),
            ("CREATE ON SCHEMA public", "CREATE on schema public"),
            ("pg_write_server_files", "is a member of pg_write_server_files"),
            ("pg_read_server_files", "is a member of pg_read_server_files"),
            ("pg_execute_server_program", "is a member of pg_execute_server_program"),
            ("pg_write_all_data", "is a member of pg_write_all_data"),
            ("pg_signal_backend", "is a member of pg_signal_backend"),
        ],
    )
    def test_a_grant(self, db: Database, right: str, told: str) -> None:
        db.run(granted(db.role, right))
        assert told in refusal(db)

    def test_create_on_the_database(self, db: Database) -> None:
        db.run(granted(db.role, f'CREATE ON DATABASE "{db.login["dbname"]}"'))
        assert "CREATE on database" in refusal(db)

    def test_what_it_owns(self, db: Database) -> None:
        db.run("CREATE SCHEMA other", sql.SQL("ALTER TABLE t OWNER TO {}").format(sql.Identifier(db.role)))
        assert "owns table t" in refusal(db)


class TestOfOthers:
    def test_a_grant_to_everybody(self, db: Database) -> None:
        db.run("GRANT DELETE ON t TO PUBLIC")
        assert "DELETE on table t as PUBLIC" in refusal(db)

    @pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
    def test_a_grant_to_a_role_that_it_is_or_may_become(self, db: Database, group: str, inherits: str) -> None:
        db.run(altered(db.role, inherits), granted(group, "INSERT ON t"))
        db.run(granted(db.role, f'"{group}"'))
        assert "INSERT on table t" in refusal(db)

    def test_an_attribute_of_a_role_that_it_may_become(self, db: Database, group: str) -> None:
        db.run(altered(group, "CREATEROLE"), granted(db.role, f'"{group}"'))
        assert f"has CREATEROLE as member of {group}" in refusal(db)

    def test_what_a_role_owns_that_it_may_become(self, db: Database, group: str) -> None:
        db.run(sql.SQL("ALTER TABLE t OWNER TO {}").format(sql.Identifier(group)), granted(db.role, f'"{group}"'))
        assert "owns table t" in refusal(db)


class TestAccepted:
    def test_reading_alone_is_fine(self, db: Database) -> None:
        db.run(granted(db.role, "pg_read_all_data"), granted(db.role, "pg_monitor"))
        with db.bee(streams={"t": {}}) as bee:
            bee.validate_flight_path()

    def test_a_role_is_accepted_by_name_of_the_option(self, db: Database) -> None:
        db.run(altered(db.role, "SUPERUSER"))
        with db.bee(streams={"t": {}}, allow_writable_role=True) as bee:
            bee.validate_flight_path()
            assert rows(list(bee.collect_nectar("t", None))) == [{"id": 1, "name": "a"}]

    def test_only_a_few_of_many_rights_are_told(self, db: Database) -> None:
        db.run(granted(db.role, "ALL ON t"))
        assert refusal(db).count(" on table t") == 5

    def test_disk_is_bounded_where_the_role_may_say_so(self, db: Database) -> None:
        db.run(altered(db.role, "SUPERUSER"))
        query = "SELECT 1 AS id, current_setting('temp_file_limit') AS held"
        streams = {"q": {"query": query, "key": "id", "functions": ["current_setting"]}}
        with db.bee(streams=streams, allow_writable_role=True, temp_file_limit=2**20) as bee:
            assert rows(list(bee.collect_nectar("q", None))) == [{"id": 1, "held": "1MB"}]
        db.run(altered(db.role, "NOSUPERUSER"))
        with db.bee(streams=streams, temp_file_limit=2**20) as bee:
            assert rows(list(bee.collect_nectar("q", None))) == [{"id": 1, "held": "-1"}]


class TestMaxRows:
    def test_a_flight_ends_there_and_the_next_goes_on(self, db: Database) -> None:
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(2, 10) AS i")
        cursor, seen = None, []
        for _ in range(4):
            with db.bee(streams={"t": {}}, max_rows=4, batch_rows=3) as bee:
                batches = list(bee.collect_nectar("t", cursor))
            cursor, seen = batches[-1].cursor, [*seen, [r["id"] for r in rows(batches)]]
        assert seen == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10], [1, 2, 3, 4]]

    def test_legs_of_one_flight_count_together(self, db: Database) -> None:
        db.run("INSERT INTO t SELECT i, 'x' FROM generate_series(2, 10) AS i")
        with db.bee(streams={"t": {}}, max_rows=5, batch_rows=2) as bee:
            leg = bee.collect_nectar("t", None)
            next(leg)
            cursor = next(leg).cursor
            assert [r["id"] for r in rows(list(bee.collect_nectar("t", cursor)))] == [5]
