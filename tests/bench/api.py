"""What do the API bees add to the bare work: pages beside httpx alone, a tap beside the same tap into nothing?

Ratios of processor time, since whatever else a machine does stretches the clock; a tap's also by the clock, as a user
sees it. Server and tap are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from report import Figure

from bees.rest import RestBee
from bees.singer import SingerWorkerBee

PAGE = 1_000
_TAP = """
import json, sys
rows = {rows}
if "--discover" in sys.argv:
    schema = {{"type": "object", "properties": {{"id": {{"type": "integer"}}}}}}
    print(json.dumps({{"streams": [{{"tap_stream_id": "rows", "schema": schema, "key_properties": ["id"]}}]}}))
    sys.exit()
write, text = sys.stdout.write, json.dumps
write(text({{"type": "SCHEMA", "stream": "rows", "schema": {{}}, "key_properties": ["id"]}}) + "\\n")
for n in range(rows):
    record = {{"id": n, "name": f"thing {{n}}", "state": "open", "amount": n * 1.25, "at": "2026-01-02T10:00:00Z"}}
    write(text({{"type": "RECORD", "stream": "rows", "record": record}}) + "\\n")
    if n % 1000 == 0:
        write(text({{"type": "STATE", "value": {{"last": n}}}}) + "\\n")
"""


def measure(*, quick: bool) -> list[Figure]:
    """Each pair is measured in turns, so that both meet the same machine."""
    times = 3 if quick else 7
    with tempfile.TemporaryDirectory() as folder:
        return [*_pages(30_000 if quick else 100_000, times), *_tap(Path(folder), 200_000 if quick else 1_000_000)]


def _pages(rows: int, times: int) -> list[Figure]:
    server = subprocess.Popen([sys.executable, __file__, str(rows)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        ratios = []
        for _ in range(times):
            bare, ours = _busy(lambda: _bare(url), rows), _busy(lambda: _ours(url), rows)
            ratios.append(ours / bare)
        return [Figure(f"{rows:,} records in pages, beside httpx", "x", ratios, at_most=1.7)]
    finally:
        server.terminate()
        server.wait(10)


def _bare(url: str) -> int:
    count, page = 0, 1
    with httpx.Client(trust_env=False) as client:
        while rows := client.get(f"{url}/rows", params={"page": page}).json():
            count, page = count + len(rows), page + 1
    return count


def _ours(url: str) -> int:
    rows = {"path": "rows", "key": "id", "cursor": "at", "pagination": {"type": "page", "page_param": "page"}}
    with RestBee.from_options({"base_url": url, "allow_private": True, "streams": {"rows": rows}}) as bee:
        return sum(batch.table.num_rows for batch in bee.collect_nectar("rows", None))


def _busy(work: Callable[[], int], rows: int) -> float:
    """Seconds of this process's own time."""
    began = time.process_time()
    if work() != rows:
        raise ValueError("not every record came")
    return time.process_time() - began


def _tap(folder: Path, rows: int) -> list[Figure]:
    script = folder / "tap.py"
    script.write_text(_TAP.format(rows=rows))
    speeds, shares = [], []
    for _ in range(3):
        children, began = _children(), time.perf_counter()
        subprocess.run([sys.executable, script], stdout=subprocess.DEVNULL, check=True)
        alone, of_tap = time.perf_counter() - began, _children() - children
        began, busy = time.perf_counter(), time.process_time()
        with SingerWorkerBee.from_options({"command": [sys.executable, str(script)], "streams": {"rows": {}}}) as bee:
            if sum(batch.table.num_rows for batch in bee.collect_nectar("rows", None)) != rows:
                raise ValueError("not every record came")
        speeds.append(alone / (time.perf_counter() - began))
        shares.append((time.process_time() - busy) / of_tap)
    return [
        Figure(f"a tap of {rows:,} records, speed beside nothing", "x", speeds, at_least=0.8),
        Figure("the bee's processor time, beside the tap's own", "x", shares, held="min"),
    ]


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(n: int) -> dict[str, Any]:
    about = {"id": n, "name": f"thing {n}", "state": "open" if n % 3 else "closed", "amount": n * 1.25}
    more = {"note": f"a text about thing number {n}, of some length", "at": f"2026-01-{n % 28 + 1:02d}T10:00:00Z"}
    return {**about, **more, "tags": ["a", "b"], "owner": {"id": n % 100, "team": "blue"}}


async def _serve(rows: int) -> None:
    """Pages that are made beforehand, so that the server is never what is waited for; prints its port."""
    firsts = range(0, rows + PAGE, PAGE)
    pages = [json.dumps([_row(n) for n in range(first, min(rows, first + PAGE))]).encode() for first in firsts]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                found = re.search(rb"page=(\d+)", head.split(b"\r\n", 1)[0])
                body = pages[min(int(found[1]) if found else 1, len(pages)) - 1]
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
