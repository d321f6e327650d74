"""The MySQL bee only reads, tells no secret, sorts what goes wrong, and leaves nothing behind."""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.sql.errors import SecurityViolation
from bees.core.sql.mysql.rights import beyond, roles_in
from bees.core.sql.mysql.verdict import verdict
from tests.bees.contract import rows
from tests.bees.mysql_source import Database, fly, ids, source_database  # noqa: F401 - the fixture `db`
from tests.servers.mariadb import PASSWORD, MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.servers
WRITER = {"allow_writable_role": True}


class TestReadingOnly:
    """Even where the user may write: a bee's session cannot."""

    @pytest.mark.parametrize(
        "query",
        [
            "DELETE FROM t",
            "DELETE FROM t RETURNING id",
            "SELECT 1 AS id; DELETE FROM t",
            "SELECT 1 AS id) q; DELETE FROM t; SELECT * FROM (SELECT 1 AS id",
            "SELECT id FROM t INTO OUTFILE '/tmp/never'",
            "SELECT id /*! INTO OUTFILE '/tmp/never' */ FROM t",
            "SELECT id /*M! , wipe() */ FROM t",
            "SELECT id, wipe() FROM t",
            "SELECT id, SLEEP(100) FROM t",
            "SELECT id, GET_LOCK('x', 1) FROM t",
            "SELECT id, LOAD_FILE('/etc/passwd') FROM t",
            "SELECT id, @a := 1 FROM t",
            "SELECT id FROM t FOR UPDATE",
            "SELECT id FROM t LOCK IN SHARE MODE",
            "SELECT user AS id FROM mysql.user",
            "SELECT NEXTVAL(s) AS id",
            "CALL wipe_all()",
            "TRUNCATE t",
            "SET GLOBAL general_log = 1",
        ],
    )
    def test_what_writes_is_refused(self, db: Database, query: str) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE SEQUENCE s",
            "CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM t; RETURN 1; END",
            "CREATE PROCEDURE wipe_all() DELETE FROM t",
            f"GRANT ALL ON `{db.name}`.* TO '{db.user}'@'%'",
        )
        with db.bee(streams={"q": {"query": query, "key": "id"}}, **WRITER) as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None))

        assert isinstance(error.value, SecurityViolation)
        assert error.value.advice
        assert db.rows("SELECT count(*) FROM t") == [(2,)]

    def test_what_gets_past_the_guard_cannot_write_in_the_bees_session(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM t; RETURN 1; END",
            f"GRANT ALL ON `{db.name}`.* TO '{db.user}'@'%'",
        )
        stream = {"query": "SELECT id, wipe() AS gone FROM t", "key": "id", "functions": ["wipe"]}
        with db.bee(streams={"q": stream}, **WRITER) as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None))

        assert error.value.code == "writes"
        assert db.rows("SELECT count(*) FROM t") == [(2,)]


