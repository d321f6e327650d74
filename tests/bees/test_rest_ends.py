"""Where a listing ends: short pages of a source with a limit of its own, and old records among new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp
from bees.core.http import Answer
from bees.rest import RestBee
from nectar.batch import Batch


def read(
    rows: list[dict[str, Any]], cap: int, after: Any = None, /, **given: Any
) -> tuple[list[int], int, list[Batch]]:
    """Ids of what was read, and how many answers that took. No answer holds more than `cap` rows."""
    asked = 0

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        nonlocal asked
        asked += 1
        size = min(int(url.params.get("limit", cap)), cap)
        at = int(url.params.get("offset", (int(url.params.get("page", 1)) - 1) * size))
        return Answer(200, httpx.Headers({}), json.dumps(rows[at : at + size]).encode(), url)

    stream = {"path": "x", "key": "id", **given}
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": {"x": stream}}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        found = list(bee.collect_nectar("x", after))
    return [row["id"] for batch in found for row in batch.table.to_pylist()], asked, found


@pytest.mark.parametrize("kind", ["page", "offset"])
@pytest.mark.parametrize("cap", [10, 25, 100])
@pytest.mark.parametrize("count", [0, 7, 100, 130, 200, 233])
def test_a_page_that_is_cut_to_the_limit_of_the_source_is_not_the_last_one(kind: str, cap: int, count: int) -> None:
    paging = {"type": kind, "until": "short", "size": 500, "size_param": "limit", "steady": True}
    rows = [{"id": n} for n in range(count)]
    met, asked, _ = read(rows, cap, pagination=paging)

    assert met == list(range(count))
    assert asked <= count // cap + 2


def test_a_short_page_of_any_other_length_is_the_last_one() -> None:
    paging = {"type": "page", "until": "short", "size": 50, "size_param": "limit", "steady": True}

    for count in (60, 70, 93):
        assert read([{"id": n} for n in range(count)], 50, pagination=paging)[1] == 2


@pytest.mark.parametrize("pinned", [1, 3])
def test_old_records_that_are_pinned_to_the_top_hide_no_new_ones(pinned: int) -> None:
    """A forum: the newest first, but for what stands on top always."""
    old = [{"id": -n, "at": f"2020-01-0{n}T00:00:00Z"} for n in range(1, pinned + 1)]
    rows = [{"id": n, "at": f"2026-01-{30 - n:02}T00:00:00Z"} for n in range(20)]
    given: dict[str, Any] = {"cursor": "at", "pagination": {"type": "page", "until": "seen"}}
    met, asked, found = read([*old, *rows], 5, {"since": rows[14]["at"]}, **given)

    assert set(met) >= set(range(14))
    assert asked <= 8
    assert found[-1].cursor["since"] == rows[0]["at"]  # type: ignore[index]


@pytest.mark.parametrize("total", [1_000, 10_000])
def test_a_total_that_is_counted_no_further_is_no_end(total: int) -> None:
    """Search engines count to a limit: 10,000 then means that many at least."""
    rows = [{"id": n} for n in range(total + 300)]

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        at = int(url.params.get("offset", 0))
        body = {"total": min(len(rows), total), "hits": rows[at : at + 500]}
        return Answer(200, httpx.Headers({}), json.dumps(body).encode(), url)

    paging = {"type": "offset", "total_path": "total", "steady": True}
    stream = {"path": "x", "key": "id", "records": "hits", "pagination": paging}
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": {"x": stream}}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        found = list(bee.collect_nectar("x", None))

    assert sum(batch.table.num_rows for batch in found) == len(rows)


@pytest.mark.parametrize("told", [{"first": False}, {"page": {"first": False}}])
def test_a_source_that_counts_from_zero_loses_no_first_page(told: dict[str, Any]) -> None:
    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        page = int(url.params.get("page", 0))
        rows = [{"id": 2 * page + n} for n in range(2)] if page < 3 else []
        body = {"content": rows, **(told if page else {})}
        return Answer(200, httpx.Headers({}), json.dumps(body).encode(), url)

    def bee(**paging: Any) -> RestBee:
        stream = {"path": "x", "key": "id", "records": "content", "pagination": {"type": "page", **paging}}
        made = RestBee.from_options({"base_url": "https://x.example.com", "streams": {"x": stream}})
        made._source.ask = ask  # type: ignore[method-assign, assignment]
        return made

    with bee() as wrong, pytest.raises(GiveUp) as error:
        list(wrong.collect_nectar("x", None))
    with bee(start=0) as right:
        found = list(right.collect_nectar("x", None))

    assert error.value.code == "wrong_start"
    assert "pagination.start: 0" in error.value.advice
    assert [row["id"] for batch in found for row in batch.table.to_pylist()] == list(range(6))
