"""How long does a table take into a jar, beside COPY of the ready rows, and beside what others make of it?

Everything on one PostgreSQL server in one run: the shop of the demo (nine columns, one of them free text, personal data
in six), profile `gdpr_compliant`, one collecting and two scrubbing processes. COPY of the rows as they lie in the jar
is the floor: less the server cannot do. dlt copies the same table without scrubbing anything; it is asked where the
optional group `rivals` is installed. The hand-written task is plain presidio on each text and executemany, on a sample.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nests
import psutil
import psycopg
from psycopg import sql
from report import Figure
from singer_pair import seconds_each

from hive.demo import source as shop

if TYPE_CHECKING:
    from hive.manager import FlightResult, HiveManager

HERE = Path(__file__).parent
ROWS, QUICK_ROWS = 1_000_000, 150_000
CHANGED = 0.01
SAMPLE, QUICK_SAMPLE = 2_000, 200
PAIRED, QUICK_PAIRED = 50_000, 10_000
PROFILE = "gdpr_compliant"
BACKENDS = ("pyarrow", "sqlalchemy")
"""Of dlt, its fastest first."""
_PIECE = 1 << 20
ALIVE = "SELECT pid FROM hive.worker WHERE alive_until > clock_timestamp()"
_PART = """
SELECT j.part FROM hive.jar j WHERE j.name = %s
"""


def measure(*, quick: bool) -> list[Figure]:
    """Each repetition lands the table into a jar of its own; ratios are of one repetition."""
    rows, times = QUICK_ROWS if quick else ROWS, 2
    seen: dict[str, list[float]] = {}
    with (
        nests.folder() as home,
        nests.servers(home) as (database, _),
        nests.part(home, "collect", "worker", "--queues", "bees.database", "-c", "1"),
        nests.part(home, "scrub", "worker", "--queues", "nectar", "-c", "2"),
        nests.part(home, "beat", "beat"),
        nests.manager() as hive,
        psycopg.connect(database, autocommit=True) as ledger,
    ):
        nests.wait("three processes", lambda: len(ledger.execute(ALIVE).fetchall()) >= 4)
        source = shop.fill(database, customers=1_000, orders=0)
        hand = by_hand(source, database, QUICK_SAMPLE if quick else SAMPLE)
        load(hive, source, "warm-up")
        grow(source, rows)
        pair = seconds_each(source, home, QUICK_PAIRED if quick else PAIRED)
        for n in range(times):
            for name, value in _round(hive, ledger, source, rows, n, home).items():
                seen.setdefault(name, []).append(value)
    return _figures(seen, rows, hand, pair)


def _figures(seen: dict[str, list[float]], rows: int, hand: float, pair: float | None) -> list[Figure]:
    first = seen["first"]
    ratios = {
        name: [s / f for s, f in zip(seen[name], first, strict=True)] for name in ("again", "changed", "snapshot")
    }
    floor, words = ([s / c for s, c in zip(seen[what], seen["copy"], strict=True)] for what in ("first", "words"))
    figures = [
        Figure("first load beside COPY of the ready rows", "x the time", floor, at_most=2.0),
        Figure("first load and all its words, beside COPY", "x the time", words),
        Figure("first load beside presidio by hand", "x the time", [f / (rows * hand) for f in first], at_most=1 / 200),
        Figure("second full read, nothing changed, beside the first", "x the time", ratios["again"], at_most=0.6),
        Figure("row versions that it wrote", "row versions", seen["written"], "max", at_most=0),
        Figure("incremental, 1 % changed, beside the first", "x the time", ratios["changed"], at_most=0.05),
        Figure("snapshot into its own jar beside the first load", "x the time", ratios["snapshot"], at_most=0.9),
        Figure("first load", "records/s", [rows / f for f in first]),
        Figure("largest process of ours", "MB", seen["memory"], "max", at_most=350),
    ]
    if pair is not None:
        beside = [f / (rows * pair) for f in first]
        figures.append(Figure("first load beside Meltano's tap and target, which scrub nothing", "x the time", beside))
    for backend in BACKENDS:
        if took := seen.get(f"dlt {backend}"):  # of the slow one a single run
            beside = [f / d for f, d in zip(first, took, strict=False)]
            bound = 0.5 if backend == BACKENDS[0] else None
            name = f"first load beside dlt ({backend}), which scrubs nothing"
            figures.append(Figure(name, "x the time", beside, at_most=bound))
    return figures


def _round(
    hive: HiveManager, ledger: psycopg.Connection[Any], source: shop.Source, rows: int, n: int, home: Path
) -> dict[str, float]:
    """Seconds of each question, by its name."""
    seen: dict[str, float] = {}
    jar = f"load-{n}"
    with watched() as memory:
        seen["first"] = load(hive, source, jar, expect=rows)
        seen["words"] = seen["first"] + nests.indexed(ledger)
    seen["memory"] = memory()
    seen["copy"] = copy_ready(ledger, jar, home)
    before = ledger.execute("SELECT pg_current_xact_id()::text::bigint").fetchall()[0][0]
    seen["again"] = seconds(nests.landed(hive.fly(jar), 300))
    seen["written"] = _versions_since(ledger, jar, before)
    load(hive, source, f"follow-{n}", cursor="updated_at")
    nests.indexed(ledger)
    with psycopg.connect(source.url, autocommit=True) as owner:
        owner.execute(
            "UPDATE customers SET notes = notes || '.', updated_at = clock_timestamp() WHERE id %% %s = %s",
            [round(1 / CHANGED), n],
        )
    changed = nests.landed(hive.fly(f"follow-{n}"), 300)
    if not 0 < changed.records_landed < rows / 50:
        raise RuntimeError(f"{changed.records_landed} records landed where 1 % of {rows} changed")
    seen["changed"] = seconds(changed)
    nests.indexed(ledger)
    seen["snapshot"] = seconds(nests.landed(hive.fly(jar, mode="snapshot"), 300))
    nests.indexed(ledger)
    if importlib.util.find_spec("dlt") is not None:
        for backend in BACKENDS[: 1 if n else None]:
            seen[f"dlt {backend}"] = _dlt(source, ledger.info.dsn, ledger.info.password, home, n, backend)
    return seen


def seconds(result: FlightResult) -> float:
    return (result.finished_at - result.started_at).total_seconds()


def load(
    hive: HiveManager,
    source: shop.Source,
    name: str,
    cursor: str = "",
    expect: int | None = None,
    limit: int = 600,
) -> float:
    """A new bee's first flight; its seconds by the ledger's clock."""
    place = {"host": source.host, "port": source.port, "database": source.database, "user": source.user}
    stream = {"table": "customers", **({"cursor": cursor} if cursor else {})}
    hive.register_worker(
        "postgresql",
        {
            "name": name, "source": {**place, "password": source.password}, "streams": {"customers": stream},
            "scrubbing": {"profile": PROFILE}, "honey_jar": name,
        },
    )  # fmt: skip
    result = nests.landed(hive.fly(name), limit)
    if expect is not None and result.records_landed != expect:
        raise RuntimeError(f"{result.records_landed} of {expect} records landed")
    return seconds(result)


def grow(source: shop.Source, rows: int) -> None:
    """As many customers as wanted: the thousand that are there, each again under another number and address."""
    with psycopg.connect(source.url, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO customers SELECT id + 1000 * n, name || ' ' || n, n || email,"
            " '202-555-' || lpad(((id * 37 + n * 7919) %% 10000)::text, 4, '0'), card,"
            " lpad(((id + n * 131) %% 660 + 100)::text, 3, '0') || substr(ssn, 4), address,"
            " replace(notes, email, n || email) || ' (' || n || ')', updated_at - make_interval(mins => n::int)"
            " FROM customers, generate_series(1, %s) n WHERE id <= 1000",
            [rows // 1000 - 1],
        )
        owner.execute("VACUUM ANALYZE customers")
        owner.execute("CHECKPOINT")


def _versions_since(ledger: psycopg.Connection[Any], jar: str, moment: int) -> float:
    """Row versions that the jar got since a transaction, whatever was counted."""
    part = ledger.execute(_PART, [jar]).fetchone()
    assert part is not None
    there = sql.Identifier("hive", f"honey_{part[0]}")
    newer = sql.SQL("SELECT count(*) FROM {} WHERE xmin::text::bigint > {}").format(there, moment % (1 << 32))
    return float(ledger.execute(newer).fetchall()[0][0])


def copy_ready(ledger: psycopg.Connection[Any], jar: str, home: Path) -> float:
    """The floor: the jar's rows, as they lie there, by COPY into a table like the jar's."""
    part = ledger.execute(_PART, [jar]).fetchone()
    assert part is not None
    there, file = sql.Identifier("hive", f"honey_{part[0]}"), home / "ready"
    which = sql.SQL("SELECT h.* FROM {} h JOIN hive.jar j ON j.id = h.jar AND j.name = {}").format(there, jar)
    with (
        file.open("wb") as out,
        ledger.cursor().copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(which)) as copy,
    ):
        for piece in copy:
            out.write(piece)
    ledger.execute(sql.SQL("DROP TABLE IF EXISTS floor; CREATE TABLE floor (LIKE {} INCLUDING ALL)").format(there))
    ledger.execute("CHECKPOINT")
    began = time.perf_counter()
    with file.open("rb") as ready, ledger.cursor().copy("COPY floor FROM STDIN (FORMAT binary)") as copy:
        while piece := ready.read(_PIECE):
            copy.write(piece)
    took = time.perf_counter() - began
    ledger.execute("DROP TABLE floor")
    file.unlink()
    return took


def _dlt(source: shop.Source, dsn: str, password: str, home: Path, n: int, backend: str) -> float:
    """dlt from the same table to the same server; seconds of extract, normalize and load."""
    name = f"dlt_{backend}_{n}"
    argv = [sys.executable, str(HERE / "rivals.py"), source.url, dsn, password, str(home / name), name, backend]
    told = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=900)
    return float(told.stdout.splitlines()[-1])


def by_hand(source: shop.Source, database: str, sample: int) -> float:
    """Seconds for one record, of two processes at their best: half of what one needs."""
    from plain_presidio import engine as plain

    engine = plain()
    wanted = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN"]
    with psycopg.connect(source.url) as reader, psycopg.connect(database) as writer:
        writer.execute("CREATE TABLE by_hand (id bigint PRIMARY KEY, data jsonb)")
        rows = reader.execute("SELECT * FROM customers ORDER BY id LIMIT %s", [sample]).fetchall()
        engine.analyze("warm", language="en", entities=wanted)
        began = time.perf_counter()
        clean = [(row[0], psycopg.types.json.Jsonb([_cleaned(engine, wanted, v) for v in row[1:]])) for row in rows]
        with writer.cursor() as cursor:
            cursor.executemany("INSERT INTO by_hand VALUES (%s, %s)", clean)
        writer.commit()
        return (time.perf_counter() - began) / len(rows) / 2


def _cleaned(engine: Any, wanted: list[str], value: Any) -> Any:
    if not isinstance(value, str):
        return str(value)
    for hit in sorted(engine.analyze(value, language="en", entities=wanted), key=lambda h: -h.start):
        value = f"{value[: hit.start]}<{hit.entity_type}>{value[hit.end :]}"
    return value


@contextmanager
def watched() -> Iterator[Callable[[], float]]:
    """While inside, how large the largest of the hive's processes grew; asked for after, in MB of its own memory."""
    ended, largest = threading.Event(), [0.0]

    def watch() -> None:
        while not ended.wait(0.25):
            for one in psutil.Process().children(recursive=True):
                try:
                    if "worker" in one.cmdline():
                        largest.append(one.memory_full_info().pss / 1e6)
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(largest)
    finally:
        ended.set()
        thread.join()
