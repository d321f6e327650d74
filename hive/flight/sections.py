"""Deletes by section: what a file no longer holds, and all of a file that is gone, leaves the jar.

A connector may say which section of its stream, such as a file, its rows come from, and where the reading of a section
begins and ends. Each landing writes down the keys that a section gave, those that were set aside among them; they stay
until the section is read again. When all of a reading has landed, the records that older readings of the section gave,
and neither this one nor any other section holds, become tombstones, and what quarantine holds of them ends. A section
that was not read to its end deletes nothing, nor does one of which a record could not be told by its key.

Names of sections stand in the ledger as keyed hashes.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import structlog
from psycopg import sql

from hive.flight.missed import FEW as AT_LEAST
from hive.flight.missed import LIMIT, LITTLE, MOST, Found, living_of, looked_up, retire
from hive.jars.jar import STREAM, partition
from hive.ledger.db import statements

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import polars as pl

    from hive.flight.process import Work
    from hive.flight.seal import Meta
    from hive.ledger.db import Database, Transaction
    from nectar.batch import Section

log = structlog.get_logger()

_MISSED = sql.SQL(
    "WITH told AS MATERIALIZED ("
    "   SELECT * FROM unnest(%(sections)s::bytea[], %(from_seqs)s::bigint[]) AS n(section, from_seq))"
    " SELECT encode(k, 'hex') FROM hive.section_keys s {join} JOIN told t USING (section), unnest(s.keys) k"
    "  WHERE s.checkpoint = %(checkpoint)s AND EXISTS (SELECT FROM hive.section_keys o JOIN told USING (section)"
    "     WHERE o.checkpoint = %(checkpoint)s AND (o.epoch, o.seq) < (%(epoch)s, told.from_seq))"
    "  GROUP BY k HAVING NOT bool_or(t.section IS NULL OR (s.epoch, s.seq) >= (%(epoch)s, t.from_seq))"
)
_END_UNMISSED: LiteralString = """
WITH told AS MATERIALIZED (
    {told}
    AND (SELECT count(*) FROM (SELECT FROM hive.section_read WHERE checkpoint = %(checkpoint)s AND to_seq IS NOT NULL
                                LIMIT %(most)s + 1) few) <= %(most)s
), older AS MATERIALIZED (
    SELECT s.ctid AS at, s.partial FROM hive.section_keys s JOIN told USING (section)
     WHERE s.checkpoint = %(checkpoint)s AND (s.epoch, s.seq) < (%(epoch)s, told.from_seq)
), plain AS MATERIALIZED (
    SELECT (SELECT sum(keys) FROM told) <= %(little)s AND NOT EXISTS (SELECT FROM older WHERE partial)
           AND (SELECT count(*) FROM told) = (SELECT count(*) FROM hive.section_read
                                               WHERE checkpoint = %(checkpoint)s AND to_seq IS NOT NULL)
           AND EXISTS (SELECT FROM hive.checkpoint
                        WHERE id = %(checkpoint)s AND epoch = %(epoch)s AND held_deletes = 0) AS so
), missed AS MATERIALIZED (
    SELECT FROM hive.section_keys s JOIN told t USING (section), unnest(s.keys) k
     WHERE (SELECT so FROM plain) AND s.checkpoint = %(checkpoint)s AND EXISTS (SELECT FROM older)
     GROUP BY k HAVING NOT bool_or((s.epoch, s.seq) >= (%(epoch)s, t.from_seq)) LIMIT 1
), forgotten AS (
    DELETE FROM hive.section_keys s USING older
     WHERE s.ctid = older.at AND (SELECT so FROM plain) AND NOT EXISTS (SELECT FROM missed)
)
DELETE FROM hive.section_read
 WHERE checkpoint = %(checkpoint)s AND to_seq IS NOT NULL AND (SELECT so FROM plain) AND NOT EXISTS (SELECT FROM missed)
"""
_LIVING = sql.SQL(
    "SELECT k FROM unnest(%(keys)s::text[]) AS k CROSS JOIN LATERAL ("
    "  SELECT FROM {honey} WHERE {here} AND key_hash = decode(k, 'hex') AND deleted_at IS NULL OFFSET 0) AS living"
)
# Keys are grouped and never joined with keys: the planner cannot know how many an array holds, and a wrong guess would
# make the work grow with their square.
_AT_ONCE = 100
"""Sections that a landing compares: some milliseconds, in which nobody seals more of the stream."""
_ENDS = ":,/"
"""What may follow a section's name in the place of something within it."""


