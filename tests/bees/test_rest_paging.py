from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from bees.core.cursors import higher, less
from bees.core.errors import GiveUp
from bees.core.paging import REMEMBERED, Links, Reading
from bees.rest import RestBee
from hive.demo import api
from hive.demo.people import tickets
from tests.bees.contract import rows
from tests.bees.rest_source import COUNT, STREAMS, Demo, one, sample_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from nectar.batch import Batch


@pytest.fixture(scope="module")
def served() -> Iterator[Demo]:
    with sample_api() as made:
        yield made


@pytest.fixture
def demo(served: Demo) -> Demo:
    served.renew()
    return served


@pytest.mark.parametrize(
    ("stream", "complete"), [("tickets", True), ("items", True), ("events", False), ("people", False)]
)
def test_only_a_listing_that_says_it_ends_is_complete(demo: Demo, stream: str, complete: bool) -> None:
    found = demo.read(stream)

    assert [batch.complete for batch in found[:-1]] == [False] * (len(found) - 1)
    assert found[-1].complete is complete


@pytest.mark.parametrize(
    ("stream", "statuses", "sizes"),
    [
        ("tickets", [304, 304, 304, 200], [10]),
        ("items", [304, 304, 304, 200], [10]),
        ("events", [304, 304, 304, 200, 200], [10, 0]),  # the short page, too
        ("people", [304, 304, 304, 304, 200], []),
    ],
)
def test_a_second_flight_over_an_unchanged_source_reads_its_end_alone(
    demo: Demo, stream: str, statuses: list[int], sizes: list[int]
) -> None:
    last = demo.read(stream)[-1].cursor
    demo.statuses()

    again = demo.read(stream, last)

    assert demo.statuses() == statuses
    assert [batch.table.num_rows for batch in again] == sizes
    assert not any(batch.complete for batch in again)


def test_a_changed_page_is_read_again_and_the_others_are_not(demo: Demo) -> None:
    last = demo.read("tickets")[-1].cursor
    demo.statuses()
    demo.world.rows["tickets"][25]["status"] = "changed"

    found = demo.read("tickets", last)

    assert demo.statuses() == [304, 200, 304, 200]
    assert [batch.table.num_rows for batch in found] == [20, 10]
    assert not any(batch.complete for batch in found), "pages that were not read prove nothing about deletions"
    assert [row["id"] for row in rows(demo.read("tickets", found[-1].cursor))] == list(range(61, 71))


def test_a_changed_last_page_after_unchanged_ones_is_not_complete(demo: Demo) -> None:
    last = demo.read("tickets")[-1].cursor
    demo.world.rows["tickets"][-1]["status"] = "changed"

    (found,) = demo.read("tickets", last)

    assert (found.table.num_rows, found.complete) == (10, False)


def test_without_conditional_reading_everything_is_read_and_complete(demo: Demo) -> None:
    last = demo.read("tickets", conditional=False)[-1].cursor
    demo.statuses()

    assert demo.read("tickets", last, conditional=False)[-1].complete
    assert set(demo.statuses()) == {200}


def test_a_stop_in_the_middle_of_a_second_flight_still_reads_every_change(demo: Demo) -> None:
    last = demo.read("tickets")[-1].cursor
    for number in (5, 45):
        demo.world.rows["tickets"][number]["status"] = "changed"
    with demo.bee() as bee:
        stopped = next(iter(bee.collect_nectar("tickets", last)))

    rest = demo.read("tickets", stopped.cursor)

    changed = [row["id"] for row in rows([stopped, *rest]) if row["status"] == "changed"]
    assert changed == [6, 46]


def test_incremental_reading_asks_from_the_highest_value_on(demo: Demo) -> None:
    streams = one(cursor="updated_at", cursor_param="updated_since")
    demo.world.rows["tickets"] = list(reversed(demo.world.rows["tickets"]))  # newest first: no page may set the mark
    last = demo.read("tickets", streams=streams)[-1].cursor
    demo.world.rows["tickets"] += [tickets(7, COUNT + 1)[-1]]

    found = demo.read("tickets", last, streams=streams)

    assert {row["id"] for row in rows(found)} == {COUNT, COUNT + 1}
    assert not any(batch.complete for batch in found)


