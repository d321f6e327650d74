"""Places that a source gave and knows no more: cursors end after minutes or days, or with the record that they name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp
from bees.core.http import Answer
from bees.core.http_verdict import verdict
from bees.graphql import GraphqlBee
from bees.rest import RestBee
from nectar.batch import Batch

PAGING: dict[str, dict[str, Any]] = {
    "link": {"type": "link", "cursor_path": "next"},
    "cursor": {"type": "cursor", "cursor_path": "token"},
    "page": {"type": "page", "done_path": "done"},
}
ENDS: dict[str, Any] = {"400": 400, "404": 404, "410": 410, "422": 422, "an error inside": {"error": "invalid_cursor"}}
COUNT = 4


class Source:
    """A listing of COUNT pages, two rows each; places of `age` before the newest are refused, and page `never`."""

    def __init__(self, refusal: Any) -> None:
        self.refusal, self.age, self.never, self.asked = refusal, 0, 0, 0

    def ask(self, url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        self.asked += 1
        assert self.asked < 60
        if url.path == "/orgs":
            return self.told([{"id": 1}, {"id": 2}], url, {})
        query = url.params
        place = str(query.get("cursor") or query.get("at") or "")
        page = int(query.get("page") or place.partition(".")[0] or 1)
        old = page > 1 and place.partition(".")[2] not in ("", str(self.age))
        if old or page == self.never:
            if isinstance(self.refusal, int):
                problem = verdict(self.refusal, {}, where)
                assert problem is not None
                raise problem
            return Answer(200, httpx.Headers({}), json.dumps(self.refusal).encode(), url)
        rows = [{"id": f"{url.path}{page}{half}"} for half in "ab"]
        following = f"{page + 1}.{self.age}" if page < COUNT else None
        return self.told(rows, url, {"token": following, "done": following is None,
                                     "next": following and str(url.copy_set_param("at", following))})  # fmt: skip

    @staticmethod
    def told(rows: list[Any], url: httpx.URL, more: dict[str, Any]) -> Answer:
        return Answer(200, httpx.Headers({}), json.dumps({"list": rows, **more}).encode(), url)

    def bee(self, paging: dict[str, Any], name: str = "x") -> RestBee:
        stream = {"records": "list", "key": "id", "pagination": paging}
        orgs = {"path": "orgs", "records": "list", "key": "id", "pagination": {"type": "none"}}
        streams: dict[str, Any] = {"x": {"path": "x", **stream}, "orgs": orgs}
        streams["teams"] = {"path": "orgs/{{ parent.id }}/teams", "parent": {"stream": "orgs"}, **stream}
        streams["below"] = {"path": "below/{{ parent.id }}", "parent": {"stream": "x"}, "records": "list", "key": "id",
                            "pagination": {"type": "none"}}  # fmt: skip
        options = {"base_url": "https://x.example.com", "errors": {"at": "error"}, "streams": streams}
        bee = RestBee.from_options(options)
        bee._source.ask = self.ask  # type: ignore[method-assign, assignment]
        return bee


def ids(batches: list[Batch]) -> set[str]:
    return {row["id"] for batch in batches for row in batch.table.to_pylist()}


@pytest.mark.parametrize("refusal", ENDS)
@pytest.mark.parametrize("kind", ["link", "cursor"])
def test_a_flight_whose_place_is_refused_begins_its_pass_anew(kind: str, refusal: str) -> None:
    source = Source(ENDS[refusal])
    with source.bee(PAGING[kind]) as bee:
        stopped = next(iter(bee.collect_nectar("x", None)))
        source.age += 1
        rest = list(bee.collect_nectar("x", json.loads(json.dumps(stopped.cursor))))

    assert ids(rest) == {f"/x{page}{half}" for page in range(1, COUNT + 1) for half in "ab"}
    assert rest[-1].complete


@pytest.mark.parametrize("refusal", ENDS)
@pytest.mark.parametrize("kind", PAGING)
def test_a_page_that_is_always_refused_fails_each_flight_and_none_goes_on_for_ever(kind: str, refusal: str) -> None:
    source = Source(ENDS[refusal])
    source.never = 3
    taken: list[Batch] = []
    with source.bee(PAGING[kind]) as bee:
        for _ in range(3):
            with pytest.raises(GiveUp):
                taken.extend(bee.collect_nectar("x", taken[-1].cursor if taken else None))
        source.never = 0
        rest = list(bee.collect_nectar("x", taken[-1].cursor))

    assert {f"/x{page}{half}" for page in range(1, COUNT + 1) for half in "ab"} <= ids([*taken, *rest])


@pytest.mark.parametrize("refusal", ENDS)
@pytest.mark.parametrize("stream", ["teams", "below"])
def test_places_of_children_and_of_parents_are_no_trap_either(
    stream: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bees.core.rest.children._ENOUGH", 1)
    source = Source(ENDS[refusal])
    with source.bee(PAGING["cursor"]) as bee:
        stops = [next(iter(bee.collect_nectar(stream, None)))]
        for _ in range(2 if stream == "below" else 0):
            stops.append(next(iter(bee.collect_nectar(stream, stops[-1].cursor))))
        source.age += 1
        rest = list(bee.collect_nectar(stream, json.loads(json.dumps(stops[-1].cursor))))

    if stream == "teams":
        wanted = {f"/orgs/{org}/teams{page}{half}" for org in (1, 2) for page in range(1, COUNT + 1) for half in "ab"}
    else:
        wanted = {f"/below//x{page}{half}1{part}" for page in range(1, COUNT + 1) for half in "ab" for part in "ab"}
    assert not [reject for batch in rest for reject in batch.rejects]
    assert ids([*stops, *rest]) >= wanted


def test_a_cursor_that_a_graphql_server_knows_no_more_is_given_up() -> None:
    age = 0
    query = "query($after: String) { list(after: $after) { pageInfo { hasNextPage endCursor } nodes { id } } }"

    def send(query: str, values: dict[str, Any], where: str, **_: Any) -> Answer:
        page, _, of = str(values.get("after", f"1.{age}")).partition(".")
        told: dict[str, Any] = {"data": {"list": {"nodes": [{"id": page}], "pageInfo": {
            "hasNextPage": int(page) < COUNT, "endCursor": f"{int(page) + 1}.{age}"}}}}  # fmt: skip
        if of != str(age):
            told = {"data": None, "errors": [{"type": "INVALID_CURSOR_ARGUMENTS", "message": "no valid cursor"}]}
        return Answer(200, httpx.Headers({}), json.dumps(told).encode(), httpx.URL("https://x.example.com"))

    stream = {"query": query, "connection": "list", "key": "id"}
    with GraphqlBee.from_options({"url": "https://x.example.com", "streams": {"x": stream}}) as bee:
        bee._send = send  # type: ignore[method-assign, assignment]
        stopped = next(iter(bee.collect_nectar("x", None)))
        age = 1
        rest = list(bee.collect_nectar("x", stopped.cursor))

    assert ids(rest) == {str(page) for page in range(1, COUNT + 1)}
    assert rest[-1].complete
