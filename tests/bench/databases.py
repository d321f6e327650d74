"""The same table out of PostgreSQL, MariaDB and a peer that speaks MongoDB's protocol: how quickly does each come?

Once into jars, by whole flights of one collecting and two scrubbing processes; once by the bees alone, in processor
time of this process, which no other program's work disturbs. The peer serves documents out of memory in a process of
its own (`mongo_peer.py`); no MongoDB can be had here, and the server that the tests use takes a time that grows with
the square of the collection.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nests
import psycopg
from load import ALIVE, PROFILE, grow, seconds
from report import Figure

from hive.demo import source as shop

HERE = Path(__file__).parent
ROWS, QUICK_ROWS = 300_000, 100_000
OTHERS = {"mysql": "MariaDB", "mongodb": "MongoDB's protocol"}
_MADE = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text, email text, phone text, card text, ssn text, address text,
                        notes text, updated_at datetime(6) NOT NULL) CHARACTER SET utf8mb4
"""
_MANY = 2_000


def measure(*, quick: bool) -> list[Figure]:
    """Each repetition loads the table from all three, one after the other; ratios are of one repetition."""
    rows, times = (QUICK_ROWS, 2) if quick else (ROWS, 3)
    with (
        nests.folder() as home,
        nests.servers(home) as (database, _),
        nests.part(home, "collect", "worker", "--queues", "bees.database", "-c", "1"),
        nests.part(home, "scrub", "worker", "--queues", "nectar", "-c", "2"),
        nests.part(home, "beat", "beat"),
        nests.manager() as hive,
        psycopg.connect(database, autocommit=True) as ledger,
    ):
        nests.wait("three processes", lambda: len(ledger.execute(ALIVE).fetchall()) >= 4)
        source = shop.fill(database, customers=1_000, orders=0)
        grow(source, rows)
        with _sources(home, source) as sources:
            flights: dict[str, list[float]] = {}
            alone: dict[str, list[float]] = {}
            for n in range(times):
                for kind, options in sources.items():
                    alone.setdefault(kind, []).append(_alone(kind, options, rows))
                    flights.setdefault(kind, []).append(_load(hive, f"{kind}-{n}", kind, options, rows))
                    nests.indexed(ledger)
    return [*_figures("first load", "records/s", flights, rows, 0.5), *_figures("reading alone", "rows/s", alone, rows)]


def _figures(
    what: str, unit: str, seen: dict[str, list[float]], rows: int, at_least: float | None = None
) -> Iterator[Figure]:
    first = seen["postgresql"]
    for kind, name in OTHERS.items():
        ratios = [p / s for p, s in zip(first, seen[kind], strict=True)]
        yield Figure(f"{what} from {name} beside PostgreSQL", "x its rows", ratios, at_least=at_least)
    for kind, taken in seen.items():
        yield Figure(f"{what} from {OTHERS.get(kind, 'PostgreSQL')}", unit, [rows / s for s in taken])


def _load(hive: Any, name: str, kind: str, options: dict[str, Any], rows: int) -> float:
    """A new bee's first flight; its seconds by the ledger's clock."""
    block = {"source": options, "streams": {"customers": {}}, "scrubbing": {"profile": PROFILE}, "honey_jar": name}
    hive.register_worker(kind, {"name": name, **block})
    result = nests.landed(hive.fly(name), 600)
    if result.records_landed != rows:
        raise RuntimeError(f"{result.records_landed} of {rows} records landed")
    return seconds(result)


def _alone(kind: str, options: dict[str, Any], rows: int) -> float:
    """Seconds of this process's processor time for a reading of everything by the bee."""
    from hive.registry import connector

    with connector(kind).from_options({**options, "streams": {"customers": {}}}) as bee:
        bee.get_pollen_schema()
        before = time.process_time()
        read = sum(batch.table.num_rows for batch in bee.collect_nectar("customers", None))
        taken = time.process_time() - before
    if read != rows:
        raise RuntimeError(f"{kind} gave {read} of {rows} rows")
    return taken


@contextlib.contextmanager
def _sources(home: Path, source: shop.Source) -> Iterator[dict[str, dict[str, Any]]]:
    """The options of each bee. The first one holds the rows; the others have them from it."""
    login = {"user": source.user, "password": source.password, "ssl_mode": "disable"}
    first = {"host": source.host, "port": source.port, "database": source.database, **login}
    with _mariadb(home, source) as second, _peer(source) as port:
        third = {"hosts": ["127.0.0.1"], "port": port, "database": "shop"}
        yield {"postgresql": first, "mysql": second, "mongodb": third}


@contextlib.contextmanager
def _mariadb(home: Path, source: shop.Source) -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.servers.mariadb import MariaDB

    folder = home / "mariadb"
    folder.mkdir()
    server = MariaDB(folder)
    server.start()
    try:
        with contextlib.closing(server.root()) as root:
            root.query("CREATE DATABASE shop")
            root.select_db("shop")
            root.query(_MADE)
            root.query("CREATE USER reader@'%' IDENTIFIED BY 'reader'")
            root.query("GRANT SELECT ON shop.* TO reader@'%'")
            with psycopg.connect(source.url) as owner, owner.cursor("rows") as read, root.cursor() as write:
                read.execute(
                    "SELECT id, name, email, phone, card, ssn, address, notes, updated_at AT TIME ZONE 'UTC'"
                    " FROM customers ORDER BY id"
                )
                while some := read.fetchmany(_MANY):
                    write.executemany("INSERT INTO customers VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", some)
            root.query("ANALYZE TABLE customers PERSISTENT FOR ALL")
        login = {"database": "shop", "user": "reader", "password": "reader", "ssl_mode": "disable"}
        yield {"host": "127.0.0.1", "port": server.port, **login}
    finally:
        server.stop(hard=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _peer(source: shop.Source) -> Iterator[int]:
    """The port of a peer that holds the table."""
    command = [sys.executable, HERE / "mongo_peer.py", source.url, "customers"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        try:
            yield int(peer.stdout.readline())
        finally:
            peer.stdin.close()
            peer.wait(30)
