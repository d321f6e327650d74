"""The pool of connections: reuse, limits, rest, age, health; and no connection for anybody it was not made for."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import yaml

from bees.core.errors import RetryLater
from bees.core.pool import HiveConnectionPool, PoolLimits, SourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOP = SourceKey("db:5432/shop", "first", "reader")
DOCUMENT = """
hive_connection_pool:
  global_settings: {max_total_connections: 200, connection_timeout: 30, idle_timeout: 600}
  per_source_limits:
    production_db: {max_connections: 50, min_connections: 5}
    analytics_db: {max_connections: 20, min_connections: 2}
  health_checks: {interval: 60, timeout: 5, failure_threshold: 3}
"""


@dataclass(eq=False)
class Connection:
    number: int
    open: bool = True
    alive: bool = True


@dataclass
class Link:
    made: list[Connection] = field(default_factory=list)
    cleaned: int = 0
    asked: int = 0
    broken: bool = False

    def open(self) -> Connection:
        if self.broken:
            raise RetryLater("not there", code="unreachable")
        self.made.append(Connection(len(self.made) + 1))
        return self.made[-1]

    def clean(self, connection: Connection) -> bool:
        self.cleaned += 1
        return connection.alive

    def alive(self, connection: Connection, timeout: float) -> bool:
        self.asked += timeout > 0
        return connection.alive

    def close(self, connection: Connection) -> None:
        connection.open = False

    @property
    def open_ones(self) -> int:
        return sum(c.open for c in self.made)


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def pool() -> Iterator[HiveConnectionPool]:
    made = HiveConnectionPool()
    made.join(SHOP)
    yield made
    made.close()


def limited(**limits: object) -> HiveConnectionPool:
    made = HiveConnectionPool(limits=PoolLimits(**limits))  # type: ignore[arg-type]
    made.join(SHOP)
    return made


def until(done: object, patience: float = 5.0) -> None:
    ends = time.monotonic() + patience
    while not done():  # type: ignore[operator]
        assert time.monotonic() < ends
        time.sleep(0.005)


class TestLending:
    def test_what_came_back_is_lent_again(self, pool: HiveConnectionPool, link: Link) -> None:
        for _ in range(50):
            with pool.lend(SHOP, "postgresql", link):
                pass
        (status,) = pool.get_pool_status().values()
        assert (len(link.made), link.cleaned) == (1, 50)
        assert (status["size"], status["available"], status["in_use"]) == (1, 1, 0)
        assert status["metrics"]["reuse"] > 0.9
        assert (status["metrics"]["checkouts"], status["metrics"]["checkins"]) == (50, 50)

    @pytest.mark.parametrize(
        "other",
        [SHOP._replace(credentials="second"), SHOP._replace(role="writer"), SHOP._replace(source="db:5432/other")],
    )
    def test_nobody_gets_a_connection_of_another(self, pool: HiveConnectionPool, link: Link, other: SourceKey) -> None:
        pool.join(other)
        with pool.lend(SHOP, "postgresql", link) as first:
            pass
        with pool.lend(other, "postgresql", link) as second, pool.lend(SHOP, "mysql", link) as third:
            assert len({id(c) for c in (first, second, third)}) == 3

    def test_what_leaves_by_an_error_or_cannot_be_cleaned_is_closed(self, pool: HiveConnectionPool, link: Link) -> None:
        with pytest.raises(ZeroDivisionError), pool.lend(SHOP, "postgresql", link):
            raise ZeroDivisionError
        with pool.lend(SHOP, "postgresql", link) as second:
            second.alive = False
        assert link.open_ones == 0
        assert [s["size"] for s in pool.get_pool_status().values()] == [0]

    def test_one_that_died_in_the_pool_is_replaced(self, pool: HiveConnectionPool, link: Link) -> None:
        with pool.lend(SHOP, "postgresql", link) as first:
            pass
        first.alive = False
        with pool.lend(SHOP, "postgresql", link) as second:
            assert second is not first
        assert not first.open

    def test_an_idle_one_is_there_within_a_millisecond(self, pool: HiveConnectionPool, link: Link) -> None:
        def lend() -> float:
            began = time.perf_counter()
            with pool.lend(SHOP, "postgresql", link):
                return time.perf_counter() - began

        assert sorted(lend() for _ in range(100))[50] < 0.001

    def test_giving_back_twice_does_nothing(self, pool: HiveConnectionPool, link: Link) -> None:
        one = pool.get_connection(SHOP, "postgresql", link)
        pool.return_connection(one, SHOP, "postgresql")
        pool.return_connection(one, SHOP, "postgresql")
        assert [s["available"] for s in pool.get_pool_status().values()] == [1]


class TestLimits:
    def test_of_a_source(self, link: Link) -> None:
        pool = limited(per_source={"shop": (2, 0)}, connection_timeout=0.05)
        first = pool.get_connection(SHOP, "postgresql", link)
        pool.get_connection(SHOP, "postgresql-data", link)
        with pytest.raises(RetryLater) as error:
            pool.get_connection(SHOP, "postgresql", link)
        assert error.value.code == "pool_exhausted"
        assert "max_connections" in error.value.advice
        pool.return_connection(first, SHOP, "postgresql")
        assert pool.get_connection(SHOP, "postgresql", link) is first

    def test_of_all_sources_together(self, link: Link) -> None:
        pool = limited(max_total=1, connection_timeout=0.05)
        other = SHOP._replace(source="db:5432/other")
        pool.join(other)
        one = pool.get_connection(SHOP, "postgresql", link)
        with pytest.raises(RetryLater):
            pool.get_connection(other, "postgresql", link)
        pool.return_connection(one, SHOP, "postgresql")
        pool.get_connection(other, "postgresql", link)
        assert not one.open  # it lay idle, and made room

    def test_who_waits_gets_what_comes_back(self, link: Link) -> None:
        pool = limited(max_total=1, connection_timeout=5.0)
        one = pool.get_connection(SHOP, "postgresql", link)
        threading.Timer(0.1, pool.return_connection, (one, SHOP, "postgresql")).start()
        assert pool.get_connection(SHOP, "postgresql", link) is one

    def test_hold_among_many_threads(self, link: Link) -> None:
        pool = limited(max_total=3, connection_timeout=10.0)
        most, lock, at_once = [0], threading.Lock(), [0]

        def work() -> None:
            for _ in range(30):
                with pool.lend(SHOP, "postgresql", link):
                    with lock:
                        at_once[0] += 1
                        most[0] = max(most[0], at_once[0])
                    time.sleep(0.0005)
                    with lock:
                        at_once[0] -= 1

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most[0] <= 3
        assert len(link.made) <= 3

    def test_the_documents_file_is_obeyed(self) -> None:
        limits = PoolLimits.of_document(yaml.safe_load(DOCUMENT)["hive_connection_pool"])
        assert (limits.max_total, limits.connection_timeout, limits.idle_timeout) == (200, 30, 600)
        assert (limits.interval, limits.timeout, limits.failure_threshold) == (60, 5, 3)
        assert limits.of("db.internal:5432/production_db") == (50, 5)
        assert limits.of("analytics_db:5432/x") == (20, 2)
        assert limits.of("db.internal:5432/other") == (200, 0)


class TestRest:
    def test_who_lies_idle_too_long_is_closed_but_for_the_fewest(self, link: Link) -> None:
        pool = limited(idle_timeout=0.1, per_source={"shop": (9, 1)})
        held = [pool.get_connection(SHOP, "postgresql", link) for _ in range(3)]
        for one in held:
            pool.return_connection(one, SHOP, "postgresql")
        until(lambda: link.open_ones == 1)
        time.sleep(0.2)
        assert link.open_ones == 1
        pool.close()
        assert link.open_ones == 0

    def test_who_is_too_old_is_closed(self, link: Link) -> None:
        pool = limited(lifetime=0.1)
        with pool.lend(SHOP, "postgresql", link):
            pass
        until(lambda: link.open_ones == 0)
        with pool.lend(SHOP, "postgresql", link):
            time.sleep(0.15)
        assert link.open_ones == 0

    def test_the_last_user_of_a_source_closes_its_connections(self, link: Link) -> None:
        pool, before = HiveConnectionPool(), set(threading.enumerate())
        users = [pool.join(SHOP), pool.join(SHOP)]
        with pool.lend(SHOP, "postgresql", link):
            pass
        pool.leave(users[0])
        assert link.open_ones == 1
        pool.leave(users[1])
        pool.leave(users[1])
        assert link.open_ones == 0
        assert not [t for t in threading.enumerate() if t not in before]

    def test_one_that_is_looked_at_while_its_last_user_leaves_is_closed_as_well(self) -> None:
        class Slow(Link):
            looked_at, seen = threading.Event(), threading.Event()

            def alive(self, connection: Connection, timeout: float) -> bool:
                self.looked_at.set()
                self.seen.wait(5)
                return super().alive(connection, timeout)

        link, pool = Slow(), HiveConnectionPool(limits=PoolLimits(interval=0.02))
        user = pool.join(SHOP)
        with pool.lend(SHOP, "postgresql", link):
            pass
        assert link.looked_at.wait(5)
        threading.Timer(0.05, link.seen.set).start()
        pool.leave(user)
        until(lambda: link.open_ones == 0)

    def test_without_a_user_nothing_is_kept(self, link: Link) -> None:
        pool = HiveConnectionPool()
        with pool.lend(SHOP, "postgresql", link):
            pass
        assert link.open_ones == 0


class TestHealth:
    def test_who_gives_no_sign_of_life_is_closed(self, link: Link) -> None:
        pool = limited(interval=0.05)
        with pool.lend(SHOP, "postgresql", link) as one:
            pass
        until(lambda: link.asked >= 2)
        assert one.open
        one.alive = False
        until(lambda: not one.open)

    def test_after_some_failures_in_a_row_none_of_its_kind_is_trusted(self, link: Link) -> None:
        pool = limited(interval=0.05, failure_threshold=2)
        held = [pool.get_connection(SHOP, "postgresql", link) for _ in range(5)]
        for one in held:
            pool.return_connection(one, SHOP, "postgresql")
        for one in held:
            one.alive = False
        until(lambda: link.open_ones == 0)
        assert [s["healthy"] for s in pool.get_pool_status().values()] == [False]
        with pool.lend(SHOP, "postgresql", link):
            assert [s["healthy"] for s in pool.get_pool_status().values()] == [True]
        pool.close()

    def test_a_source_that_cannot_be_reached_takes_no_room(self, link: Link) -> None:
        pool = limited(max_total=1)
        link.broken = True
        for _ in range(3):
            with pytest.raises(RetryLater):
                pool.get_connection(SHOP, "postgresql", link)
        ((_, status),) = pool.get_pool_status().items()
        assert (status["size"], status["healthy"], status["metrics"]["failed"]) == (0, False, 3)
        link.broken = False
        with pool.lend(SHOP, "postgresql", link):
            pass
        pool.close()


def test_a_forked_child_leaves_its_parents_connections_alone(link: Link) -> None:
    pool = limited()
    with pool.lend(SHOP, "postgresql", link):
        pass
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.join(SHOP)
            with pool.lend(SHOP, "postgresql", link) as own:
                code = 0 if own.number == 2 and link.made[0].open else 2
            pool.close()
            code = code if link.made[0].open else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pool.close()
    assert link.open_ones == 0
