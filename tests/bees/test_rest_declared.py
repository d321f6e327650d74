"""What a listing can declare: requests, windows, tokens, children, formats, pages, changes, functions of one's own."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from bees.core import paging
from bees.core.errors import GiveUp, RetryLater
from bees.core.paging import Reading
from bees.core.paths import MISSING, dig
from bees.core.rest import listing
from bees.core.rest.listing import Listing
from bees.rest import RestBee
from hive.demo.api import running
from nectar.batch import Batch
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp()


class Scripted:
    """A server of one function; `asked` is what came: path, query and body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.answer: Callable[[str, dict[str, str], Any], Any] = lambda *_: []
        self.url = ""

    async def handle(self, request: Request) -> Response:
        raw = await request.body()
        kind = request.headers.get("content-type", "")
        body = json.loads(raw) if raw and "json" in kind else raw.decode() or None
        asked = request.url.path, dict(request.query_params), body
        self.asked.append(asked)
        told = self.answer(*asked)
        return told if isinstance(told, Response) else JSONResponse(told)

    def bee(self, clock: float = NOON, **given: Any) -> RestBee:
        source = given.pop("source", {})
        options = RestBee.Options.model_validate(
            {"base_url": self.url, "allow_private": True, **source, "streams": given.pop("streams", {"x": given})}
        )
        return RestBee(options, clock=lambda: clock)

    def read(self, after: Any = None, /, stream: str = "x", **given: Any) -> list[Batch]:
        with self.bee(**given) as bee:
            return list(bee.collect_nectar(stream, after))

    def fails(self, **given: Any) -> GiveUp | RetryLater:
        with pytest.raises((GiveUp, RetryLater)) as error:
            self.read(**given)
        return error.value


@pytest.fixture(scope="module")
def listening() -> Iterator[Scripted]:
    found = Scripted()
    with running(Starlette(routes=[Route("/{path:path}", found.handle, methods=["GET", "POST"])])) as url:
        found.url = url
        yield found


@pytest.fixture
def server(listening: Scripted) -> Scripted:
    listening.asked.clear()
    return listening


def rows(batches: list[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.table.to_pylist()]


class TestRequests:
    def test_a_list_is_sent_as_one_parameter_for_each_of_its_values(self, server: Scripted) -> None:
        params = {"tag": ["a", "{{ config.kind }}", "c&d"], "none": [], "on": True}
        with server.bee(path="/x?tag=0", params=params, source={"variables": {"kind": 7}}) as bee:
            listing = Listing(bee._source, "x", bee.options.streams["x"])
            url = listing.url(Reading(), {}, "x")

        assert url.params.multi_items() == [("tag", "a"), ("tag", "7"), ("tag", "c&d"), ("on", "true")]

    def test_a_search_is_posted_with_values_of_state_and_config(self, server: Scripted) -> None:
        server.answer = lambda *_: {"hits": [{"id": 1, "at": 1767225600}]}
        given = {
            "path": "/{{ config.tenant }}/search",
            "method": "POST",
            "headers": {"X-Tenant": "{{ config.tenant }}"},
            "body": {"from": "{{ state.since }}", "q": "tenant:{{ config.tenant }} since:{{ state.since }}", "n": [1]},
            "cursor": "at",
            "cursor_format": "iso",
            "source": {"variables": {"tenant": "a/b"}},
        }
        batches = server.read(**given)
        server.read(batches[-1].cursor, **given)

        (first, second) = server.asked
        assert first == ("/a/b/search", {}, {"n": [1]})
        assert second[2] == {"from": "2026-01-01T00:00:00Z", "q": "tenant:a/b since:2026-01-01T00:00:00Z", "n": [1]}

    def test_a_value_in_a_path_is_one_segment_of_it(self, server: Scripted) -> None:
        error = server.fails(path="/{{ config.id }}/x", source={"variables": {"id": ".."}})

        assert error.code == "bad_template"
        assert not server.asked

    def test_a_form_is_posted_as_a_form(self, server: Scripted) -> None:
        server.answer = lambda *_: [{"id": 1}]
        server.read(path="/f", method="POST", body={"a": "x y", "n": 3}, body_as="form")

        assert server.asked == [("/f", {}, "a=x+y&n=3")]

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"path": "/{{ parent.id }}"}, "cannot stand here"),
            ({"path": "/{{ config.x }}"}, "has no value"),
            ({"path": "/x", "params": {"a": "{{ state.sinec }}"}}, "is not known"),
            ({"path": "/x", "params": {"a": "{{ since }}"}}, "is written as"),
            ({"path": "/x", "body": {}}, "needs method: POST"),
            ({"path": "/x", "records": "$.a["}, "JSONPath"),
            ({"path": "/x", "step": "1 day"}, "length of time"),
            ({"path": "/x", "step": "1d"}, "need start"),
            ({"path": "/x", "parent": {"stream": "y"}}, "is no stream"),
            ({"path": "/x", "transformer": "nothing"}, "package.module:function"),
            ({"path": "/x", "cursor": "a", "cursor_param": "a", "cursor_format": "dates"}, "pattern such as"),
            ({"path": "/x", "pagination": {"until": "seen"}}, "needs cursor"),
            ({"path": "/x", "pagination": {"place": "body"}}, "needs method: POST"),
        ],
    )
    def test_what_cannot_work_is_told_before_anything_is_asked(
        self, server: Scripted, given: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValidationError, match=said):
            server.bee(**given)


