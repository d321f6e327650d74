"""Answers that are no listing, or a part of one, and look like a whole one with few records or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http import Answer
from bees.rest import RestBee
from nectar.batch import Batch

LINK = {"type": "link", "cursor_path": "next"}
WHOLE = b'{"data": [{"id": 1}], "next": "/x?at=more"}'


def read(*pages: bytes, status: int = 200, headers: Mapping[str, str] | None = None, **given: Any) -> list[Batch]:
    """The batches of a listing whose last page has this status."""
    left = list(pages)

    def ask(url: httpx.URL, where: str, _: Mapping[str, str], **__: Any) -> Answer:
        body = left.pop(0)
        return Answer(200 if left else status, httpx.Headers(dict(headers or {})), body, url)

    stream = {"path": "x", "key": "id", "pagination": LINK, **given}
    with RestBee.from_options({"base_url": "https://x.example.com", "streams": {"x": stream}}) as bee:
        bee._source.ask = ask  # type: ignore[method-assign, assignment]
        return list(bee.collect_nectar("x", None))


@pytest.mark.parametrize("records", [None, "data"])
@pytest.mark.parametrize(
    "said",
    [
        {"status": "error", "message": "no"}, {"status": "FAILED", "code": 7}, {"result": "error", "msg": "no"},
        {"errorMessage": "no"}, {"error_message": "no"}, {"errorCode": 17}, {"error_code": "17"}, {"errcode": 40001},
        {"statusCode": 500}, {"success": "false"}, {"success": False}, {"error": "no"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", [1, 2])
def test_an_error_beside_an_empty_list_is_no_end_of_a_listing(page: int, said: Any, records: str | None) -> None:
    body = json.dumps({**said, "data": []}).encode()
    with pytest.raises(GiveUp) as error:
        read(*[WHOLE][: page - 1], body, records=records)

    assert error.value.code == "error_inside"


@pytest.mark.parametrize(
    "said",
    [
        {"status": "ok"}, {"status": "success"}, {"status": "failed"}, {"status": 200}, {"result": "OK"},
        {"errorMessage": ""}, {"errorMessage": None}, {"errorMessage": "success"}, {"errorCode": 0}, {"errorCode": "0"},
        {"errcode": "00000"}, {"error_code": "A00000"}, {"errorCode": 200}, {"statusCode": 200}, {"success": "true"},
        {"error": None},
    ],
)  # fmt: skip
def test_words_that_all_is_well_beside_an_empty_list_end_a_listing(said: Any) -> None:
    found = read(WHOLE, json.dumps({**said, "data": [], "next": None}).encode())

    assert found[-1].complete


def test_records_beside_a_word_of_an_error_land() -> None:
    found = read(json.dumps({"status": "error", "data": [{"id": 1}], "next": None}).encode())

    assert found[-1].table.num_rows == 1


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data": []}', b'{"status": "preparing"}'])
@pytest.mark.parametrize("page", [1, 2])
def test_what_is_not_made_yet_is_asked_for_later(page: int, body: bytes) -> None:
    with pytest.raises(RetryLater) as error:
        read(*[WHOLE][: page - 1], body, status=202)

    assert error.value.code == "unavailable"


def test_records_that_come_with_the_status_of_what_is_accepted_land() -> None:
    assert read(b'{"data": [{"id": 1}]}', status=202)[-1].table.num_rows == 1


@pytest.mark.parametrize(("form", "body"), [("csv", b"id,name\n1,ab\n12,a"), ("jsonl", b'{"id": 1}\n{"id": 12}')])
@pytest.mark.parametrize(
    ("headers", "complete"),
    [({}, False), ({"Content-Length": "17"}, True), ({"Transfer-Encoding": "chunked"}, True),
     ({"Content-Encoding": "gzip"}, True)],
)  # fmt: skip
@pytest.mark.parametrize("ended", [False, True])
def test_lines_that_may_have_been_cut_off_prove_nothing(
    form: str, body: bytes, headers: Mapping[str, str], complete: bool, ended: bool
) -> None:
    """Nothing but the end of the connection says that the last line is whole."""
    found = read(body + b"\n" * ended, headers=headers, format=form, pagination={"type": "none"})

    assert found[-1].complete is (complete or ended)
    assert sum(batch.table.num_rows for batch in found) == 2


@pytest.mark.parametrize(
    ("body", "headers", "kind", "code"),
    [
        (b'{"data": [{"id": 1}, {"id"', {}, RetryLater, "connection_lost"),
        (b'[{"id": 1}, ', {}, RetryLater, "connection_lost"),
        (b'[{"id": 1}, ', {"Content-Length": "12"}, GiveUp, "not_json"),
        (b"<html></html>", {}, GiveUp, "not_json"),
        (b"[1, 2}", {}, GiveUp, "not_json"),
    ],
)
def test_json_that_ends_in_the_middle_with_its_connection_is_asked_for_again(
    body: bytes, headers: Mapping[str, str], kind: type, code: str
) -> None:
    with pytest.raises(SourceError) as error:
        read(body, headers=headers)

    assert (type(error.value), error.value.code) == (kind, code)


def test_what_says_so_is_named() -> None:
    with pytest.raises(SourceError) as error:
        read(b'{"status": "error", "message": "no", "data": []}')

    assert "'status'" in str(error.value)
