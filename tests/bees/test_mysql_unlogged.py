"""What changes a followed table without a row in the binlog: foreign keys' rules, partitions, whole databases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp
from bees.core.sql.mysql import binlog, dump
from tests.bees.mysql_source import Database, fly
from tests.bees.test_mysql_cdc import db, landed
from tests.hive.nest import Nest, make_nest, nest
from tests.servers.mariadb import PASSWORD, MariaDB
from tests.servers.relay import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["db", "make_nest", "nest"]
pytestmark = pytest.mark.servers


def options(table: str, **more: Any) -> dict[str, Any]:
    return {"cdc": {}, "batch_rows": 2, "streams": {table: {}}, **more}


def family(db: Database, rules: str, further: str = "ON DELETE CASCADE") -> None:
    """Grandparents `g`, parents `p` and children `c`: two children of each parent, one parent of each grandparent."""
    db.run(
        "CREATE TABLE g (id int PRIMARY KEY, note varchar(20))",
        f"CREATE TABLE p (id int PRIMARY KEY, g int, note varchar(20), FOREIGN KEY (g) REFERENCES g (id) {further})",
        f"CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) {rules})",
        "INSERT INTO g SELECT seq, 'g' FROM seq_1_to_5",
        "INSERT INTO p SELECT seq, seq, 'p' FROM seq_1_to_5",
        "INSERT INTO c SELECT seq, (seq + 1) DIV 2 FROM seq_1_to_10",
    )


class Followed:
    """A jar of one table that is followed; `reads_anew`: in how many flights the table was read anew."""

    def __init__(self, db: Database, table: str, **more: Any) -> None:
        self.db, self.table, self.options = db, table, options(table, **more)
        self.jar: dict[Any, Any] = {}
        self.reads_anew = -1
        self.cursor: Any = None
        self.fly()

    def fly(self) -> None:
        with self.db.bee(**self.options) as bee:
            for batch in bee.collect_nectar(self.table, self.cursor):
                if batch.begins:
                    self.reads_anew += 1
                    self._met: dict[Any, Any] = {}
                    self._anew = True
                records = batch.table.to_pylist()
                landed(self.jar, records)
                if getattr(self, "_anew", False):
                    landed(self._met, records)
                    if batch.complete:
                        self.jar, self._anew = self._met, False
                self.cursor = batch.cursor

    def there(self) -> dict[Any, Any]:
        return landed({}, fly(self.db.bee(streams={self.table: {}}), self.table)[0])


@pytest.mark.parametrize(
    ("rules", "deeds", "anew"),
    [
        ("ON DELETE CASCADE", ["DELETE FROM p WHERE id = 2"], 1),
        ("ON DELETE SET NULL", ["DELETE FROM p WHERE id = 2"], 1),
        ("ON DELETE CASCADE", ["DELETE FROM g WHERE id = 3"], 1),  # over two tables
        ("ON UPDATE CASCADE", ["UPDATE p SET id = 20 WHERE id = 2"], 1),
        ("ON UPDATE SET NULL", ["UPDATE p SET id = 20 WHERE id = 2"], 1),
        ("ON DELETE CASCADE", ["REPLACE INTO p VALUES (2, 2, 'again')"], 1),
        ("ON DELETE CASCADE", ["DELETE FROM p WHERE id = 2", "DELETE FROM c WHERE id = 1"], 1),
        ("ON UPDATE CASCADE", ["UPDATE p SET note = 'other'", "INSERT INTO p VALUES (9, 1, 'new')"], 0),
        ("ON DELETE CASCADE", ["UPDATE p SET note = 'other'", "UPDATE g SET note = 'other'"], 0),
        ("ON DELETE RESTRICT", ["DELETE FROM c WHERE p = 2", "DELETE FROM p WHERE id = 2"], 0),
        ("ON DELETE CASCADE", ["SET foreign_key_checks = 0", "DELETE FROM p WHERE id = 2"], 0),
        ("ON DELETE CASCADE", ["DELETE FROM p WHERE id = 2", "ALTER TABLE c DROP FOREIGN KEY c_ibfk_1"], 1),
        ("", ["ALTER TABLE c DROP FOREIGN KEY c_ibfk_1",
              "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE",
              "DELETE FROM p WHERE id = 2"], 1),
        ("ON DELETE CASCADE", ["DELETE FROM p WHERE id = 2", "RENAME TABLE p TO q"], 1),
    ],
)  # fmt: skip
def test_rows_that_a_foreign_key_changes_are_seen(db: Database, rules: str, deeds: list[str], anew: int) -> None:
    family(db, rules)
    followed = Followed(db, "c")
    db.run(*deeds, "SET foreign_key_checks = 1", "INSERT INTO c VALUES (100, NULL)")
    followed.fly()

    assert (followed.jar, followed.reads_anew) == (followed.there(), anew)
    db.run("INSERT INTO c VALUES (101, NULL)", "DELETE FROM c WHERE id = 100")
    followed.fly()
    assert (followed.jar, followed.reads_anew) == (followed.there(), anew)


def test_parents_that_go_before_it_is_sure_are_refused(db: Database) -> None:
    """The log tells an XA transaction when it is prepared; its children go when it is committed."""
    family(db, "ON DELETE CASCADE")
    _, cursor = fly(db.bee(**options("c")), "c")
    db.run("XA START 'x'", "DELETE FROM p WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'")
    try:
        with pytest.raises(GiveUp, match="XA") as error:
            fly(db.bee(**options("c")), "c", cursor)
    finally:
        db.run("XA COMMIT 'x'")
    assert error.value.code == "xa_transaction"


def test_a_tree_that_loses_a_branch(db: Database) -> None:
    db.run(
        "CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE)",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1), (5, NULL)",
    )
    followed = Followed(db, "tree")
    db.run("DELETE FROM tree WHERE id = 2")
    followed.fly()

    assert list(followed.jar) == [1, 4, 5]


def test_who_stops_where_it_reads_anew_reads_anew_when_it_goes_on(db: Database) -> None:
    family(db, "ON DELETE CASCADE")
    _, cursor = fly(db.bee(**options("c")), "c")
    db.run("DELETE FROM p WHERE id = 2", "ALTER TABLE c DROP FOREIGN KEY c_ibfk_1")
    with db.bee(**options("c")) as bee:
        told = next(iter(bee.collect_nectar("c", cursor))).cursor
    with db.bee(**options("c")) as bee:
        again = list(bee.collect_nectar("c", told))

    assert again[0].begins
    assert [batch.complete for batch in again].count(True) == 1
    assert sorted(landed({}, [r for b in again for r in b.table.to_pylist()])) == [1, 2, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("deed", ["TRUNCATE PARTITION p0", "DROP PARTITION p0", "EXCHANGE PARTITION p0 WITH TABLE x"])
def test_partitions_that_lose_their_rows(db: Database, deed: str) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10),"
        " PARTITION p1 VALUES LESS THAN MAXVALUE)",
        "INSERT INTO t VALUES (1, 1), (2, 2), (30, 30)",
        "CREATE TABLE x (id int PRIMARY KEY, v int)",
        "INSERT INTO x VALUES (7, 7)",
    )
    followed = Followed(db, "t")
    exchanged = Followed(db, "x")
    db.run("INSERT INTO t VALUES (40, 40)", f"ALTER TABLE t {deed}", "INSERT INTO t VALUES (50, 50)")
    followed.fly()
    exchanged.fly()

    assert (followed.jar, exchanged.jar) == (followed.there(), exchanged.there())
    assert set(followed.jar) == ({7, 30, 40, 50} if "EXCHANGE" in deed else {30, 40, 50})


def test_a_database_that_was_dropped_and_made_anew_is_another_one(db: Database) -> None:
    made = ["CREATE DATABASE `b c`", "CREATE TABLE `b c`.t (id int PRIMARY KEY)", "INSERT INTO `b c`.t VALUES (1)"]
    db.run(*made, f"GRANT SELECT ON `b c`.* TO '{db.user}'@'%'")
    streams = {"t": {"table": "`b c`.t"}}
    try:
        _, cursor = fly(db.bee(cdc={}, streams=streams), "t")
        db.run("DROP DATABASE `b c`", *made)
        with pytest.raises(GiveUp) as error:
            fly(db.bee(cdc={}, streams=streams), "t", cursor)
    finally:
        db.run("DROP DATABASE `b c`")
    assert error.value.code == "table_replaced"


def test_a_table_of_another_database_or_spelling_is_another_table(db: Database) -> None:
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", "CREATE TABLE T (id int PRIMARY KEY)"
    )
    followed = Followed(db, "t")
    db.run("CREATE DATABASE `e f`", "CREATE TABLE `e f`.t (id int PRIMARY KEY)", "TRUNCATE TABLE T", "DROP TABLE T")
    db.run("INSERT INTO t VALUES (3)", "DROP TABLE `e f`.t", "DROP DATABASE `e f`", "DELETE FROM t WHERE id = 1")
    followed.fly()

    assert (set(followed.jar), followed.reads_anew) == ({2, 3}, 0)


def test_a_parent_that_the_user_may_not_see_is_named(db: Database) -> None:
    family(db, "ON DELETE CASCADE")
    user = f"only {db.user}"
    db.run(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY {db.owner.escape(PASSWORD)}",
        f"GRANT SELECT ON `{db.name}`.c TO '{user}'@'%'",
        f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{user}'@'%'",
    )
    try:
        with db.bee(**options("c", user=user)) as bee, pytest.raises(GiveUp, match="'p'") as error:
            bee.validate_flight_path()
    finally:
        db.run(f"DROP USER '{user}'@'%'")
    assert (error.value.code, error.value.where) == ("hidden_cascade", "streams.c")
    assert "GRANT SELECT" in error.value.advice


@pytest.mark.parametrize("period", ["", "PERIOD FOR SYSTEM_TIME (a, b),"])
def test_a_table_that_keeps_its_history_is_not_followed(db: Database, period: str) -> None:
    """The log tells what a row was behind what it is."""
    columns = (
        "a timestamp(6) GENERATED ALWAYS AS ROW START, b timestamp(6) GENERATED ALWAYS AS ROW END," if period else ""
    )
    db.run(f"CREATE TABLE t (id int, v int, {columns} {period} PRIMARY KEY (id)) WITH SYSTEM VERSIONING")
    with db.bee(cdc={}, streams={"t": {"key": "id"}}) as bee, pytest.raises(GiveUp) as error:
        bee.validate_flight_path()
    assert error.value.code == "system_versioned"


def test_a_log_that_says_that_it_lost_changes_is_not_followed_further(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server at hand writes such an event on demand."""
    db.run("CREATE TABLE t (id int PRIMARY KEY)")
    _, cursor = fly(db.bee(**options("t")), "t")
    lost = binlog.Event(binlog.INCIDENT, 1, 500, 0, b"\1\0")
    monkeypatch.setattr(dump.Dump, "events", lambda _: iter([lost]))
    with pytest.raises(GiveUp, match="lost changes") as error:
        fly(db.bee(**options("t")), "t", cursor)
    assert error.value.code == "log_incident"


