"""Replication slots are shown and dropped on command, and limits of connections reach the processes that connect."""

from __future__ import annotations

import json

import pytest
import structlog.testing
import yaml
from psycopg import sql

from bees.core.pool import shared
from hive import versions
from hive.limits.pool import PoolLimits, pool_of
from tests.bees.postgresql_source import Database
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import make_nest, nest
from tests.servers.logical import logical_postgres

__all__ = ["bare_hive", "hive_command", "logical_postgres", "make_nest", "nest"]


@pytest.mark.servers
class TestSlots:
    @pytest.fixture(name="db")
    def followed(self, logical_postgres):
        database = Database(logical_postgres.create_database("shown"))
        database.run(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(database.role)))
        database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION told FOR TABLE t")
        yield database
        database.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        database.close()
        logical_postgres.drop_database("shown")

    @pytest.fixture
    def file(self, db, tmp_path):
        options = db.options(cdc={"slot": "shop", "publication": "told", "create_slot": True})
        path = tmp_path / "bees.yml"
        path.write_text(
            yaml.safe_dump({"bees": {"shop": {"type": "postgresql", "source": options, "streams": {"t": {}}}}})
        )
        return path

    def test_a_slot_is_listed_with_its_lag_and_dropped_by_its_stream(self, hive, db, file):
        before = hive("replication", "list", "shop", "--config", file, "--json").json
        db.run("SELECT pg_create_logical_replication_slot('shop_t', 'pgoutput')", "INSERT INTO t VALUES (1)")
        [shown] = hive("replication", "list", "shop", "--config", file, "--json").json
        dropped = hive("replication", "drop", "shop", "t", "--config", file)
        again = hive("replication", "drop", "shop", "t", "--config", file)

        assert [(s["slot"], s["stream"], s["state"]) for s in before] == [("shop_t", "t", "none")]
        assert (shown["state"], shown["active"]) == ("reserved", False)
        assert 0 < shown["unread_bytes"] <= shown["kept_bytes"]
        assert (dropped.code, again.code) == (0, 0)
        assert "dropped" in dropped.out + dropped.err
        assert "had no slot" in again.out + again.err
        assert db.rows("SELECT count(*) FROM pg_replication_slots") == [(0,)]

    @pytest.mark.parametrize("left", [7, 0])
    def test_a_lost_slot_leaves_no_ghosts_behind_a_full_refresh(self, nest, db, left):
        """What was deleted while nobody followed is told by nobody: the table itself tells, once it is read anew."""
        db.run("INSERT INTO t SELECT generate_series(1, 10)")
        source = db.options(cdc={"slot": "shop", "publication": "told", "create_slot": True})
        block = {"source": source, "streams": {"t": {}}, "limits": {"max_deleted": 1.0}}
        nest.hive.register_worker("postgresql", {"name": "shop", **block})
        assert nest.land("shop").records_landed == 10
        db.run("DELETE FROM t WHERE id = 1")
        assert nest.land("shop").records_deleted == 1
        db.run("SELECT pg_drop_replication_slot('shop_t')", f"DELETE FROM t WHERE id > {left}")

        again = nest.land("shop", full_refresh=True)
        db.run("INSERT INTO t VALUES (20)")
        after = nest.land("shop")

        assert (again.state, again.records_deleted) == ("complete", 10 - max(left, 1))
        assert (after.state, after.records_landed, after.records_deleted) == ("complete", 1, 0)
        assert {record["id"] for record in nest.jar("shop").values()} == {*range(2, left + 1), 20}

    @pytest.mark.parametrize(
        ("harm", "heal", "code"),
        [
            ("REVOKE SELECT ON t FROM {}", "GRANT SELECT ON t TO {}", "no_permission"),
            ("ALTER PUBLICATION told DROP TABLE t", "ALTER PUBLICATION told ADD TABLE t", "no_publication"),
            ("ALTER TABLE t RENAME TO was", "ALTER TABLE was RENAME TO t", "no_table"),
            ("ALTER TABLE t REPLICA IDENTITY NOTHING", "ALTER TABLE t REPLICA IDENTITY DEFAULT", "no_replica_identity"),
        ],
    )
    def test_a_stream_in_trouble_says_that_its_slot_keeps_the_log_and_loses_nothing(self, nest, db, harm, heal, code):
        db.run("CREATE TABLE u (id int PRIMARY KEY)", "ALTER PUBLICATION told ADD TABLE u")
        db.run("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
        source = db.options(cdc={"slot": "shop", "publication": "told", "create_slot": True})
        nest.hive.register_worker("postgresql", {"name": "shop", "source": source, "streams": {"t": {}, "u": {}}})
        assert nest.land("shop").state == "complete"
        place = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'shop_{}'"
        before = {name: db.rows(place.format(name)) for name in "tu"}

        role = sql.Identifier(db.role)
        db.run("INSERT INTO t VALUES (2)", sql.SQL(harm).format(role), "INSERT INTO u VALUES (2)")
        failed = nest.land("shop")
        after = {name: db.rows(place.format(name)) for name in "tu"}
        db.run(sql.SQL(heal).format(role))
        healed = nest.land("shop")

        assert (failed.state, failed.error["code"]) == ("failed", code)
        assert "the slot 'shop_t'" in failed.error["advice"]
        assert "`hive replication drop` with the name of the bee and 't'" in failed.error["advice"]
        assert (after["t"] == before["t"], after["u"] > before["u"]) == (True, True)
        assert healed.state == "complete"
        landed = nest.rows(
            "SELECT s.name, h.data ->> 'id' FROM hive.honey h JOIN hive.stream s ON s.id = h.stream"
            " WHERE h.deleted_at IS NULL"
        )
        assert sorted(landed) == [("t", "1"), ("t", "2"), ("u", "1"), ("u", "2")]

    def test_a_slot_that_no_stream_reads_any_more_is_warned_of(self, db):
        db.run("CREATE TABLE u (id int PRIMARY KEY)", "ALTER PUBLICATION told ADD TABLE u", "INSERT INTO t VALUES (1)")
        cdc = {"slot": "shop", "publication": "told", "create_slot": True}
        with db.bee(cdc=cdc) as bee:
            for stream in bee.get_pollen_schema():
                list(bee.collect_nectar(stream.name, None))
        shared().close()
        db.run("DROP TABLE t")
        with db.bee(cdc=cdc) as bee, structlog.testing.capture_logs() as logs:
            assert [stream.name for stream in bee.get_pollen_schema()] == ["u"]
        [told] = [line for line in logs if line["event"] == "slot_without_stream"]
        assert (told["slot"], told["bytes"] > 0, "hive replication drop" in told["advice"]) == ("shop_t", True, True)

    def test_a_slot_of_a_stream_that_is_read_no_more_is_listed_and_dropped_by_name(self, hive, db, file):
        db.run("SELECT pg_create_logical_replication_slot('shop_old', 'pgoutput')")
        db.run("SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')")
        shown = hive("replication", "list", "shop", "--config", file, "--json").json
        refused = hive("replication", "drop", "shop", "elsewhere", "--config", file)
        hive("replication", "drop", "shop", "shop_old", "--config", file)

        assert {s["slot"]: s["stream"] for s in shown} == {"shop_t": "t", "shop_old": None}
        assert refused.code != 0
        assert "elsewhere" in refused.err
        assert db.rows("SELECT slot_name::text FROM pg_replication_slots") == [("elsewhere",)]

    def test_a_bee_that_follows_nothing_says_so(self, hive, db, tmp_path):
        for kind, source in (("postgresql", db.options()), ("local", {"path": str(tmp_path)})):
            path = tmp_path / f"{kind}.yml"
            streams = {"t": {} if kind == "postgresql" else {"patterns": "*.csv", "key": "id"}}
            path.write_text(json.dumps({"bees": {"shop": {"type": kind, "source": source, "streams": streams}}}))
            said = hive("replication", "list", "shop", "--config", path)
            assert said.code == 1
            assert "cdc" in said.err


class TestPool:
    @pytest.fixture(autouse=True)
    def _as_before(self):
        before = shared().limits
        yield
        shared().limits = before

    @pytest.fixture
    def reload(self, nest, tmp_path):
        def reload(pool):
            place = tmp_path / "read"
            place.mkdir(exist_ok=True)
            bee = {"type": "local", "source": {"path": str(place)}, "streams": {"rows": {"patterns": "*", "key": "id"}}}
            file = tmp_path / "bees.yml"
            file.write_text(yaml.safe_dump({"bees": {"people": bee}, **pool}))
            return versions.reload(nest.rt, file)

        return reload

    def told(self, nest):
        limits = PoolLimits(nest.rt.db)
        limits.obey()
        return shared().limits

    def test_a_process_obeys_what_the_configuration_says(self, nest, reload):
        block = {
            "global_settings": {"max_total_connections": 7, "connection_timeout": 3, "idle_timeout": 11},
            "per_source_limits": {"production_db": {"max_connections": 2, "min_connections": 1}},
            "health_checks": {"interval": 9, "timeout": 2, "failure_threshold": 4},
        }
        reload({"hive_connection_pool": block})
        limits = self.told(nest)

        assert (limits.max_total, limits.connection_timeout, limits.idle_timeout) == (7, 3, 11)
        assert limits.of("db:5432/production_db") == (2, 1)
        assert (limits.interval, limits.timeout, limits.failure_threshold) == (9, 2, 4)

    def test_a_change_of_the_limits_alone_is_a_version(self, nest, reload):
        first = reload({"hive_connection_pool": {"global_settings": {"max_total_connections": 7}}})
        same = reload({"hive_connection_pool": {"global_settings": {"max_total_connections": 7}}})
        other = reload({"hive_connection_pool": {"global_settings": {"max_total_connections": 8}}})
        gone = reload({})

        assert same.version is None
        assert first.version < other.version < gone.version
        assert other.changed == ()
        with nest.rt.db.single() as tx:
            assert pool_of(tx) == (gone.version, {})

    def test_a_bee_that_is_registered_leaves_them_as_they_are(self, nest, reload):
        reload({"hive_connection_pool": {"global_settings": {"max_total_connections": 7}}})
        nest.register("others")
        assert self.told(nest).max_total == 7