class TestRights:
    @pytest.mark.parametrize(
        ("grant", "said"),
        [
            ("INSERT ON `{0}`.*", "INSERT on"),
            ("UPDATE (id) ON `{0}`.t", "UPDATE on"),
            ("EXECUTE ON `{0}`.*", "EXECUTE on"),
            ("CREATE TEMPORARY TABLES ON `{0}`.*", "CREATE TEMPORARY TABLES on"),
            ("FILE ON *.*", "FILE on"),
            ("SUPER ON *.*", "SUPER on"),
            ("ALL ON `{0}`.*", "ALL PRIVILEGES on"),
            ("LOCK TABLES ON `{0}`.*", "LOCK TABLES on"),
        ],
    )
    def test_a_user_that_can_do_more_than_read_is_refused_unless_signed(
        self, db: Database, grant: str, said: str
    ) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", f"GRANT {grant.format(db.name)} TO '{db.user}'@'%'")
        for deed in (lambda bee: bee.validate_flight_path(), lambda bee: list(bee.collect_nectar("t", None))):
            with db.bee() as bee, pytest.raises(GiveUp, match=said) as error:
                deed(bee)
            assert (error.value.code, error.value.where) == ("writable_role", "user")
            assert "allow_writable_role" in error.value.advice
        with db.bee(**WRITER) as bee:
            bee.validate_flight_path()

    def test_grant_option_is_a_right_too_many(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY)",
            f"GRANT SELECT ON `{db.name}`.t TO '{db.user}'@'%' WITH GRANT OPTION",
        )
        with db.bee() as bee, pytest.raises(GiveUp, match="GRANT OPTION"):
            bee.validate_flight_path()

    def test_a_role_that_could_be_taken_on_counts(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)")
        for name, grant in (("inner", "INSERT"), ("outer", "SELECT")):
            db.run(f"CREATE ROLE `{name} of {db.name}`", f"GRANT {grant} ON `{db.name}`.* TO `{name} of {db.name}`")
        try:
            db.run(f"GRANT `outer of {db.name}` TO '{db.user}'@'%'")
            with db.bee() as bee:
                bee.validate_flight_path()
            db.run(f"GRANT `inner of {db.name}` TO `outer of {db.name}`")
            with db.bee() as bee, pytest.raises(GiveUp, match=r"INSERT on .* as `outer of"):
                bee.validate_flight_path()
        finally:
            db.run(f"DROP ROLE `inner of {db.name}`, `outer of {db.name}`")

    @pytest.mark.parametrize(
        ("line", "found"),
        [
            # as MySQL 8.4 writes them
            ("GRANT USAGE ON *.* TO `r`@`%`", []),
            ("GRANT SELECT, SHOW VIEW ON `shop`.* TO `r`@`%`", []),
            ("GRANT SELECT (`a`, `INSERT, b`) ON `shop`.`t` TO `r`@`%`", []),
            ("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `r`@`%`", []),
            ("GRANT SELECT, INSERT (`a`) ON `shop`.`on to` TO `r`@`%`", ["INSERT on `shop`.`on to`"]),
            ("GRANT BACKUP_ADMIN,CLONE_ADMIN ON *.* TO `r`@`%`", ["BACKUP_ADMIN on *.*", "CLONE_ADMIN on *.*"]),
            ("GRANT SELECT ON `a`.* TO `r`@`%` WITH GRANT OPTION", ["GRANT OPTION on `a`.*"]),
            ("GRANT EXECUTE ON FUNCTION `a`.`f` TO `r`@`%`", ["EXECUTE on FUNCTION `a`.`f`"]),
            ("GRANT PROXY ON ``@`` TO `root`@`localhost`", ["PROXY on ``@``"]),
            ("REVOKE INSERT ON `a`.* FROM `r`@`%`", ["something that is not understood"]),
        ],
    )
    def test_lines_of_grants_are_understood(self, line: str, found: list[str]) -> None:
        assert beyond(line) == found

    def test_roles_are_found_in_lines_of_grants(self) -> None:
        assert roles_in("GRANT `a``b`@`%`,`c`@`h` TO `r`@`%`") == ["`a``b`@`%`", "`c`@`h`"]
        assert roles_in("GRANT `a` TO `r`@`%` WITH ADMIN OPTION") == ["`a`"]
        assert roles_in("GRANT SELECT ON `x`.* TO `r`@`%`") == []


