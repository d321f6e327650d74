"""Listings that give the same records again and again, in answers no two of which are alike."""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp
from bees.core.http import Answer
from bees.rest import RestBee
from nectar.batch import Batch

SIZE = 3
MANY = 60
"""Answers after which a test gives up."""
ROWS = [{"id": n, "at": f"2026-03-01T12:00:{n:02}Z"} for n in range(1, 13)]
KINDS: dict[str, dict[str, Any]] = {
    "page": {"type": "page"},
    "offset": {"type": "offset"},
    "link": {"type": "link", "cursor_path": "next"},
    "cursor": {"type": "cursor", "cursor_path": "token"},
}
FOLLOWED = {"cursor": "at", "cursor_param": "since"}

Pages = Callable[[int], list[dict[str, Any]]]


def read(pages: Pages, paging: dict[str, Any], **given: Any) -> tuple[list[Batch], GiveUp | None, int]:
    """Reads a source that gives `pages` of the number of each answer, from 1; batches, the failure, and answers."""
    asked = count(1)
    last = 0

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        nonlocal last
        last = next(asked)
        assert last < MANY, "it is asked for ever"
        body: dict[str, Any] = {"list": pages(last), "request": f"r{last}x{last * 7919}"}
        if body["list"]:
            body["next"], body["token"] = str(url.copy_set_param("at", f"{last}.{last}")), f"t{last}.{last * 31}"
        return Answer(200, httpx.Headers({}), json.dumps(body).encode(), url)

    stream = {"path": "x", "records": "list", "pagination": paging, **given}
    found: list[Batch] = []
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": {"x": stream}}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        try:
            found.extend(bee.collect_nectar("x", None))
        except GiveUp as error:
            return found, error, last
    return found, None, last


@pytest.mark.parametrize("given", [{}, FOLLOWED])
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_heeds_no_place_is_not_asked_for_ever(kind: str, given: dict[str, Any]) -> None:
    found, error, asked = read(lambda _: ROWS[:SIZE], KINDS[kind], key="id", **given)

    assert error is not None
    assert error.code == "pagination_loop"
    assert "pagination" in error.advice
    assert asked < 12
    assert found[-1].cursor == {}, "whoever went on from there would come round again"


@pytest.mark.parametrize("kind", ["page", "offset"])
def test_records_without_a_key_are_compared_whole(kind: str) -> None:
    assert read(lambda _: ROWS[:SIZE], KINDS[kind])[1] is not None


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_begins_anew_behind_its_end_is_found_out(kind: str, length: int) -> None:
    def pages(number: int) -> list[dict[str, Any]]:
        at = (number - 1) % length * SIZE
        return ROWS[at : at + SIZE]

    _, error, asked = read(pages, {**KINDS[kind], "steady": True}, key="id")

    assert error is not None
    assert error.code == "pagination_loop"
    assert asked < 20


@pytest.mark.parametrize("kind", KINDS)
def test_records_that_are_all_alike_are_no_page_that_comes_again(kind: str) -> None:
    """Seconds of a counter that stood still, without anything that names them."""

    def pages(number: int) -> list[dict[str, Any]]:
        return [{"value": 0}] * SIZE if number < 10 else []

    found, error, _ = read(pages, {**KINDS[kind], "steady": True})

    assert error is None
    assert sum(batch.table.num_rows for batch in found) == 9 * SIZE


