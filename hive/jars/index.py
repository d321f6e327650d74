"""The full-text index, filled after the landing: what a landing wrote is noted, and taken up a moment later.

Words cost two thirds of what a landing took of the database, and a load is indexed for half of that in one go. So a
landing only writes down what it wrote (`hive.unindexed`), in its own transaction. A thread beside each scheduler and
janitor takes it up, once nothing flies or half a minute has passed, and `hive search` takes up first what its jar
still waits for: a search finds all that has landed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import namedtuple_row

from hive.errors import trail
from hive.jars.jar import STREAM, partition
from hive.ledger.db import UNREACHABLE, Database, Transaction, is_away
from nectar.chunk import chunks

if TYPE_CHECKING:
    from hive.jars.land import Place, Written  # it carries polars, which schedulers and readers do without

ONE_CHUNK = 64_000
"""Characters that surely fit into one chunk's 256 KiB of UTF-8."""
MANY = 1_000
"""From this number of records on the note names no keys: they are found by the seq that wrote them."""
_TOGETHER = 1 << 21
"""Characters of a long text that are written in one statement, about."""
LONGEST = 1 << 24
"""Characters of a value that are indexed; scrubbing reads no longer text either."""
_IDLE = "10min"
"""How long a transaction may say nothing while a long text is cut."""
_STEP = 100_000
"""Records of one transaction, about: some seconds of the database's time."""
_LIMIT = 600.0
"""Seconds after which a step's connection counts as dead."""
_NOTES = 500
_SHORT_STEP = 2.0
"""Seconds; after a shorter step the next one takes more notes."""
_LOOK = 0.5
"""Seconds between two looks for what waits."""
YIELDS = 30.0
"""Seconds for which words wait as long as something is read or landed."""
_LOCK = 7_246_000_000_000
"""Advisory locks of indexing: this number and the part's. Two at once would write one record's words twice."""

log = structlog.get_logger()


def note(tx: Transaction, place: Place, written: Written, fields: Sequence[str], *, document: bool) -> None:
    """Write down, with the landing, what it wrote: the texts in `fields` wait for their index."""
    values = {
        "part": place.part, "jar": place.jar, "bee": place.bee, "stream": place.stream, "seq": place.seq,
        "fields": list(fields), "document": document, "fresh": written.fresh,
    }  # fmt: skip
    _note(tx, values, written.listed)


def forget(tx: Transaction, place: Mapping[str, Any], keys: Collection[str]) -> None:
    """Write down that records (keys in hex) became tombstones in the seq `high`: their words wait to be taken out."""
    _note(tx, {**place, "seq": place["high"], "fields": [], "document": False, "fresh": False}, keys)


def _note(tx: Transaction, values: Mapping[str, Any], keys: Collection[str]) -> None:
    few = [bytes.fromhex(key) for key in keys] if len(keys) < MANY else None
    tx.execute(
        "INSERT INTO hive.unindexed (part, jar, bee, stream, seq, fields, document, fresh, keys, records)"
        " VALUES (%(part)s, %(jar)s, %(bee)s, %(stream)s, %(seq)s, %(fields)s, %(document)s, %(fresh)s, %(keys)s,"
        " %(records)s)",
        {**values, "keys": few, "records": len(keys)},
    )


def catch_up(db: Database, jar: str | None = None) -> int:
    """Index all that waits, of one jar or of all. Gives the number of records. Waits for others who are at it."""
    done, pace = 0, Pace()
    while step := _step(db, jar, pace, wait=True):
        done += step.records
    return done


def look(db: Database, pace: Pace, stop: threading.Event) -> int:
    """Index what waits, part by part, but for parts that others are at. Gives the number of records.

    A part that was emptied is looked at again by the next look only: small landings are taken up together, and the
    commits and plans of a step are not paid for each of them.
    """
    done, emptied = 0, list[int]()
    while not stop.is_set() and (step := _step(db, None, pace, wait=False, besides=emptied)):
        done += step.records
        if step.is_last:
            emptied.append(step.part)
    return done


