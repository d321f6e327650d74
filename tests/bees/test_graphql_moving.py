"""Connections whose rows are edited, inserted and deleted while they are read, by cursors that count and that name."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bees.core.errors import GiveUp
from bees.core.http import Answer
from bees.graphql import GraphqlBee
from nectar.batch import Batch
from tests.bees.test_rest_moving import Jar

SIZE = 3
COUNT = 11
QUERY = """query($after: String, $since: DateTime) { list(after: $after, since: $since) {
 pageInfo { hasNextPage endCursor } nodes { id at v more(first: 2) { pageInfo { hasNextPage endCursor } nodes { n } } }
} }"""
MORE = """query($id: ID!, $after: String) { node(id: $id) { more(after: $after) {
 pageInfo { hasNextPage endCursor } nodes { n } } } }"""
STREAM = {"query": QUERY, "connection": "list", "key": "id",
          "nested": {"more": {"query": MORE, "connection": "node.more"}}}  # fmt: skip
FOLLOWED = {"cursor": "at", "cursor_variable": "since"}


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


COUNTING: dict[str, Callable[[int], str]] = {
    "rows": str,
    "rows, with a word": lambda at: f"c:{at}",
    "the array of Relay": lambda at: coded(f"arrayconnection:{at - 1}"),
    "rows, coded": lambda at: coded(f"cursor:{at}").rstrip("="),
    "rows in JSON": lambda at: coded(json.dumps({"v": 2, "offset": at})),
    "rows in a list of JSON": lambda at: coded(json.dumps(["natural", at])),
    "pages": lambda at: str(-(-at // SIZE) + 1),
}
NAMING: dict[str, Callable[[dict[str, Any]], str]] = {
    "ids": lambda row: str(row["id"]),
    "ids, with a word": lambda row: f"Ticket:{row['id']}",
    "ids, coded": lambda row: coded(f"Ticket:{row['id']}"),
    "ids in JSON": lambda row: coded(json.dumps(["id_asc", [row["id"]]])),
    "times": lambda row: coded(f"{row['at']}|{row['id']}"),
}


@dataclass
class Moving:
    """A source by id; `events` happen behind the answers of these numbers. `counting`: cursors are rows so far."""

    style: Callable[[Any], str] = str
    counting: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    events: dict[int, Callable[[], None]] = field(default_factory=dict)
    order: str = "id"
    given: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self, count: int = COUNT, first: int = 1) -> None:
        begin = datetime.now(UTC) - timedelta(days=1)
        self.rows = [
            {"id": n, "at": (begin + timedelta(minutes=n)).isoformat(), "v": 0} for n in range(first, count + first)
        ]
        self.asked.clear()
        self.events.clear()

    def edit(self, number: int) -> None:
        for row in self.rows:
            if row["id"] == number:
                row.update(at=datetime.now(UTC).isoformat(), v=row["v"] + 1)

    def delete(self, number: int) -> None:
        self.rows[:] = [row for row in self.rows if row["id"] != number]

    def insert(self, number: int) -> None:
        self.rows.append({"id": number, "at": datetime.now(UTC).isoformat(), "v": 0})

    def told(self, asked: dict[str, Any]) -> dict[str, Any]:
        values = asked["variables"]
        if "id" in values:
            info = {"hasNextPage": False, "endCursor": None}
            return {"data": {"node": {"more": {"pageInfo": info, "nodes": [{"n": 2}]}}}}
        self.asked.append(values)
        chosen = [row for row in self.rows if row["at"] >= values.get("since", "")]
        chosen.sort(key=lambda row: (row[self.order], row["id"]))
        at, after = 0, values.get("after")
        if after is not None:
            at = self.given[after] if self.counting else sum(row["id"] <= self.given[after] for row in chosen)
        found = chosen[at : at + SIZE]
        at += len(found)
        end = None if not found else self.style(at) if self.counting else self.style(found[-1])
        if end is not None:
            self.given[end] = at if self.counting else found[-1]["id"]
        info = {"hasNextPage": at < len(chosen), "endCursor": end}
        inner = {"pageInfo": {"hasNextPage": True, "endCursor": "x"}, "nodes": [{"n": 1}]}
        nodes = [{**row, "more": json.loads(json.dumps(inner))} for row in found]
        self.events.pop(len(self.asked), lambda: None)()
        return {"data": {"list": {"pageInfo": info, "nodes": nodes}}}

    def bee(self, **given: Any) -> GraphqlBee:
        """Without the way through the network, which takes most of the time."""
        options = {name: given.pop(name) for name in ("max_pages",) if name in given}
        streams = {"x": {**STREAM, **given}}
        bee = GraphqlBee.from_options({"url": "https://x.example.com", "streams": streams, **options})

        def send(query: str, values: dict[str, Any], where: str, **_: Any) -> Answer:
            raw = json.dumps(self.told({"query": query, "variables": values})).encode()
            return Answer(200, httpx.Headers({}), raw, httpx.URL("https://x.example.com"))

        bee._send = send  # type: ignore[method-assign]
        return bee


def read(bee: GraphqlBee, cursor: Any = None) -> list[Batch]:
    return list(bee.collect_nectar("x", cursor))


def held(source: Moving) -> dict[int, int]:
    return {row["id"]: row["v"] for row in source.rows}


def happenings(source: Moving, chance: random.Random) -> dict[str, Callable[[], None]]:
    numbers = chance.sample(range(1, COUNT + 1), 4)
    return {
        "one is deleted": lambda: source.delete(numbers[0]),
        "four are deleted": lambda: [source.delete(n) for n in numbers] and None,
        "one is edited": lambda: source.edit(numbers[0]),
        "four are edited": lambda: [source.edit(n) for n in numbers] and None,
        "one comes": lambda: source.insert(99),
    }


@pytest.mark.parametrize("order", ["id", "at"])
@pytest.mark.parametrize("style", COUNTING)
def test_a_row_that_is_there_is_never_taken_for_a_deleted_one(style: str, order: str) -> None:
    source, chance = Moving(COUNTING[style], order=order), random.Random(style)
    with source.bee() as bee:
        for when in (1, 2, 3):
            for what in happenings(source, chance):
                source.renew()
                jar = Jar()
                cursor = jar.take(read(bee))
                source.events[len(source.asked) + when] = happenings(source, chance)[what]
                before = set(held(source))
                cursor = jar.take(read(bee, cursor))

                assert set(jar.held) >= before & set(held(source)), (what, when)

                for _ in range(2):
                    cursor = jar.take(read(bee, cursor))
                assert jar.held == held(source), (what, when)


@pytest.mark.parametrize("order", ["id", "at"])
@pytest.mark.parametrize("style", COUNTING)
def test_no_row_is_passed_over_for_good_wherever_another_one_moves(style: str, order: str) -> None:
    source, chance = Moving(COUNTING[style], order=order), random.Random(style)
    with source.bee(**FOLLOWED) as bee:
        for when in (1, 2, 4):
            for what in happenings(source, chance):
                source.renew()
                source.events[when] = happenings(source, chance)[what]
                jar, cursor, quiet = Jar(), None, 0
                while quiet < 2:
                    quiet += not source.events
                    cursor = jar.take(read(bee, cursor), cursor)

                assert jar.held.items() >= held(source).items(), (what, when)


@pytest.mark.parametrize("when", [1, 2, 3])
def test_ids_without_a_hole_do_not_pass_for_places_nor_places_for_ids(when: int) -> None:
    """The very first reading of rows 1 to 11: row 1 goes away between two pages, and cursors may mean either."""
    source = Moving(str)
    source.events[when] = lambda: source.delete(1)
    with source.bee() as bee:
        first = read(bee)
        again = read(bee, first[-1].cursor)

    met = {row["id"] for batch in first for row in batch.table.to_pylist()}
    assert met >= set(held(source)) or not first[-1].complete
    assert [row["id"] for batch in again for row in batch.table.to_pylist()] == sorted(held(source))
    assert again[-1].complete


@pytest.mark.parametrize("first", [1, 5, 1000])
@pytest.mark.parametrize("style", NAMING)
def test_cursors_that_name_a_record_are_stable_and_prove_what_is_gone(style: str, first: int) -> None:
    source = Moving(NAMING[style], counting=False)
    source.renew(40 * SIZE, first)
    with source.bee() as bee:
        batches = read(bee)
        asked = len(source.asked)
        source.delete(first + 4)
        source.events[asked + 3] = lambda: source.delete(first + 1)
        again = read(bee, batches[-1].cursor)

    assert (batches[-1].complete, asked) == (True, 40)
    assert again[-1].complete
    assert len(source.asked) <= 2 * asked


def test_records_of_a_page_that_is_asked_for_again_have_all_that_is_inside_of_them() -> None:
    source = Moving(str)
    source.events[1] = lambda: source.delete(2)
    with source.bee(**FOLLOWED) as bee:
        rows = [row for batch in read(bee) for row in batch.table.to_pylist()]

    assert {row["id"] for row in rows} == set(range(1, COUNT + 1))
    assert all(json.dumps(row["more"]) == json.dumps([{"n": 1}, {"n": 2}]) for row in rows)


def test_a_long_connection_by_position_is_proven_by_its_second_reading_and_the_log_says_so() -> None:
    source = Moving(lambda at: f"c:{at}")
    source.renew(40 * SIZE, 1000)
    with source.bee() as bee, capture_logs() as said:
        first = read(bee)
        second = read(bee, first[-1].cursor)

    assert [batches[-1].complete for batches in (first, second)] == [False, True]
    assert [line["event"] for line in said] == ["nothing_counts_as_gone"]


def test_a_flight_may_stop_behind_every_batch_while_rows_move() -> None:
    source = Moving(str)
    seen: dict[int, int] = {}
    cursor = None
    with source.bee(**FOLLOWED) as bee:
        for stop in range(40):
            for batch in bee.collect_nectar("x", cursor):
                seen.update({row["id"]: row["v"] for row in batch.table.to_pylist()})
                cursor = json.loads(json.dumps(batch.cursor))
                break
            if stop in (2, 3, 5, 8):
                source.edit(stop)

    assert seen == held(source)


def test_what_changed_behind_the_reader_comes_with_the_next_flight() -> None:
    """Row 1 changes when it was read, row 11 after it, before it is read: the mark must not pass row 1."""
    source = Moving(NAMING["ids"], counting=False)
    source.events = {2: lambda: source.edit(1), 3: lambda: source.edit(11)}
    with source.bee(**FOLLOWED) as bee:
        first = read(bee)
        second = read(bee, first[-1].cursor)

    assert (1, 1) in [(row["id"], row["v"]) for batch in second for row in batch.table.to_pylist()]


class TestNeverEnding:
    @staticmethod
    def failure(bee: GraphqlBee) -> tuple[GiveUp, list[Batch]]:
        taken: list[Batch] = []
        with bee, pytest.raises(GiveUp) as error:
            taken.extend(bee.collect_nectar("x", None))
        return error.value, taken

    def test_no_more_than_max_pages_are_read(self) -> None:
        source = Moving(NAMING["times"], counting=False)
        source.renew(40 * SIZE)
        error, _ = self.failure(source.bee(max_pages=20))

        assert error.code == "pagination_loop"
        assert "max_pages" in error.advice
        assert len(source.asked) <= 22

    def test_a_server_that_heeds_no_place_is_not_asked_for_ever(self) -> None:
        source = Moving(str)

        class Deaf(Moving):
            def told(self, asked: dict[str, Any]) -> dict[str, Any]:
                asked = {**asked, "variables": {n: v for n, v in asked["variables"].items() if n != "after"}}
                told = super().told(asked)
                if "list" in told["data"]:
                    info = {"hasNextPage": True, "endCursor": coded(f"{random.random()}:x{len(self.asked)}")}
                    told["data"]["list"]["pageInfo"] = info
                return told

        source = Deaf(str)
        error, taken = self.failure(source.bee())

        assert error.code == "pagination_loop"
        assert len(source.asked) < 10
        assert taken[-1].cursor == {}, "whoever went on from there would come round again"
