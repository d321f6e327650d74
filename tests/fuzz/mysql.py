"""The guard of MySQL, with a scratch MariaDB that says what is right: its binlog tells of all that is written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from bees.core.sql.errors import SecurityViolation
from bees.core.sql.guard import check_query
from tests.bees.sql_queries import statements
from tests.fuzz.findings import Findings
from tests.fuzz.mutants import Mutants
from tests.servers.mariadb import MariaDB

_TABLES = (
    "CREATE TABLE t (a int PRIMARY KEY, b int, c varchar(20), name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, customer_id int, status varchar(20), note text, total decimal(10, 2))",
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50), region varchar(10))",
    "CREATE TABLE items (order_id int, sku varchar(20), quantity int)",
    "INSERT INTO t SELECT seq, seq % 5, CONCAT('c', seq), 'x' FROM seq_1_to_20",
    "INSERT INTO orders SELECT seq, seq % 7, 'open', 'a note', seq * 1.5 FROM seq_1_to_30",
    "INSERT INTO customers SELECT seq, CONCAT('name ', seq), 'EU' FROM seq_1_to_7",
    "INSERT INTO items SELECT seq % 30, CONCAT('s', seq % 4), seq % 3 FROM seq_1_to_50",
    "SET GLOBAL max_statement_time = 3",
)


class Guarded:
    """A scratch database, and root, who may do everything."""

    def __init__(self, server: MariaDB) -> None:
        self._server = server
        root = server.root()
        root.query("CREATE DATABASE fuzz")
        root.select_db("fuzz")
        for statement in _TABLES:
            root.query(statement)
        root.close()
        self.root = server.root("fuzz")
        self.watcher = server.root("fuzz")

    def written(self) -> Any:
        """Up to where the binlog goes, and what there is."""
        with self.watcher.cursor() as cursor:
            cursor.execute("SHOW MASTER STATUS")
            place = cursor.fetchone()
            cursor.execute("SELECT COUNT(*) FROM information_schema.TABLES")
            return place, cursor.fetchone()

    def run(self, text: str) -> tuple[Any, str | None]:
        """(the rows, or the number of the error), what a statement does for one who may do everything."""
        before = self.written()
        try:
            self.root.query("START TRANSACTION")
            with self.root.cursor() as cursor:
                cursor.execute(text)
                rows: Any = sorted(map(repr, cursor.fetchall()))
                cursor.execute(
                    "SELECT COALESCE(SUM(trx_rows_locked), 0) FROM information_schema.INNODB_TRX"
                    " WHERE trx_mysql_thread_id = CONNECTION_ID()"
                )
                locked = bool(int((cursor.fetchone() or (0,))[0]))
            self.root.query("COMMIT")
        except pymysql.Error as error:
            self._begin_anew()
            return (error.args or (0,))[0], None
        return rows, "writes" if self.written() != before else "locks" if locked else None

    def _begin_anew(self) -> None:
        try:
            self.root.query("ROLLBACK")
        except pymysql.Error:
            self.root.close()
            self.root = self._server.root("fuzz")

    def close(self) -> None:
        self.root.close()
        self.watcher.close()


def fuzz_guard(seed: int, until: Callable[[int], bool], found: Findings) -> int:
    reads, writes = statements("mysql_reads"), statements("mysql_writes")
    number = 0
    with scratch_server() as server:
        scratch = Guarded(server)
        while until(number):
            text = Mutants(reads, writes, seed + number).one()
            number += 1
            try:
                printed = check_query(text, "mysql")
            except SecurityViolation:
                found.counts["refused"] += 1
                continue
            found.counts["let in"] += 1
            rows, effect = scratch.run(printed)
            if effect is not None:
                found.add(f"let in, and {effect}", text)
            found.counts["let in, and answered"] += not isinstance(rows, int)
        scratch.close()
    return number


@contextmanager
def scratch_server() -> Iterator[MariaDB]:
    with tempfile.TemporaryDirectory(prefix="fuzz", dir="/tmp") as folder:
        server = MariaDB(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop(hard=True)
