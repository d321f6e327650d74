"""The database server crashes and forgets what did not wait for the disk: that is done again, and nothing twice."""

from __future__ import annotations

import psycopg
import pytest

from bees.local import LocalBee
from hive.embedded import EmbeddedPostgres
from hive.flight.close import close_if_done
from hive.flight.work import work
from hive.janitor import expire
from hive.ledger.migrate import migrate
from tests.hive.nest import Nest, rows_of, write
from tests.servers import short_folder

pytestmark = pytest.mark.servers


@pytest.fixture
def server():
    """A server that brings nothing to disk by itself for a long time."""
    with short_folder() as folder:
        made = EmbeddedPostgres(folder, fast=True)
        with psycopg.connect(made.start(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
            connection.execute("ALTER SYSTEM SET bgwriter_lru_maxpages = 0")
            connection.execute("SELECT pg_reload_conf()")
        migrate(made.url())
        yield made
        made.destroy()


def crash(server: EmbeddedPostgres, nest: Nest) -> None:
    nest.close()
    server.kill()
    server.start()


def recover(nest: Nest) -> None:
    """What the janitor does: the crashed server's connections are gone, and with them the workers of before."""
    for (owner,) in nest.rows("SELECT id FROM hive.worker"):
        nest.bury(owner)
    expire(nest.rt)
    nest.runtime(nest.rt.owner)
    nest.hurry()
    nest.drain()
    for flight, day in nest.rows("SELECT id, day FROM hive.flight WHERE state IN ('queued', 'running')"):
        close_if_done(nest.rt.db, flight, day)


@pytest.mark.parametrize("kinds", [("plan", "collect"), ("plan", "collect", "process")], ids=["sealed", "landed"])
def test_what_a_crash_forgets_is_done_again(server, tmp_path, kinds):
    nest = Nest(server.url(), tmp_path)
    file = write(nest.register() / "a.jsonl", [{"id": n, "name": f"person {n}"} for n in range(3)])
    nest.land()
    write(file, [{"id": n, "name": f"changed {n}"} for n in range(3)])
    flight = nest.fly()
    nest.drain(kinds=kinds)
    landed = nest.hive.flight(flight).state

    crash(server, nest)
    nest = Nest(server.url(), tmp_path)
    forgotten = nest.hive.flight(flight).state
    recover(nest)

    assert (landed, forgotten) == ("complete" if "process" in kinds else "running", "queued")
    assert nest.hive.flight(flight).state == "complete"
    assert nest.jar() == rows_of(file)
    assert nest.one("SELECT count(*) FROM hive.receipt WHERE flight = %s", flight) == 1
    nest.close()


@pytest.mark.parametrize("hears", [False, True])
def test_a_seal_that_the_source_hears_of_is_not_forgotten(server, tmp_path, monkeypatch, hears):
    heard = []
    if hears:
        monkeypatch.setattr(LocalBee, "sealed", lambda _, cursor: heard.append(cursor))
    nest = Nest(server.url(), tmp_path)
    write(nest.register() / "a.jsonl", [{"id": 1, "name": "Ada"}])
    nest.fly()
    nest.drain(kinds=["plan", "collect"])

    crash(server, nest)
    nest = Nest(server.url(), tmp_path)

    assert nest.one("SELECT count(*) FROM hive.batch") == len(heard) == int(hears)
    recover(nest)
    assert len(nest.jar()) == 1
    nest.close()


def test_a_hint_of_a_forgotten_task_claims_none_of_another_stage(server, tmp_path):
    nest = Nest(server.url(), tmp_path)
    write(nest.register() / "a.jsonl", [{"id": 1, "name": "Ada"}])
    nest.fly()
    day, number, _ = nest.due("plan")[0]

    assert not work(day, number, "process", nest.rt)
    nest.hurry()
    nest.drain()

    assert len(nest.jar()) == 1
    nest.close()


def test_a_fence_that_is_given_twice_belongs_to_one_worker(server, tmp_path):
    nest = Nest(server.url(), tmp_path)
    write(nest.register() / "a.jsonl", [{"id": 1, "name": "Ada"}])
    nest.fly()
    late = nest.claim(nest.due()[0])
    crash(server, nest)
    nest = Nest(server.url(), tmp_path)
    other = nest.runtime("other:1:1")
    nest.run("SELECT setval('hive.fence', %s, false)", late.fence)

    now = nest.claim(nest.due()[0], other)

    assert (now.id, now.fence) == (late.id, late.fence)
    with nest.rt.db.transaction() as tx, pytest.raises(Exception, match="was taken back from this worker"):
        late.hold(tx)
    nest.close()