def test_the_mark_moves_only_when_a_pass_is_over(demo: Demo) -> None:
    streams = one(cursor="updated_at", cursor_param="updated_since")
    demo.world.rows["tickets"] = list(reversed(demo.world.rows["tickets"]))

    batches = demo.read("tickets", streams=streams)

    assert ["since" in batch.cursor for batch in batches] == [False, False, False, True]


@pytest.mark.parametrize(
    ("since", "lookback", "asked"),
    [
        (10, 3, "7"), (10, 30, "0"), (-5, 3, "-8"), (10, 0.5, "9"), ("10.5", 3, "7.5"), ("unknown", 3, "unknown"),
        ("2025-01-01T00:00:05Z", 10, "2024-12-31T23:59:55Z"), ("2025-01-01", 10, "2024-12-31"),
        ("2025-01-01 00:00:05.250+02:00", 0.5, "2025-01-01 00:00:04.750+02:00"),
        ("2025-01-01T00:00:05", 0.5, "2025-01-01T00:00:04"), ("0001-01-01T00:00:00Z", 9, "0001-01-01T00:00:00Z"),
    ],
)  # fmt: skip
def test_a_look_back_lessens_the_mark_and_keeps_its_spelling(since: Any, lookback: float, asked: str) -> None:
    assert str(less(since, lookback)) == asked


def test_a_look_back_asks_for_what_the_source_may_show_late(demo: Demo) -> None:
    streams = one(cursor="updated_at", cursor_param="updated_since", lookback=7200)
    last = demo.read("tickets", streams=streams)[-1].cursor
    demo.world.asked.clear()

    again = demo.read("tickets", last, streams=streams)

    newest = demo.world.rows["tickets"][-1]["updated_at"]
    assert last["since"] == newest
    assert newest[:19] not in demo.world.asked[0][0].replace("%3A", ":")
    assert {row["id"] for row in rows(again)} > {COUNT}


@pytest.mark.parametrize(
    ("old", "new", "wins"),
    [
        (None, 3, 3), (3, None, 3), (9, 10, 10), ("9", "10", "10"), (10, 9, 10), ("1.5", "1.25", "1.5"),
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00.5Z", "2025-01-01T00:00:00.5Z"),
        ("2025-01-01T12:00:00+02:00", "2025-01-01T11:00:00+00:00", "2025-01-01T11:00:00+00:00"),
        ("2025-06-01T00:00:00Z", "unknown", "2025-06-01T00:00:00Z"), ("b", "a", "b"), ("2025-06-01", "7", "2025-06-01"),
    ],
)  # fmt: skip
def test_a_cursor_never_moves_backwards(old: Any, new: Any, wins: Any) -> None:
    assert higher(old, new) == wins


def test_a_key_in_the_query_does_not_stay_in_the_cursor(demo: Demo) -> None:
    batches = demo.read("tickets", auth={"method": "api_key", "key": api.KEY, "query_param": "api_key"})

    assert any("per_page=20&page=3" in json.dumps(batch.cursor) for batch in batches)
    assert not [batch for batch in batches if api.KEY in json.dumps(batch.cursor)]


@pytest.mark.parametrize("stream", sorted(STREAMS))
def test_an_empty_source_is_a_normal_end(demo: Demo, stream: str) -> None:
    demo.world.rows[stream] = []

    found = demo.read(stream)

    assert rows(found) == []
    assert [batch.complete for batch in found] == [stream in ("tickets", "items")]


def test_a_source_that_ignores_the_page_number_is_noticed(demo: Demo) -> None:
    error = demo.fails(
        "events", streams={"events": {**STREAMS["events"], "pagination": {"type": "page", "page_param": "p"}}}
    )

    assert error.code == "pagination_loop"


