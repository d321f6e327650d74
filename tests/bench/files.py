"""How quick are the file bees, beside what reads the same files without them?

Tables: what the bee takes to read a file into batches, beside pyarrow reading it and COPY of the same rows into
PostgreSQL; and the whole way from the file into a jar, with a profile and without one, beside pyarrow reading it and
COPY of the rows as they lie in the jar. Small files: the bee beside the bare library, which
lists and reads with the same concurrency. Documents: a PDF through the sandboxed child beside pypdfium2 alone. And the
most memory that a process of its own takes for a large table.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import load
import nests
import psycopg
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.json as pj
import pyarrow.parquet as pq
from report import Figure

from hive.embedded import places

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nectar import documents
from tests.servers import short_folder
from tests.servers.s3 import KEYS, free_port, wait_for
from tests.servers.sftp import SftpServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hive.manager import HiveManager

MEGABYTES, QUICK_MEGABYTES = 1000, 50
LANDED, QUICK_LANDED = 2_000_000, 1_000_000
"""Rows of each file that goes into a jar: 105 bytes of CSV each.

The goal speaks of files of a gigabyte, ten million rows. With half a million COPY has the jar's whole index in memory,
and what a flight does once (planning, its first and its last batch) counts for a tenth.
"""
FILES, QUICK_FILES = 10_000, 1000
CONCURRENCY = 8
HOW = {"": {}, " and scrubbed": {"scrubbing": {"profile": load.PROFILE}}}
"""What a bee's block says besides, by what the figure says of it."""
_WORDS = ("word", "other", "thing", "place", "order", "shipment", "note,", "quoted")
_READERS: dict[str, Callable[[Path], pa.Table]] = {"csv": pv.read_csv, "jsonl": pj.read_json, "parquet": pq.read_table}
_PEAK = """
import sys
from pathlib import Path
from bees.local import LocalBee
with LocalBee.from_options({"path": sys.argv[1], "patterns": sys.argv[2]}) as bee:
    print(sum(batch.table.num_rows for batch in bee.collect_nectar("records", None)))
print(int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10)
"""