@pytest.mark.parametrize("position", ["gtid", "file"])
def test_what_is_in_the_log_and_cannot_be_seen_yet_comes_behind_the_rows(tmp_path: Path, position: str) -> None:
    """A transaction that waits for a replica's word stands in the log already, and in no row that is read."""
    server = MariaDB(
        tmp_path, "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-wait-no-slave=1",
        "--rpl-semi-sync-master-timeout=60000",
    )  # fmt: skip
    server.start()
    waiting = None
    try:
        db = Database(server)
        db.run(
            f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'",
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t VALUES (1)",
        )
        late = server.root(db.name)
        db.run("SET GLOBAL rpl_semi_sync_master_enabled = 1")
        [(before,)] = db.rows("SELECT @@gtid_binlog_pos")
        waiting = threading.Thread(target=late.cursor().execute, args=("INSERT INTO t VALUES (2)",))
        waiting.start()
        until(lambda: db.rows("SELECT @@gtid_binlog_pos") != [(before,)])
        how: dict[str, Any] = {"cdc": {"position": position}, "streams": {"t": {}}}
        first, cursor = fly(db.bee(**how), "t")
        db.run("SET GLOBAL rpl_semi_sync_master_enabled = 0")
        waiting.join()
        second, _ = fly(db.bee(**how), "t", cursor)
    finally:
        server.stop(hard=True)
        if waiting is not None:
            waiting.join()

    assert sorted(landed(landed({}, first), second)) == [1, 2]


