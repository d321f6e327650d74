"""The pages: what each one shows, in parts that stay (`about`) and in regions, sent again when they change."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg

from hive.condition import QUIET, UNWELL
from hive.dashboard.charts import SHOWN
from hive.dashboard.kept import Kept
from hive.dashboard.look import STATES, Look
from hive.jars.search import search
from hive.ledger.db import DatabaseAway
from hive.manager import HiveManager, UnknownFlight
from hive.metrics.broker import Broker

T = TypeVar("T")
Query = Mapping[str, str]

SOON = 0.12
"""Seconds that a page waits for what is slow to count; it comes by itself a moment later."""
SILENCE = 2.5
"""Seconds without an answer to a small question after which the ledger is told to be silent."""
SLOW = 1.0
"""Seconds of a small question above which it is told to be slow."""
PER_PAGE = 50
_FIRST = 12
"""Bees on the first page."""
_SEARCH_LIMIT = 5.0


@dataclass(frozen=True)
class Page:
    """`template` and what it needs; `regions`: name of a template `_name.html` -> what that needs."""

    template: str
    title: str
    about: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Views:
    """Pages of one database. Belongs to one event loop; questions are asked in `threads`."""

    def __init__(self, look: Look, broker: Broker, hive: Callable[[], HiveManager], threads: Executor) -> None:
        self._look = look
        self._hive = hive
        self._threads = threads
        kept = self._kept
        self._bees = Kept(look.bees, threads, least=1.0, share=4)  # a fault shall show within seconds
        self._flights = kept(look.flights, 0.9)
        self._open = kept(lambda: look.one("dash_open"), 0.9)
        self._queues = kept(lambda: look.ask("queue_figures"), 1.0)
        self._workers = kept(lambda: look.one("dash_workers", quiet=QUIET), 1.0)
        self._refused = kept(look.refused, 3.0)
        self._broker = kept(broker.answers, 2.0)
        self._quarantine = kept(lambda: look.ask("dash_quarantine", bee=None, before=None, most=6), 1.0)
        self._quarantined = kept(lambda: look.one("dash_quarantined"), 1.0)
        self._rate = kept(look.rate, 5.0)
        self._hours = kept(look.hours, 10.0)
        self._scrubbed = kept(look.scrubbed, 10.0)
        self._growth = kept(look.growth, 10.0)
        self._jars = kept(lambda: look.ask("dash_jars", name=None, most=8, skip=0), 2.0)
        self._jar_counts = kept(look.jar_counts, 5.0)
        self._faults = kept(lambda: look.ask("dash_faults", most=6), 4.0)
        self._retries = kept(lambda: look.one("dash_retries"), 4.0)

    def _kept(self, ask: Callable[[], T], least: float) -> Kept[T]:
        return Kept(ask, self._threads, least=least)

    async def _ask(self, ask: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    def find(self, path: str) -> Callable[[Query], Awaitable[Page]] | None:
        """What makes the page at a path; None where there is none that changes by itself."""
        for pattern, make in _LIVE:
            if found := re.fullmatch(pattern, path):
                return lambda query: make(self, query, *found.groups())
        return None

    async def overview(self, _: Query) -> Page:
        counted = (self._broker, self._rate, self._hours, self._scrubbed, self._growth, self._jar_counts)
        needed: list[Any] = await asyncio.gather(
            *(one.get(2.0) for one in (self._bees, self._flights, self._open, self._queues, self._workers)),
            *(one.get(1.0) for one in (self._jars, self._quarantine, self._quarantined, self._faults, self._retries)),
            self._refused.get(1.0),
            *(one.get(0.0) for one in counted),  # they are asked along, and waited for below
        )
        self._check_answers()
        bees, flights, opened, queues, workers, jars, aside, asides, faults, retries, refused = needed[:11]
        told: list[Any] = await asyncio.gather(*(one.get(SOON) for one in counted))
        broker, rate, hours, scrubbed, growth, counts = told
        slow = self._open.took if self._open.took > SLOW else None
        wrong = sum(bees.counts.get(state, 0) for state in UNWELL) if bees else 0
        hive = {"workers": workers, "broker": broker, "slow": slow, "refused": refused}
        regions: dict[str, dict[str, Any]] = {
            "summary": {"bees": bees, "wrong": wrong, "order": STATES, **hive},
            "tiles": {"rate": rate, "hours": hours, "queues": queues, "workers": workers, "asides": asides},
            "flights": {"flights": flights, "opened": opened},
            "bees": {"bees": bees, "most": _FIRST},
            "jars": {"jars": jars, "counts": counts, "growth": growth},
            "scrubbed": {"scrubbed": scrubbed},
            "faults": {"faults": faults, "retries": retries, "hours": hours},
            "quarantine": {"entries": aside, "asides": asides, "all": False, "bee": None},
        }
        return Page("overview.html", "Overview", {}, regions)

    def _check_answers(self) -> None:
        """What was asked before is no answer. Raises DatabaseAway."""
        if self._open.away or self._open.overdue() > SILENCE:
            raise DatabaseAway("the database cannot be reached")

    async def bees(self, query: Query) -> Page:
        state = query.get("state") if query.get("state") in STATES else None
        name, number = query.get("name", "")[:100], _page(query)
        bees, _ = await asyncio.gather(self._bees.get(5.0), self._open.get(5.0))
        self._check_answers()
        found = bees.chosen(state, name) if bees else []
        pages = _pages(len(found))
        number = min(number, pages)
        about = {"state": state, "name": name, "page": number, "pages": pages, "order": STATES}
        shown = found[(number - 1) * PER_PAGE : number * PER_PAGE]
        return Page("bees.html", "Bees", about, {"listing": {**about, "bees": bees, "rows": shown}})

    async def bee(self, _: Query, name: str) -> Page:
        bee = await self._ask(lambda: self._look.bee(name))
        flights = await self._ask(lambda: self._hive().flights(name, SHOWN)) if bee["id"] else []
        schema, aside = await asyncio.gather(
            self._ask(lambda: self._look.schema(bee["id"])),
            self._ask(lambda: self._look.ask("dash_quarantine", bee=name, before=None, most=5)),
        )
        regions: dict[str, dict[str, Any]] = {
            "bee": {"bee": bee, "running": next((f for f in flights if f.state in ("queued", "running")), None)},
            "history": {"bee": bee, "flights": flights},
            "checkpoints": {"bee": bee},
            "schema": {"schema": schema},
            "quarantine": {"entries": aside, "asides": None, "all": False, "bee": name},
        }
        return Page("bee.html", name, {"bee": bee}, regions)

    async def flight(self, _: Query, number: str) -> Page:
        id_ = _uuid(number)
        flight, tasks, expected = await asyncio.gather(
            self._ask(lambda: self._hive().flight(number)),
            self._ask(lambda: self._look.tasks(id_)),
            self._ask(lambda: self._look.expected(id_)),
        )
        region = {"flight": flight, "tasks": tasks, "expected": expected}
        return Page("flight.html", f"Flight of {flight.bee}", region, {"flight": region})

    async def quarantine(self, query: Query) -> Page:
        bee, before = query.get("bee") or None, query.get("before", "")
        from_ = int(before) if before.isdecimal() and len(before) < 19 else None
        entries, asides = await asyncio.gather(
            self._ask(lambda: self._look.ask("dash_quarantine", bee=bee, before=from_, most=PER_PAGE + 1)),
            self._quarantined.get(1.0),
        )
        shown, more = entries[:PER_PAGE], len(entries) > PER_PAGE
        about = {"bee": bee, "asides": asides, "entries": shown, "all": True, "more": more}
        return Page("quarantine.html", "Quarantine", about, {"quarantine": about})

    async def jars(self, query: Query) -> Page:
        name, number = query.get("name", "")[:100], _page(query)
        jars, counts, growth = await asyncio.gather(
            self._jars_of(name, number), self._jar_counts.get(0.5), self._growth.get(0.5)
        )
        if not jars and number > 1:  # behind the last page
            first = await self._jars_of(name, 1)
            number = _pages(first[0]["found"] if first else 0)
            jars = first if number == 1 else await self._jars_of(name, number)
        pages = _pages(jars[0]["found"] if jars else 0)
        about = {"jars": jars, "counts": counts, "growth": growth, "name": name, "page": number, "pages": pages}
        return Page("jars.html", "Jars", about)

    async def _jars_of(self, name: str, number: int) -> list[Any]:
        """One page of the jars of that name."""
        values: dict[str, Any] = {"name": name.strip() or None, "most": PER_PAGE, "skip": (number - 1) * PER_PAGE}
        found: list[Any] = await self._ask(lambda: self._look.ask("dash_jars", **values))
        return found

    async def jar(self, query: Query, name: str) -> Page:
        place, jar, streams = await self._ask(lambda: self._look.jar(name))
        wanted = query.get("stream", "")
        stream = next((one for one in streams if str(one["id"]) == wanted), streams[0] if streams else None)
        text = query.get("q", "").strip()[:500]
        about: dict[str, Any] = {"jar": jar, "streams": streams, "stream": stream, "text": text, "found": None,
                                 "slow": False, "records": [], "count": None, "next": None}  # fmt: skip
        if text:
            about |= await self._found(name, text)
        elif stream is not None:
            after = _bytes(query.get("after", ""))
            records = await self._ask(lambda: self._look.records(place, stream, after, PER_PAGE // 2 + 1))
            about["records"] = records[: PER_PAGE // 2]
            about["next"] = records[PER_PAGE // 2 - 1]["place"] if len(records) > PER_PAGE // 2 else None
            about["count"] = await self._ask(lambda: _or_none(lambda: self._look.count(place, stream)))
        return Page("jar.html", name, about)

    async def _found(self, jar: str, text: str) -> dict[str, Any]:
        """Matches; `slow` where the jar's index still takes in what landed. It goes on doing so."""
        asked = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: _or_none(lambda: search(self._look.db, jar, text, top_k=25))
        )
        done, _ = await asyncio.wait({asked}, timeout=_SEARCH_LIMIT)
        found = asked.result() if done else None
        return {"found": found, "slow": found is None}


_LIVE: tuple[tuple[str, Callable[..., Awaitable[Page]]], ...] = (
    (r"/", Views.overview),
    (r"/bees", Views.bees),
    (r"/bees/([^/]+)", Views.bee),
    (r"/flights/([^/]+)", Views.flight),
    (r"/quarantine", Views.quarantine),
)


def _or_none(ask: Callable[[], T]) -> T | None:
    """None where the ledger takes too long for what is only nice to know."""
    try:
        return ask()
    except psycopg.errors.QueryCanceled:
        return None


def _uuid(number: str) -> str:
    try:
        return str(uuid.UUID(number))
    except ValueError:
        raise UnknownFlight(f"{number!r} is no flight id") from None


def _page(query: Query) -> int:
    given = query.get("page", "")
    return max(1, int(given)) if given.isdecimal() and len(given) < 7 else 1


def _pages(found: int) -> int:
    return max(1, -(-found // PER_PAGE))


def _bytes(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        return None