@dataclass
class Pace:
    """How many notes a step takes: a landing may have written a thousand numbers or a long book."""

    notes: int = 16

    def took(self, seconds: float) -> None:
        self.notes = min(_NOTES, self.notes * 2) if seconds < _SHORT_STEP else max(1, self.notes // 4)


@dataclass(frozen=True)
class _Note:
    """A row of `hive.unindexed`."""

    id: int
    jar: int
    bee: int
    stream: int
    seq: int
    fields: list[str]
    document: bool
    fresh: bool
    many: bool
    records: int

    @property
    def kind(self) -> tuple[Any, ...]:
        return (self.jar, self.bee, self.stream, self.document, self.fields)


@dataclass(frozen=True)
class _Step:
    """What was indexed at once: of which part, how many records, and whether nothing else waited there."""

    part: int
    records: int
    is_last: bool


def _step(db: Database, jar: str | None, pace: Pace, *, wait: bool, besides: Sequence[int] = ()) -> _Step | None:
    """Index some of what waits in one part, in one transaction. None: nothing was to be done."""
    with db.transaction(limit=_LIMIT) as tx:
        part = _some_part(tx, jar, besides, wait=wait)
        if part is None:
            return None
        began = time.monotonic()
        rows = (
            tx.psycopg.cursor(row_factory=namedtuple_row)
            .execute(
                "SELECT u.id, u.jar, u.bee, u.stream, u.seq, u.fields, u.document, u.fresh, u.keys IS NULL AS many,"
                " u.records FROM hive.unindexed u JOIN hive.jar j ON j.id = u.jar"
                " WHERE u.part = %(part)s AND (%(jar)s::text IS NULL OR j.name = %(jar)s)"
                " ORDER BY u.id LIMIT %(notes)s FOR UPDATE OF u",
                {"part": part, "jar": jar, "notes": pace.notes},
            )
            .fetchall()
        )
        taken: list[_Note] = []
        records = 0
        row: Any
        for row in rows:
            taken.append(_Note(*row))
            records += row.records
            if records >= _STEP:
                break
        is_last = len(taken) == len(rows) < pace.notes
        if _is_there(tx, part):
            # The index's own list of what is new is as large as a step: sorted once, it costs half as much.
            tx.psycopg.execute("SET LOCAL gin_pending_list_limit = '32MB'")
            tx.psycopg.execute("SET LOCAL work_mem = '64MB'")
            tx.psycopg.execute(sql.SQL("SET LOCAL idle_in_transaction_session_timeout = {}").format(sql.Literal(_IDLE)))
            if not _could(tx, part, taken):
                pace.notes = 1  # so that one which cannot be indexed keeps no other from it
                return _Step(part, len(taken), is_last=False)
        tx.psycopg.execute("DELETE FROM hive.unindexed WHERE id = ANY(%s)", [[n.id for n in taken]])
        pace.took(time.monotonic() - began)
        return _Step(part, max(records, len(taken)), is_last)


def _could(tx: Transaction, part: int, taken: Sequence[_Note]) -> bool:
    """Index what these tell of, or nothing. One alone that cannot be indexed is left out, and that is logged."""
    try:
        with tx.psycopg.transaction():
            _index(tx, part, taken)
    except psycopg.Error as error:
        if is_away(error) or tx.psycopg.broken:
            raise
        failure: Exception = error
    except Exception as error:  # noqa: BLE001 - whatever a text does to the chunker
        failure = error
    else:
        return True
    if len(taken) > 1:
        return False
    one = taken[0]
    log.error("index.left_out", jar=one.jar, stream=one.stream, seq=one.seq, kind=type(failure).__name__)
    return True


def _some_part(tx: Transaction, jar: str | None, besides: Sequence[int], *, wait: bool) -> int | None:
    """A part in which something waits, locked for this transaction; None if there is none, or others have them all.

    Who does not `wait` lets flights go before, for a while.
    Its commit waits for no disk: what a crash takes back still waits, and is indexed again.
    """
    parts = tx.psycopg.execute(
        "SELECT u.part, set_config('synchronous_commit', 'off', true)"
        "  FROM hive.unindexed u JOIN hive.jar j ON j.id = u.jar"
        " WHERE (%(jar)s::text IS NULL OR j.name = %(jar)s) AND u.part <> ALL (%(besides)s::int[])"
        "   AND (%(wait)s OR u.landed_at < clock_timestamp() - make_interval(secs => %(yields)s)"
        "        OR NOT EXISTS (SELECT FROM hive.task t WHERE t.state = 'running')"
        "           AND NOT EXISTS (SELECT FROM hive.task t"
        "                            WHERE t.queue = 'nectar' AND t.state = 'queued' AND t.hinted_at IS NOT NULL))"
        " GROUP BY u.part ORDER BY min(u.id)",
        {"jar": jar, "besides": list(besides), "wait": wait, "yields": YIELDS},
    ).fetchall()
    for part, _ in parts:
        if wait:
            tx.psycopg.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK + part])
            return int(part)
        row = tx.psycopg.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK + part]).fetchone()
        if row is not None and row[0]:
            return int(part)
    return None