class TestFetcher:
    @pytest.fixture
    def hooks(self, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
        module = types.ModuleType("made_up_endless")
        monkeypatch.setitem(sys.modules, "made_up_endless", module)
        return module

    @staticmethod
    def read(clock: Callable[[], float] = time.time, /, **given: Any) -> tuple[list[Batch], GiveUp | None]:
        stream = {"path": "x", "key": "id", "fetcher": "made_up_endless:fetch", **given}
        options = RestBee.Options.model_validate({"base_url": "https://x.example.com", "streams": {"x": stream}})
        found: list[Batch] = []
        with RestBee(options, clock=clock) as bee:
            told = Answer(200, httpx.Headers({}), b"[]", httpx.URL("https://x.example.com"))
            bee._source.ask = lambda *_, **__: told  # type: ignore[method-assign]
            try:
                found.extend(bee.collect_nectar("x", None))
            except GiveUp as error:
                return found, error
        return found, None

    def test_one_that_gives_the_same_items_again_and_again_is_stopped(self, hooks: types.ModuleType) -> None:
        asked = count(1)

        def fetch(http: Any, page: Any) -> Any:
            number = next(asked)
            assert number < MANY
            return {"items": ROWS[:SIZE], "next": f"place {number}.{number}"}

        hooks.fetch = fetch  # type: ignore[attr-defined]
        found, error = self.read()

        assert error is not None
        assert error.code == "pagination_loop"
        assert found[-1].cursor == {}

    def test_one_that_never_comes_back_with_a_page_is_stopped(
        self, hooks: types.ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fetch(http: Any, page: Any) -> Any:
            for number in count():
                assert number < MANY
                http.get("/more", {"at": number})

        monkeypatch.setattr("bees.core.rest.source.MOST_ASKED", 20)
        hooks.fetch = fetch  # type: ignore[attr-defined]
        _, error = self.read()

        assert error is not None
        assert error.code == "hook_failed"
        assert "one page" in error.advice

    def test_what_is_later_than_its_first_page_is_asked_for_again(self, hooks: types.ModuleType) -> None:
        """Row 1 may have changed at 12:00:05, behind the reader, when row 6 of 12:00:06 is met."""
        begins = datetime(2026, 3, 1, 12, 0, 4, tzinfo=UTC).timestamp()

        def fetch(http: Any, page: Any) -> Any:
            at = page["at"] or "a0"
            first = int(at[1:])
            return {"items": ROWS[first : first + SIZE], "next": f"a{first + SIZE}" if first < SIZE else None}

        hooks.fetch = fetch  # type: ignore[attr-defined]
        found, error = self.read(lambda: begins, cursor="at")

        assert error is None
        assert found[-1].cursor == {"since": "2026-03-01T12:00:04Z"}


@pytest.mark.parametrize("loops", ["/orgs", "/orgs/2/teams"])
def test_a_circle_below_or_among_parents_ends_when_the_source_is_mended(loops: str) -> None:
    broken = {loops}

    def ask(url: httpx.URL, where: str, headers: Mapping[str, str], **_: Any) -> Answer:
        kind = "orgs" if url.path == "/orgs" else "teams"
        found = [{"id": f"{url.path}-{n}" if kind == "teams" else n} for n in (1, 2, 3)]
        body: dict[str, Any] = {"list": found, "next": None}
        if url.path in broken:
            number = int(url.params.get("at", "0"))
            body["next"] = str(url.copy_set_param("at", f"{1 - number}"))
        return Answer(200, httpx.Headers({}), json.dumps(body).encode(), url)

    paging = {"type": "link", "cursor_path": "next"}
    streams = {
        "orgs": {"path": "orgs", "records": "list", "key": "id", "pagination": paging},
        "teams": {"path": "orgs/{{ parent.id }}/teams", "records": "list", "key": "id", "pagination": paging,
                  "parent": {"stream": "orgs"}},
    }  # fmt: skip
    found: list[Batch] = []
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": streams}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        for _ in range(2):
            with pytest.raises(GiveUp) as error:
                found.extend(bee.collect_nectar("teams", found[-1].cursor if found else None))
            assert error.value.code == "pagination_loop"
        broken.clear()
        rest = list(bee.collect_nectar("teams", json.loads(json.dumps(found[-1].cursor))))

    met = {row["id"] for batch in [*found, *rest] for row in batch.table.to_pylist()}
    assert met >= {f"/orgs/{org}/teams-{n}" for org in (1, 2, 3) for n in (1, 2, 3)}
