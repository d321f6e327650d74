"""What the broker says: whether it answers, and whether what was announced is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sqlalchemy.engine import make_url

from hive.doctor.finding import Finding, wrong
from hive.doctor.ledger import looked
from hive.ledger.db import Database, Transaction
from hive.settings import NotRunning, Settings

STALE_HINT = 90.0
"""Seconds after which a hint that is in no queue should have been sent again."""


def examine_broker(chosen: Settings, db: Database | None) -> list[Finding]:
    try:
        address = make_url(chosen.redis())
    except NotRunning as error:
        return [wrong("there is no broker", "HIVE_REDIS_URL", str(error).partition(": ")[0], "hive up")]
    where = f"{address.host}:{address.port or 6379}"
    try:
        there = _lengths(chosen.redis())
    except Exception as error:  # noqa: BLE001 - whatever the transport raises means: no broker just now
        why = f"{type(error).__name__}: workers hear of nothing; the janitor works alone until it is back"
        log = chosen.data_dir.absolute() / "valkey.log"
        then = (
            f"tail -n 20 {log}"
            if chosen.redis_url is None
            else f"redis-cli -h {address.host} -p {address.port or 6379} ping"
        )
        return [wrong("the broker cannot be reached", where, why, then)]
    return looked(db, lambda tx: _hints(tx, there), where) if db is not None else []


def _lengths(url: str) -> dict[str, int]:
    """Messages by queue, asked once and without patience: Celery's own connection would try for long."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from hive.supervisor import QUEUES

    with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3, retry=Retry(NoBackoff(), 0)) as broker:
        return {queue: int(cast("int", broker.llen(queue))) for queue in QUEUES}


def _hints(tx: Transaction, there: Mapping[str, int]) -> list[Finding]:
    found = []
    for row in tx.run("hinted_queues").fetchall():
        waiting = there.get(row.queue, 0)
        if row.age > STALE_HINT and waiting < row.outstanding:
            why = (
                f"{row.outstanding} tasks were announced, the oldest {row.age:.0f} s ago, and {waiting} messages wait "
                "there: nobody has announced the lost ones again"
            )
            found.append(wrong("announcements of work are lost", f"queue {row.queue}", why, "hive balance"))
    return found
