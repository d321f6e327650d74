"""The main job from end to end, on embedded servers and sample sources; every number is checked.

A shop's database feeds a jar on a schedule; a worker is killed in the middle of it, and nothing is missing or there
twice; what changes in the shop comes with a later slot. Text files and a REST API follow, and a snapshot is taken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import yaml
from rich.console import Console

from hive.demo import api, source
from hive.demo.fleet import DemoFailed, command, demo_settings, folder, is_nectar_child, running_hive, sample_api
from hive.manager import FlightResult, HiveManager
from hive.runtime import Runtime, open_runtime

T = TypeVar("T")

_PATTERNS = ["METADATA", "LICENSE*", "README*", "*.md"]
_FLIGHT_LIMIT = 180.0
_EVERY = "5s"
_CUSTOMERS, _ORDERS = 50_000, 50_000
_RULES = [
    {"field": "address", "action": "replace"},
    {"field": "account_number", "action": "mask_partial"},
    {"field": "routing_number", "action": "remove"},
    {"field": "transaction_id", "action": "hash_with_salt"},
]
_RAW = r"\m[0-9]{3}-[0-9]{2}-[0-9]{4}\M|\m4[0-9]{15}\M|@example\.(com|org|net)|\m202-555-[0-9]{4}\M"
"""What every number and address of the shop looks like: none may be in a jar."""


@dataclass
class Demo:
    """One run: what it talks to, and whether all was as it must be."""

    console: Console
    rt: Runtime
    hive: HiveManager
    state: Mapping[str, Any]
    data: Path
    failures: list[str] = field(default_factory=list)

    def check(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.failures.append(f"{what}: {found}, expected {expected}")
            self.console.print(f"  NOT AS IT MUST BE  {self.failures[-1]}", style="red", markup=False)

    def rows(self, query: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with self.rt.db.transaction() as tx:
            return tx.psycopg.execute(query.encode(), values).fetchall()

    def wait(self, what: str, ask: Callable[[], T | None], limit: float = _FLIGHT_LIMIT) -> T:
        """What `ask` gives once it is not None. Raises DemoFailed after `limit` seconds."""
        start = time.monotonic()
        with self.console.status(what) if self.console.is_terminal else contextlib.nullcontext() as shown:
            while (found := ask()) is None:
                passed = time.monotonic() - start
                if passed > limit:
                    raise DemoFailed(f"{what}: nothing after {limit:.0f} s")
                if shown is not None:
                    shown.update(f"{what} ({passed:.0f} s)")
                time.sleep(0.05)
        return found

    def ended(self, bee: str, flight_id: str) -> FlightResult:
        """A flight's result once it is closed, told in one line."""

        def closed() -> FlightResult | None:
            result = self.hive.flight(flight_id)
            return None if result.state in ("queued", "running") else result

        result = self.wait(f"{bee} flies", closed)
        tell(self.console, result)
        self.check(f"state of a flight of {bee}", result.state, "complete")
        return result


def run(keep: bool = False) -> int:
    """Run the demo; 0 if every count was right. `keep` leaves the data folder. Leaves no process behind."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    try:
        with _terminable(), folder(keep=keep) as data, sample_api() as address:
            config = data / "bees.yaml"
            config.write_text(yaml.safe_dump(_config(address), sort_keys=False))
            with running_hive(data, config) as state:
                console.print(f"hive: ready after {time.monotonic() - began:.1f} s, PostgreSQL and Valkey included")
                failures = _fly(console, data, state)
    except KeyboardInterrupt:
        console.print("demo: stopped")
        return 130
    except DemoFailed as error:
        console.print(f"demo: {error}", style="red", markup=False)
        return 1
    if keep:
        console.print(f"demo: the data is in {data}")
    verdict = f"{len(failures)} counts were wrong" if failures else "every count was as it must be"
    console.print(f"demo: {verdict}; {time.monotonic() - began:.0f} s, and nothing is left running")
    return 1 if failures else 0


def _fly(console: Console, data: Path, state: Mapping[str, Any]) -> list[str]:
    from hive.celery import app, send

    app.conf.broker_url = state["redis_url"]
    rt = open_runtime(demo_settings(data), send=send)
    with HiveManager(rt=rt) as hive:
        demo = Demo(console, rt, hive, state, data)
        shop = source.fill(state["database_url"], customers=_CUSTOMERS, orders=_ORDERS)
        _scheduled(demo, shop)
        _ad_hoc(demo)
        _show_jars(demo)
        _show_records(demo)
    return demo.failures


def _scheduled(demo: Demo, shop: source.Source) -> None:
    """The shop's database, every five seconds, with a fault on the way; then a change and its flight."""
    expected = _count(shop)
    demo.console.print(f"shop: a database of {expected} rows; the bee flies every {_EVERY}")
    demo.hive.register_worker("postgresql", _shop(shop))
    first = demo.wait("shop waits for its slot", lambda: next(iter(demo.hive.flights("shop")), None))
    recovery = _kill_a_worker(demo, first.flight)
    result = demo.ended("shop", first.flight)
    demo.check("the first flight was a scheduled one", result.slot_key.startswith("default@"), True)
    demo.check("records of the shop read", result.records_read, expected)
    demo.check("records of the shop landed", result.records_landed, expected)
    demo.check("records in the jar after the fault", _held(demo, "shop"), expected)
    demo.check("different keys in the jar after the fault", _keys(demo, "shop"), expected)
    demo.console.print(
        f"fault: its work was taken back after {recovery:.1f} s; the jar is complete ({expected} records, none twice)"
    )
    changed, added = source.change(shop.url)
    demo.console.print(f"shop: {changed} customers changed, {added} came")

    def landed() -> FlightResult | None:
        later = [f for f in demo.hive.flights("shop") if f.flight != first.flight and f.records_landed]
        return later[-1] if later else None

    second = demo.ended("shop", demo.wait("shop waits for its next slot", landed).flight)
    demo.check("records of the change landed", second.records_landed, changed + added)