def test_a_circle_of_pages_is_found_across_legs() -> None:
    def walk(pages: int) -> None:
        reading = Reading()
        for turn in range(pages):
            reading.advance("abcde"[turn % 5], "stream x")
            reading = Reading.of(json.loads(json.dumps(reading.cursor())))

    with pytest.raises(GiveUp, match="leads back"):
        walk(20)


def test_after_a_circle_a_source_that_is_well_again_is_read_from_the_first_page(demo: Demo) -> None:
    demo.world.faults["tickets", 3] = "loop"
    found: list[Batch] = []
    with demo.bee() as bee, pytest.raises(GiveUp, match="leads back"):
        deque(map(found.append, bee.collect_nectar("tickets", None)), maxlen=0)
    demo.world.faults.clear()

    again = demo.read("tickets", found[-1].cursor)

    assert {row["id"] for row in rows(again)} == {row["id"] for row in demo.world.rows["tickets"]}


def test_the_memory_of_pages_is_bounded(demo: Demo) -> None:
    demo.world.rows["tickets"] = tickets(7, REMEMBERED + 30)

    last = demo.read("tickets", streams=one(pagination={"size": 1, "size_param": "per_page"}))[-1].cursor

    assert len(last["known"]) == REMEMBERED
    again = demo.read("tickets", last, streams=one(pagination={"size": 1, "size_param": "per_page"}))
    assert len(rows(again)) == 30, "what is not remembered is read"


def test_a_stored_cursor_of_something_else_is_refused(demo: Demo) -> None:
    with demo.bee() as bee, pytest.raises(GiveUp, match="--full-refresh"):
        list(bee.collect_nectar("tickets", {"offset_in_file": 3}))


def test_reading_does_not_change_the_cursor_it_was_given(demo: Demo) -> None:
    last = demo.read("tickets")[-1].cursor
    before = json.dumps(last)

    demo.read("tickets", last)

    assert json.dumps(last) == before


def test_a_pass_over_older_values_alone_leaves_the_mark_where_it_was() -> None:
    reading = Reading(since="2025-06-01", high="2025-05-01")

    reading.finish()

    assert reading.cursor() == {"since": "2025-06-01"}


def test_an_ad_hoc_read_adds_its_own_parameters_and_proves_nothing_about_deletions(demo: Demo) -> None:
    since = demo.world.rows["tickets"][-3]["updated_at"]

    found = demo.read("tickets", query={"updated_since": since})

    assert [row["id"] for row in rows(found)] == [68, 69, 70]
    assert not found[-1].complete


def test_a_last_page_that_answers_404_ends_the_listing_after_a_short_one() -> None:
    async def listing(request: Request) -> Response:
        number = int(request.query_params["page"])
        found = {1: '[{"id": 1}, {"id": 2}]', 2: '[{"id": 3}]'}.get(number)
        return Response(found) if found else Response("gone", 404)

    def read(size: int) -> list[Batch]:
        paging = {"type": "page", "size": size, "size_param": "n"}
        given = {"base_url": url, "allow_private": True, "streams": {"x": {"path": "x", "pagination": paging}}}
        with RestBee.from_options(given) as bee:
            return list(bee.collect_nectar("x", None))

    with api.running(Starlette(routes=[Route("/x", listing)])) as url:
        assert [row["id"] for row in rows(read(2))] == [1, 2, 3]
        with pytest.raises(GiveUp, match="404"):
            read(1)


