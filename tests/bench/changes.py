"""Changes out of a server's log: do 5,000 a second land, and how old is what the jar shows, while they come?

A table of a thousand rows is updated in transactions of 100 rows, fifty a second; names and addresses are scrubbed on
their way. One row is in every transaction and holds when it was written: how old its copy in the jar is, looked at
every 0.1 s, is the way from commit to jar, plus up to 0.02 s until the next transaction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import nests
import psycopg
import psycopg.conninfo
from report import Figure

from hive.embedded import EmbeddedPostgres
from hive.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE, _TICK = 5000, 0.02
_ROWS, _EACH = 1000, int(RATE * _TICK)
_SHOWN = "SELECT max(data->>'at') FROM hive.honey WHERE (data->>'id')::bigint = 0"
_LANDED = "SELECT coalesce(sum((data->>'n')::bigint), 0), count(*) FROM hive.honey"


class Source(Protocol):
    block: dict[str, Any]
    """Of its bee."""

    def change(self, first: int, last: int) -> None:
        """One transaction: these rows and row 0, each counted up, with the time of now in UTC."""

    def written(self) -> int:
        """All rows' counts."""


def measure(*, quick: bool) -> list[Figure]:
    seconds = 8.0 if quick else 30.0
    figures: list[Figure] = []
    for name, kind in (("PostgreSQL", _postgresql), ("MariaDB", _mariadb)):
        settings.cache_clear()  # each has a hive of its own
        with nests.folder() as home, kind(home) as source:
            rate, ages, behind = _follow(home, source, seconds)
        figures += [
            Figure(f"changes of {name} written", "1/s", [rate], at_least=0.98 * RATE),
            Figure(f"commit to jar, {name}", "s", ages, held="p95", at_most=2.0),
            Figure(f"the last change of {name} to jar", "s", [behind], at_most=5.0),
        ]
    return figures


def _follow(home: Path, source: Source, seconds: float) -> tuple[float, list[float], float]:
    """(changes written in a second, ages of what the jar showed, seconds from the last change to the jar)."""
    with nests.whole_hive(home, {"changes": source.block}) as nest:
        nest.wait_for({"beat", "worker bees.database", "worker nectar"})
        with nests.manager() as hive, psycopg.connect(nest.state["database_url"], autocommit=True) as jar:
            hive.fly("changes")
            nests.wait("the rows that were there", lambda: jar.execute(_LANDED).fetchone() == (0, _ROWS + 1))
            source.change(1, 2)
            nests.wait("the first change", lambda: (jar.execute(_LANDED).fetchone() or (0,))[0] == source.written())
            ages: list[float] = []
            with _watching(nest.state["database_url"], ages):
                rate, ended = _write(source, seconds)
                wanted = source.written()
                nests.wait("the last change", lambda: (jar.execute(_LANDED).fetchone() or (0,))[0] == wanted, 60)
                behind = time.time() - ended
    return rate, ages, behind


def _write(source: Source, seconds: float) -> tuple[float, float]:
    began, number = time.time(), 0
    while (now := time.time()) - began < seconds:
        time.sleep(max(0.0, began + number * _TICK - now))
        first = number * _EACH % (_ROWS - _EACH) + 1
        source.change(first, first + _EACH - 2)  # and row 0
        number += 1
    ended = time.time()
    return number * _EACH / (ended - began), ended


@contextlib.contextmanager
def _watching(url: str, ages: list[float]) -> Iterator[None]:
    stop = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as jar:
            while not stop.wait(0.1):
                [(shown,)] = jar.execute(_SHOWN).fetchall()
                told = dt.datetime.fromisoformat(shown).replace(tzinfo=dt.UTC)
                ages.append(time.time() - told.timestamp())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


_SCRUBBED = {"streams": {"t": {}}, "scrubbing": {"profile": "gdpr_compliant"}}


@contextlib.contextmanager
def _postgresql(home: Path) -> Iterator[Source]:
    server = EmbeddedPostgres(home, fast=True)
    server.start()
    try:
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute("ALTER SYSTEM SET wal_level = 'logical'")
        server.stop()
        server.start()
        with contextlib.closing(_Postgresql(server.create_database("changes"))) as source:
            yield source
    finally:
        server.destroy()


class _Postgresql:
    def __init__(self, url: str) -> None:
        self._owner = psycopg.connect(url, autocommit=True)
        for statement in (
            "CREATE TABLE t (id int PRIMARY KEY, n bigint, at timestamp, name text, email text)",
            f"INSERT INTO t SELECT i, 0, now(), 'Ada Byron', i || '@example.com' FROM generate_series(0, {_ROWS}) i",
            "CREATE PUBLICATION told FOR TABLE t",
        ):
            self._owner.execute(statement.encode())
        login = psycopg.conninfo.conninfo_to_dict(url)
        server = {"host": login["host"], "port": int(str(login["port"])), "database": login["dbname"]}
        user = {"user": login["user"], "password": login.get("password", ""), "allow_writable_role": True}
        cdc = {"slot": "bench", "publication": "told", "create_slot": True, "wait": 20}
        self.block = {
            "type": "postgresql",
            "source": {**server, **user, "ssl_mode": "disable", "cdc": cdc},
            **_SCRUBBED,
        }

    def change(self, first: int, last: int) -> None:
        self._owner.execute(
            "UPDATE t SET n = n + 1, at = clock_timestamp() AT TIME ZONE 'UTC' WHERE id BETWEEN %s AND %s OR id = 0",
            (first, last),
        )

    def written(self) -> int:
        [(found,)] = self._owner.execute("SELECT sum(n)::bigint FROM t").fetchall()
        return int(found)

    def close(self) -> None:
        self._owner.close()


@contextlib.contextmanager
def _mariadb(home: Path) -> Iterator[Source]:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.servers.mariadb import MariaDB

    folder = home / "mariadb"
    folder.mkdir()
    server = MariaDB(folder)
    server.start()
    try:
        with contextlib.closing(_Mariadb(server)) as source:
            yield source
    finally:
        server.stop(hard=True)
        shutil.rmtree(folder, ignore_errors=True)


class _Mariadb:
    def __init__(self, server: Any) -> None:
        root = server.root()
        root.query("CREATE DATABASE changes")
        self._root = server.root("changes")
        root.close()
        for statement in (
            "CREATE TABLE t (id int PRIMARY KEY, n bigint, at datetime(6), name varchar(50), email varchar(50))",
            f"INSERT INTO t SELECT seq, 0, now(6), 'Ada Byron', concat(seq, '@example.com') FROM seq_0_to_{_ROWS}",
            "CREATE USER reader@'%' IDENTIFIED BY 'reader'",
            "GRANT SELECT ON changes.* TO reader@'%'",
            "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO reader@'%'",
        ):
            self._root.query(statement)
        login = {"host": "127.0.0.1", "port": server.port, "database": "changes", "user": "reader"}
        source = {**login, "password": "reader", "ssl_mode": "disable", "cdc": {"wait": 20}}
        self.block = {"type": "mysql", "source": source, **_SCRUBBED}

    def change(self, first: int, last: int) -> None:
        with self._root.cursor() as cursor:
            cursor.execute(
                "UPDATE t SET n = n + 1, at = utc_timestamp(6) WHERE id BETWEEN %s AND %s OR id = 0", (first, last)
            )

    def written(self) -> int:
        with self._root.cursor() as cursor:
            cursor.execute("SELECT CAST(sum(n) AS SIGNED) FROM t")
            [(found,)] = cursor.fetchall()
        return int(found)

    def close(self) -> None:
        self._root.close()