def _kill_a_worker(demo: Demo, flight: str) -> float:
    """Kill a worker in the middle of a flight; gives the seconds until its work was taken back."""
    demo.wait("some batches land", lambda: _batches_landed(demo, flight) or None)
    owner, pid = demo.wait("a worker takes up a batch", lambda: _landing(demo, flight))
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    demo.console.print(f"fault: worker process {pid} was killed while it landed a batch")
    demo.wait("its work is taken back", lambda: None if _holds(demo, owner) else True)
    return time.monotonic() - killed


def _ad_hoc(demo: Demo) -> None:
    """Files and an API by a call from Python, a snapshot by the command line."""
    files = _papers()
    papers = demo.ended("papers", demo.hive.fly("papers").id)
    demo.check("files of papers", papers.records_landed + papers.records_quarantined, files)
    desk = demo.ended("desk", demo.hive.fly("desk").id)
    demo.check("records of desk landed", desk.records_landed, 4 * 120)
    started = command(demo.data, "fly", "desk", "--mode", "snapshot", "--wait", "--json")
    snapshot = demo.ended("desk", started["flight"])
    demo.check("records of the snapshot landed", snapshot.records_landed, 4 * 120)
    demo.check("records in the snapshot", _held(demo, snapshot.jar), 4 * 120)


def _show_jars(demo: Demo) -> None:
    for jar, stream, records in demo.rows(
        "SELECT j.name, s.name, count(*) FROM hive.jar j JOIN hive.stream s ON s.jar = j.id"
        " JOIN hive.honey h ON h.part = j.part AND h.jar = j.id AND h.stream = s.id"
        " WHERE h.deleted_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
    ):
        demo.console.print(f"jar:  {jar:<36} {stream:<12} {records:>7} records", markup=False)
    left = demo.rows(
        "SELECT count(*) FROM hive.honey h JOIN hive.jar j ON j.part = h.part AND j.id = h.jar"
        " WHERE j.name = 'shop' AND h.data::text ~ %(raw)s", {"raw": _RAW}
    )[0][0]  # fmt: skip
    demo.check("records of the shop with personal data left in them", left, 0)


def _show_records(demo: Demo) -> None:
    """One record of each of three streams, and what was removed from it: kinds and counts, never values."""
    for jar, stream in (("shop", "customers"), ("shop", "orders"), ("desk", "tickets")):
        found = demo.rows(
            "SELECT h.record_key, h.marks -> 'removed' FROM hive.honey h"
            " JOIN hive.jar j ON j.part = h.part AND j.id = h.jar"
            " JOIN hive.stream s ON s.id = h.stream WHERE j.name = %(jar)s AND s.name = %(stream)s"
            " AND h.marks ? 'removed' ORDER BY length(h.marks::text) DESC, h.key_hash LIMIT 1",
            {"jar": jar, "stream": stream},
        )
        demo.check(f"a record of {stream} from which something was removed", len(found), 1)
        for key, removed in found:
            told = "; ".join(f"{name}: {_kinds(kinds)}" for name, kinds in removed.items())
            demo.console.print(f"removed from {stream} {key}: {told}", markup=False)


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def tell(console: Console, result: FlightResult) -> None:
    """A flight in one line."""
    counts = {name: getattr(result, f"records_{name}") for name in ("unchanged", "superseded", "quarantined")}
    parts = [f"{result.records_read} read", f"{result.records_landed} landed"]
    parts += [f"{count} {name}" for name, count in counts.items() if count]
    how = "scheduled" if result.slot_key.startswith("default@") else "ad-hoc"
    seconds = f"{result.seconds:.1f} s" if result.seconds is not None else "-"
    told = f"{how}, {result.mode}, {result.state}: {', '.join(parts)} in {seconds} -> {result.jar}"
    console.print(f"flight: {result.bee:<8} {told}", markup=False)


