"""A server that dies in the middle of a flight, and its standby that takes its place, at the same address."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from bees.core.errors import GiveUp, RetryLater
from bees.core.pool import shared
from bees.postgresql import PostgreSQLWorkerBee
from hive.embedded.places import server_account
from tests.bees.contract import rows
from tests.bees.postgresql_source import ids
from tests.servers import short_folder
from tests.servers.debian import environment
from tests.servers.postgres15 import PASSWORD, Postgres15
from tests.servers.relay import Address, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers


class Standby(Postgres15):
    """A copy of another server that takes in whatever that one writes, until it is promoted."""

    def __init__(self, folder: Path, primary: Postgres15) -> None:
        super().__init__(folder)
        data = folder / "data"
        program = self._programs / "usr/lib/postgresql/15/bin/pg_basebackup"
        conninfo = psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=primary.port, user="owner", password=PASSWORD, application_name="standby"
        )
        subprocess.run(
            [program, "-D", data, "-d", conninfo, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            env=environment(self._programs), check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        if account := server_account():
            for path in (data, *data.rglob("*")):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)


class Pair:
    """A primary and its standby behind one address, and a role that may read a table of theirs."""

    def __init__(self, primary: Postgres15, standby: Postgres15) -> None:
        self.primary, self.standby = primary, standby
        self.address = Address(primary.port)

    def bee(self, **changed: Any) -> PostgreSQLWorkerBee:
        plain = {"host": "127.0.0.1", "port": self.address.port, "database": "postgres", "ssl_mode": "disable"}
        reader = {"user": "reader", "password": PASSWORD, "batch_bytes": 65536, "batch_rows": 50_000}
        return PostgreSQLWorkerBee.from_options(plain | reader | changed)

    def on(self, server: Postgres15, *statements: str) -> list[Any]:
        with psycopg.connect(server.url(), autocommit=True) as owner:
            for statement in statements:
                found = owner.execute(statement.encode())
            return found.fetchall() if found.description else []

    def caught_up(self) -> None:
        """Wait until the standby has what the primary has written."""
        [(place,)] = self.on(self.primary, "SELECT pg_current_wal_lsn()::text")
        until(lambda: self.on(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{place}'") == [(True,)])

    def fail_over(self) -> None:
        """The primary dies where it stands, the standby is promoted and takes its address."""
        self.primary.stop(hard=True)
        self.address.to = self.standby.port
        self.on(self.standby, "SELECT pg_promote()")


@pytest.fixture
def pair() -> Iterator[Pair]:
    with short_folder() as folder:
        (folder / "a").mkdir(mode=0o711)
        (folder / "b").mkdir(mode=0o711)
        primary = Postgres15(folder / "a")
        primary.start()
        standby: Postgres15 | None = None
        try:
            with (folder / "a/data/pg_hba.conf").open("a") as rules:
                rules.write("host replication owner 127.0.0.1/32 scram-sha-256\n")
            with psycopg.connect(primary.url(), autocommit=True) as owner:
                owner.execute("SELECT pg_reload_conf()")
                owner.execute(sql.SQL("CREATE ROLE reader LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
                owner.execute("CREATE TABLE q (id int PRIMARY KEY, wide text NOT NULL, at timestamptz NOT NULL)")
                owner.execute("CREATE INDEX ON q (at)")
                made = "i, repeat('x', 1000), now() - (1000 - i / 30) * interval '1 s'"
                owner.execute(f"INSERT INTO q SELECT {made} FROM generate_series(1, 20000) AS i".encode())
                owner.execute("GRANT SELECT ON q TO reader")
            standby = Standby(folder / "b", primary)
            standby.start()
            both = Pair(primary, standby)
            yield both
            both.address.close()
        finally:
            primary.stop(hard=True)
            if standby is not None:
                standby.stop(hard=True)


def test_a_flight_goes_on_at_the_standby_that_took_over(pair: Pair) -> None:
    pair.caught_up()
    with pair.bee() as bee:
        batches = bee.collect_nectar("q", None)
        seen = [next(batches)]
        pair.fail_over()
        with pytest.raises(RetryLater):
            seen.extend(batches)
        seen += bee.collect_nectar("q", seen[-1].cursor)

    assert ids(rows(seen)) == list(range(1, 20001))
    assert seen[-1].complete


def test_what_the_standby_never_got_does_not_hide_what_it_writes_then(pair: Pair) -> None:
    """The mark stands at a row that the new server does not have, so reading begins anew."""
    pair.caught_up()
    pair.on(pair.standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    until(lambda: pair.on(pair.primary, "SELECT 1 FROM pg_stat_replication") == [])
    pair.on(pair.primary, "INSERT INTO q VALUES (20001, 'lost', now())")
    with pair.bee(streams={"q": {"cursor": "at", "lookback": 0}}) as bee:
        [*_, last] = list(bee.collect_nectar("q", None))
        pair.fail_over()
        pair.on(pair.standby, "INSERT INTO q SELECT 20002, 'below the mark', max(at) FROM q")
        with suppress(RetryLater):  # a session with the dead server may lie in the pool
            list(bee.collect_nectar("q", last.cursor))
        again = ids(rows(list(bee.collect_nectar("q", last.cursor))))

    assert ids(last.table.to_pylist())[-1] == 20001
    assert again == [*range(1, 20001), 20002]


def test_a_standby_is_read_as_of_one_moment(pair: Pair) -> None:
    pair.caught_up()
    pair.address.to = pair.standby.port
    with pair.bee(consistent=True) as bee:
        bee.validate_flight_path()
        moment = bee.one_moment()
        assert moment is not None
        with moment:
            pair.on(pair.primary, "INSERT INTO q VALUES (20001, 'later', now())")
            pair.caught_up()
            assert len(rows(list(bee.collect_nectar("q", None)))) == 20000
        assert len(rows(list(bee.collect_nectar("q", None)))) == 20001


def test_a_part_is_not_read_at_a_replica_that_lacks_what_the_mark_has_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or rows below the mark, which the replica gets later, would never be read."""
    monkeypatch.setattr("bees.core.sql.progress._PATIENCE", 0.3)
    pair.on(pair.primary, "ANALYZE q")
    pair.caught_up()
    pair.on(pair.standby, "SELECT pg_wal_replay_pause()")
    pair.on(pair.primary, "INSERT INTO q SELECT i, 'late', now() FROM generate_series(20001, 20100) AS i")
    how: dict[str, Any] = {"slices": 4, "slice_rows": 1000, "streams": {"q": {"cursor": "at", "lookback": 0}}}
    with pair.bee(**how) as bee:
        parts = list(bee.slices("q", None))
        then = bee.after_slices("q", parts)
        shared().close()  # sessions with the primary
        pair.address.to = pair.standby.port
        with pytest.raises(RetryLater, match="behind") as error:
            list(bee.collect_nectar("q", None, parts[-1]))
        monkeypatch.setattr("bees.core.sql.progress._PATIENCE", 30)
        pair.on(pair.standby, "SELECT pg_wal_replay_resume()")
        seen = [row for part in parts for row in rows(list(bee.collect_nectar("q", None, part)))]
        behind = list(bee.collect_nectar("q", then))

    assert (error.value.code, error.value.where) == ("server_behind", "streams.q")
    assert ids(seen) == list(range(1, 20101))
    assert ids(rows(behind)) == list(range(20001, 20101))  # without a look-back the mark's own rows come again


def test_a_part_is_not_read_at_a_server_of_other_rows(pair: Pair) -> None:
    pair.on(pair.primary, "ANALYZE q")
    how: dict[str, Any] = {"slices": 4, "slice_rows": 1000, "streams": {"q": {"cursor": "at"}}}
    with pair.bee(**how) as bee:
        parts = [part.replace('"seen": "', '"seen": "9') for part in bee.slices("q", None)]
        with pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None, parts[0]))
    assert (error.value.code, error.value.where) == ("another_server", "streams.q")
    assert "--full-refresh" in error.value.advice
