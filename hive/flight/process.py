"""Scrub and land: a sealed batch becomes honey.

Everything is worked out first, without a transaction; then one transaction writes it all: the records (the higher pos
wins), the bad ones to quarantine, the receipt, the payload's end and last the watermark. The task's fence is checked
before anything is written, so a worker that was taken for dead changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from hive import crash
from hive.errors import HiveError, StaleFence, TooEarly
from hive.flight.counted import Line, as_json, counted
from hive.flight.frame import frame_of, searched, tombstones
from hive.flight.missed import empty
from hive.flight.seal import Meta, flight_key, open_batch, pack, place, unpack
from hive.flight.sections import cut, end_unmissed, hold
from hive.flight.settled import keys_above, place_of, rejected, settle
from hive.flight.task import Left, Task
from hive.jars import index, land, wire
from hive.jars.quarantine import REASONS, Bad, quarantine
from hive.jars.views import kinds_of, learn, merged_kind
from hive.ledger.db import UNREACHABLE, Transaction
from hive.runtime import Runtime
from hive.settings import Settings
from nectar.batch import LITTLE, Reject
from nectar.deadline import Deadline
from nectar.identity import content_hashes, key_hashes
from nectar.pipeline import refine

LANDING_GRACE = 15.0
"""Seconds after a landing's limit at which a server counts as silent that did not end it by itself."""
SAMPLE = 250
"""Records of a batch, about, that the jar is asked for where it may be that it holds none of them."""
EVERYTHING = None
"""All keys: nothing is left out as unchanged, the pos decides."""
_NOTHING = pl.DataFrame()
_NO_RECORDS = pl.DataFrame(schema=dict.fromkeys(land.COLUMNS, pl.String))
SCAN_LIMIT = 30.0
"""Seconds that the search for personal data in one value may take; a value that takes longer is quarantined."""


class Outrun(HiveError):
    """Records that were unchanged a moment ago were written over meanwhile: this batch must write them after all."""

    def __init__(self, keys: set[str]) -> None:
        super().__init__("other landings changed these records meanwhile")
        self.keys = keys


class Ended(NamedTuple):
    """What the end of a landing finds.

    waiting  other tasks of its queue wait for a hint
    level    all of its stream that was sealed has landed, and nobody seals more of it before this transaction ends
    entries  quarantine has open entries of the stream that name their record
    """

    waiting: bool
    level: bool
    entries: bool


class LandingTooLong(HiveError):
    code = "landing_too_long"


@dataclass
class Work:
    """One part of a batch, and what is to become of each of its records."""

    task: Task
    rt: Runtime
    place: land.Place
    checkpoint: int
    in_order: bool
    """This part is its whole batch, and what came before it is settled: no earlier batch of the stream that has not
    landed may hold the same keys, and no earlier reading may still find that it did not meet them."""
    first_left: bool
    """Every earlier batch of the stream has landed."""
    table: pa.Table
    first: int
    meta: Meta
    rejects: list[tuple[int, Reject]]
    ids: pl.DataFrame = field(default_factory=lambda: _NOTHING)
    bad: list[Bad] = field(default_factory=list)
    superseded: int = 0
    unchanged: int = 0
    gone: set[str] = field(default_factory=set)
    """Keys of the deletes."""
    emptied: int | None = None
    """Place of the last record that says that the source emptied the stream: whatever is older goes."""
    emptyings: int = 0
    raised: pl.DataFrame = field(default_factory=lambda: _NOTHING)
    frame: pl.DataFrame = field(default_factory=lambda: _NO_RECORDS)
    fields: tuple[str, ...] = ()
    """What of a record is text that people search."""
    fresh: bool = False
    """The jar seems to hold none of the records."""
    of_whole: bool = True
    """It may belong to a reading of everything, which is compared with the jar when it ended."""
    taken_out: Callable[[Collection[str] | None], list[Line]] = field(default=lambda _: [])
    """What was scrubbed from the records of these keys (None: of all), counted."""


