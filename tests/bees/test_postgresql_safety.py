"""The PostgreSQL bee only reads, tells no secret, sorts what goes wrong, and leaves nothing behind."""

from __future__ import annotations

import itertools
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from bees.core.errors import GiveUp, RetryLater
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.postgres.verdict import verdict
from tests.bees.contract import rows
from tests.bees.postgresql_source import PASSWORD, Database, ids, numbers, source_database  # noqa: F401 - the fixture `db`

if TYPE_CHECKING:
    from bees.postgresql import PostgreSQLWorkerBee


class TestReadingOnly:
    """Even where the role may write: a bee's session cannot."""

    @pytest.mark.parametrize(
        "query",
        [
            "WITH gone AS (DELETE FROM t RETURNING id) SELECT * FROM gone",
            "SELECT id, wipe() FROM t",
            "SELECT 1 AS id; DELETE FROM t",
            "SELECT 1 AS id) q; DELETE FROM t; SELECT * FROM (SELECT 1 AS id",
            "SELECT 1 AS id) q; COMMIT; DELETE FROM t; SELECT * FROM (SELECT 1 AS id",
            "SELECT set_config('transaction_read_only', 'off', false) AS id, wipe()",
            "SELECT nextval('s') AS id",
            "DELETE FROM t RETURNING id",
            "TABLE t) TO PROGRAM 'true' --",
            "SELECT * INTO other FROM t",
            "SELECT id FROM t /* ",
        ],
    )
    def test_what_writes_is_refused(self, db: Database, query: str) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE SEQUENCE s",
            "CREATE FUNCTION wipe() RETURNS int LANGUAGE sql VOLATILE AS 'DELETE FROM t RETURNING 1'",
            sql.SQL("GRANT ALL ON t, s TO {}").format(sql.Identifier(db.role)),
        )
        streams = {"q": {"query": query, "key": "id"}}
        with db.bee(streams=streams, allow_writable_role=True) as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None))

        assert error.value.code != "writable_role"
        assert error.value.advice
        assert db.rows("SELECT count(*) FROM t") == [(2,)]


