"""Quarantined records once more: scrubbed and landed with the pos that they were collected at.

A newer version that has landed meanwhile stays: the pos decides, as it does for every landing. What came from a section
of the stream, such as a file, that was read anew since or is gone, stays out. What is refused again goes back to
quarantine as an entry of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hive.flight.counted import as_json, merged
from hive.flight.process import EVERYTHING, Work, land_frame, prepare
from hive.flight.seal import unpack
from hive.flight.sections import current, hold
from hive.flight.task import Task
from hive.jars.jar import mark_changed
from hive.jars.land import Place, Written
from hive.jars.quarantine import open_record, quarantine
from hive.ledger.db import Transaction
from hive.runtime import Runtime
from hive.vault.envelope import Unsealable

_ENTRY = """
SELECT q.*, b.name AS bee_name, b.tenant, b.queue, b.config_version, j.name AS jar_name, j.part, j.kind,
       to_regclass(format('hive.honey_%%s', j.part)) IS NULL AS gone
  FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee JOIN hive.jar j ON j.id = q.jar WHERE q.id = %(id)s
"""


class NotRetriable(LookupError):
    """There is no such entry, it is not open, it holds no record, or its jar is gone."""


@dataclass(frozen=True)
class Retried:
    """Numbers of records. `superseded`: the jar holds a newer version."""

    landed: int
    superseded: int
    failed: int


def retry(rt: Runtime, number: int) -> Retried:
    """Land one entry. Raises NotRetriable."""
    while True:
        with rt.db.transaction() as tx:
            work = _open(tx, rt, number)
            there = current(tx, work)
        parts = _left(work, there)
        if not parts:
            raise NotRetriable(
                f"the quarantined record {number} came from a file that was read anew since, or is gone: "
                f"`hive quarantine drop {number}` clears it up"
            )
        for part in parts:
            prepare(part, EVERYTHING)
        done = _land(rt, work, parts, there, number)
        if done is not None:
            return done


def _left(work: Work, there: Sequence[str]) -> list[Work]:
    """The entry without the rows of other sections than these: runs of rows that keep their places."""
    ends = work.first + work.table.num_rows
    gone = sorted((start, stop) for name, start, stop in work.meta.sections if name not in there and start < stop)
    runs, at = [], work.first
    for start, stop in [*gone, (ends, ends)]:
        if at < min(start, ends):
            runs.append((at, min(start, ends)))
        at = max(at, stop)
    return [replace(work, table=work.table.slice(a - work.first, b - a), first=a) for a, b in runs]


def _land(rt: Runtime, work: Work, parts: list[Work], there: Sequence[str], number: int) -> Retried | None:
    """None: the jar moved into other tables meanwhile, or sections were read anew. Raises NotRetriable."""
    with rt.db.transaction() as tx:
        if current(tx, work) != there:
            return None
        row = tx.psycopg.execute("SELECT state FROM hive.quarantine WHERE id = %s FOR UPDATE", [number]).fetchone()
        if row is None or row[0] != "open":
            raise NotRetriable(f"the quarantined record {number} was settled by somebody else meanwhile")
        jar = tx.psycopg.execute("SELECT part FROM hive.jar WHERE id = %s FOR NO KEY UPDATE", [work.place.jar])
        if jar.fetchone() != (work.place.part,):
            return None
        landed = superseded = failed = 0
        for part in parts:
            written = land_frame(tx, part)
            hold(tx, part)
            if part.bad:
                quarantine(tx, rt.keyring(work.task.tenant).key("quarantine"), work.place, work.checkpoint, part.bad)
            _count(tx, part, written)
            landed, failed = landed + len(written), failed + len(part.bad)
            superseded += part.superseded + part.frame.height - len(written)
        tx.psycopg.execute("UPDATE hive.quarantine SET state = 'retried', body = '' WHERE id = %s", [number])
        if landed:
            mark_changed(tx, work.place.jar)
            tx.run("tell_changed", flight=work.place.flight, bee=work.place.bee, jar=work.place.jar)
    return Retried(landed, superseded, failed)


def _count(tx: Transaction, work: Work, written: Written) -> None:
    """What was taken out counts for the flight that collected the record, and for its bee where that is closed."""
    lines = work.taken_out(written.keys)
    if lines:
        flight = work.place.flight
        told = tx.psycopg.execute("SELECT scrubbed, state FROM hive.flight WHERE id = %s FOR UPDATE", [flight])
        row = told.fetchone()
        total = as_json(merged(row[0] if row else None, lines))
        tx.psycopg.execute("UPDATE hive.flight SET scrubbed = %s WHERE id = %s", [total, flight])
        if row is None or row[1] not in ("queued", "running"):
            tx.run("count_taken_out", bee=work.place.bee, scrubbed=as_json(lines))


def _open(tx: Transaction, rt: Runtime, number: int) -> Work:
    from psycopg.rows import namedtuple_row

    row: Any = tx.psycopg.cursor(row_factory=namedtuple_row).execute(_ENTRY, {"id": number}).fetchone()
    if row is None:
        raise NotRetriable(f"no quarantined record has the number {number}; `hive quarantine list` names them")
    if row.state != "open":
        raise NotRetriable(f"the quarantined record {number} is {row.state} already")
    if row.gone:
        raise NotRetriable(
            f"the quarantined record {number} belongs to the snapshot {row.jar_name!r}, which did not end well and is "
            f"gone: `hive retry {row.flight}` flies the snapshot anew, `hive quarantine drop {number}` gives it up"
        )
    _, key = rt.keyring(row.tenant).key("quarantine")
    try:
        table, meta, _ = unpack(open_record(key, row.checkpoint, row.seq, row.row, row.body))
    except (ValueError, KeyError, OSError, Unsealable) as error:
        raise NotRetriable(
            f"the quarantined record {number} is no record, but what the source gave instead of one ({row.place}): "
            f"`hive quarantine show {number} --place` names it; mend it there, fly the bee {row.bee_name!r} with "
            f"--full-refresh, then `hive quarantine drop {number}`"
        ) from error
    if row.kind == "snapshot":  # each is whole: nothing of it is compared with another reading
        meta = replace(meta, sections=())
    task = Task(
        day=row.created_at.date(), id=0, flight=row.flight, bee=row.bee, kind="process", queue=row.queue, priority=0,
        attempt=1, crashes=0, fence=0, owner="", checkpoint=row.checkpoint, batch=None, row_from=None, row_to=None,
        bee_name=row.bee_name, tenant=row.tenant, source="", mode="continuous", full_refresh=False, jar=row.jar,
        jar_name=row.jar_name, part=row.part, config_version=row.config_version,
        newest_config=row.config_version, data_key=None,
    )  # fmt: skip
    scrubber = rt.scrubbers.of(tx, task, rt.keyring(task.tenant))
    place = Place(
        row.part, row.jar, row.bee, row.stream, row.epoch, row.seq, row.flight, scrubber.number, meta.collected_at
    )
    return Work(
        task,
        rt,
        place,
        row.checkpoint,
        in_order=False,
        first_left=True,
        table=table,
        first=row.row,
        meta=meta,
        rejects=[],
    )