@dataclass(frozen=True)
class Told:
    """What a batch tells of sections: values of the statement `seal`, and whether the reading met every section."""

    values: dict[str, Any]
    met_all: bool = False


def hashed(names: Sequence[str], secret: bytes) -> list[str]:
    """What the ledger calls these sections."""
    from nectar.identity import key_hash  # here, so that a pool forks without polars

    return [key_hash((name,), secret) for name in names]


def told(sections: Sequence[Section], secret: bytes, key: Sequence[str], first: int) -> Told:
    """For the statement that seals a batch: which sections begin with it and which end.

    `first`: the seq of the batch, or the next one where this has no rows, for then nothing is sealed. Records whose
    `key` is their file and line are of one section only.
    """
    if not sections:
        return Told({"first": first, "own": False, "begun": [], "whole_sections": [], "ended": [], "files": []})
    from bees.core.file_sections import LISTED
    from bees.core.tabular import PLACE
    from hive.flight.settled import keys_of_files  # here, so that a pool forks without polars

    begun = [section.name for section in sections if section.begins and section.name != LISTED]
    ended = dict.fromkeys(section.name for section in sections if section.ends and section.name != LISTED)
    names = hashed([*begun, *ended.keys() - set(begun)], secret) if begun or ended else []
    values = {
        "first": first, "own": tuple(key) == PLACE, "begun": names[: len(begun)], "ended": names[len(begun) :],
        "whole_sections": [name in ended for name in begun], "files": keys_of_files(list(ended), secret),
    }  # fmt: skip
    return Told(values, met_all=any(section.name == LISTED for section in sections))


def cut(meta: Meta, first: int, rows: int) -> tuple[tuple[str, int, int], ...]:
    """The sections of some of a batch's rows."""
    cuts = ((name, max(start, first), min(stop, first + rows)) for name, start, stop in meta.sections)
    return tuple(part for part in cuts if part[1] < part[2])


def hold(tx: Transaction, work: Work, *, lost: bool = False) -> None:
    """With the landing of a batch: the keys that each section gave, and of what was set aside. `lost`: all of it was.

    A section of which something was set aside that has no key is `partial` there.
    """
    names = {name for name, _, _ in work.meta.sections}
    spans = cut(work.meta, work.first, work.table.num_rows)
    given: dict[str, list[str]] = {name: [] for name, _, _ in spans}
    partial: set[str] = set(given) if lost else set()
    unknown = {bad.row for bad in work.bad if bad.key_hash is None}
    partial |= {name for name, start, stop in spans if any(start <= row < stop for row in unknown)}
    for bad in work.bad[: len(work.rejects)]:
        if (name := _section_of(bad.place, names)) is not None:
            given.setdefault(name, []).extend([bad.key_hash] if bad.key_hash else [])
            partial |= set() if bad.key_hash else {name}
    if not given:
        return
    values = {
        "checkpoint": work.checkpoint, "epoch": work.place.epoch, "seq": work.place.seq, "row_from": work.first,
        "sections": hashed(list(given), _secret(work)), "partial": [name in partial for name in given],
    }  # fmt: skip
    if spans and work.ids.width:
        parts = _parts(spans, work)
        if len(given) == 1 and not any(given.values()) and len(parts) == 1:
            from hive.jars.wire import hashes

            tx.run("hold_section", **values, keys=hashes(parts[0][1]))
            return
        for name, keys in parts:
            given[name].extend(keys)
    tx.run("hold_sections", **values, keys=";".join(map(",".join, given.values())))


def _parts(spans: Sequence[tuple[str, int, int]], work: Work) -> list[tuple[str, pl.Series]]:
    """The keys of the rows, by the section in whose span each stands. Rows stand in the batch's order."""
    if len(spans) == 1 and work.ids.height == work.table.num_rows == spans[0][2] - spans[0][1]:
        return [(spans[0][0], work.ids["key_hash"])]
    import numpy as np

    at, keys = work.ids["at"].to_numpy() + work.first, work.ids["key_hash"]
    places = np.searchsorted(at, [(start, stop) for _, start, stop in spans]).tolist()
    named = zip([name for name, _, _ in spans], places, strict=True)
    return [(name, keys.slice(start, stop - start)) for name, (start, stop) in named]