def _is_there(tx: Transaction, part: int) -> bool:
    """The part of a snapshot that did not end well is gone."""
    row = tx.psycopg.execute("SELECT to_regclass(%s) IS NOT NULL", [f"hive.chunk_{part}"]).fetchone()
    return bool(row and row[0])


def _index(tx: Transaction, part: int, notes: Sequence[_Note]) -> None:
    few = [n for n in notes if not n.many]
    if few:
        values = {"part": part, "ids": [n.id for n in few]}
        if not all(n.fresh for n in few):
            _run(tx, part, _FORGET_FEW, values)
        _write(tx, part, _FEW, values)
    many = sorted((n for n in notes if n.many), key=lambda n: str(n.kind))
    for _, group in groupby(many, key=lambda n: str(n.kind)):
        alike = list(group)
        one = alike[0]
        values = {
            "part": part, "jar": one.jar, "bee": one.bee, "stream": one.stream, "document": one.document,
            "seqs": [n.seq for n in alike], **{f"field{n}": name for n, name in enumerate(one.fields)},
        }  # fmt: skip
        if not all(n.fresh for n in alike):
            _run(tx, part, _FORGET_MANY, values)
        texts = [sql.SQL("h.data ->> {}::text").format(sql.Placeholder(f"field{n}")) for n in range(len(one.fields))]
        fields = sql.SQL(", ").join(texts or [sql.SQL("NULL").format()])
        _write(tx, part, _MANY, values, fields=fields)


def _write(tx: Transaction, part: int, rows: sql.SQL, values: Mapping[str, Any], **more: sql.Composable) -> None:
    """The words of the records that `rows` selects: short texts by the database itself, long ones cut into chunks."""
    source = rows.format(honey=partition("honey", part), **more)
    values = {**values, "one": ONE_CHUNK, "longest": LONGEST}
    _run(tx, part, _SHORT, values, rows=source)
    with tx.psycopg.cursor("long", row_factory=namedtuple_row) as cursor:  # of the server, one by one: any may be large
        cursor.itersize = 1
        record: Any
        for record in cursor.execute(_LONG.format(rows=source), values):
            place = {"part": part, "jar": record.jar, "bee": record.bee, "stream": record.stream}
            place |= {"key": record.key_hash, "seq": record.written_seq}
            for some in _some(record.text):
                _run(tx, part, _PIECES, {**place, "ns": [n for n, _ in some], "texts": [text for _, text in some]})


def _some(text: str) -> Iterator[list[tuple[int, str]]]:
    """(number, chunk) of a text, some MiB at a time."""
    some: list[tuple[int, str]] = []
    size = 0
    for number, chunk in enumerate(chunks(text)):
        if chunk.text.strip():
            some.append((number, chunk.text))
            size += len(chunk.text)
        if size > _TOGETHER:
            yield some
            some, size = [], 0
    if some:
        yield some


def _run(tx: Transaction, part: int, statement: sql.SQL, values: Mapping[str, Any], **more: sql.Composable) -> None:
    names = {"chunk": partition("chunk", part), "honey": partition("honey", part), "here": STREAM}
    tx.psycopg.execute(statement.format(**names, **more), values)