def test_a_log_that_began_anew_without_a_transaction_is_followed(tmp_path: Path) -> None:
    server = MariaDB(tmp_path)
    server.start()
    try:
        db = Database(server)
        db.run(
            f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'", "CREATE TABLE t (id int PRIMARY KEY)"
        )
        db.run("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS")
        db.run(f"PURGE BINARY LOGS TO '{db.rows('SHOW BINARY LOGS')[-1][0]}'")
        for position in ("gtid", "file"):
            how: dict[str, Any] = {"cdc": {"position": position}, "streams": {"t": {}}}
            _, cursor = fly(db.bee(**how), "t")
            db.run("INSERT INTO t SELECT max(id) + 1 FROM t")
            assert len(fly(db.bee(**how), "t", cursor)[0]) == 1
            db.run("FLUSH BINARY LOGS", f"PURGE BINARY LOGS TO '{db.rows('SHOW BINARY LOGS')[-1][0]}'")
        db.run("RESET MASTER")
        assert len(fly(db.bee(**options("t")), "t")[0]) == 3
    finally:
        server.stop(hard=True)


class TestServers:
    @pytest.fixture
    def serve(self, tmp_path: Path) -> Iterator[Any]:
        servers: list[MariaDB] = []

        def start(*more: str) -> MariaDB:
            folder = tmp_path / str(len(servers))
            folder.mkdir()
            servers.append(MariaDB(folder, "--innodb-buffer-pool-size=16M", *more))
            servers[-1].start()
            return servers[-1]

        yield start
        for server in servers:
            server.stop(hard=True)

    def refusal(self, server: MariaDB) -> str:
        db = Database(server)
        db.run(f"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{db.user}'@'%'")
        db.run("CREATE TABLE t (id int PRIMARY KEY)")
        with db.bee(**options("t")) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        return error.value.code

    @pytest.mark.parametrize("filters", ["--binlog-do-db=elsewhere", "--binlog-ignore-db=source 1"])
    def test_a_log_that_leaves_the_database_out_is_refused(
        self, serve: Any, filters: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.servers.mariadb._numbers", iter([1]))
        assert self.refusal(serve(filters)) == "not_logged"

    def test_a_replica_that_logs_nothing_of_its_primary_is_refused(self, serve: Any) -> None:
        primary, replica = serve(), serve("--server-id=2")
        with replica.root() as root, root.cursor() as cursor:
            cursor.execute(
                f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'root',"
                " MASTER_USE_GTID = slave_pos"
            )
            cursor.execute("START SLAVE")
        assert self.refusal(replica) == "not_logged"


def test_children_that_went_with_their_parents_leave_the_jar(nest: Nest, db: Database) -> None:
    family(db, "ON DELETE CASCADE")
    block = {"name": "shop", "source": db.options(**options("c")), "limits": {"max_deleted": 0.5}}
    nest.hive.register_worker("mysql", block)
    nest.land("shop")
    db.run("DELETE FROM p WHERE id IN (1, 2)", "INSERT INTO c VALUES (20, NULL)", "DELETE FROM c WHERE id = 10")
    second = nest.land("shop")
    db.run("INSERT INTO c VALUES (21, NULL)", "DELETE FROM c WHERE id = 9")
    third = nest.land("shop")

    assert (second.state, third.state, third.records_read) == ("complete", "complete", 2)
    assert set(nest.jar("shop")) == {"5", "6", "7", "8", "20", "21"}
