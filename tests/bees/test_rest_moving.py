"""Listings whose rows are edited, inserted and deleted while they are read: no row stays unread or seems deleted."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bees.core.http import Answer
from bees.rest import RestBee
from hive.demo.api import running
from nectar.batch import Batch

SIZE = 3
COUNT = 11
FORMS: dict[str, dict[str, Any]] = {
    "page": {"type": "page"},
    "short page": {"type": "page", "until": "short", "size": SIZE, "size_param": "limit"},
    "page and its end": {"type": "page", "done_path": "done"},
    "offset": {"type": "offset"},
    "offset and more": {"type": "offset", "more_path": "more"},
    "offset and total": {"type": "offset", "total_path": "total", "size": SIZE, "size_param": "limit"},
    "link": {"type": "link"},
    "link in the body": {"type": "link", "cursor_path": "next"},
    "cursor that counts": {"type": "cursor", "cursor_path": "after", "cursor_param": "offset"},
    "cursor of pages": {"type": "cursor", "cursor_path": "page", "cursor_param": "page"},
}
ORDERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "changed": lambda row: (row["at"], row["id"]),
    "newest": lambda row: (-datetime.fromisoformat(row["at"]).timestamp(), row["id"]),
    "id": lambda row: row["id"],
}


@dataclass
class Moving:
    """A source of rows by time of change; `events` happen behind the answers of these numbers."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    order: str = "changed"
    asked: list[dict[str, str]] = field(default_factory=list)
    events: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    tagged: bool = False
    url: str = ""

    def renew(self, order: str = "changed", count: int = COUNT) -> None:
        begin = datetime.now(UTC) - timedelta(days=1)
        self.rows = [{"id": n, "at": (begin + timedelta(minutes=n)).isoformat(), "v": 0} for n in range(1, count + 1)]
        self.order, self.tagged = order, False
        self.asked.clear()
        self.events.clear()

    def edit(self, number: int) -> None:
        for row in self.rows:
            if row["id"] == number:
                row.update(at=datetime.now(UTC).isoformat(), v=row["v"] + 1)

    def insert(self, number: int) -> None:
        self.rows.append({"id": number, "at": datetime.now(UTC).isoformat(), "v": 0})

    def delete(self, number: int) -> None:
        self.rows[:] = [row for row in self.rows if row["id"] != number]

    async def answer(self, request: Request) -> Response:
        given = {name.lower(): value for name, value in request.headers.items()}
        status, body, headers = self.told(str(request.url), given)
        return Response(body, status, headers)

    def told(self, address: str, given: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of one answer."""
        url = httpx.URL(address)
        query = dict(url.params)
        self.asked.append(query)
        chosen = [dict(row) for row in self.rows if row["at"] >= query.get("since", "")]
        chosen.sort(key=ORDERS[self.order])
        page = int(query.get("page", 1))
        at = int(query["offset"]) if "offset" in query else (page - 1) * SIZE
        found, after = chosen[at : at + SIZE], at + SIZE
        more = after < len(chosen)
        kept = {name: value for name, value in query.items() if name == "since"}
        link = str(url.copy_with(params={**kept, "page": page + 1}))
        body = {"list": found, "more": more, "done": not more, "total": len(chosen), "next": link if more else None,
                "after": str(after) if more else None, "page": page + 1 if more else None}  # fmt: skip
        headers = {"Link": f'<{link}>; rel="next"'} if more else {}
        raw, status = json.dumps(body).encode(), 200
        if self.tagged:
            headers["ETag"] = f'"{hashlib.sha256(raw).hexdigest()}"'
            status, raw = (304, b"") if given.get("if-none-match") == headers["ETag"] else (200, raw)
        for happens in self.events.pop(len(self.asked), []):
            happens()
        return status, raw, headers

    def bee(self, paging: dict[str, Any], **given: Any) -> RestBee:
        stream = {"path": "x", "key": "id", "records": "list", "pagination": paging, **given}
        return RestBee.from_options({"base_url": self.url, "allow_private": True, "streams": {"x": stream}})

    def near(self, paging: dict[str, Any], **given: Any) -> RestBee:
        """Without the way through the network, which takes most of the time."""
        bee = self.bee(paging, **given)
        bee._source.ask = self._ask  # type: ignore[method-assign]
        return bee

    def _ask(self, url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        given = {name.lower(): value for name, value in headers.items()}
        status, raw, told = self.told(str(url), given)
        return Answer(status, httpx.Headers(told), raw, url)


FOLLOWED = {"cursor": "at", "cursor_param": "since"}


@pytest.fixture(scope="module")
def listening() -> Iterator[Moving]:
    made = Moving()
    with running(Starlette(routes=[Route("/x", made.answer)])) as url:
        made.url = url
        yield made


@pytest.fixture
def source(listening: Moving) -> Moving:
    listening.renew()
    return listening


class Jar:
    """The newest version of each row, and what a complete read that did not meet it takes away."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    def take(self, batches: list[Batch], before: Any = None) -> Any:
        """Land what came; gives the cursor that follows."""
        met: set[int] = set()
        for batch in batches:
            for row in batch.table.to_pylist():
                met.add(row["id"])
                self.held[row["id"]] = max(row["v"], self.held.get(row["id"], 0))
        if batches and batches[-1].complete:
            self.held = {number: version for number, version in self.held.items() if number in met}
        return batches[-1].cursor if batches else before


def _holds(source: Moving) -> dict[int, int]:
    return {row["id"]: row["v"] for row in source.rows}


def read(bee: RestBee, cursor: Any = None) -> list[Batch]:
    return list(bee.collect_nectar("x", cursor))


def held(source: Moving) -> dict[int, int]:
    return {row["id"]: row["v"] for row in source.rows}


def happenings(source: Moving, chance: random.Random) -> dict[str, list[Callable[[], None]]]:
    numbers = chance.sample(range(1, COUNT + 1), 4)
    return {
        "one is edited": [lambda: source.edit(numbers[0])],
        "four are edited": [lambda: [source.edit(n) for n in numbers] and None],
        "one is deleted": [lambda: source.delete(numbers[0])],
        "four are deleted": [lambda: [source.delete(n) for n in numbers] and None],
        "one comes": [lambda: source.insert(99)],
        "one comes, one goes": [lambda: source.insert(99), lambda: source.delete(numbers[0])],
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_no_row_is_lost_for_good_wherever_another_one_moves(source: Moving, form: str, order: str) -> None:
    chance = random.Random(form + order)
    with source.near(FORMS[form], **FOLLOWED) as bee:
        for when in (1, 2, 4):
            for what in happenings(source, chance):
                source.renew(order)
                source.events[when] = happenings(source, chance)[what]
                source.events[when + 1] = [lambda: source.edit(COUNT - 1)]
                jar, cursor, quiet = Jar(), None, 0
                while quiet < 2:
                    quiet += not source.events
                    cursor = jar.take(read(bee, cursor), cursor)

                assert jar.held.items() >= held(source).items(), (what, when)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_row_that_is_there_is_never_taken_for_a_deleted_one(source: Moving, form: str, order: str) -> None:
    chance = random.Random(form + order)
    with source.near(FORMS[form]) as bee:
        for when in (1, 3):
            for what in happenings(source, chance):
                source.renew(order)
                jar = Jar()
                cursor = jar.take(read(bee))
                source.events[len(source.asked) + when] = happenings(source, chance)[what]
                before = set(held(source))
                cursor = jar.take(read(bee, cursor))

                assert set(jar.held) >= before & set(held(source)), (what, when)

                for _ in range(2):
                    cursor = jar.take(read(bee, cursor))
                claims = {"more_path", "done_path", "cursor_path"} & FORMS[form].keys() or form == "link"
                assert jar.held == held(source) if claims else set(jar.held) >= set(held(source)), (what, when)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_over_a_network_with_a_source_that_knows_what_is_unchanged(source: Moving, form: str) -> None:
    source.tagged = True
    source.events = {2: [lambda: source.edit(1)], 3: [lambda: source.delete(2)], 5: [lambda: source.edit(5)]}
    jar, cursor, quiet = Jar(), None, 0
    with source.bee(FORMS[form], **FOLLOWED) as bee:
        while quiet < 2:
            quiet += not source.events
            cursor = jar.take(read(bee, cursor), cursor)

    assert jar.held == {2: 0, **held(source)}


@pytest.mark.parametrize("form", FORMS)
def test_a_flight_may_stop_behind_every_batch_while_rows_move(source: Moving, form: str) -> None:
    jar, cursor, stops = Jar(), None, 0
    with source.near(FORMS[form], **FOLLOWED) as bee:
        while stops < 40:
            for batch in bee.collect_nectar("x", cursor):
                jar.held.update({row["id"]: row["v"] for row in batch.table.to_pylist()})
                cursor = json.loads(json.dumps(batch.cursor))
                break
            stops += 1
            if stops in (2, 3, 5, 8):
                source.edit(stops)

    assert jar.held == held(source)


def test_a_long_listing_is_proven_by_its_second_reading_and_then_costs_little(source: Moving) -> None:
    source.renew("id", count=40 * SIZE)
    with source.near({"type": "link"}) as bee:
        first = read(bee)
        asked = [len(source.asked)]
        second = read(bee, first[-1].cursor)
        asked.append(len(source.asked))
        source.delete(39 * SIZE)
        third = read(bee, second[-1].cursor)
        asked.append(len(source.asked))

    assert [batches[-1].complete for batches in (first, second, third)] == [False, True, True]
    assert asked == [40 + 9, 49 + 40, 89 + 40 + 1]


@pytest.mark.parametrize(
    ("form", "asked"), [("offset and total", 2), ("link", 1), ("short page", 1), ("cursor that counts", 1), ("page", 3)]
)
def test_a_quiet_source_is_asked_for_what_is_new_alone(source: Moving, form: str, asked: int) -> None:
    with source.near(FORMS[form], **FOLLOWED) as bee:
        cursor = read(bee)[-1].cursor
        source.asked.clear()
        again = read(bee, cursor)

    assert [row["id"] for batch in again for row in batch.table.to_pylist()] == [COUNT]
    assert len(source.asked) <= asked


def test_rows_that_never_move_cost_nothing(source: Moving) -> None:
    source.renew("id", count=20 * SIZE)
    with source.near({"type": "page", "more_path": "more", "steady": True}, **FOLLOWED) as bee:
        read(bee)

    assert len(source.asked) == 20


@pytest.mark.parametrize("windows", [{}, {"end_param": "until", "start": "2020-01-01T00:00:00Z", "step": "900d"}])
def test_a_listing_that_moves_more_than_it_can_be_read_leaves_its_mark(source: Moving, windows: dict[str, Any]) -> None:
    """Each answer is followed by a change of all rows: reading ends, and nothing is passed over for good."""
    source.order = "id"
    for number in range(1, 200):
        source.events[number] = [lambda: [source.edit(n) for n in range(1, COUNT + 1)] and None]
    with source.near({"type": "page"}, **FOLLOWED, **windows) as bee:
        cursor = read(bee)[-1].cursor
        asked = len(source.asked)
        source.events.clear()
        jar = Jar()
        jar.take(read(bee, cursor))

    assert asked < 60
    assert cursor.get("since") == windows.get("start")
    assert jar.held == held(source)


@pytest.mark.parametrize("cursor", ["n", "when"])
def test_what_changed_behind_the_reader_comes_with_the_next_flight(source: Moving, cursor: str) -> None:
    """A listing by id: row 1 changes when it was read, row 11 after it, before it is read."""
    for row in source.rows:
        row.update(n=100 + row["id"] * 7 % 11, when=row["at"])

    def change(number: int, value: int) -> None:
        row = next(row for row in source.rows if row["id"] == number)
        row.update(n=value, when=datetime.now(UTC).isoformat(), v=1)

    source.order = "id"
    source.events = {2: [lambda: change(1, 200)], 3: [lambda: change(11, 201)]}
    seen: list[tuple[int, int]] = []
    with source.near({"type": "page"}, cursor=cursor, cursor_param="from") as bee:
        first = read(bee)
        second = read(bee, first[-1].cursor)
        seen = [(row["id"], row["v"]) for batch in second for row in batch.table.to_pylist()]

    mark = first[-1].cursor.get("since")
    assert (1, 1) in seen
    assert mark is None or str(mark) < str(next(row for row in source.rows if row["id"] == 1)[cursor])


CHANGED = {"cursor": "at", "cursor_param": "since"}
BELOW: dict[str, dict[str, Any]] = {
    "orgs": {"path": "/orgs", "key": "id", "pagination": {"type": "page"}},
    "teams": {"path": "/orgs/{{ parent.id }}/teams", "key": "id", "pagination": {"type": "page"},
              "parent": {"stream": "orgs"}},
    "members": {"path": "/teams/{{ parent.id }}/members", "key": "id", "parent": {"stream": "teams"}, **CHANGED},
    "staff": {"path": "/orgs/{{ parent.id }}/staff", "key": "id", "parent": {"stream": "orgs"}, **CHANGED},
}  # fmt: skip


@pytest.mark.parametrize(("stream", "moves"), [("staff", "/orgs"), ("members", "/orgs"), ("members", "/orgs/1/teams")])
@pytest.mark.parametrize("always", [False, True])
def test_no_child_is_passed_over_whose_parent_moved_between_two_pages(stream: str, moves: str, always: bool) -> None:
    """Parents without a cursor, two a page: of five the first one goes behind page 1, or all change all the time.

    The children of the third one are older than the others', so that the mark would pass them.
    """
    gone: set[str] = set()
    asked: list[str] = []

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        asked.append(url.path)
        query, name = dict(url.params), url.path.split("/")[2:3]
        if url.path.endswith(("/members", "/staff")):
            old = name[0] in ("3", "103")
            found = [{"id": f"c{name[0]}", "at": f"2020-01-0{1 if old else 2}T00:00:00Z"}]
            rows = [row for row in found if row["at"] >= query.get("since", "")]
        else:
            first = 100 if url.path == "/orgs/1/teams" else 0
            numbers = range(1, 6) if url.path in ("/orgs", "/orgs/1/teams") else ()
            rows = [{"id": first + n} for n in numbers if not (url.path in gone and n == 1)]
            if always and not met and url.path == moves:
                rows = [{**row, "v": len(asked)} for row in rows]
            at = 2 * int(query.get("page", 1)) - 2
            rows = rows[at : at + 2]
            if url.path == moves:
                gone.add(moves)
        return Answer(200, httpx.Headers({}), json.dumps(rows).encode(), url)

    met: set[str] = set()
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": BELOW}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        cursor = None
        for _ in range(2):
            batches = list(bee.collect_nectar(stream, cursor))
            met |= {row["id"] for batch in batches for row in batch.table.to_pylist()}
            cursor = batches[-1].cursor

    expected = {"c2", "c3", "c4", "c5"} if stream == "staff" else {"c102", "c103", "c104", "c105"}
    if (stream, moves) == ("members", "/orgs"):
        expected = {"c101", "c102", "c103", "c104", "c105"}
    assert met >= expected
    assert cursor.get("since") == (
        None if (stream, moves, always) == ("members", "/orgs", True) else "2020-01-02T00:00:00Z"
    )


@pytest.mark.parametrize(("ahead", "lag", "mark"), [(60, 0, "12:00:00"), (60, 30, "11:59:30"), (-60, 0, "11:59:00")])
def test_a_window_ends_by_the_sources_clock_where_ours_is_ahead(ahead: int, lag: int, mark: str) -> None:
    """The source makes a row within the time by which our clock is ahead, behind the first pass."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = [{"id": 1, "at": "2026-03-01T11:00:00Z"}]
    stream = {"path": "x", "key": "id", "cursor_param": "since", "end_param": "until", "lag": lag,
              "start": "2026-03-01T00:00:00Z"}  # fmt: skip

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        query = dict(url.params)
        told = {"Date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        found = [row for row in rows if query["since"] <= str(row["at"]) < query["until"]]
        return Answer(200, httpx.Headers(told), json.dumps(found).encode(), url)

    options = RestBee.Options.model_validate({"base_url": "https://x.example.com", "streams": {"x": stream}})
    with RestBee(options, clock=lambda: now.timestamp() + ahead) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        first = read(bee)[-1].cursor
        rows.append({"id": 2, "at": "2026-03-01T12:00:20Z"})
        now += timedelta(minutes=5)
        second = [row["id"] for batch in read(bee, first) for row in batch.table.to_pylist()]

    assert first is not None
    assert first["since"] == f"2026-03-01T{mark}Z"
    assert second == [2]


@pytest.mark.parametrize(("step", "lag"), [("10s", 0), ("1m", 0), ("10s", 30), ("7s", 7)])
def test_windows_that_are_smaller_than_our_clock_is_ahead_miss_nothing(step: str, lag: int) -> None:
    """Ours is 95 s ahead. The source makes a row each second, also within windows that seem to be over."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    stream = {"path": "x", "key": "id", "cursor_param": "since", "end_param": "until", "lag": lag, "step": step,
              "start": "2026-03-01T11:58:00Z"}  # fmt: skip
    asked: list[str] = []

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        nonlocal now
        query = dict(url.params)
        asked.append(query["since"])
        assert len(asked) < 200
        begin, end = (datetime.fromisoformat(query[name]) for name in ("since", "until"))
        rows = [{"id": int((at := begin + timedelta(seconds=n)).timestamp()), "at": at.isoformat()}
                for n in range(int((min(end, now) - begin).total_seconds()))]  # fmt: skip
        told = {"Date": now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        now += timedelta(seconds=1)
        return Answer(200, httpx.Headers(told), json.dumps(rows).encode(), url)

    options = RestBee.Options.model_validate({"base_url": "https://x.example.com", "streams": {"x": stream}})
    met: set[int] = set()
    cursor = None
    with RestBee(options, clock=lambda: now.timestamp() + 95) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        for _ in range(3):
            for batch in read(bee, cursor):
                met |= {row["id"] for row in batch.table.to_pylist()}
                cursor = batch.cursor
            now += timedelta(minutes=2)

    begin = int(datetime(2026, 3, 1, 11, 58, tzinfo=UTC).timestamp())
    assert met
    assert met == set(range(begin, max(met) + 1))
    assert max(met) >= int(now.timestamp()) - 120 - lag - 60


def test_pages_that_come_again_here_and_there_as_rows_came_before_them_are_read_on(source: Moving) -> None:
    """The newest first: behind each third answer a whole page of new rows comes, so that the next one is as it was."""
    source.renew("newest", count=20 * SIZE)
    for number in range(6):
        new = [100 + SIZE * number + n for n in range(SIZE)]
        source.events[3 * number + 2] = [lambda new=new: [source.insert(n) for n in new] and None]  # type: ignore[misc]
    jar, cursor, quiet = Jar(), None, 0
    with source.near({"type": "page"}, **FOLLOWED) as bee:
        while quiet < 2:
            quiet += not source.events
            cursor = jar.take(read(bee, cursor), cursor)

    assert jar.held == held(source)