_FORGET_FEW = sql.SQL(
    "DELETE FROM {chunk} c USING hive.unindexed u CROSS JOIN unnest(u.keys) AS k CROSS JOIN LATERAL ("
    "  SELECT ctid AS at FROM {chunk} WHERE part = %(part)s AND jar = u.jar AND bee = u.bee AND stream = u.stream"
    "     AND key_hash = k OFFSET 0) AS old"
    " WHERE u.id = ANY(%(ids)s) AND NOT u.fresh AND c.ctid = old.at"
)
_FORGET_MANY = sql.SQL(
    "DELETE FROM {chunk} c USING ("
    "  SELECT key_hash FROM {honey} WHERE {here} AND written_seq = ANY(%(seqs)s) ORDER BY key_hash) AS h"
    " CROSS JOIN LATERAL (SELECT ctid AS at FROM {chunk} WHERE {here} AND key_hash = h.key_hash OFFSET 0) AS old"
    " WHERE c.ctid = old.at"
)
_FEW = sql.SQL(
    "SELECT DISTINCT ON (h.jar, h.bee, h.stream, h.key_hash) h.jar, h.bee, h.stream, h.key_hash, h.written_seq,"
    " u.document, (SELECT string_agg(h.data ->> f, E'\\n' ORDER BY n) FROM unnest(u.fields) WITH ORDINALITY AS t(f, n))"
    " AS text FROM hive.unindexed u CROSS JOIN unnest(u.keys) AS k CROSS JOIN LATERAL ("
    "  SELECT jar, bee, stream, key_hash, written_seq, data FROM {honey} WHERE part = %(part)s AND jar = u.jar"
    "     AND bee = u.bee AND stream = u.stream AND key_hash = k AND deleted_at IS NULL OFFSET 0) AS h"
    " WHERE u.id = ANY(%(ids)s) ORDER BY h.jar, h.bee, h.stream, h.key_hash, u.id DESC"
)
_MANY = sql.SQL(
    "SELECT h.jar, h.bee, h.stream, h.key_hash, h.written_seq, %(document)s::bool AS document,"
    " concat_ws(E'\\n', {fields}) AS text"
    " FROM {honey} h WHERE h.part = %(part)s AND h.jar = %(jar)s AND h.bee = %(bee)s AND h.stream = %(stream)s"
    " AND h.written_seq = ANY(%(seqs)s) AND h.deleted_at IS NULL ORDER BY h.key_hash"
)
_SHORT = sql.SQL(
    "INSERT INTO {chunk} (part, jar, bee, stream, key_hash, n, seq, text_hash, text, words)"
    " SELECT %(part)s, r.jar, r.bee, r.stream, r.key_hash, 0, r.written_seq,"
    " substring(sha256(convert_to(r.text, 'UTF8')) FOR 16), r.text, to_tsvector('english', r.text)"
    " FROM ({rows}) r WHERE NOT r.document AND r.text <> '' AND length(r.text) <= %(one)s"
    " ON CONFLICT DO NOTHING"
)
_LONG = sql.SQL(
    "SELECT r.jar, r.bee, r.stream, r.key_hash, r.written_seq, left(r.text, %(longest)s) AS text FROM ({rows}) r"
    " WHERE (r.document OR length(r.text) > %(one)s) AND r.text <> ''"
)
_PIECES = sql.SQL(
    "INSERT INTO {chunk} (part, jar, bee, stream, key_hash, n, seq, text_hash, text, words)"
    " SELECT %(part)s, %(jar)s, %(bee)s, %(stream)s, %(key)s, p.n, %(seq)s,"
    " substring(sha256(convert_to(p.text, 'UTF8')) FOR 16), p.text, to_tsvector('english', p.text)"
    " FROM unnest(%(ns)s::int[], %(texts)s::text[]) AS p(n, text) ON CONFLICT DO NOTHING"
)


class Indexer:
    """Takes up what waits, in a thread of its own with a connection of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._pace = Pace()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No further step; one that runs may end by itself."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK):
            try:
                look(self._db, self._pace, self._stop)
            except UNREACHABLE:
                log.warning("database.unreachable", where="index")
            except Exception as error:  # noqa: BLE001 - the next look may do better
                log.error("index.failed", kind=type(error).__name__, trail=trail(error))
