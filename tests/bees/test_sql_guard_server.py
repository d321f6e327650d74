"""The guard beside a real server: what it lets in says the same, leaves no trace, and its lists are the server's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql as composed

from bees.core.sql.checks.functions import packaged, postgres_lists
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.guard import check_query
from hive.embedded import EmbeddedPostgres
from tests.bees.sql_queries import reads, schema, statements

_OF_THE_MOMENT = ("clock_timestamp", "TABLESAMPLE system", "EXPLAIN ANALYZE")
# Everything that a statement might leave behind, in one text.
_STATE = """
SELECT concat_ws(E'\\n',
    (SELECT md5(string_agg(o::text, ',' ORDER BY o.id)) FROM orders o),
    (SELECT md5(string_agg(c::text, ',' ORDER BY c.id)) FROM customers c),
    (SELECT md5(string_agg(i::text, ',' ORDER BY i::text)) FROM items i),
    (SELECT last_value || ' ' || is_called FROM counter),
    (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_largeobject_metadata),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), (SELECT count(*) FROM pg_prepared_xacts),
    (SELECT count(*) FROM pg_replication_slots), pg_notification_queue_usage(),
    (SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings),
    (SELECT md5(string_agg(rolname || rolsuper, ',' ORDER BY rolname)) FROM pg_roles))
"""


@pytest.fixture(scope="module")
def source(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    url = postgres.create_database("guarded")
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(schema())
        owner.execute("CREATE SEQUENCE counter")
        owner.execute("DROP ROLE IF EXISTS guarded_reader")
        owner.execute("CREATE ROLE guarded_reader NOSUPERUSER")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded_reader")
        owner.execute("GRANT SELECT ON counter TO guarded_reader")
        yield owner
        owner.execute("DROP OWNED BY guarded_reader")
        owner.execute("DROP ROLE guarded_reader")
    postgres.drop_database("guarded")


@pytest.fixture
def reader(source: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A session of a role that may only read, within a transaction that may only read."""
    with psycopg.connect(source.info.dsn, password=source.info.password, autocommit=True) as connection:
        connection.execute("SET ROLE guarded_reader")
        connection.execute("BEGIN READ ONLY")
        yield connection
        connection.execute("ROLLBACK")


def answer(connection: psycopg.Connection[Any], text: str) -> tuple[Any, ...]:
    """Column names and rows, or the error's kind; the transaction goes on."""
    connection.execute("SAVEPOINT s")
    try:
        cursor = connection.execute(text.encode())
        names = [d.name for d in cursor.description or ()]
        return names, [repr(row) for row in cursor.fetchall()]
    except psycopg.Error as error:
        return ("error", error.sqlstate)
    finally:
        connection.execute("ROLLBACK TO s")


def state(connection: psycopg.Connection[Any]) -> Any:
    return connection.execute(_STATE).fetchone()


@pytest.mark.parametrize("kind", ["postgres_functions", "postgres_dotted", "postgres_operators"])
def test_the_packaged_lists_are_those_of_the_server(source: psycopg.Connection[Any], kind: Any) -> None:
    assert set(packaged(kind)) == postgres_lists(source)[kind]


@pytest.mark.parametrize("text", [s for s in statements("postgres_reads") if not any(m in s for m in _OF_THE_MOMENT)])
def test_what_is_printed_gives_the_same_rows(reader: psycopg.Connection[Any], text: str) -> None:
    plain = answer(reader, text)

    assert answer(reader, check_query(text)) == plain
    assert plain[0] != "error" or plain[1] == "0A000"  # the embedded server is built without XML


def test_what_is_let_in_leaves_no_trace(source: psycopg.Connection[Any], reader: psycopg.Connection[Any]) -> None:
    before = state(source), state(reader)
    for text in statements("postgres_reads"):
        answer(reader, check_query(text))
    calls = [f'SELECT "{name}"(NULL)' for name in sorted(packaged("postgres_functions"))]
    for text in calls:
        answer(reader, check_query(text))
    taken = reader.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()

    assert taken == (None,)
    assert (state(source), state(reader)) == before


def test_what_has_effects_on_the_server_is_refused(source: psycopg.Connection[Any]) -> None:
    """The attacks that this server would carry out, shown to be no straw men, are refused by the guard."""
    attacks = (
        "SELECT nextval('counter')",
        "SELECT (0.0::float8).pg_sleep",
        "SELECT s.pg_sleep FROM generate_series(0, 0) AS s",
        "WITH d AS (DELETE FROM items WHERE false RETURNING 1) SELECT * FROM d",
        "SELECT set_config('application_name', 'x', true)",
    )
    for text in attacks:
        with source.transaction(force_rollback=True):
            assert source.execute(text.encode()).description
        with pytest.raises(SecurityViolation):
            check_query(text)


def test_a_function_that_shadows_a_built_in_one_is_not_called(source: psycopg.Connection[Any]) -> None:
    with source.transaction(force_rollback=True):
        source.execute("CREATE SCHEMA evil")
        source.execute("CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shadowed' $$")
        source.execute(composed.SQL("SET LOCAL search_path = evil, pg_catalog, public"))
        assert source.execute("SELECT lower('A')").fetchone() == ("shadowed",)

        assert source.execute(check_query("SELECT lower('A')").encode()).fetchone() == ("a",)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.deferred(lambda: reads("postgres")))
def test_generated_queries_give_the_same_rows(reader: psycopg.Connection[Any], text: str) -> None:
    assert answer(reader, check_query(text)) == answer(reader, text)
