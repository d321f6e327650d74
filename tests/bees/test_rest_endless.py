"""Listings that give the same records again and again, in answers no two of which are alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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
