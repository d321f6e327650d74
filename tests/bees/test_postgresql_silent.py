"""A PostgreSQL server that keeps its connections and answers nothing is given up on, and cannot hold a flight."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from bees.core.errors import RetryLater
from bees.core.sql.postgres import links, patience, session
from tests.bees.contract import rows
from tests.bees.postgresql_source import *  # noqa: F403
from tests.bees.postgresql_source import ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bees.postgresql_source import Database


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends half a second after the statement's own limit, and not after 15."""
    monkeypatch.setattr(links, "MORE", 0.5)
    monkeypatch.setattr(session, "MORE", 0.5)
    monkeypatch.setattr(patience, "_CANCEL", 0.5)
    monkeypatch.setattr(patience, "_LOOK", 0.1)


@contextmanager
def asleep(db: Database) -> Iterator[None]:
    """Every session of the bee hangs at the server, which ends no statement then."""
    found = db.owner.execute("SELECT pid FROM pg_stat_activity WHERE usename = %s", (db.role,)).fetchall()
    assert found
    for (pid,) in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for (pid,) in found:
            os.kill(pid, signal.SIGCONT)


def test_rows_that_stop_coming_are_for_later_and_the_next_leg_goes_on(db: Database) -> None:
    db.run(
        "CREATE TABLE q (id int PRIMARY KEY, wide text NOT NULL)",
        "INSERT INTO q SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) AS i",
    )
    with db.bee(batch_bytes=65536, batch_rows=50000, statement_timeout=3) as bee:
        batches = bee.collect_nectar("q", None)
        seen = [next(batches)]
        with asleep(db), pytest.raises(RetryLater) as error:
            seen.extend(batches)
    with db.bee(batch_rows=50000) as bee:
        rest = list(bee.collect_nectar("q", seen[-1].cursor))

    assert error.value.code == "statement_timeout"
    assert ids(rows(seen + rest)) == list(range(1, 20001))


def test_a_question_that_is_not_answered_ends(db: Database) -> None:
    db.run("CREATE TABLE q (id int PRIMARY KEY)")
    with db.bee(statement_timeout=3) as bee:
        bee.validate_flight_path()
        with bee.server.questions() as connection, asleep(db), pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT 1")
        bee.validate_flight_path()


def test_an_idle_session_that_hangs_is_not_lent_again(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.run("CREATE TABLE q (id int PRIMARY KEY)", "INSERT INTO q VALUES (1)")
    monkeypatch.setattr("bees.core.pool.FRESH", -1.0)
    with db.bee() as bee:
        bee.validate_flight_path()
        list(bee.collect_nectar("q", None))
        monkeypatch.setattr("bees.core.pool._shared.limits", patience_of_the_pool(0.3))
        with asleep(db):
            assert ids(rows(list(bee.collect_nectar("q", None)))) == [1]


def patience_of_the_pool(seconds: float) -> object:
    from bees.core.pool_limits import PoolLimits

    return PoolLimits(timeout=seconds, idle_timeout=30.0)


def test_who_got_an_answer_is_left_alone_and_the_watch_ends() -> None:
    done: list[str] = []
    watch = patience.Watch()
    with watch.within(60.0, lambda: done.append("too early")), watch.within(0.0, lambda: done.append("late")):
        until = time.monotonic() + 10
        while not done and time.monotonic() < until:
            time.sleep(0.01)
    while any(t.name == "patience" for t in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)

    assert done == ["late"]
    assert not [t for t in threading.enumerate() if t.name == "patience"]