class Shelf:
    """A listing whose pages are set one by one; each is called unchanged while its body is, whatever its headers say.

    tells: the header of the next page goes with an answer 304, too.
    """

    def __init__(self, pages: list[list[int]], paging: dict[str, Any], *, tells: bool = False) -> None:
        self.pages = pages
        self.paging = paging
        self.tells = tells
        self.statuses: list[int] = []

    async def answer(self, request: Request) -> Response:
        number = int(request.query_params.get("page", 1))
        if number > len(self.pages):
            self.statuses.append(404)
            return Response("nothing", 404)
        body = json.dumps([{"id": n} for n in self.pages[number - 1]])
        same = request.headers.get("if-none-match") == (etag := f'"{body}"')
        headers = {"ETag": etag}
        if number < len(self.pages) and (self.tells or not same):
            headers["Link"] = f'<{request.url.include_query_params(page=number + 1)}>; rel="next"'
        self.statuses.append(304 if same else 200)
        return Response("" if same else body, self.statuses[-1], headers)

    def read(self, url: str, cursor: Any = None) -> tuple[list[int], Any]:
        given = {"base_url": url, "allow_private": True, "streams": {"x": {"path": "x", "pagination": self.paging}}}
        self.statuses.clear()
        with RestBee.from_options(given) as bee:
            found = list(bee.collect_nectar("x", cursor))
        return [row["id"] for row in rows(found)], found[-1].cursor if found else cursor

    def served(self) -> Starlette:
        return Starlette(routes=[Route("/x", self.answer)])


@pytest.mark.parametrize("tells", [False, True])
def test_a_page_that_follows_an_unchanged_last_one_is_read(tells: bool) -> None:
    shelf = Shelf([[1, 2]], {}, tells=tells)
    with api.running(shelf.served()) as url:
        _, cursor = shelf.read(url)
        shelf.pages.append([3])
        second, cursor = shelf.read(url, cursor)
        assert shelf.statuses == [200, 200, 304], "the first page is looked at once more behind the second one"
        third, _ = shelf.read(url, cursor)

    assert (second, third) == ([1, 2, 3], [3])
    assert shelf.statuses == [304, 200]


def test_a_link_that_comes_with_unchanged_goes_before_the_remembered_one() -> None:
    shelf = Shelf([[1], [2], [3]], {}, tells=True)
    with api.running(shelf.served()) as url:
        _, cursor = shelf.read(url)
        cursor["known"] = {name: [etag, "", following and f"{url}/x?page=7"] for name, (etag, _, following) in
                           cursor["known"].items()}  # fmt: skip
        again, _ = shelf.read(url, cursor)

    assert (again, shelf.statuses) == ([3], [304, 304, 200])


@pytest.mark.parametrize(
    ("link", "told", "following"),
    [
        ("", False, None), ('<https://x.example/doc>; rel="describedby"', False, None),
        ('<https://x.example/1>; rel="prev first"', True, None),
        ('<https://x.example/1>; rel=prev, <https://x.example/3>; rel="last NEXT"', True, "https://x.example/3"),
    ],
)  # fmt: skip
def test_a_link_header_says_something_of_pages_or_nothing(link: str, told: bool, following: str | None) -> None:
    assert Links.of({"link": link}) == Links(told, following)


def test_an_unchanged_listing_that_ends_with_404_is_read_again_and_grows() -> None:
    shelf = Shelf([[1, 2], [3]], {"type": "page", "size": 2, "size_param": "n"})
    with api.running(shelf.served()) as url:
        first, cursor = shelf.read(url)
        second, cursor = shelf.read(url, cursor)
        assert shelf.statuses == [304, 200, 404]
        shelf.pages[1:] = [[3, 4], [5]]
        third, _ = shelf.read(url, cursor)

    assert (first, second, third) == ([1, 2, 3], [3], [3, 4, 5])


@pytest.mark.parametrize("stream", ["events", "items", "people"])
@pytest.mark.parametrize("count", [40, 41])
def test_no_remembered_end_hides_what_came_later(demo: Demo, stream: str, count: int) -> None:
    everything = demo.world.rows[stream]
    demo.world.rows[stream] = everything[:count]
    last = demo.read(stream)[-1].cursor
    demo.world.rows[stream] = everything

    found = rows(demo.read(stream, last))

    key = "sku" if stream == "items" else "id"
    assert {row[key] for row in everything[count:]} <= {row[key] for row in found}
