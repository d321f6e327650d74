"""Sessions of the PostgreSQL bee outlive a flight, come back clean, and go through pgbouncer in transaction mode."""

from __future__ import annotations

import socketserver
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.pool import shared
from bees.postgresql import PostgreSQLWorkerBee
from tests.bees.contract import BeeContract, Source, rows
from tests.bees.postgresql_source import PASSWORD, Database, ids, source_database  # noqa: F401 - the fixture `db`
from tests.servers.pgbouncer import PgBouncer, pgbouncer  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hive.embedded import EmbeddedPostgres

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def table(db: Database) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) AS i"
    )


def pids(db: Database) -> set[int]:
    return {pid for (pid,) in db.rows(f"SELECT pid FROM pg_stat_activity WHERE usename = '{db.role}'")}


def reuse(bee: PostgreSQLWorkerBee) -> float:
    key = str(bee.server.key())
    found = [s["metrics"] for name, s in shared().get_pool_status().items() if name.startswith(key)]
    return 1 - sum(m["created"] for m in found) / sum(m["checkouts"] for m in found)


class TestReuse:
    def test_flights_share_sessions(self, db: Database) -> None:
        with db.bee(streams={"t": {}}) as bee:
            list(bee.collect_nectar("t", None))
            before = pids(db)
            for _ in range(30):
                assert len(rows(list(bee.collect_nectar("t", None)))) == 10
            assert pids(db) == before
            assert len(before) == 2
            assert reuse(bee) > 0.9
        self.wait_until_gone(db)

    def test_bees_with_the_same_login_share_them(self, db: Database) -> None:
        with db.bee(streams={"t": {}}) as one, db.bee(streams={"t": {}}) as two:
            list(one.collect_nectar("t", None))
            before = pids(db)
            list(two.collect_nectar("t", None))
            assert pids(db) == before
            one.close()
            assert pids(db) == before
        self.wait_until_gone(db)

    def test_a_new_password_is_a_new_session(self, db: Database) -> None:
        with db.bee(streams={"t": {}}) as one:
            list(one.collect_nectar("t", None))
            db.run(sql.SQL("ALTER ROLE {} PASSWORD 'another'").format(sql.Identifier(db.role)))
            with db.bee(streams={"t": {}}) as old, db.bee(streams={"t": {}}, password="another") as new:
                list(old.collect_nectar("t", None))  # its sessions were let in by the password of that time
                before = pids(db)
                list(new.collect_nectar("t", None))
                assert len(pids(db) - before) == 2

    def test_nothing_is_left_in_a_session(self, db: Database) -> None:
        with db.bee(streams={"t": {}}) as bee:
            list(bee.collect_nectar("t", None))
            with bee.server.questions() as connection:
                connection.execute("SELECT set_config('application_name', 'left behind', false)")
                connection.execute("SELECT pg_advisory_lock_shared(7)")
            with bee.server.questions() as connection:
                assert connection.execute("SHOW application_name").fetchone() == ("worker-bees",)
                assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
            assert db.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]

    def test_a_role_that_may_have_one_session_at_a_time_flies_as_well(self, db: Database) -> None:
        db.run(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(sql.Identifier(db.role)))
        with db.bee(streams={"t": {}}) as bee:
            for _ in range(3):
                assert len(rows(list(bee.collect_nectar("t", None)))) == 10

    def test_sessions_that_the_server_ended_are_replaced(self, db: Database) -> None:
        with db.bee(streams={"t": {}}) as bee:
            list(bee.collect_nectar("t", None))
            db.rows(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{db.role}'")
            time.sleep(1.1)  # what was used a moment ago is not asked for a sign of life
            assert len(rows(list(bee.collect_nectar("t", None)))) == 10

    def test_a_server_that_restarts_is_found_again(self, db: Database, postgres: EmbeddedPostgres) -> None:
        with db.bee(streams={"t": {}}) as bee:
            list(bee.collect_nectar("t", None))
            postgres.kill()
            with pytest.raises(RetryLater):
                list(bee.collect_nectar("t", None))
            postgres.start()
            time.sleep(1.1)
            assert len(rows(list(bee.collect_nectar("t", None)))) == 10
        db.owner.close()

    def wait_until_gone(self, db: Database) -> None:
        ends = time.monotonic() + 5
        while pids(db):
            assert time.monotonic() < ends, "a session was left on the server"


@pytest.fixture
def pooled(db: Database, pgbouncer: PgBouncer) -> dict[str, Any]:  # noqa: F811
    """Options that reach the database through the pooler."""
    pgbouncer.know(db.role, PASSWORD)
    return db.options(port=pgbouncer.port, transaction_pooling=True, ssl_mode="disable", streams={"t": {}})


class TestBehindPgBouncer(BeeContract):
    connector = "postgresql"

    @pytest.fixture
    def source(self, db: Database, pooled: dict[str, Any]) -> Source:
        return Source(
            options=pooled,
            stream="t",
            keys=set(range(1, 11)),
            key_of=lambda row: row["id"],
            unreachable=pooled | {"port": 1},
            denied=pooled | {"password": "not this one"},
            secrets=(PASSWORD,),
            fingerprint=lambda: db.rows("SELECT id, v FROM t ORDER BY id"),
        )

    def test_many_bees_share_the_few_sessions_of_the_pooler(self, db: Database, pooled: dict[str, Any]) -> None:
        bees = [db.bee(**pooled) for _ in range(6)]
        for _ in range(3):
            for bee in bees:
                assert ids(rows(list(bee.collect_nectar("t", None)))) == list(range(1, 11))
        assert len(pids(db)) <= 2
        for bee in bees:
            bee.close()

    def test_every_transaction_is_read_only_and_has_its_settings(self, db: Database, pooled: dict[str, Any]) -> None:
        names = ("transaction_read_only", "statement_timeout", "lock_timeout", "TimeZone", "search_path")
        query = "SELECT 1 AS id, " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
        streams = {"q": {"query": query, "key": "id", "functions": ["current_setting"]}}
        with db.bee(**pooled | {"streams": streams, "statement_timeout": 7}) as bee:
            (found,) = rows(list(bee.collect_nectar("q", None)))
        assert list(found.values()) == [1, "on", "7s", "30s", "UTC", '"public"']

    def test_nothing_is_left_for_the_next_client(self, db: Database, pooled: dict[str, Any]) -> None:
        with db.bee(**pooled | {"statement_timeout": 7}) as bee:
            list(bee.collect_nectar("t", None))
        with psycopg.connect(
            host="127.0.0.1", port=pooled["port"], user=db.role, password=PASSWORD, dbname=pooled["database"],
            sslmode="disable", prepare_threshold=None,
        ) as other:  # fmt: skip
            assert other.execute("SHOW statement_timeout").fetchone() == ("0",)
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)

    def test_settings_that_the_pooler_does_not_take_are_named(self, db: Database, pooled: dict[str, Any]) -> None:
        with db.bee(**pooled | {"transaction_pooling": False}) as bee, pytest.raises((GiveUp, RetryLater)) as error:
            bee.validate_flight_path()
        assert "transaction_pooling" in str(error.value)