def _config(address: str) -> dict[str, Any]:
    """The bees that need nothing of the running hive."""
    size = {"size": 50, "size_param": "limit"}
    streams = {
        "tickets": {"path": "/tickets", "key": "id", "cursor": "updated_at", "cursor_param": "updated_since"},
        "events": {"path": "/events", "key": "id", "pagination": {"type": "page", "size": 50, "size_param": "size"}},
        "items": {
            "path": "/items", "key": "sku",
            "pagination": {"type": "cursor", "cursor_path": "meta.next", "cursor_param": "after", **size},
        },
        "people": {"path": "/people", "key": "id", "pagination": {"type": "offset", **size}},
    }  # fmt: skip
    papers = {"path": sysconfig.get_paths()["purelib"], "patterns": _PATTERNS}
    desk = {
        "base_url": address, "allow_private": True, "auth": {"method": "bearer", "token": api.TOKEN},
    }  # fmt: skip
    profile = {"profile": "gdpr_compliant"}
    return {
        "bees": {
            "papers": {"type": "local", "source": papers, "scrubbing": profile, "honey_jar": "papers"},
            "desk": {"type": "rest", "source": desk, "streams": streams, "scrubbing": profile, "honey_jar": "desk"},
        }
    }


def _shop(shop: source.Source) -> dict[str, Any]:
    return {
        "name": "shop",
        "source": {
            "host": shop.host, "port": shop.port, "database": shop.database, "user": shop.user,
            "password": shop.password, "ssl_mode": "disable", "batch_rows": 5_000,
        },
        "streams": {name: {"cursor": "updated_at", "key": "id"} for name in ("customers", "orders")},
        "scrubbing": {"profile": "gdpr_compliant", "custom_rules": _RULES},
        "every": _EVERY,
        "honey_jar": "shop",
    }  # fmt: skip


def _papers() -> int:
    """How many files the bee `papers` must find."""
    root = Path(sysconfig.get_paths()["purelib"])
    found = {path for pattern in _PATTERNS for path in root.rglob(pattern)}
    return sum(path.is_file() and not path.is_symlink() for path in found)


def _count(shop: source.Source) -> int:
    import psycopg

    with psycopg.connect(shop.url) as connection:
        row = connection.execute("SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM orders)").fetchone()
    assert row is not None
    return int(row[0])


def _held(demo: Demo, jar: str) -> int:
    return int(demo.rows(_OF_JAR.format(what="count(*)"), {"jar": jar})[0][0])


def _keys(demo: Demo, jar: str) -> int:
    return int(demo.rows(_OF_JAR.format(what="count(DISTINCT (h.stream, h.record_key))"), {"jar": jar})[0][0])


_OF_JAR = (
    "SELECT {what} FROM hive.honey h JOIN hive.jar j ON j.part = h.part AND j.id = h.jar"
    " WHERE j.name = %(jar)s AND j.visible AND h.deleted_at IS NULL"
)


def _batches_landed(demo: Demo, flight: str) -> int:
    query = "SELECT count(*) FROM hive.batch WHERE flight = %(flight)s AND state = 'landed'"
    return int(demo.rows(query, {"flight": flight})[0][0])


def _landing(demo: Demo, flight: str) -> tuple[str, int] | None:
    """(name, pid) of a pool process that is at work on a batch of this flight."""
    found = demo.rows(
        "SELECT w.id, w.pid FROM hive.task t JOIN hive.worker w ON w.id = t.owner"
        " WHERE t.flight = %(flight)s AND t.kind = 'process' AND t.state = 'running'",
        {"flight": flight},
    )
    return next(((name, pid) for name, pid in found if is_nectar_child(pid, demo.state["pid"])), None)


def _holds(demo: Demo, owner: str) -> bool:
    query = "SELECT count(*) FROM hive.task WHERE owner = %(owner)s AND state = 'running'"
    return bool(demo.rows(query, {"owner": owner})[0][0])


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