class TestVerdicts:
    @pytest.mark.parametrize(
        ("wrong", "kind", "code"),
        [
            ({"user": "nobody knows"}, GiveUp, "denied"),
            ({"password": ""}, GiveUp, "denied"),
            ({"database": "nowhere"}, GiveUp, "no_database"),
            ({"port": 1}, RetryLater, "unreachable"),
            ({"host": "no-such-host.invalid"}, (GiveUp, RetryLater), None),
            ({"host": "a..b"}, GiveUp, "unknown_host"),
            ({"ssl_mode": "require"}, GiveUp, "no_tls"),
            ({"ssl_mode": "verify-ca", "ssl_root_cert": "/nowhere/root.pem"}, GiveUp, "no_tls"),
            ({"schema": "nothing in it"}, GiveUp, "nothing_to_read"),
        ],
    )
    def test_what_is_wrong_with_a_login_is_sorted(
        self, db: Database, wrong: dict[str, Any], kind: Any, code: str | None
    ) -> None:
        with db.bee(**wrong) as bee, pytest.raises(kind) as error:
            bee.validate_flight_path()

        assert error.value.code == (code or error.value.code)
        assert "FATAL" not in str(error.value)
        assert PASSWORD not in "".join(traceback.format_exception(error.value))

    def test_too_many_connections_are_for_later(self, db: Database) -> None:
        db.run(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(db.role)))
        with db.bee() as bee, pytest.raises(RetryLater) as error:
            bee.validate_flight_path()
        assert error.value.code == "overloaded"

    def test_a_missing_grant_is_named_with_its_stream(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, secret text)",
            sql.SQL("REVOKE ALL ON t FROM {}").format(sql.Identifier(db.role)),
        )
        for deed in (lambda bee: bee.validate_flight_path(), lambda bee: list(bee.collect_nectar("t", None))):
            with db.bee(streams={"t": {}}) as bee, pytest.raises(GiveUp, match=r"streams\.t.*GRANT") as error:
                deed(bee)
            assert error.value.code == "no_permission"

        db.run(sql.SQL("GRANT SELECT (id) ON t TO {}").format(sql.Identifier(db.role)))
        with db.bee(streams={"t": {"columns": ["id"]}}) as bee:
            bee.validate_flight_path()

    def test_a_value_that_breaks_the_query_is_not_told(self, db: Database) -> None:
        query = "SELECT i AS id, ('secret-' || i)::int AS n FROM generate_series(1, 2) AS i"
        with db.bee(streams={"q": {"query": query, "key": "id"}}) as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None))

        assert error.value.code == "wrong_data"
        assert "secret-1" not in "".join(traceback.format_exception(error.value))

    def test_a_statement_that_takes_too_long_is_for_later(self, db: Database) -> None:
        query = "SELECT i AS id, pg_sleep(1) FROM generate_series(1, 100) AS i"
        stream = {"query": query, "key": "id", "columns": "id", "functions": ["pg_sleep"]}
        bee = db.bee(statement_timeout=0.2, streams={"q": stream})
        with bee, pytest.raises(RetryLater) as error:
            list(bee.collect_nectar("q", None))
        assert error.value.code == "statement_timeout"

    def test_a_materialized_view_without_rows_is_named(self, db: Database) -> None:
        db.run("CREATE MATERIALIZED VIEW v AS SELECT 1 AS id WITH NO DATA")
        with db.bee(streams={"v": {"key": "id"}}) as bee, pytest.raises(GiveUp, match="REFRESH") as error:
            list(bee.collect_nectar("v", None))
        assert error.value.code == "not_ready"
        assert "streams.v" in error.value.where

    def test_a_limit_of_the_server_is_named(self, db: Database) -> None:
        db.run(sql.SQL("ALTER ROLE {} SET temp_file_limit = 64").format(sql.Identifier(db.role)))
        db.run(sql.SQL("ALTER ROLE {} SET work_mem = '64kB'").format(sql.Identifier(db.role)))
        query = "SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 200000) AS i ORDER BY 2"
        with db.bee(streams={"q": {"query": query, "key": "id"}}) as bee, pytest.raises(RetryLater) as error:
            list(bee.collect_nectar("q", None))
        assert error.value.code == "limit"
        assert "temp_file_limit" in str(error.value)

    @pytest.mark.parametrize("state", ["26000", "42P05"])
    def test_a_pooler_that_was_not_told_is_named(self, state: str) -> None:
        error = verdict(state, "h:1/d")
        assert (type(error), error.code) == (GiveUp, "session")
        assert "transaction_pooling" in error.advice

    def test_bytes_that_are_no_utf8_are_named_not_mangled(self, db: Database, empty_database_url: str) -> None:
        name = f"ascii_{next(numbers)}"
        db.run(f"CREATE DATABASE {name} ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0")
        try:
            with psycopg.connect(**{**db.login, "dbname": name}, client_encoding="SQL_ASCII", autocommit=True) as other:  # type: ignore[arg-type]
                other.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
                other.execute(b"INSERT INTO t VALUES (1, 'caf\xe9')")
                other.execute(sql.SQL("GRANT SELECT ON t TO {}").format(sql.Identifier(db.role)))
            with db.bee(database=name) as bee, pytest.raises(GiveUp) as error:
                list(bee.collect_nectar("t", None))
            assert error.value.code == "encoding"
        finally:
            with psycopg.connect(**{**db.login, "dbname": name}, autocommit=True) as other:  # type: ignore[arg-type]
                other.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(db.role)))
            db.run(f"DROP DATABASE {name}")