class TestSelection:
    @pytest.mark.parametrize(
        ("body", "records", "columns"),
        [
            ({"values": [["id", "name"], [1, "a"], [2], [3, "c", "d"], "x"]}, "values", "first"),
            ({"cols": ["id", "name"], "rows": [[1, "a"], [2], [3, "c", "d"], "x"]}, "rows", "cols"),
            ({"meta": [{"name": "id"}, {"name": "name"}], "data": [[1, "a"], [2], [3, 4, 5], "x"]}, "data",
             "$.meta[*].name"),
        ],
    )  # fmt: skip
    def test_lists_are_records_by_the_names_of_their_columns(
        self, server: Scripted, body: Any, records: str, columns: str
    ) -> None:
        server.answer = lambda *_: body
        (batch,) = server.read(path="/x", records=records, columns=columns, key="id", pagination={"type": "none"})

        assert rows([batch]) == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
        assert [reject.code for reject in batch.rejects] == ["not_object", "not_object"]

    @pytest.mark.parametrize("names", [None, "id", [1, 2], ["id", "id"]])
    def test_names_of_columns_that_are_none_are_refused(self, server: Scripted, names: Any) -> None:
        server.answer = lambda *_: {"rows": [[1, 2]], "cols": names}

        assert server.fails(path="/x", records="rows", columns="cols").code == "no_columns"

    @pytest.mark.parametrize("last", [{"list": None}, {}, {"list": []}])
    def test_a_last_page_may_lack_its_list(self, server: Scripted, last: dict[str, Any]) -> None:
        server.answer = lambda _, query, __: {"next": None, **last} if query else {"list": [{"id": 1}], "next": "b"}
        pages = {"type": "cursor", "cursor_path": "next", "cursor_param": "c"}
        batches = server.read(path="/x", records="list", pagination=pages)

        assert [row["id"] for row in rows(batches)] == [1]
        assert batches[-1].complete, "an earlier page has shown that the path is right"

    @pytest.mark.parametrize(
        ("paging", "code"),
        [({"type": "cursor", "cursor_path": "next", "cursor_param": "page"}, "no_records"), ({"type": "page"}, None)],
    )
    @pytest.mark.parametrize("form", ["json", "xml"])
    def test_a_later_page_with_a_message_is_not_the_end(
        self, server: Scripted, paging: dict[str, Any], code: str | None, form: str
    ) -> None:
        """Of pages that are counted nobody knows which one is the last: the mark stays where it was."""
        answers = {
            "json": [{"list": [{"id": "1", "at": "2026-01-01"}], "next": "2"}, {"message": "busy"}],
            "xml": [
                Response("<r><list><id>1</id><at>2026-01-01</at></list><next>2</next></r>"),
                Response("<error><message>busy</message></error>"),
            ],
        }
        server.answer = lambda _, query, __: answers[form][query.get("page", "1") != "1"]
        given = {"path": "/x", "format": form, "records": "r.list" if form == "xml" else "list", "key": "id",
                 "cursor": "at", "cursor_param": "since",
                 "pagination": {**paging, "cursor_path": "r.next"} if form == "xml" and code else paging}  # fmt: skip
        if code or form == "xml":
            assert server.fails(**given).code == "no_records"
            return
        batches = server.read(**given)

        assert [row["id"] for row in rows(batches)] == ["1"]
        assert "since" not in batches[-1].cursor

    def test_a_first_page_without_its_list_is_an_error_or_an_empty_one_that_proves_nothing(
        self, server: Scripted
    ) -> None:
        server.answer = lambda *_: {"kind": "none"}
        given = {"path": "/x", "records": "list", "pagination": {"type": "none"}}
        error = server.fails(**given)
        empty = server.read(**given, empty_without_records=True)
        server.answer = lambda *_: {"list": None}
        null = server.read(**given)
        server.answer = lambda *_: {"list": []}
        none = server.read(**given)

        assert (error.code, "empty_without_records" in str(error)) == ("no_records", True)
        assert not any(batch.complete for batch in [*empty, *null])
        assert [batch.complete for batch in none] == [True]

    @pytest.mark.parametrize("path", ["list", "$.list[*]", "$.list"])
    @pytest.mark.parametrize("told", [{}, {"list": None}, {"list": []}])
    @pytest.mark.parametrize("says", [{"error": "Ada"}, {"ok": False, "why": "Ada"}, {"success": False}])
    def test_an_error_inside_is_no_empty_page_wherever_the_list_would_stand(
        self, server: Scripted, path: str, told: dict[str, Any], says: dict[str, Any]
    ) -> None:
        server.answer = lambda *_: {**says, **told}
        error = server.fails(path="/x", records=path, pagination={"type": "none"}, empty_without_records=True)

        assert error.code == "error_inside"
        assert "Ada" not in str(error)

    def test_an_error_beside_the_only_list_is_no_empty_page_either(self, server: Scripted) -> None:
        server.answer = lambda *_: {"error": "Ada", "items": []}
        error = server.fails(path="/x", pagination={"type": "none"})
        server.answer = lambda *_: {"error": None, "ok": True, "items": []}
        empty = server.read(path="/x", pagination={"type": "none"})
        server.answer = lambda *_: {"error": "one is missing", "items": [{"id": 1}]}
        some = server.read(path="/x", pagination={"type": "none"})

        assert error.code == "error_inside"
        assert [batch.complete for batch in empty] == [True]
        assert sum(batch.table.num_rows for batch in some) == 1

    def test_one_record_alone_is_read_as_the_advice_says(self, server: Scripted) -> None:
        server.answer = lambda *_: {"id": 1, "name": "all there is"}

        assert "or $ if" in str(server.fails(path="/x"))
        assert rows(server.read(path="/x", records="$")) == [{"id": 1, "name": "all there is"}]

    @pytest.mark.parametrize(
        ("body", "path", "found"),
        [
            ({"a": {"b": 1}}, "a.b", 1),
            ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
            ({"a": {"@x.y": 1}}, "a.@x.y", 1),
            ({"a.b": {"c": 1}}, "a.b.c", 1),
            ({"a.b": 0, "a": {"b": {"c": 1}}}, "a.b.c", 1),
            ({"a": {"$ref": 1}}, "a.$ref", 1),
            ({"a": {"b": None}}, "a.b", None),
            ({"a": [1]}, "a.b", MISSING),
            ({"": 1}, "a.", MISSING),
            ([], "a", MISSING),
        ],
    )
    def test_a_dotted_path_leads_to_names_with_dots_too(self, body: Any, path: str, found: Any) -> None:
        assert dig(body, path) is found

    def test_jsonpath_finds_records_wherever_they_stand(self, server: Scripted) -> None:
        server.answer = lambda *_: {"days": [{"events": [{"id": 1}, {"id": 2}]}, {"events": [{"id": 3}]}]}

        assert [row["id"] for row in rows(server.read(path="/x", records="$.days[*].events[*]"))] == [1, 2, 3]
        assert [row["id"] for row in rows(server.read(path="/x", records="$.days[0].events"))] == [1, 2]

    def test_fields_are_lifted_and_added(self, server: Scripted) -> None:
        server.answer = lambda *_: [{"id": 1, "in": {"at": "2026-01-01"}}, {"id": 2}]
        found = rows(server.read(path="/x", fields={"at": "{{ record.in.at }}", "kind": "{{ config.kind }}"},
                                 source={"variables": {"kind": 7}}))  # fmt: skip

        assert [(row["id"], row["at"], row["kind"]) for row in found] == [(1, "2026-01-01", 7), (2, None, 7)]

    @pytest.mark.parametrize(
        ("body", "code"),
        [({"errors": [{"message": "Ada"}]}, "error_inside"), ({"error": "Ada", "errors": [1]}, "error_inside")],
    )
    def test_a_list_of_errors_is_no_list_of_records(self, server: Scripted, body: Any, code: str) -> None:
        server.answer = lambda *_: body

        error = server.fails(path="/x")

        assert error.code == code
        assert "Ada" not in str(error)

    def test_errors_with_status_200_carry_their_verdict(self, server: Scripted) -> None:
        source = {"errors": {"at": "error", "retry": ["ratelimited"], "denied": ["invalid_auth"]}}
        found = []
        for word in ("ratelimited", "invalid_auth", "Ada"):
            server.answer = lambda *_, word=word: {"ok": False, "error": word, "list": []}
            error = server.fails(path="/x", source=source)
            found.append((type(error), error.code))
            assert "Ada" not in str(error)
        server.answer = lambda *_: {"ok": True, "list": [{"id": 1}]}

        assert found == [(RetryLater, "rate_limited"), (GiveUp, "denied"), (GiveUp, "error_inside")]
        assert rows(server.read(path="/x", source=source)) == [{"id": 1}]