def _section_of(place: str, names: Collection[str]) -> str | None:
    """The section that a place is in, as `a.zip` of `a.zip/b.csv:7`; the longest name where several fit."""
    ends = (n for n in range(len(place), 0, -1) if n == len(place) or place[n] in _ENDS)
    return next((place[:n] for n in ends if place[:n] in names), None)


def _secret(work: Work) -> bytes:
    return work.rt.keyring(work.task.tenant).key("record")[1]


def current(tx: Transaction, work: Work) -> list[str]:
    """Those of the batch's sections that were neither read anew since nor are gone.

    Until the transaction's end it stays so: nobody compares sections of the checkpoint meanwhile.
    """
    names = list(dict.fromkeys(name for name, _, _ in work.meta.sections))
    if not names:
        return []
    told = hashed(names, _secret(work))
    where = {"checkpoint": work.checkpoint, "epoch": work.place.epoch, "seq": work.place.seq}
    held = {row.section for row in tx.run("current_sections", **where, sections=told)}
    return [name for name, section in zip(names, told, strict=True) if section in held]


def end_unmissed(tx: Transaction, work: Work) -> None:
    """Compare as `retire_left` does where nothing comes of it, the usual case, in the landing itself and in one step.

    After a landing with which all that was sealed has landed; its lock on the checkpoint lets nobody seal more. Where
    the sections are many or of many keys, where anything was set aside or is missed by its own section, nothing is
    done: that is for the flight's end, which also asks whether another section holds it.
    """
    where = {"checkpoint": work.checkpoint, "epoch": work.place.epoch, "little": LITTLE, "most": _AT_ONCE}
    tx.execute(_END_UNMISSED.replace("{told}", statements()["told_sections"]), where)


def retire_left(db: Database, flight: uuid.UUID, day: dt.date) -> bool:
    """Delete from the jar what sections held that were read to their end since. False: nothing was to be changed.

    Only when everything that was sealed has landed, and while nothing more is sealed: what comes later finds the
    tombstones. What waits for that is looked at by the next flight. Where somebody else has compared meanwhile, what
    that changed is not known here.
    """
    with db.transaction(limit=LIMIT) as tx:
        reads = tx.run("lock_sections", flight=flight, most=MOST).fetchall()
        changes = [_compare(tx, read, flight, day) for read in reads]
    return not changes or any(changes)


def _compare(tx: Transaction, read: Any, flight: uuid.UUID, day: dt.date) -> bool:
    """Whether anything was changed but what is known of the sections."""
    where = {
        "checkpoint": read.checkpoint, "high": read.sealed_seq, "part": read.part, "jar": read.jar, "bee": read.bee,
        "stream": read.stream, "epoch": read.epoch, "flight": flight,
    }  # fmt: skip
    told = tx.run("told_sections", **where).fetchall()
    where |= {"sections": [row.section for row in told], "from_seqs": [row.from_seq for row in told]}
    changed = False
    if told:
        query, most = _MISSED.format(join=sql.SQL("" if read.own else "LEFT")), sum(row.keys for row in told)
        with looked_up(tx, query, where, most=most) as found:
            count = sum(len(keys) for keys in _living(tx, found, where))
            if count > AT_LEAST and count > read.most * living_of(tx, where):
                log.warning("deletes.held", bee=read.bee_name, stream=read.stream_name, records=count)
                tx.run("hold_left", checkpoint=read.checkpoint, held=count)
                return True
            if count:
                retire(tx, where, _living(tx, found, where), day)
            for rows in found():
                changed = True
                tx.run("settle_gone", **where, keys=[key for (key,) in rows])
    lost = tx.run("end_told", **where).fetchall()
    if lost:
        changed = True
        places = {"epochs": [row.epoch for row in lost], "seqs": [row.seq for row in lost]}
        tx.run("settle_lost", checkpoint=read.checkpoint, **places)
    if read.held_deletes:
        tx.run("hold_left", checkpoint=read.checkpoint, held=0)
    return changed


def _living(tx: Transaction, found: Found, where: dict[str, Any]) -> Iterator[list[str]]:
    """Those of the keys that the jar has records of, some at a time."""
    query = _LIVING.format(honey=partition("honey", where["part"]), here=STREAM)
    for rows in found():
        yield [key for (key,) in tx.psycopg.execute(query, {**where, "keys": [key for (key,) in rows]})]