class TestLeaving:
    def wait_until_gone(self, db: Database) -> None:
        until = datetime.now(UTC) + timedelta(seconds=5)
        while db.sessions():
            assert datetime.now(UTC) < until, "a session was left on the server"

    @pytest.fixture
    def big(self, db: Database) -> Database:
        db.run(
            "CREATE TABLE q (id int PRIMARY KEY, wide text NOT NULL)",
            "INSERT INTO q SELECT i, repeat('x', 1000) FROM generate_series(1, 50000) AS i",
        )
        return db

    def test_closing_in_the_middle_ends_the_session_on_the_server(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        assert big.sessions() == 1
        batches.close()  # type: ignore[attr-defined]
        self.wait_until_gone(big)

    def test_an_abandoned_iterator_leaves_no_session(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        del batches
        self.wait_until_gone(big)

    def test_closing_the_bee_ends_what_it_reads(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        bee.close()
        self.wait_until_gone(big)
        with pytest.raises(RetryLater):
            list(batches)

    def test_batches_of_wide_rows_stay_small(self, big: Database) -> None:
        with big.bee(batch_bytes=65536, batch_rows=50000) as bee, closing(bee.collect_nectar("q", None)) as batches:  # type: ignore[type-var]
            sizes = [batch.table.nbytes for batch in itertools.islice(batches, 20)]
        assert max(sizes) < 2 * 65536

    def test_a_session_killed_in_the_middle_is_for_later_and_resumes(self, big: Database) -> None:
        seen, cursor = [], None
        kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"

        def read_until_killed(bee: PostgreSQLWorkerBee) -> None:
            nonlocal seen, cursor
            for number, batch in enumerate(bee.collect_nectar("q", None)):
                seen, cursor = seen + ids(batch.table.to_pylist()), batch.cursor
                if number == 1:
                    big.owner.execute(kill, (big.role,))

        with big.bee(batch_bytes=65536, batch_rows=50000) as bee, pytest.raises(RetryLater) as error:
            read_until_killed(bee)
        with big.bee(batch_bytes=65536, batch_rows=50000) as bee:
            seen += ids(rows(list(bee.collect_nectar("q", cursor))))

        assert error.value.code in ("restarting", "unreachable")
        assert seen == list(range(1, 50001))

    def test_a_server_that_restarts_in_the_middle_is_for_later(self, big: Database, postgres: Any) -> None:
        with big.bee(batch_bytes=65536, batch_rows=50000) as bee:
            batches = bee.collect_nectar("q", None)
            first = next(batches)
            postgres.kill()
            with pytest.raises(RetryLater):
                list(batches)
            with pytest.raises(RetryLater):
                bee.validate_flight_path()
            postgres.start()
            rest = rows(list(bee.collect_nectar("q", first.cursor)))

        assert ids(first.table.to_pylist() + rest) == list(range(1, 50001))
        big.owner.close()


class TestQueriesOfPeople:
    def test_a_refusal_names_the_stream_and_the_place(self, db: Database) -> None:
        stream = {"query": "SELECT 1 AS id,\n  nextval('s')", "key": "id"}
        with db.bee(streams={"q": stream}) as bee, pytest.raises(SecurityViolation) as error:
            bee.validate_flight_path()

        assert (error.value.code, error.value.where) == ("function", "streams.q.query, line 2, column 3")

    def test_functions_of_well_known_extensions_are_called(self, db: Database) -> None:
        db.run("CREATE EXTENSION pg_trgm", "CREATE SCHEMA ext", "CREATE EXTENSION unaccent SCHEMA ext")
        query = "SELECT 1 AS id, similarity('bee', 'bees') > 0.4 AS near, ext.unaccent('é') AS plain, lower('A') AS low"
        with db.bee(streams={"q": {"query": query, "key": "id"}}) as bee:
            bee.validate_flight_path()
            assert rows(list(bee.collect_nectar("q", None))) == [{"id": 1, "near": True, "plain": "e", "low": "a"}]

    @pytest.mark.parametrize(
        "call",
        [
            "set_limit(0.5)",  # it changes the session
            "crosstab('SELECT 1, 2, 3')",  # it runs a text
            "similarity(1, 2)",  # somebody else's, of the same name
            "similarity('a', 'b')",
            "public.similarity('a', 'b')",
            "unaccent('a')",  # somebody else's, and no schema says which one is meant
        ],
    )
    def test_others_are_not_whoever_has_their_name(self, db: Database, call: str) -> None:
        db.run(
            "CREATE EXTENSION pg_trgm", "CREATE EXTENSION tablefunc", "CREATE SCHEMA ext",
            "CREATE EXTENSION unaccent SCHEMA ext",
            "CREATE FUNCTION similarity(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'",
            "CREATE FUNCTION unaccent(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
        )  # fmt: skip
        with db.bee(streams={"q": {"query": f"SELECT 1 AS id, {call} AS n", "key": "id"}}) as bee:
            with pytest.raises(SecurityViolation) as error:
                bee.validate_flight_path()
            assert error.value.code == "function"

    def test_functions_of_the_source_are_called_where_they_are_listed(self, db: Database) -> None:
        db.run("CREATE FUNCTION doubled(n int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 2 * n'")
        stream = {"query": "SELECT 1 AS id, doubled(21) AS n", "key": "id"}
        with db.bee(streams={"q": stream}) as bee, pytest.raises(SecurityViolation):
            bee.validate_flight_path()

        with db.bee(streams={"q": stream | {"functions": ["doubled"]}}) as bee:
            assert rows(list(bee.collect_nectar("q", None))) == [{"id": 1, "n": 42}]