@contextmanager
def pooler_that_says(text: str) -> Iterator[int]:
    """The port of a peer that refuses each login in pgbouncer's way, whatever the reason: under the code 08P01."""
    fields = f"SFATAL\0C08P01\0M{text}\0\0".encode()

    class Login(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Login) as peer:
        thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield peer.server_address[1]
        finally:
            peer.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("password authentication failed", GiveUp, "session"),
        ("SASL authentication failed", GiveUp, "session"),
        ("no such user", GiveUp, "session"),
        ("no such database: test", GiveUp, "session"),
        ("unsupported startup parameter: options", GiveUp, "session"),
        ("server conn crashed?", RetryLater, "unreachable"),
        ("server login has been failing, try again later (server_login_retry)", RetryLater, "unreachable"),
        ("client_login_timeout (server down)", RetryLater, "unreachable"),
        ("query_wait_timeout", RetryLater, "unreachable"),
        ("no more connections allowed (max_client_conn)", RetryLater, "unreachable"),
    ],
)
def test_only_what_a_person_must_change_is_final(text: str, kind: type[SourceError], code: str) -> None:
    """A pooler says with one code that a login is wrong, and that the server behind it is not there for now."""
    with pooler_that_says(text) as port:
        login = {"host": "127.0.0.1", "port": port, "database": "password", "user": "u", "ssl_mode": "disable"}
        made = PostgreSQLWorkerBee.from_options(login | {"password": PASSWORD, "transaction_pooling": True})
        with made as bee, pytest.raises(kind) as error:
            bee.validate_flight_path()
    assert error.value.code == code
    assert error.value.advice