def process(task: Task, rt: Runtime) -> Left:
    """Scrub and land one part of a batch."""
    work = load(task, rt)
    forced: set[str] = set()
    ask_all = False
    while True:
        prepare(work, forced, ask_all=ask_all)
        try:
            return Left(waiting=_land(work))
        except Outrun as outrun:
            forced |= outrun.keys
        except land.NotFresh:
            ask_all = True
        work = load(replace(task, sealed=None), rt)


def load(task: Task, rt: Runtime, *, scrubbed: bool = True) -> Work:
    """Open the batch and cut out this task's part of it. Raises Unreadable.

    `scrubbed=False`: no scrubber is made, for records that are set aside as they are.
    """
    with rt.db.single() as tx:
        row = task.sealed or tx.run("load_batch", day=task.day, batch=task.batch).fetchone()
        assert row is not None
        scrub_version = rt.scrubbers.of(tx, task, rt.keyring(task.tenant)).number if scrubbed else 0
    data_key = flight_key(rt.key, task.data_key, task.flight)
    packed = open_batch(data_key, row.body, place(task.flight, row.checkpoint, row.seq))
    table, meta, rejects = unpack(packed)
    low, high = task.row_from or 0, row.rows if task.row_to is None else task.row_to
    records = table.num_rows
    cut = table.slice(low, max(0, min(high, records) - low)) if low < records else table.slice(0, 0)
    numbered = [(records + n, r) for n, r in enumerate(rejects) if low <= records + n < high]
    whole = low == 0 and high == row.rows
    spot = land.Place(
        task.part, task.jar, task.bee, row.stream, row.epoch, row.seq, task.flight,
        scrub_version, meta.collected_at,
    )  # fmt: skip
    first_left = row.landed_seq >= row.seq - 1
    first = row.seq if meta.distinct_from is None else meta.distinct_from
    in_order = whole and row.landed_seq >= first - 1 and not row.uncompared
    return Work(
        task, rt, spot, row.checkpoint, in_order, first_left, cut, low, meta, numbered,
        of_whole=meta.whole and row.of_whole,
    )  # fmt: skip