class TestVerdicts:
    @pytest.mark.parametrize(
        ("wrong", "kind", "code"),
        [
            ({"user": "nobody knows"}, GiveUp, "denied"),
            ({"password": ""}, GiveUp, "denied"),
            ({"database": "nowhere"}, GiveUp, "denied"),
            ({"port": 1}, RetryLater, "unreachable"),
            ({"host": "no-such-host.invalid"}, (GiveUp, RetryLater), None),
            ({"host": "a..b"}, GiveUp, "unknown_host"),
            ({"host": "169.254.169.254"}, GiveUp, "forbidden_address"),
            ({"host": "/nowhere/mysqld.sock"}, RetryLater, "unreachable"),
            ({"ssl_mode": "require"}, GiveUp, "no_tls"),
            ({"ssl_mode": "verify-ca", "ssl_root_cert": "/nowhere/root.pem"}, GiveUp, "no_tls"),
        ],
    )
    def test_what_is_wrong_with_a_login_is_sorted(
        self, db: Database, wrong: dict[str, Any], kind: Any, code: str | None
    ) -> None:
        with db.bee(**wrong) as bee, pytest.raises(kind) as error:
            bee.validate_flight_path()

        assert error.value.code == (code or error.value.code)
        assert error.value.advice
        assert "Access denied" not in str(error.value)
        assert PASSWORD not in "".join(traceback.format_exception(error.value))

    @pytest.mark.parametrize(
        ("number", "kind", "code"),
        [
            (1047, RetryLater, "restarting"),  # a node of a cluster that is not in step
            (4031, RetryLater, "unreachable"),  # MySQL 8 ended a session that asked nothing
            (1114, RetryLater, "overloaded"),
            (9001, RetryLater, "unreachable"),  # ProxySQL reached no server within its time
            (9002, RetryLater, "unreachable"),
            (1449, GiveUp, "broken_view"),
        ],
    )
    def test_what_a_server_answers_is_sorted(self, number: int, kind: type[SourceError], code: str) -> None:
        error = verdict(number, "streams.t")
        assert (type(error), error.code, error.where) == (kind, code, "streams.t")
        assert str(number) in str(error)

    def test_a_view_of_somebody_who_is_gone_is_named(self, db: Database) -> None:
        db.run("CREATE DEFINER = 'nobody'@'%' VIEW v AS SELECT 1 AS id")
        with db.bee(streams={"v": {"key": "id"}}) as bee, pytest.raises(GiveUp, match="view") as error:
            list(bee.collect_nectar("v", None))
        assert error.value.code == "broken_view"

    def test_a_database_without_tables_says_what_to_do(self, db: Database) -> None:
        with db.bee() as bee, pytest.raises(GiveUp, match="GRANT SELECT") as error:
            bee.validate_flight_path()
        assert error.value.code == "nothing_to_read"

    def test_too_many_connections_are_for_later(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", f"ALTER USER '{db.user}'@'%' WITH MAX_USER_CONNECTIONS 1")
        with db.bee().server.questions(), pytest.raises(RetryLater) as error:
            # A bee of other settings shares no session with this one.
            db.bee(statement_timeout=7).validate_flight_path()
        assert error.value.code == "overloaded"

    def test_a_missing_grant_is_named_with_its_stream(self, db: Database) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, secret text)",
            f"REVOKE ALL ON `{db.name}`.* FROM '{db.user}'@'%'",
            f"GRANT SELECT (id) ON `{db.name}`.t TO '{db.user}'@'%'",
        )
        query = {"query": "SELECT id, secret FROM t", "key": "id"}
        for deed in (lambda bee: bee.validate_flight_path(), lambda bee: list(bee.collect_nectar("q", None))):
            with db.bee(streams={"q": query}) as bee, pytest.raises(GiveUp, match=r"streams\.q.*GRANT") as error:
                deed(bee)
            assert error.value.code == "no_permission"
        with db.bee(streams={"t": {"key": "id"}}) as bee:
            bee.validate_flight_path()

    def test_a_value_that_breaks_the_query_is_not_told(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n bigint unsigned)", "INSERT INTO t VALUES (1, 41), (2, 4711)")
        query = {"query": "SELECT id, 42 - n AS n FROM t", "key": "id"}
        with db.bee(streams={"q": query}) as bee, pytest.raises(GiveUp) as error:
            list(bee.collect_nectar("q", None))

        assert error.value.code == "wrong_data"
        assert "4711" not in "".join(traceback.format_exception(error.value))

    def test_a_statement_that_takes_too_long_is_for_later(self, db: Database) -> None:
        stream = {"query": "SELECT a.seq AS id FROM big a, big b, big c WHERE a.seq + b.seq + c.seq < 0", "key": "id"}
        db.run("CREATE TABLE big (seq int PRIMARY KEY)", "INSERT INTO big SELECT seq FROM seq_1_to_3000")
        with db.bee(statement_timeout=0.3, streams={"q": stream}) as bee, pytest.raises(RetryLater) as error:
            list(bee.collect_nectar("q", None))
        assert error.value.code == "statement_timeout"

    @pytest.mark.parametrize(
        ("changes", "options", "code"),
        [
            (["DROP TABLE t"], {"streams": {"t": {}}}, "no_table"),
            (["RENAME TABLE t TO t2"], {"streams": {"t": {}}}, "no_table"),
            (["ALTER TABLE t DROP n"], {"streams": {"t": {"columns": ["n"]}}}, "no_column"),
            (["ALTER TABLE t DROP at"], {"streams": {"t": {"cursor": "at"}}}, "no_column"),
            (["ALTER TABLE t DROP PRIMARY KEY"], {"streams": {"t": {}}}, "no_key"),
            (["ALTER TABLE t MODIFY n json"], {"streams": {"t": {"cursor": "n"}}}, "not_sortable"),
        ],
    )
    def test_a_table_that_changed_between_flights_is_named(
        self, db: Database, changes: list[str], options: dict[str, Any], code: str
    ) -> None:
        db.run(
            "CREATE TABLE t (id int PRIMARY KEY, n text, at datetime)", "INSERT INTO t VALUES (1, '2', '2024-01-01')"
        )
        _, cursor = fly(db.bee(), "t")
        db.run(*changes)
        with db.bee(**options) as bee, pytest.raises(GiveUp, match="t") as error:
            list(bee.collect_nectar("t", cursor))
        assert error.value.code == code
        assert error.value.advice

    def test_columns_that_came_or_changed_are_read_as_they_are_now(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 5)")
        before, cursor = fly(db.bee(), "t")
        db.run("ALTER TABLE t MODIFY n varchar(9), ADD more datetime", "UPDATE t SET more = '2024-01-01'")

        assert before == [{"id": 1, "n": 5}]
        assert fly(db.bee(), "t", cursor)[0] == [{"id": 1, "n": "5", "more": "2024-01-01T00:00:00"}]


