"""One record that is dated far ahead lands, and does not take the mark with it beyond all that comes later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bees.core.http import Answer
from bees.core.paging import Reading
from bees.rest import RestBee
from nectar.batch import Batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPELLINGS: dict[str, Any] = {
    "ISO": lambda at: at.isoformat(),
    "Z": lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "no zone": lambda at: at.strftime("%Y-%m-%d %H:%M:%S"),
    "date": lambda at: at.strftime("%Y-%m-%d"),
    "seconds": lambda at: int(at.timestamp()),
    "milliseconds": lambda at: int(at.timestamp() * 1000),
}
FAR = {"2099": datetime(2099, 1, 1, tzinfo=UTC), "9999": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
       "in 20 years": NOW + timedelta(days=7300), "in two days": NOW + timedelta(days=2)}  # fmt: skip


class Source:
    """Rows with values that grow, `size` a page; it is NOW there and at ours."""

    def __init__(self, rows: list[dict[str, Any]], size: int = 100) -> None:
        self.rows, self.size = rows, size
        self.asked: list[dict[str, str]] = []
        self.now = NOW

    def ask(self, url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        query = dict(url.params)
        self.asked.append(query)
        since = query.get("since")
        found = [row for row in self.rows if since is None or row["at"] >= type(row["at"])(since)]
        at = (int(query.get("page", 1)) - 1) * self.size
        date = {"Date": self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return Answer(200, httpx.Headers(date), json.dumps(found[at : at + self.size]).encode(), url)

    def read(self, cursor: Any = None, **given: Any) -> list[Batch]:
        stream = {"path": "x", "key": "id", "cursor": "at", "cursor_param": "since", "pagination": {"type": "none"}}
        streams = {"x": {**stream, **({"pagination": {"type": "page"}} if self.size < 100 else {}), **given}}
        options = RestBee.Options.model_validate({"base_url": "https://x.example.com", "streams": streams})
        with RestBee(options, clock=self.now.timestamp) as bee:
            bee._source.ask = self.ask  # type: ignore[method-assign, assignment]
            return list(bee.collect_nectar("x", cursor))


def ids(batches: list[Batch]) -> set[int]:
    return {row["id"] for batch in batches for row in batch.table.to_pylist()}


@pytest.mark.parametrize("size", [100, 2])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_comes_behind_a_record_of_the_far_future_is_read(spelling: str, far: str, size: int) -> None:
    spelled = SPELLINGS[spelling]
    source = Source([{"id": n, "at": spelled(NOW - timedelta(days=9 - n))} for n in range(1, 8)], size)
    with capture_logs() as said:
        cursor = source.read()[-1].cursor
        source.rows.append({"id": 100, "at": spelled(FAR[far])})
        second = source.read(cursor)
        third = source.read(second[-1].cursor)
        source.now += timedelta(hours=5)
        source.rows.insert(-1, {"id": 8, "at": spelled(source.now - timedelta(hours=1))})
        fourth = source.read(third[-1].cursor)

    assert 100 in ids(second), "the record itself lands"
    assert 8 in ids(fourth)
    assert len(fourth) <= 6
    if not spelling.endswith("seconds"):
        assert [line["event"] for line in said].count("cursor_ahead") == 1


@pytest.mark.parametrize("size", [100, 2])
def test_the_first_pass_may_meet_it_and_a_mark_of_before_is_given_up(size: int) -> None:
    rows = [{"id": n, "at": (NOW - timedelta(days=9 - n)).isoformat()} for n in range(1, 8)]
    source = Source([*rows, {"id": 100, "at": "2099-01-01T00:00:00+00:00"}], size)
    first = source.read()
    again = source.read({"since": "2099-01-01T00:00:00+00:00"})

    assert first[-1].cursor["since"] == again[-1].cursor["since"] == rows[-1]["at"]
    assert ids(first) == ids(again) == {*range(1, 8), 100}


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    source = Source([{"id": 1, "at": (NOW + timedelta(seconds=100)).isoformat()}])

    assert source.read()[-1].cursor["since"] == source.rows[0]["at"]


@pytest.mark.parametrize("size", [100, 2])
@pytest.mark.parametrize("first", [2_000_000_000, 2_000_000_000_000, 4_600_000_000_000, 17])
def test_ids_that_look_like_times_to_come_are_ids(first: int, size: int) -> None:
    source = Source([{"id": n, "at": first + n} for n in range(7)], size)
    cursor = source.read()[-1].cursor
    source.rows.append({"id": 7, "at": first + 7})
    second = source.read(cursor)

    assert int(cursor["since"]) == first + 6
    assert ids(second) == {6, 7}
    assert int(second[-1].cursor["since"]) == first + 7


def test_children_of_many_parents_share_one_mark_and_one_word() -> None:
    streams = {
        "orgs": {"path": "orgs", "key": "id", "pagination": {"type": "none"}},
        "staff": {"path": "staff/{{ parent.id }}", "key": "id", "cursor": "at", "cursor_param": "since",
                  "parent": {"stream": "orgs"}, "pagination": {"type": "none"}},
    }  # fmt: skip

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        told = [{"id": 1}, {"id": 2}]
        if "staff" in url.path:
            told = [{"id": 3, "at": "2026-02-01T00:00:00Z"}, {"id": 4, "at": "2099-01-01T00:00:00Z"}]  # type: ignore[dict-item]
        return Answer(200, httpx.Headers({}), json.dumps(told).encode(), url)

    options = RestBee.Options.model_validate({"base_url": "https://x.example.com", "streams": streams})
    with RestBee(options, clock=NOW.timestamp) as bee, capture_logs() as said:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        cursor = list(bee.collect_nectar("staff", None))[-1].cursor
        cursor = list(bee.collect_nectar("staff", cursor))[-1].cursor

    assert cursor is not None
    assert cursor["since"] == "2026-02-01T00:00:00Z"
    assert [line["event"] for line in said] == ["cursor_ahead"]


def test_no_value_stands_in_the_log() -> None:
    reading = Reading(clock=NOW.isoformat())
    reading.note(["2099-07-08T00:00:00Z", "2026-02-01T00:00:00Z"])
    with capture_logs() as said:
        reading.tell_ahead("x")
        reading.finish()
        reading.tell_ahead("x")

    assert len(said) == 1
    assert "2099" not in str(said)