def prepare(work: Work, forced: Collection[str] | None, *, ask_all: bool = True) -> None:
    """Decide what becomes of every record, without writing anything. `forced` keys are written even if unchanged.

    `ask_all=False`: where the jar holds none of a sample of many records, it is taken to hold none of them.
    """
    work.bad = rejected(work.rejects, work.meta.key, work.rt.keyring(work.task.tenant).key("record")[1])
    if work.table.num_rows == 0:
        return
    _find_emptying(work)
    work.ids = _identify(work)
    newest = work.ids
    if work.emptied is not None:
        newest = newest.filter(pl.col("at") > work.emptied)
        ask_all, forced = True, EVERYTHING
    if newest.height > 1:
        newest = newest.unique(subset="key_hash", keep="last", maintain_order=True)
    work.superseded = work.ids.height - newest.height  # also what came before the source emptied the stream
    if not ask_all and newest.height >= land.MANY and not newest["deleted"].any():
        work.fresh = not _standing(work, newest.gather_every(newest.height // SAMPLE)).strip("n")
    todo = newest if work.fresh else _leave_unchanged(work, newest, forced, ask_all=ask_all)
    if not todo.is_empty():
        _refine(work, todo)


def _find_emptying(work: Work) -> None:
    """Raises TooEarly where the stream was emptied and older records of it have not landed: they would come after."""
    if "_op" not in work.table.column_names:
        return
    at = pc.indices_nonzero(pc.fill_null(pc.equal(work.table["_op"], "truncate"), fill_value=False))
    if not len(at):
        return
    if not work.first_left:
        raise TooEarly("the source emptied this stream, and earlier batches of it have not landed")
    work.emptied, work.emptyings = at[-1].as_py(), len(at)


def _identify(work: Work) -> pl.DataFrame:
    """(at, key_hash, content_hash, deleted) of each record with a key; the others are bad."""
    table, key = work.table, work.meta.key
    _, record_key = work.rt.keyring(work.task.tenant).key("record")
    _, content_key = work.rt.keyring(work.task.tenant).key("content")
    if all(k in table.column_names for k in key):
        hashes = key_hashes(table, key, record_key)
    else:
        hashes = pl.Series([None] * table.num_rows, dtype=pl.String)
    deleted = pl.Series([False] * table.num_rows)
    emptying = deleted
    if "_op" in table.column_names:
        ops = table["_op"].to_pylist()
        deleted, emptying = pl.Series([op == "delete" for op in ops]), pl.Series([op == "truncate" for op in ops])
    ids = pl.DataFrame(
        {
            "at": pl.Series(range(table.num_rows), dtype=pl.Int32),
            "key_hash": hashes,
            "content_hash": content_hashes(table, content_key),
            "deleted": deleted,
        }
    )
    if work.emptied is not None:
        ids, hashes = ids.filter(~emptying), hashes.filter(~emptying)
    if not hashes.null_count():
        return ids
    for at in ids.filter(pl.col("key_hash").is_null())["at"]:
        _set_bad(work, at, "null_key", None)
    return ids.filter(pl.col("key_hash").is_not_null())


def _set_bad(work: Work, at: int, code: str, key_hash: str | None, reason: str | None = None) -> None:
    reason = reason or REASONS.get(code, code.replace("_", " "))
    raw = pack(work.table.slice(at, 1), replace(work.meta, sections=cut(work.meta, work.first + at, 1)), ())
    work.bad.append(
        Bad(work.first + at, code, reason, raw, place_of(work.table, at, document=work.meta.document), key_hash)
    )


def _leave_unchanged(
    work: Work, newest: pl.DataFrame, forced: Collection[str] | None, *, ask_all: bool
) -> pl.DataFrame:
    """Take out the records that the jar holds as they are; what is left must be scrubbed and written."""
    if forced is EVERYTHING:
        return newest
    letters = _standing(work, newest)
    # A long text takes a sixth of the memory by COPY.
    work.fresh = not ask_all and work.table.nbytes > LITTLE and not letters.strip("n") and not newest["deleted"].any()
    if "s" not in letters and "q" not in letters:
        return newest
    standing = pl.Series(np.frombuffer(letters.encode(), "S1").astype("U1"))
    same = standing.is_in(["s", "q"]) & ~newest["deleted"]
    if forced:
        same &= ~newest["key_hash"].is_in(list(forced))
    work.raised = newest.filter(same & (standing == "q") if work.in_order else same)
    work.unchanged = int(same.sum()) - work.raised.height
    return newest.filter(~same)


def _standing(work: Work, records: pl.DataFrame) -> str:
    with work.rt.db.single() as tx:
        return land.standing(tx, work.place, records["key_hash"], records["content_hash"])


def _left_out(content: str) -> str:
    """The content hash of a record that a step of the bee left out: no delete of the source has it."""
    return f"{int(content[0], 16) ^ 8:x}{content[1:]}"


def _refine(work: Work, todo: pl.DataFrame) -> None:
    """Scrub what must be written and put it into the form the jar takes."""
    gone = todo.clear()
    if todo["deleted"].any():
        gone, todo = todo.filter(pl.col("deleted")), todo.filter(~pl.col("deleted"))
    table = work.table
    if todo.height < table.num_rows:
        table = table.take(pa.array(todo["at"].to_list(), pa.int64()))
    scrubber = work.rt.scrubbers.of(None, work.task, work.rt.keyring(work.task.tenant))
    work.rt.moved(0.0 if scrubber.transform is None else scrubber.transform.longest)
    refined = refine(
        table, scrubber.scrubber, document=work.meta.document, value_limit=work.rt.settings.value_limit,
        transform=scrubber.transform, key=work.meta.key, deadline=Deadline(SCAN_LIMIT, work.rt.moved),
        extractor=work.rt.extractor,
    )  # fmt: skip
    for at, code in refined.failed.items():
        _set_bad(work, todo["at"][at], code, todo["key_hash"][at], refined.reasons.get(at))
    if refined.dropped:  # what a step left out, the jar shall not hold: also no version from before
        dropped = todo[list(refined.dropped)]
        hashes = pl.Series([_left_out(content) for content in dropped["content_hash"]], dtype=pl.String)
        gone = pl.concat([gone, dropped.with_columns(content_hash=hashes, deleted=pl.lit(value=True))])
    kept = todo[refined.rows] if refined.failed or scrubber.transform is not None else todo
    frame = frame_of(refined, kept, work.meta.key, work.first)
    if not gone.is_empty():
        frame = pl.concat([frame, tombstones(gone, work.first)])
        work.gone = set(gone["key_hash"])
    work.frame = frame
    if work.rt.settings.search:
        work.fields = searched(refined.table, document=work.meta.document)
    work.taken_out = partial(counted, refined.removed, kept["key_hash"], action_of=scrubber.scrubber.action_of)
    _learn(work, refined.table, transformed=scrubber.transform is not None)


def _learn(work: Work, table: pa.Table, *, transformed: bool) -> None:
    """Write new columns down and renew the typed view, in a transaction of its own."""
    told = {} if work.meta.document else work.meta.kinds
    if transformed:  # what the source told of a column holds no more where a step made another one of it
        before, after = work.table.schema, table.schema
        told = {n: k for n, k in told.items() if n in after.names and before.field(n).type == after.field(n).type}
    kinds = kinds_of(table, told)
    known = work.rt.learned.get(work.place.stream, {})
    if all(name in known and merged_kind(known[name], kind) == known[name] for name, kind in kinds.items()):
        return
    with work.rt.db.transaction() as tx:
        work.rt.learned[work.place.stream] = learn(
            tx, work.place.jar, work.place.bee, work.place.stream, work.place.part, kinds
        )


def _land(work: Work) -> bool:
    """The landing transaction."""
    task = work.task
    limit = work.rt.settings.landing_limit
    work.rt.moved()
    with _in_time(limit), work.rt.db.transaction(limit=limit + LANDING_GRACE) as tx:
        hold_landing(tx, task, limit)
        if work.emptied is not None:
            tx.run("lock_checkpoint", checkpoint=work.checkpoint)  # before what quarantine holds, as everybody does
            empty(tx, work.place, work.first + work.emptied, work.checkpoint, task.day)
        superseded = work.superseded + _raise(tx, work)
        written = land_frame(tx, work)
        raised = set(work.raised["key_hash"]) if not work.raised.is_empty() else set()
        if work.bad:
            quarantine(tx, work.rt.keyring(task.tenant).key("quarantine"), work.place, work.checkpoint, work.bad)
        deleted = len(written.keys & work.gone) if work.gone else 0
        counts = {
            "landed": len(written) - deleted,
            "unchanged": work.unchanged + len(raised) - (superseded - work.superseded),
            "superseded": superseded + work.frame.height - len(written),
            "deleted": deleted + work.emptyings,
            "quarantined": sum(b.records for b in work.bad),
        }
        if work.of_whole and not work.ids.is_empty():
            met = work.ids["key_hash"].unique() if work.superseded else work.ids["key_hash"]
            tx.run("see", checkpoint=work.checkpoint, seq=work.place.seq, row_from=work.first, keys=wire.hashes(met))
        if work.meta.sections and task.mode != "snapshot":
            hold(tx, work)
        ended = complete_part(
            tx, task, work.rt.settings, work.checkpoint, work.place, counts,
            scrubbed=work.taken_out(None if len(written) == work.frame.height else written.keys),
        )  # fmt: skip
        unread = [bad.key_hash for bad in work.bad if bad.key_hash]
        if ended.entries and (written or raised or unread):
            settle(tx, work.place, [*written.keys, *raised, *unread, *_above(work, written.keys | raised)])
        if ended.level and work.meta.sections and task.mode != "snapshot":
            # Last: who retries an entry of an older reading holds that entry, and finds its section as it was.
            end_unmissed(tx, work)
        crash.point("process:before-commit")
    crash.point("process:after-commit")
    return ended.waiting


def _above(work: Work, met: set[str]) -> list[str]:
    """Keys of the archives and folders that the documents among these records were found in."""
    if not work.meta.document or work.ids.is_empty() or "path" not in work.table.column_names:
        return []
    here = work.ids.filter(pl.col("key_hash").is_in(list(met)) & ~pl.col("deleted"))
    paths = work.table["path"].take(pa.array(here["at"].to_list(), pa.int64())).to_pylist()
    return keys_above(paths, work.rt.keyring(work.task.tenant).key("record")[1])


@contextmanager
def _in_time(limit: float) -> Iterator[None]:
    """A landing that the server broke off after its time is no database out of reach: it counts, and is halved."""
    began = time.monotonic()
    try:
        yield
    except (*UNREACHABLE, psycopg.errors.InternalError) as error:
        if time.monotonic() - began < limit:
            raise
        raise LandingTooLong(
            f"a landing lasted longer than {limit:.0f} seconds",
            advice="smaller batches (HIVE_BATCH_ROWS, HIVE_BATCH_BYTES), or more time (HIVE_LANDING_LIMIT)",
        ) from error


def land_frame(tx: Transaction, work: Work) -> land.Written:
    """Write the records, and down what is to be indexed. Gives what was written: the others are newer there.

    Raises NotFresh where records that seemed new are not.
    """
    document = work.meta.document
    written = land.write(
        tx, work.place, work.frame, fresh=work.fresh and not work.gone, fields=work.fields, document=document
    )
    crash.point("process:mid-write")
    if written and work.fields and not written.noted:
        index.note(tx, work.place, written, work.fields, document=document)
    return written


def _raise(tx: Transaction, work: Work) -> int:
    """Raise the pos of unchanged records that came out of order. Gives how many newer versions stood there instead."""
    if work.raised.is_empty():
        return 0
    keys = work.raised["key_hash"].to_list()
    rows = [at + work.first for at in work.raised["at"]]
    raised = land.raise_pos(tx, work.place, keys, rows, work.raised["content_hash"].to_list())
    left = {k: r for k, r in zip(keys, rows, strict=True) if k not in raised}
    older = land.older(tx, work.place, left)
    if older:
        raise Outrun(older)
    return len(left)


def complete_part(
    tx: Transaction,
    task: Task,
    settings: Settings,
    checkpoint: int,
    place: land.Place,
    counts: dict[str, int],
    *,
    dead: bool = False,
    scrubbed: Sequence[Line] = (),
) -> Ended:
    """The end of a landing: receipt, the payload's removal, the task's end, and last the watermark."""
    part = tx.run(
        "complete_part", day=task.day, id=task.id, queue=task.queue, batch=task.batch, checkpoint=checkpoint,
        seq=place.seq, stream=place.stream, row_from=task.row_from, row_to=task.row_to, flight=task.flight, dead=dead,
        few=settings.hints_per_queue // 2, scrubbed=as_json(scrubbed), **counts,
    ).fetchone()  # fmt: skip
    assert part is not None
    if part.behind:
        state = tx.run("lock_checkpoint", checkpoint=checkpoint).fetchone()
        assert state is not None
        tx.run("move_watermark", checkpoint=checkpoint, landed_seq=state.landed_seq)
    return Ended(waiting=bool(part.waiting and not dead), level=part.level, entries=part.entries)


def hold_landing(tx: Transaction, task: Task, limit: float) -> None:
    """The fence first. And say whose landing this is, so that the janitor can end it, and let the server end it itself.

    Raises StaleFence when another worker has the task.
    """
    # transaction_timeout came with PostgreSQL 17; an older server keeps the number under a name that means nothing.
    bound = "transaction_timeout" if tx.psycopg.info.server_version >= 170000 else "hive.landing_limit"
    row = tx.run(
        "hold_landing", day=task.day, id=task.id, fence=task.fence, owner=task.owner,
        name=f"hive:{task.ref}:{task.fence}", bound=bound,
        limit=f"{int(limit * 1000)}ms",
    ).fetchone()  # fmt: skip
    if row is None:
        raise StaleFence(f"task {task.ref} was taken back from this worker")