class TestLeaving:
    def wait_until_gone(self, db: Database) -> None:
        until = time.monotonic() + 5
        while db.sessions():
            assert time.monotonic() < until, "a session was left on the server"
            time.sleep(0.02)

    @pytest.fixture
    def big(self, db: Database) -> Database:
        db.run(
            "CREATE TABLE q (id int PRIMARY KEY, wide text NOT NULL)",
            "INSERT INTO q SELECT seq, REPEAT('x', 1000) FROM seq_1_to_50000",
        )
        return db

    def test_closing_in_the_middle_ends_the_session_on_the_server(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        assert big.sessions()
        batches.close()  # type: ignore[attr-defined]
        bee.close()
        self.wait_until_gone(big)

    def test_an_abandoned_iterator_leaves_no_session(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        del batches, bee
        self.wait_until_gone(big)

    def test_closing_the_bee_ends_what_it_reads(self, big: Database) -> None:
        bee = big.bee(batch_bytes=65536)
        batches = bee.collect_nectar("q", None)
        next(batches)
        bee.close()
        self.wait_until_gone(big)
        with pytest.raises(RetryLater):
            list(batches)

    def test_a_statement_without_an_answer_yet_ends_with_the_bee(self, db: Database) -> None:
        """The server would go on for minutes: it looks at the connection only when it has a row to send."""
        db.run("CREATE TABLE big (seq int PRIMARY KEY)", "INSERT INTO big SELECT seq FROM seq_1_to_9000")
        query = "SELECT a.seq AS id FROM big a, big b, big c WHERE a.seq + b.seq + c.seq < 0"
        bee = db.bee(streams={"q": {"query": query, "key": "id"}})
        alarm = threading.Timer(1.0, bee.close)
        alarm.start()
        with pytest.raises(RetryLater):
            list(bee.collect_nectar("q", None))
        alarm.join()
        self.wait_until_gone(db)

    def test_batches_of_wide_rows_stay_small(self, big: Database) -> None:
        with big.bee(batch_bytes=65536, batch_rows=50000) as bee, closing(bee.collect_nectar("q", None)) as batches:  # type: ignore[type-var]
            sizes = [batch.table.nbytes for batch in itertools.islice(batches, 20)]
        assert max(sizes) < 2 * 65536

    def test_flights_one_after_the_other_use_the_same_sessions(self, db: Database) -> None:
        db.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_5")
        with db.bee() as bee:
            seen = set()
            for _ in range(5):
                list(bee.collect_nectar("t", None))
                seen |= set(db.rows(f"SELECT id FROM information_schema.processlist WHERE user = '{db.user}'"))
        assert len(seen) == 1

    def test_a_session_killed_in_the_middle_is_for_later_and_resumes(self, big: Database) -> None:
        seen: list[int] = []
        cursor = None
        bee = big.bee(batch_bytes=65536, batch_rows=50000)
        with bee, pytest.raises(RetryLater) as error:  # noqa: PT012 - which batch fails is the server's business
            for number, batch in enumerate(bee.collect_nectar("q", None)):
                seen, cursor = seen + ids(batch.table.to_pylist()), batch.cursor
                if number == 1:
                    for (one,) in big.rows(f"SELECT id FROM information_schema.processlist WHERE user = '{big.user}'"):
                        big.run(f"KILL {one}")
        with big.bee(batch_bytes=65536, batch_rows=50000) as again:
            seen += ids(rows(list(again.collect_nectar("q", cursor))))

        assert error.value.code in ("restarting", "unreachable")
        assert seen == list(range(1, 50001))


class TestQueriesOfPeople:
    def test_a_refusal_names_the_stream_and_the_place(self, db: Database) -> None:
        stream = {"query": "SELECT 1 AS id,\n  SLEEP(9)", "key": "id"}
        with db.bee(streams={"q": stream}) as bee, pytest.raises(SecurityViolation) as error:
            bee.validate_flight_path()

        assert error.value.code == "function"
        assert error.value.where.startswith("streams.q.query")

    def test_functions_of_the_source_are_called_where_they_are_listed(self, db: Database) -> None:
        db.run(
            "CREATE FUNCTION doubled(n int) RETURNS int DETERMINISTIC NO SQL RETURN 2 * n",
            f"GRANT EXECUTE ON FUNCTION `{db.name}`.doubled TO '{db.user}'@'%'",
        )
        stream = {"query": "SELECT 1 AS id, doubled(21) AS n", "key": "id"}
        with db.bee(streams={"q": stream}, **WRITER) as bee, pytest.raises(SecurityViolation):
            bee.validate_flight_path()
        allowed = db.bee(streams={"q": {**stream, "functions": ["doubled"]}}, **WRITER)
        assert fly(allowed, "q")[0] == [{"id": 1, "n": 42}]


class TestServerThatFails:
    @pytest.fixture
    def own(self, tmp_path: Path) -> Iterator[MariaDB]:
        server = MariaDB(tmp_path, "--innodb-flush-log-at-trx-commit=1")
        server.start()
        yield server
        server.stop(hard=True)

    def test_a_server_that_restarts_in_the_middle_is_for_later(self, own: MariaDB) -> None:
        db = Database(own)
        db.run(
            "CREATE TABLE q (id int PRIMARY KEY, wide text NOT NULL)",
            "INSERT INTO q SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000",
        )
        with db.bee(batch_bytes=65536, batch_rows=50000) as bee:
            batches = bee.collect_nectar("q", None)
            first = next(batches)
            own.stop(hard=True)
            with pytest.raises(RetryLater):
                list(batches)
            with pytest.raises(RetryLater):
                bee.validate_flight_path()
            own.start()
            rest = rows(list(bee.collect_nectar("q", first.cursor)))

        assert ids(first.table.to_pylist() + rest) == list(range(1, 20001))
