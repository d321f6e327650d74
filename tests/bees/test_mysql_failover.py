"""A server that dies in the middle, and its replica that takes its place, at the same address."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp, RetryLater
from bees.core.pool import shared
from bees.mysql import MySQLWorkerBee
from tests.bees.contract import rows
from tests.bees.mysql_source import ids
from tests.servers.mariadb import MariaDB
from tests.servers.relay import Address, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nectar.batch import Batch

pytestmark = pytest.mark.servers
ROWS = 5000


class Pair:
    """A primary and its replica behind one address, and a user who may read a table of theirs."""

    def __init__(self, primary: MariaDB, replica: MariaDB) -> None:
        self.primary, self.replica = primary, replica
        self.address = Address(primary.port)

    def bee(self, **changed: Any) -> MySQLWorkerBee:
        plain = {"host": "127.0.0.1", "port": self.address.port, "database": "shop", "ssl_mode": "disable"}
        reader = {"user": "reader", "password": "reader", "batch_bytes": 65536, "streams": {"q": {}}}
        return MySQLWorkerBee.from_options(plain | reader | changed)

    def on(self, server: MariaDB, *statements: str) -> list[tuple[Any, ...]]:
        with closing(server.root()) as root, root.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def caught_up(self) -> None:
        """Wait until the replica has what the primary has written."""
        [(place,)] = self.on(self.primary, "SELECT @@gtid_binlog_pos")
        assert self.on(self.replica, f"SELECT MASTER_GTID_WAIT('{place}', 20)") == [(0,)]

    def fail_over(self) -> None:
        """The primary dies where it stands; the replica becomes a server of its own and takes its address."""
        self.primary.stop(hard=True)
        self.address.to = self.replica.port
        self.on(self.replica, "STOP SLAVE", "RESET SLAVE ALL")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    servers = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        servers.append(MariaDB(folder, f"--server-id={number}", "--log-slave-updates", "--innodb-buffer-pool-size=16M"))
    try:
        for server in servers:
            server.start()
        both = Pair(*servers)
        try:
            both.on(
                both.replica,
                f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {both.primary.port},"
                " MASTER_USER = 'root', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
                "START SLAVE",
            )
            both.on(
                both.primary,
                "CREATE DATABASE shop",
                "USE shop",
                "CREATE TABLE shop.q (id int PRIMARY KEY, wide text NOT NULL, at datetime(6) NOT NULL, KEY (at))",
                "INSERT INTO shop.q SELECT seq, REPEAT('x', 1000), '2026-01-01' + INTERVAL seq DIV 30 SECOND"
                f" FROM seq_1_to_{ROWS}",
                "CREATE USER reader@'%' IDENTIFIED BY 'reader'",
                "GRANT SELECT ON shop.* TO reader@'%'",
                "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO reader@'%'",
            )
            yield both
        finally:
            shared().close()
            both.address.close()
    finally:
        for server in servers:
            server.stop(hard=True)


def followed(pair: Pair, position: str, cursor: Any) -> tuple[list[tuple[Any, ...]], Any]:
    """One flight over the changes: (op, id) of each, and the last cursor. A first try may meet a dead session."""
    found: list[Batch] = []
    with pair.bee(cdc={"position": position}) as bee:
        until(lambda: _flown(bee, cursor, found))
    return [(row["_op"], row["id"]) for row in rows(found)], found[-1].cursor


def _flown(bee: MySQLWorkerBee, cursor: Any, found: list[Batch]) -> bool:
    found.clear()
    try:
        found.extend(bee.collect_nectar("q", cursor))
    except RetryLater:
        return False
    return True


def test_flights_go_on_at_the_replica_that_took_over(pair: Pair) -> None:
    """A full read in its middle; one by a cursor, whose mark the replica never got; changes by GTID and by file."""
    cursors: dict[str, Any] = {}
    for position in ("auto", "file"):
        with pair.bee(cdc={"position": position}) as bee:
            [*_, last] = bee.collect_nectar("q", None)
            cursors[position] = last.cursor
    pair.on(
        pair.primary, f"INSERT INTO shop.q VALUES ({ROWS + 1}, 'a', '2026-01-02')", "DELETE FROM shop.q WHERE id = 1"
    )
    first, cursor = followed(pair, "auto", cursors["auto"])
    pair.on(pair.primary, f"INSERT INTO shop.q VALUES ({ROWS + 2}, 'b', '2026-01-02')")
    pair.caught_up()
    pair.on(pair.replica, "STOP SLAVE")
    pair.on(pair.primary, f"INSERT INTO shop.q VALUES ({ROWS + 9}, 'lost', '2026-01-03')")
    with pair.bee(streams={"q": {"cursor": "at", "lookback": 0}}) as marked, pair.bee() as bee:
        [*_, at_mark] = marked.collect_nectar("q", None)
        batches = bee.collect_nectar("q", None)
        seen = [next(batches)]
        pair.fail_over()
        with pytest.raises(RetryLater):
            seen.extend(batches)
        seen += bee.collect_nectar("q", seen[-1].cursor)
        pair.on(pair.replica, f"UPDATE shop.q SET id = {ROWS + 3} WHERE id = 2")
        behind: list[Batch] = []
        until(lambda: _flown(marked, at_mark.cursor, behind))
    second, cursor = followed(pair, "auto", cursor)
    third, _ = followed(pair, "auto", cursor)
    with pytest.raises(GiveUp, match="another server") as error:
        followed(pair, "file", cursors["file"])

    assert ids(rows(seen)) == list(range(2, ROWS + 3))
    assert seen[-1].complete
    assert at_mark.table["id"].to_pylist()[-1] == ROWS + 9
    assert sorted(ids(rows(behind))) == list(range(3, ROWS + 4))  # whatever was written below the mark comes
    assert first == [("upsert", ROWS + 1), ("delete", 1)]
    assert second == [("upsert", ROWS + 2), ("delete", 2), ("upsert", ROWS + 3)]
    assert third == []
    assert (error.value.code, error.value.where) == ("another_server", "streams.q")
    assert "--full-refresh" in error.value.advice


def test_rows_are_not_read_at_a_replica_that_lacks_what_was_seen_before(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts below a mark, and rows before a place in the log: what the replica gets later would never be read."""
    monkeypatch.setattr("bees.core.sql.progress._PATIENCE", 0.3)
    pair.on(pair.primary, "ANALYZE TABLE shop.q PERSISTENT FOR ALL")
    pair.caught_up()
    pair.on(pair.replica, "STOP SLAVE SQL_THREAD")
    late = f"SELECT seq, 'late', '2026-01-02' FROM seq_{ROWS + 1}_to_{ROWS + 50}"
    pair.on(pair.primary, "USE shop", f"INSERT INTO q {late}")
    how: dict[str, Any] = {"slices": 4, "slice_rows": 100, "streams": {"q": {"cursor": "at", "lookback": 0}}}
    with pair.bee(**how) as bee, pair.bee(cdc={}) as followed:
        parts = list(bee.slices("q", None))
        begun = next(iter(followed.collect_nectar("q", None))).cursor
        shared().close()  # sessions with the primary
        pair.address.to = pair.replica.port
        codes = []
        for again in (bee.collect_nectar("q", None, parts[-1]), followed.collect_nectar("q", begun)):
            with pytest.raises(RetryLater) as error:
                list(again)
            codes.append((error.value.code, error.value.where))
        monkeypatch.setattr("bees.core.sql.progress._PATIENCE", 30)
        pair.on(pair.replica, "START SLAVE SQL_THREAD")
        seen = [row for part in parts for row in rows(list(bee.collect_nectar("q", None, part)))]
        rest = rows(list(followed.collect_nectar("q", begun)))

    assert codes == [("server_behind", "streams.q")] * 2
    assert ids(seen) == list(range(1, ROWS + 51))
    assert ids(rest)[-50:] == list(range(ROWS + 1, ROWS + 51))