class TestCursors:
    def test_a_long_time_is_read_in_windows_that_end_before_now(self, server: Scripted) -> None:
        events = [{"id": n, "at": f"2026-03-{n:02}T06:00:00Z"} for n in range(1, 11)]

        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            return [e for e in events if query["from"] <= e["at"] < query["to"]]

        server.answer = answer
        given: dict[str, Any] = {"path": "/x", "key": "id", "cursor_param": "from", "end_param": "to", "step": "3d",
                                 "lag": "1h", "start": "2026-03-01T00:00:00Z"}  # fmt: skip
        batches = server.read(**given)
        asked = [(query["from"][8:13], query["to"][8:13]) for _, query, _ in server.asked]
        server.asked.clear()
        events.append({"id": 11, "at": "2026-03-10T11:30:00Z"})
        later = server.read(batches[-1].cursor, clock=NOON + 7200, **given)

        assert [row["id"] for row in rows(batches)] == list(range(1, 11))
        assert asked == [("01T00", "04T00"), ("04T00", "07T00"), ("07T00", "10T00"), ("10T00", "10T11")]
        assert not any(batch.complete for batch in batches)
        assert [(q["from"], q["to"]) for _, q, _ in server.asked] == [("2026-03-10T11:00:00Z", "2026-03-10T13:00:00Z")]
        assert [row["id"] for row in rows(later)] == [11]

    def test_windows_go_on_where_a_leg_stopped(self, server: Scripted) -> None:
        days = [{"id": n, "at": f"2026-03-{n:02}"} for n in range(1, 11)]

        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            found = [e for e in days if query["from"] <= e["at"] < query["to"]]
            return found[(int(query["page"]) - 1) * 2 : int(query["page"]) * 2]

        server.answer = answer
        given: dict[str, Any] = {"path": "/x", "key": "id", "cursor_param": "from", "end_param": "to",
                                 "step": "5d", "start": "2026-03-01", "cursor_format": "date",
                                 "pagination": {"type": "page"}}  # fmt: skip
        whole = server.read(**given)
        for stop in range(len(whole)):
            rest = server.read(whole[stop].cursor, clock=NOON + stop, **given)
            seen = {row["id"] for row in rows(whole[: stop + 1]) + rows(rest)}
            assert seen == set(range(1, 10)), f"lost after batch {stop}"

    def test_an_opaque_token_is_kept_and_a_forgotten_one_begins_anew(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            if query.get("sync") == "s1":
                return JSONResponse({"error": "gone"}, 410)
            if "page" in query:
                return {"items": [{"id": 2}], "sync": "s1"}
            return {"items": [{"id": 1}], "next": "p2"}

        server.answer = answer
        given = {"path": "/x", "key": "id", "records": "items", "token_path": "sync", "cursor_param": "sync",
                 "pagination": {"type": "cursor", "cursor_path": "next", "cursor_param": "page"}}  # fmt: skip
        first = server.read(**given)
        second = server.read(first[-1].cursor, **given)

        assert [row["id"] for row in rows(first)] == [1, 2] == [row["id"] for row in rows(second)]
        assert [query for _, query, _ in server.asked] == [{}, {"page": "p2"}, {"sync": "s1"}, {}, {"page": "p2"}]

    def test_a_listing_with_the_newest_first_ends_at_what_is_known(self, server: Scripted) -> None:
        ids = list(range(20, 0, -1))
        server.answer = lambda _, query, __: [{"id": n} for n in ids[(int(query["page"]) - 1) * 5 :][:5]]
        given = {"path": "/x", "key": "id", "cursor": "id", "pagination": {"type": "page", "until": "seen"}}
        first = server.read(**given)
        ids[:0] = [22, 21]
        server.asked.clear()
        second = server.read(first[-1].cursor, **given)

        assert len(rows(first)) == 20
        assert len(server.asked) == 1
        assert [row["id"] for row in rows(second)][:2] == [22, 21]

    @pytest.mark.parametrize(
        ("form", "asked"),
        [
            ("iso", "2026-01-02T03:04:05Z"),
            ("date", "2026-01-02"),
            ("epoch", "1767323045"),
            ("epoch_ms", "1767323045000"),
            ("%d.%m.%Y %H:%M", "02.01.2026 03:04"),
        ],
    )
    @pytest.mark.parametrize(
        "value",
        ["2026-01-02T03:04:05Z", "2026-01-02T04:04:05.000+0100", "Fri, 02 Jan 2026 03:04:05 GMT", "2026/01/02 03:04:05",
         1767323045, 1767323045000],
    )  # fmt: skip
    def test_dates_are_read_in_many_forms_and_asked_for_in_the_one_that_is_wanted(
        self, server: Scripted, value: Any, form: str, asked: str
    ) -> None:
        server.answer = lambda *_: [{"id": 1, "at": value}]
        given = {"path": "/x", "cursor": "at", "cursor_param": "since", "cursor_format": form}
        server.read(server.read(**given)[-1].cursor, **given)

        assert server.asked[1][1] == {"since": asked}


class TestPages:
    def test_a_cursor_comes_in_a_header(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            page = int(query.get("page", "1"))
            return JSONResponse([{"id": page}], headers={"X-Next-Page": str(page + 1) if page < 3 else ""})

        server.answer = answer
        pages = {"type": "cursor", "cursor_header": "X-Next-Page", "cursor_param": "page"}
        batches = server.read(path="/x", pagination=pages)

        assert [row["id"] for row in rows(batches)] == [1, 2, 3]
        assert batches[-1].complete

    def test_a_cursor_is_the_last_records_id_while_there_is_more(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            last = int(query.get("starting_after", "0"))
            return {"data": [{"id": n} for n in range(last + 1, last + 3)], "has_more": last < 4}

        server.answer = answer
        pages = {"type": "cursor", "cursor_record": "id", "cursor_param": "starting_after", "more_path": "has_more"}
        batches = server.read(path="/x", records="data", pagination=pages)

        assert [row["id"] for row in rows(batches)] == [1, 2, 3, 4, 5, 6]
        assert batches[-1].complete

    def test_pages_are_asked_for_in_the_body(self, server: Scripted) -> None:
        def answer(_: str, __: Any, body: Any) -> Any:
            at = body["page"].get("cursor")
            return {"data": [{"id": at or "a"}], "meta": {"after": None if at else "b"}}

        server.answer = answer
        pages = {"type": "cursor", "cursor_path": "meta.after", "cursor_param": "page.cursor", "size": 5,
                 "size_param": "page.limit", "place": "body"}  # fmt: skip
        batches = server.read(path="/x", method="POST", body={"page": {"sort": "up"}}, records="data", pagination=pages)

        assert [row["id"] for row in rows(batches)] == ["a", "b"]
        assert server.asked[1][2] == {"page": {"sort": "up", "limit": 5, "cursor": "b"}}

    def test_a_total_and_a_short_page_spare_the_last_request(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            at = int(query.get("offset", 0)) or (int(query.get("page", 1)) - 1) * 2
            return {"list": [{"id": n} for n in range(3)[at : at + 2]], "total": 3}

        server.answer = answer
        server.read(path="/x", records="list", pagination={"type": "offset", "total_path": "total"})
        pages = {"type": "page", "until": "short", "size": 2, "size_param": "n"}
        server.read(path="/x", records="list", pagination=pages)

        assert [(q.get("offset"), q.get("page")) for _, q, _ in server.asked] == [
            ("0", None), ("2", None), (None, "1"), (None, "2"),
        ]  # fmt: skip

    def test_a_next_link_may_stand_under_a_name_with_dots(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            skip = int(query.get("$skip", 0))
            more = {"@odata.nextLink": f"{server.url}/x?$skip={skip + 2}"} if skip < 4 else {}
            return {"@odata.context": "#Orders", "value": [{"id": skip}, {"id": skip + 1}], **more}

        server.answer = answer
        pages = {"type": "link", "cursor_path": "@odata.nextLink"}

        assert [row["id"] for row in rows(server.read(path="/x", records="value", pagination=pages))] == list(range(6))

    @pytest.mark.parametrize("start", [0, 1])
    @pytest.mark.parametrize("spelled", [int, str])
    def test_a_number_of_pages_is_believed(self, server: Scripted, start: int, spelled: Callable[[int], Any]) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            page = min(int(query["page"]), start + 2)  # a source that gives its last page for ever
            return {"list": [{"id": page}], "meta": {"pages": spelled(3), "asked": query["page"]}}

        server.answer = answer
        pages = {"type": "page", "pages_path": "meta.pages", "start": start}

        assert [row["id"] for row in rows(server.read(path="/x", records="list", pagination=pages))] == [
            start, start + 1, start + 2,
        ]  # fmt: skip

    @pytest.mark.parametrize("status", [404, 400])
    def test_a_source_may_refuse_what_lies_behind_its_last_page(self, server: Scripted, status: int) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            page = int(query["page"])
            return [{"id": page}] if page < 4 else JSONResponse({"detail": "Invalid page."}, status)

        server.answer = answer
        pages = {"type": "page", "end_status": [400, 404]}
        batches = server.read(path="/x", pagination=pages)
        server.answer = lambda *_: JSONResponse({}, status)

        assert [row["id"] for row in rows(batches)] == [1, 2, 3]
        assert not batches[-1].complete
        assert server.fails(path="/x", pagination=pages).status == status, "a first page that is refused is an error"

    @pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
    def test_no_other_status_ends_a_listing(self, server: Scripted, status: int) -> None:
        with pytest.raises(ValidationError, match="never the end of a listing"):
            server.bee(path="/x", pagination={"type": "page", "end_status": [status]})

    def test_a_cursor_may_be_the_sort_values_of_the_last_record(self, server: Scripted) -> None:
        def answer(_: str, __: Any, body: Any) -> Any:
            after = body.get("search_after", [0, "a"])[0]
            return {"hits": [{"id": n, "sort": [n, "a"]} for n in range(after + 1, min(after + 3, 6))]}

        server.answer = answer
        pages = {"type": "cursor", "cursor_record": "sort", "cursor_param": "search_after", "place": "body"}
        batches = server.read(path="/x", method="POST", body={"sort": ["n"]}, records="hits", pagination=pages)
        later = server.read(batches[0].cursor, path="/x", method="POST", body={}, records="hits", pagination=pages)

        assert [row["id"] for row in rows(batches)] == [1, 2, 3, 4, 5]
        assert [row["id"] for row in rows(later)] == [3, 4, 5]

    def test_pages_without_end_or_without_records_end_with_a_name(self, server: Scripted) -> None:
        server.answer = lambda _, query, __: {"list": [{"id": query.get("c")}], "next": int(query.get("c", 0)) + 1}
        pages = {"type": "cursor", "cursor_path": "next", "cursor_param": "c"}
        endless = server.fails(path="/x", records="list", pagination=pages, source={"max_pages": 7})
        asked = len(server.asked)
        server.answer = lambda _, query, __: {"list": [], "next": int(query.get("c", 0)) + 1}
        empty = server.fails(path="/x", records="list", pagination=pages)

        assert (endless.code, empty.code) == ("pagination_loop", "pagination_loop")
        assert asked == 8 + 7, "a place that counts the pages: each is looked at once more behind the next one"
        assert len(server.asked) - asked == 100


class TestChildren:
    ISSUES = tuple({"id": n, "updated": f"2026-03-{n:02}"} for n in range(1, 8))
    STREAMS = {  # noqa: RUF012
        "issues": {"path": "/issues", "key": "id", "cursor": "updated", "cursor_param": "since",
                   "pagination": {"type": "page"}},
        "comments": {"path": "/issues/{{ parent.id }}/comments", "key": ["issue", "id"], "parent": {"stream": "issues"},
                     "fields": {"issue": "{{ parent.id }}"},
                     "pagination": {"type": "cursor", "cursor_path": "next"}, "records": "list"},
    }  # fmt: skip

    def answer(self, path: str, query: dict[str, str], _: Any) -> Any:
        if path == "/issues":
            found = [i for i in self.ISSUES if i["updated"] >= query.get("since", "")]
            return found[(int(query["page"]) - 1) * 3 :][:3]
        issue = int(path.split("/")[2])
        if issue == 5:
            return JSONResponse({}, 404)
        at = int(query.get("cursor", 0))
        return {"list": [{"id": n} for n in range(at, min(at + 2, issue))], "next": at + 2 if at + 2 < issue else None}

    WANTED = frozenset((issue, n) for issue in range(1, 8) for n in range(issue) if issue != 5)

    def test_each_parents_children_come_and_a_parent_that_is_gone_is_set_aside(self, server: Scripted) -> None:
        server.answer = self.answer
        batches = server.read(stream="comments", streams=self.STREAMS)

        assert {(row["issue"], row["id"]) for row in rows(batches)} == self.WANTED
        assert [(r.code, r.raw) for batch in batches for r in batch.rejects] == [("parent_gone", b'{"id":5}')]

    def test_resuming_after_any_batch_loses_nothing(self, server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bees.core.rest.children._ENOUGH", 1)
        server.answer = self.answer
        whole = server.read(stream="comments", streams=self.STREAMS)
        assert len(whole) > 10
        for stop in range(len(whole)):
            server.asked.clear()
            rest = server.read(json.loads(json.dumps(whole[stop].cursor)), stream="comments", streams=self.STREAMS)
            seen = {(row["issue"], row["id"]) for row in rows(whole[: stop + 1]) + rows(rest)}
            assert seen == self.WANTED, f"lost after batch {stop}"

    def test_only_changed_parents_are_asked_again_if_that_is_enough(self, server: Scripted) -> None:
        server.answer = self.answer
        comments = {**self.STREAMS["comments"], "parent": {"stream": "issues", "changed_only": True}}
        streams = {**self.STREAMS, "comments": comments}
        first = server.read(stream="comments", streams=streams)
        server.asked.clear()
        server.read(first[-1].cursor, stream="comments", streams=streams)

        assert {path for path, _, _ in server.asked} == {"/issues", "/issues/7/comments"}

    def family(self, path: str, query: dict[str, str], _: Any) -> Any:
        """Organisations with repositories, these with issues, these with comments."""
        parts = path.strip("/").split("/")
        page = int(query.get("page", 1))
        above = "-".join(parts[1::2]) if len(parts) > 1 else ""
        most = {"orgs": 3, "repos": 3, "issues": 2, "comments": 2}[parts[-1]]
        if above == "2-1":
            return JSONResponse({}, 404)
        found = [{"id": str(n)} for n in range(1, most + 1)]
        return found[(page - 1) * 2 :][:2]

    FAMILY = {  # noqa: RUF012
        "orgs": {"path": "/orgs", "key": "id", "pagination": {"type": "page"}},
        "repos": {"path": "/orgs/{{ parent.id }}/repos", "parent": {"stream": "orgs"}, "key": ["org", "id"],
                  "fields": {"org": "{{ parent.id }}"}, "pagination": {"type": "page"}},
        "issues": {"path": "/orgs/{{ parent.org }}/repos/{{ parent.id }}/issues", "parent": {"stream": "repos"},
                   "key": ["org", "repo", "id"], "fields": {"org": "{{ parent.org }}", "repo": "{{ parent.id }}"},
                   "pagination": {"type": "page"}},
        "comments": {"path": "/orgs/{{ parent.org }}/repos/{{ parent.repo }}/issues/{{ parent.id }}/comments",
                     "parent": {"stream": "issues"}, "key": ["org", "repo", "issue", "id"],
                     "fields": {"org": "{{ parent.org }}", "repo": "{{ parent.repo }}", "issue": "{{ parent.id }}"},
                     "pagination": {"type": "page"}},
    }  # fmt: skip
    GREAT = frozenset(
        (str(org), str(repo), str(issue), str(n))
        for org in range(1, 4) for repo in range(1, 4) for issue in range(1, 3) for n in range(1, 3)
        if (org, repo) != (2, 1)
    )  # fmt: skip

    def test_parents_may_have_parents(self, server: Scripted) -> None:
        server.answer = self.family
        batches = server.read(stream="comments", streams=self.FAMILY)
        with server.bee(streams=self.FAMILY) as bee:
            bee.validate_flight_path()

        assert {(r["org"], r["repo"], r["issue"], r["id"]) for r in rows(batches)} == self.GREAT
        assert [path for path, _, _ in server.asked][-1] == "/orgs/1/repos/1/issues/1/comments"

    def test_resuming_among_grandchildren_loses_nothing(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bees.core.rest.children._ENOUGH", 1)
        server.answer = self.family
        whole = server.read(stream="comments", streams=self.FAMILY)
        assert len(whole) > 10
        for stop in range(len(whole)):
            cursor = json.loads(json.dumps(whole[stop].cursor))
            rest = server.read(cursor, stream="comments", streams=self.FAMILY)
            seen = {(r["org"], r["repo"], r["issue"], r["id"]) for r in rows(whole[: stop + 1]) + rows(rest)}
            assert seen == self.GREAT, f"lost after batch {stop}"
            if stop < len(whole) - 1:
                assert len(rows(rest)) < len(self.GREAT), "what was read is not read again"

    @pytest.mark.parametrize(
        ("parents", "said"),
        [
            ({"a": "a"}, "in a circle"),
            ({"a": "b", "b": "a"}, "in a circle"),
            ({"a": "b", "b": "c", "c": "d", "d": "e", "e": "f", "f": None}, "more than 4 parents"),
        ],
    )
    def test_parents_end_somewhere(self, server: Scripted, parents: dict[str, Any], said: str) -> None:
        streams = {
            name: {"path": f"/{name}", "key": "id", **({"parent": {"stream": above}} if above else {})}
            for name, above in parents.items()
        }
        with pytest.raises(ValidationError, match=said):
            server.bee(streams=streams)

    def test_the_flight_path_is_tried_with_the_first_parent(self, server: Scripted) -> None:
        server.answer = self.answer
        with server.bee(streams=self.STREAMS) as bee:
            bee.validate_flight_path()

        assert [path for path, _, _ in server.asked] == ["/issues", "/issues", "/issues/1/comments"]

    def test_a_child_that_came_where_reading_has_been_comes_with_the_next_flight(self, server: Scripted) -> None:
        """And a later one stands below another parent, which is read afterwards: the mark is one over all parents."""
        below = {"1": [{"id": 11, "at": "2026-01-01T00:00:00Z"}], "2": [{"id": 21, "at": "2026-01-02T00:00:00Z"}]}

        def answer(path: str, query: dict[str, str], _: Any) -> Any:
            if path == "/p":
                return [{"id": 1}, {"id": 2}]
            parent = path.split("/")[2]
            found = [child for child in below[parent] if child["at"] >= query.get("since", "")]
            if parent == "1" and len(below["1"]) == 1:
                for name, number in (("1", 12), ("2", 22)):
                    below[name].append({"id": number, "at": datetime.now(UTC).isoformat()})
            return found

        server.answer = answer
        child = {"path": "/p/{{ parent.id }}/c", "parent": {"stream": "p"}, "key": "id", "cursor": "at",
                 "cursor_param": "since"}  # fmt: skip
        streams = {"p": {"path": "/p", "key": "id"}, "c": child}
        first = server.read(stream="c", streams=streams)
        second = server.read(first[-1].cursor, stream="c", streams=streams)

        assert {row["id"] for row in rows(first)} == {11, 21, 22}
        assert 12 in {row["id"] for row in rows(second)}


class TestFormats:
    @pytest.mark.parametrize(
        ("charset", "form"),
        [("ISO-8859-1", "csv"), ('"windows-1252"', "json"), ("utf-16", "csv"), ("utf-16-le", "jsonl"), ("utf8", "csv"),
         ("us-ascii", "json"), ("x-unknown", "csv")],
    )  # fmt: skip
    def test_an_encoding_is_read_as_the_header_tells(self, server: Scripted, charset: str, form: str) -> None:
        text = {
            "csv": "id,name\n1,Zoë\n",
            "json": '[{"id": "1", "name": "Zoë"}]',
            "jsonl": '{"id": "1", "name": "Zoë"}',
        }
        plain = charset in ("utf8", "us-ascii", "x-unknown")
        raw = text[form].encode("utf-8" if plain else charset.strip('"'))
        server.answer = lambda *_: Response(raw, media_type=f"text/plain; charset={charset}")

        assert rows(server.read(path="/x", format=form)) == [{"id": "1", "name": "Zoë"}]

    def test_a_body_that_is_not_in_the_encoding_it_names_is_refused(self, server: Scripted) -> None:
        server.answer = lambda *_: Response(b"id\n\x81\n", media_type="text/csv; charset=windows-1252")

        assert server.fails(path="/x", format="csv").code == "bad_charset"

    @pytest.mark.parametrize(
        ("form", "body", "found"),
        [
            ("jsonl", b'{"id": 1}\n\n{"id": 2}\n', [{"id": 1}, {"id": 2}]),
            ("csv", b'\xef\xbb\xbfid,name\n1,"a, b"\n2,\n', [{"id": "1", "name": "a, b"}, {"id": "2", "name": ""}]),
            ("xml", b'<r><item n="1"><a>x</a><a>y</a></item><item n="2"/></r>',
             [{"@n": "1", "a": ["x", "y"]}, {"@n": "2", "a": None}]),
            ("xml", b"<r><item><a>only</a></item></r>", [{"a": "only"}]),
            ("xml", b"<r/>", []),
        ],
    )  # fmt: skip
    def test_bodies_of_each_format_are_read(self, server: Scripted, form: str, body: bytes, found: Any) -> None:
        server.answer = lambda *_: Response(body)
        more = {"records": "r.item"} if form == "xml" else {}

        assert rows(server.read(path="/x", format=form, **more)) == found

    @pytest.mark.parametrize(
        ("form", "body", "code"),
        [
            ("jsonl", b"<html>", "not_json"),
            ("csv", b'a,b\n"1,2', "not_csv"),
            ("csv", b"a,a\n1,2", "not_csv"),
            ("csv", b"a\n\xff", "not_csv"),
            ("xml", b"{}", "not_xml"),
            ("xml", b"<r>" * 200, "not_xml"),
            ("xml", b'<!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>', "not_xml"),
            ("xml", b'<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x"><r/>', "not_xml"),
        ],
    )
    def test_what_is_not_what_it_should_be_is_named(self, server: Scripted, form: str, body: bytes, code: str) -> None:
        server.answer = lambda *_: Response(body)

        assert server.fails(path="/x", format=form, records="r").code == code

    def test_broken_lines_are_set_aside(self, server: Scripted) -> None:
        server.answer = lambda *_: Response(b'{"id": 1}\n{"id": \n')
        (lines,) = server.read(path="/x", format="jsonl")
        server.answer = lambda *_: Response(b"a,b\n1,2\n3\n")
        (table,) = server.read(path="/x", format="csv")

        assert [(r.code, r.raw) for r in (*lines.rejects, *table.rejects)] == [
            ("not_json", b'{"id": '), ("wrong_width", b"3"),
        ]  # fmt: skip
        assert (lines.table.num_rows, table.table.num_rows) == (1, 1)


class TestChanges:
    def test_only_what_changed_comes_and_what_does_not_count_is_not_looked_at(self, server: Scripted) -> None:
        items = [{"id": n, "state": "up", "fetched": 0} for n in range(3)]
        server.answer = lambda *_: items
        given = {"path": "/x", "key": "id", "changes": {"ignore": ["fetched"]}}
        cursor: Any = None
        found = []
        for turn in range(3):
            batches = server.read(cursor, **given)
            cursor = json.loads(json.dumps(batches[-1].cursor)) if batches else cursor
            found.append([row["id"] for row in rows(batches)])
            for item in items:
                item["fetched"] = turn + 1
            if turn == 1:
                items[1]["state"] = "down"

        assert found == [[0, 1, 2], [], [1]]

    def test_what_is_gone_and_comes_back_is_news(self, server: Scripted) -> None:
        items = [{"id": 1}]
        server.answer = lambda *_: items
        given = {"path": "/x", "key": "id", "changes": {}}
        first = server.read(**given)
        items.clear()
        second = server.read(first[-1].cursor, **given)
        items.append({"id": 1})

        assert rows(server.read(second[-1].cursor, **given)) == [{"id": 1}]

    def test_items_that_there_is_no_room_for_come_each_time_and_that_is_said(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paging, "MOST_VERSIONS", 3)
        monkeypatch.setattr(listing, "MOST_VERSIONS", 3)
        items = [{"id": n, "v": 1} for n in range(5)]
        server.answer = lambda *_: items
        given = {"path": "/x", "key": "id", "changes": {}, "pagination": {"type": "none"}}
        with capture_logs() as said:
            first = server.read(**given)
            second = server.read(first[-1].cursor, **given)

        assert [row["id"] for row in rows(second)] == [3, 4]
        assert [(line["event"], line["stream"], line["remembered"]) for line in said] == [
            ("items_without_room", "x", 3)
        ] * 2

    def test_a_version_that_comes_back_is_news_also_for_an_item_that_there_is_no_room_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paging, "MOST_VERSIONS", 3)
        reading = paging.Reading(whole=False)
        told = []
        for version in ("one", "two", "one"):
            for other in ("a", "b", "c") if version == "two" else ():
                reading.is_news(other, version)
            told.append(reading.is_news("item", version))
            reading.finish()
            reading.whole = False

        assert told == [True, True, True]


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("made_up_hooks")
    source = """
def fetcher(http, page):
    told = http.get("/pull", params={"at": page["at"] or 0})
    return {"items": told["hits"], "next": told["next"]}
def transformer(item):
    if item["id"] == 2:
        return 1 / 0
    return None if item["id"] == 3 else [{"id": item["id"], "half": h} for h in "ab"]
def detector(item):
    return item["v"]
def nothing(http, page):
    return [1]
"""
    exec(compile(source, "made_up_hooks", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "made_up_hooks", module)
    monkeypatch.setattr("bees.core.rest.hooks.inspect.getsource", lambda _: source)
    return module


@pytest.mark.usefixtures("functions")
class TestFunctions:
    @pytest.mark.parametrize(("following", "complete"), [(2, False), ("scroll-7", True)])
    def test_a_fetcher_that_counts_its_pages_does_not_prove_that_it_met_all(
        self, server: Scripted, following: Any, complete: bool
    ) -> None:
        pages = {"0": {"hits": [{"id": 1}], "next": following}, str(following): {"hits": [{"id": 2}], "next": None}}
        server.answer = lambda _, query, __: pages[query["at"]]
        found = server.read(path="/x", fetcher="made_up_hooks:fetcher")

        assert [row["id"] for row in rows(found)] == [1, 2]
        assert found[-1].complete is complete

    def test_a_fetcher_reads_page_by_page(self, server: Scripted) -> None:
        def answer(_: str, query: dict[str, str], __: Any) -> Any:
            at = int(query["at"])
            return {"hits": [{"id": at}], "next": at + 1 if at < 3 else None}

        server.answer = answer
        given = {"path": "/x", "fetcher": "made_up_hooks:fetcher"}
        batches = server.read(**given)
        rest = server.read(batches[0].cursor, **given)

        assert [row["id"] for row in rows(batches)] == [0, 1, 2, 3]
        assert [row["id"] for row in rows(rest)] == [1, 2, 3]

    def test_a_transformer_makes_several_records_none_or_fails_on_one(self, server: Scripted) -> None:
        server.answer = lambda *_: [{"id": 1}, {"id": 2}, {"id": 3}]
        (batch,) = server.read(path="/x", transformer="made_up_hooks:transformer")

        assert batch.table.to_pylist() == [{"id": 1, "half": "a"}, {"id": 1, "half": "b"}]
        assert [(r.position, r.code, r.reason) for r in batch.rejects] == [
            ("page 1, item 2", "transform_failed", "made_up_hooks:transformer failed with ZeroDivisionError")
        ]

    def test_a_change_detector_decides_what_is_news(self, server: Scripted) -> None:
        items = [{"id": 1, "v": 1, "x": 0}, {"id": 2, "v": 1, "x": 0}]
        server.answer = lambda *_: items
        given = {"path": "/x", "key": "id", "change_detector": "made_up_hooks:detector"}
        first = server.read(**given)
        items[0].update(x=9)
        items[1].update(v=2)

        assert [row["id"] for row in rows(server.read(first[-1].cursor, **given))] == [2]

    @pytest.mark.parametrize(
        ("use", "code"),
        [("made_up_hooks:nothing", "hook_failed"), ("made_up_hooks:gone", "bad_hook"), ("no.such:x", "bad_hook")],
    )
    def test_a_function_that_cannot_be_used_is_named(self, server: Scripted, use: str, code: str) -> None:
        error = server.fails(path="/x", fetcher=use)

        assert error.code == code
        assert use.partition(":")[2] in str(error) or use.partition(":")[0] in str(error)

    def test_another_function_is_another_stream(self, server: Scripted) -> None:
        with server.bee(path="/x") as plain, server.bee(path="/x", transformer="made_up_hooks:transformer") as other:
            assert plain.stream_identity("x") != other.stream_identity("x")


class TestFlight:
    """In a hive: what is declared lands, once, and what is gone from the source is deleted or kept as it should be."""

    def test_children_and_windows_land_once_and_a_child_that_is_gone_is_deleted(
        self, server: Scripted, nest: Nest
    ) -> None:
        comments = {1: [11, 12], 2: [21]}
        events = [{"id": n, "at": f"2026-03-{n:02}T00:00:00Z"} for n in range(1, 6)]

        def answer(path: str, query: dict[str, str], _: Any) -> Any:
            if path == "/issues":
                return [{"id": issue} for issue in comments]
            if path == "/events":
                return [e for e in events if query["from"] <= e["at"] < query["to"]]
            return [{"id": n} for n in comments[int(path.split("/")[2])]]

        server.answer = answer
        child = {"path": "/issues/{{ parent.id }}/comments", "key": "id", "parent": {"stream": "issues"},
                 "fields": {"issue": "{{ parent.id }}"}}  # fmt: skip
        window = {"path": "/events", "key": "id", "cursor_param": "from", "end_param": "to", "step": "2d", "lag": "1h",
                  "start": "2026-03-01T00:00:00Z"}  # fmt: skip
        streams = {"issues": {"path": "/issues", "key": "id"}, "comments": child, "events": window}
        source = {"base_url": server.url, "allow_private": True}
        nest.hive.register_worker("rest", {"name": "desk", "source": source, "streams": streams})
        first = nest.land("desk")
        del comments[1][0]
        events[:] = [{"id": 1, "at": "2026-03-01T00:00:00Z"}]
        second = nest.land("desk")

        assert (first.state, first.records_landed) == ("complete", 2 + 3 + 5)
        assert (second.state, second.records_landed, second.records_deleted) == ("complete", 0, 1)
        assert nest.one("SELECT data ->> 'issue' FROM hive.honey WHERE data ->> 'id' = '21'") == "2"