def measure(*, quick: bool) -> list[Figure]:
    """Ratios are of one repetition: both sides one after the other."""
    seen: dict[str, list[float]] = {}
    with nests.folder() as home, nests.servers(home) as (database, _):
        folder = home / "tables"
        folder.mkdir()
        _write(folder, QUICK_MEGABYTES if quick else MEGABYTES)
        for _ in range(2):
            for ending in ("csv", "jsonl", "parquet"):
                seen.setdefault(ending, []).append(_table(folder, ending, database))
        for _ in range(2):
            _landed(home, database, LANDED if not quick else QUICK_LANDED, seen)
        peak = int(_peak(folder, "*.csv"))
        with zipfile.ZipFile(folder / "t.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
            packed.write(folder / "t.csv", "t.csv")
        zipped = int(_peak(folder, "*.zip"))
    for _ in range(3):
        seen.setdefault("pdf", []).append(_pdf())
    count = QUICK_FILES if quick else FILES
    for name, side in (("s3", _s3), ("sftp", _sftp)):
        with side(count) as (bare, bee):
            for _ in range(2):
                seen.setdefault(name, []).append(_seconds(bare, count) / _seconds(bee, count))
    beside = "read by the bee, beside pyarrow's reading and COPY"
    whole = "beside pyarrow's reading and COPY of the ready rows"
    return [
        Figure(f"CSV {beside}", "times the time", seen["csv"], at_most=2.0),
        Figure(f"JSON Lines {beside}", "times the time", seen["jsonl"], at_most=2.0),
        Figure(f"Parquet {beside}", "times the time", seen["parquet"], at_most=1.6),
        *(
            Figure(f"{name} into a jar{how}, {whole}", "times the time", seen[f"{ending} landed{how}"], at_most=bound)
            for name, ending, bound in (("CSV", "csv", 2.0), ("JSON Lines", "jsonl", 2.0), ("Parquet", "parquet", 1.6))
            for how in HOW
        ),
        Figure("most memory for the CSV", "MB", [peak], at_most=400),
        Figure("most memory for the CSV in a zip file", "MB", [zipped], at_most=400),
        Figure("PDF of 100 pages, beside pypdfium2", "times the time", seen["pdf"], at_most=2.0),
        Figure("small files of S3, beside boto3", "of its rate", seen["s3"], at_least=0.6),
        Figure("small files of SFTP, beside asyncssh", "of its rate", seen["sftp"], at_least=0.6),
    ]


def _write(folder: Path, megabytes: int) -> None:
    rows = _rows()
    some = pa.Table.from_pylist(rows)
    held = pa.BufferOutputStream()
    pv.write_csv(some, held, pv.WriteOptions(include_header=False))
    body, lines = held.getvalue().to_pybytes(), "".join(json.dumps(row) + "\n" for row in rows).encode()
    with (folder / "t.csv").open("wb") as csv, (folder / "t.jsonl").open("wb") as jsonl:
        csv.write(",".join(rows[0]).encode() + b"\n")
        for _ in range(max(1, megabytes * 1_000_000 // len(body))):
            csv.write(body)
        for _ in range(max(1, megabytes * 1_000_000 // len(lines))):
            jsonl.write(lines)
    with pq.ParquetWriter(folder / "t.parquet", some.schema) as parquet:
        for _ in range(max(1, megabytes * 1_000_000 // len(body))):
            parquet.write_table(some)


def _rows() -> list[dict[str, Any]]:
    rng = random.Random(5)
    return [
        {
            "id": n, "name": rng.choice(_WORDS) + str(n % 97), "amount": round(rng.random() * 1000, 2),
            "paid": bool(n % 3), "at": f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}T10:00:00Z",
            "text": " ".join(rng.choices(_WORDS, k=8)),
        }
        for n in range(50_000)
    ]  # fmt: skip


def _landed(home: Path, database: str, rows: int, seen: dict[str, list[float]]) -> None:
    """Each file into a jar of its own, by each way of scrubbing; ratios are entered in `seen`.

    Without words for searching, which come after a landing: the question `load` tells what they take.
    """
    folder = places.make_folder(home / f"l{secrets.token_hex(2)}")
    _write_keyed(folder, rows)
    os.environ["HIVE_SEARCH"] = "false"
    with (
        nests.part(home, "collect", "worker", "--queues", "bees.file", "-c", "1"),
        nests.part(home, "scrub", "worker", "--queues", "nectar", "-c", "2"),
        nests.part(home, "beat", "beat"),
        nests.manager() as hive,
        psycopg.connect(database, autocommit=True) as ledger,
    ):
        nests.wait("three processes", lambda: len(ledger.execute(load.ALIVE).fetchall()) >= 4)
        for ending, reader in _READERS.items():
            for how in HOW:
                _into_jar(hive, folder / f"warm.{ending}", how)
                took, jar = _into_jar(hive, folder / f"t.{ending}", how)
                began = time.monotonic()
                reader(folder / f"t.{ending}")
                floor = time.monotonic() - began + load.copy_ready(ledger, jar, home)
                seen.setdefault(f"{ending} landed{how}", []).append(took / floor)
                ledger.execute("VACUUM (ANALYZE)")  # else the server does so by itself, beside what is timed next
    shutil.rmtree(folder)


def _into_jar(hive: HiveManager, file: Path, how: str) -> tuple[float, str]:
    """Seconds of a new bee's first flight over one file, and the jar's name."""
    name = f"{file.parent.name}-{file.name}{how}".replace(".", "-").replace(" ", "-")
    stream = {"patterns": file.name, "key": "id"}
    block = {"name": name, "source": {"path": str(file.parent)}, "streams": {"rows": stream}}
    hive.register_worker("local", block | HOW[how])
    return load.seconds(nests.landed(hive.fly(name), 1200)), name


def _write_keyed(folder: Path, rows: int) -> None:
    """Files `t` of that many rows, each with an id of its own, and short ones to warm up with."""
    some = pa.Table.from_pylist(_rows())
    for part, many in (("t", rows), ("warm", 10_000)):
        ids = pa.array(range(many))
        table = some.take(pa.array([n % some.num_rows for n in range(many)])).set_column(0, "id", ids)
        pv.write_csv(table, str(folder / f"{part}.csv"))
        pq.write_table(table, folder / f"{part}.parquet")
        batches = table.to_batches(max_chunksize=50_000)
        nests.write_rows(folder / f"{part}.jsonl", (row for batch in batches for row in batch.to_pylist()))


def _table(folder: Path, ending: str, database: str) -> float:
    from bees.local import LocalBee

    began = time.monotonic()
    with LocalBee.from_options({"path": str(folder), "patterns": f"*.{ending}", "batch_rows": 20_000}) as bee:
        rows = sum(batch.table.num_rows for batch in bee.collect_nectar("records", None))
    took = time.monotonic() - began
    began = time.monotonic()
    read = _READERS[ending](folder / f"t.{ending}")
    plain = time.monotonic() - began
    held = pa.BufferOutputStream()
    pv.write_csv(read, held)
    assert rows == read.num_rows
    with psycopg.connect(database) as connection:
        names = ", ".join(f"{name} text" for name in read.column_names)
        connection.execute(f"CREATE TEMPORARY TABLE t ({names})")
        began = time.monotonic()
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(memoryview(held.getvalue()))
        return took / (plain + time.monotonic() - began)


def _peak(folder: Path, patterns: str) -> str:
    command = [sys.executable, "-c", _PEAK, str(folder), patterns]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1]


def _pdf() -> float:
    import pypdfium2

    from bees.core.sandbox.documents import Extractor

    rng = random.Random(3)
    pages = ["\n".join(" ".join(rng.choices(_WORDS, k=9)) for _ in range(40)) for _ in range(100)]
    data = documents.pdf(*pages)
    extractor = Extractor()
    extractor.read(documents.pdf("warm"), "application/pdf")
    began = time.monotonic()
    file = pypdfium2.PdfDocument(data)
    for number in range(len(file)):
        page = file[number]
        text = page.get_textpage()
        text.get_text_range()
        text.close()
        page.close()
    file.close()
    alone = time.monotonic() - began
    began = time.monotonic()
    extractor.read(data, "application/pdf")
    took = time.monotonic() - began
    extractor.close()
    return took / alone


def _seconds(side: Callable[[], int], count: int) -> float:
    began = time.monotonic()
    assert side() == count
    return time.monotonic() - began


def _body(number: int) -> bytes:
    return f"file {number}\n".encode() + b"some words of text " * 40


def _bee(kind: Any, options: dict[str, Any]) -> int:
    with kind.from_options(options | {"concurrency": CONCURRENCY}) as bee:
        return sum(batch.table.num_rows for batch in bee.collect_nectar("documents", None))


@contextmanager
def _s3(count: int) -> Iterator[tuple[Callable[[], int], Callable[[], int]]]:
    import boto3

    from bees.s3 import S3Bee

    port = free_port()
    url, bucket = f"http://127.0.0.1:{port}", "papers"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port, server)
            client = boto3.client(
                "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEYS["access_key_id"],
                aws_secret_access_key=KEYS["secret_access_key"],
            )  # fmt: skip
            client.create_bucket(Bucket=bucket)
            with ThreadPoolExecutor(CONCURRENCY) as pool:
                list(pool.map(lambda n: client.put_object(Bucket=bucket, Key=f"{n}.txt", Body=_body(n)), range(count)))

            def bare() -> int:
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
                keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
                with ThreadPoolExecutor(CONCURRENCY) as pool:
                    got = pool.map(lambda key: client.get_object(Bucket=bucket, Key=key)["Body"].read(), keys)
                    return sum(1 for _ in got)

            auth = {"method": "keys", **KEYS}
            options = {"bucket": bucket, "endpoint": url, "allow_private": True, "auth": auth}
            yield bare, lambda: _bee(S3Bee, options)
        finally:
            server.terminate()


@contextmanager
def _sftp(count: int) -> Iterator[tuple[Callable[[], int], Callable[[], int]]]:
    import asyncssh

    from bees.sftp import SftpBee

    with short_folder() as folder:
        server = SftpServer(folder)
        for number in range(count):
            at = server.root / f"{number % 20}" / f"{number}.txt"
            at.parent.mkdir(exist_ok=True)
            at.parent.chmod(0o755)
            at.write_bytes(_body(number))
            at.chmod(0o644)
            os.utime(at, (1.7e9, 1.7e9))
        options = server.options()

        async def read() -> int:
            key = asyncssh.import_private_key(options["auth"]["private_key"])
            turns, got = asyncio.Semaphore(CONCURRENCY), []
            async with (
                asyncssh.connect(
                    "127.0.0.1", server.port, username="bee", client_keys=[key], known_hosts=None, config=None
                ) as connection,
                connection.start_sftp_client() as sftp,
            ):

                async def one(path: str) -> None:
                    async with turns, sftp.open(path, "rb") as file:
                        got.append(await file.read())

                paths = [path async for path in _walk(sftp, options["path"])]
                await asyncio.gather(*map(one, paths))
            return len(got)

        try:
            server.start()
            yield lambda: asyncio.run(read()), lambda: _bee(SftpBee, options)
        finally:
            server.stop()


async def _walk(sftp: Any, folder: str) -> Any:
    async for item in sftp.scandir(folder):
        if item.filename in (".", ".."):
            continue
        path = f"{folder}/{item.filename}"
        if item.attrs.type == 2:
            async for inner in _walk(sftp, path):
                yield inner
        else:
            yield path
