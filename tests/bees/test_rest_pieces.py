"""Large pages of JSON: read in pieces they are the same records, cost a part of the memory, and a stop loses none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core import exact_json
from bees.core.errors import GiveUp
from bees.core.rest import content, pieces, xml_elements
from bees.core.rest.pieces import cut
from bees.core.rest.source import records
from nectar.jsonrows import text
from tests.bees.test_rest_hostile import PAGE, Hostile, answer, ids
from tests.hive.nest import make_nest, nest

__all__ = ["make_nest", "nest"]

_READER = """
import json, re, sys
from bees.rest import RestBee
listing = {"key": "id", "format": sys.argv[2], "pagination": {"type": "none"}}
listing["records"] = "r.of.x" if sys.argv[2] == "xml" else None
if sys.argv[2] == "looked at":
    listing = {"key": "id", "records": "$[*]", "cursor": "id", "changes": {}}
    listing["pagination"] = {"type": "none", "until": "seen"}
streams = {"small": {"path": "/x?page=1", **listing}, "large": {"path": "/x?page=2", **listing}}
options = {"base_url": sys.argv[1], "allow_private": True, "streams": streams}
told = []
with RestBee.from_options(options) as bee:
    for name in streams:
        rows = sum(batch.table.num_rows for batch in bee.collect_nectar(name, None))
        told.append([rows, int(re.search("VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])])
print(json.dumps(told))
"""
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def server() -> Iterator[Hostile]:
    found = Hostile()
    yield found
    found.close()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is a large one, and each of its pieces holds a record or two."""
    monkeypatch.setattr(content, "LARGE", 0)
    monkeypatch.setattr(pieces, "_PIECE", 20)
    monkeypatch.setattr(pieces, "_ROWS", 2)


def items(raw: bytes, path: str | None) -> list[Any] | None:
    found = cut(raw, path)
    return None if found is None else list(found)


def spelled(value: Any) -> Any:
    """Equal for a float and the Decimal of its digits: which of them it is hangs on what else stands in the bytes."""
    return json.loads(text(value))


@pytest.mark.usefixtures("tiny")
@settings(max_examples=100, deadline=None)
@given(
    found=st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=3) | _VALUES, max_size=8),
    before=st.dictionaries(st.text(max_size=4), _VALUES, max_size=2),
    after=st.dictionaries(st.text(max_size=4), _VALUES, max_size=2),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_pieces_are_what_the_whole_is(
    found: list[Any], before: dict[str, Any], after: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    after = {f"{name}'": value for name, value in after.items()}
    body = {**before, "told": {**before, "list": found, **after}, **after}
    raw = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    bare = json.dumps(found, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    got = items(raw, "told.list")
    if got is not None:
        assert spelled(got) == spelled(records(exact_json.read(raw), "told.list", ""))
    assert spelled(items(bare, None)) == spelled(exact_json.read(bare))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("raw", "path", "told"),
    [
        (b'{"n": 1, "list": [{"a": 1}, {"b": "]}\\""}], "next": "x"}', None, [{"a": 1}, {"b": ']}"'}]),
        (b'\xef\xbb\xbf [ {"a": 1} , {"a": 2} ] ', None, [{"a": 1}, {"a": 2}]),
        (b'{"a": {"b": [1, "two", [3], {"c": 4}]}}', "a.b", [1, "two", [3], {"c": 4}]),
        (b'{"a.b": [1], "a": {"b": [2]}}', "a.b", None),
        (b'{"a": {"b": [1, 2}}', "a.b", None),
        (b'{"a": [{"n": 1}, {"n": 2}', "a", None),
        (b'{"a": [{"n": "' + b'\\"' * 1_000_000, "a", None),
        (b"[" * 10_000, None, None),
        (b'[{"a": 1},]', None, None),
        (b'[{"a": "aaaaaaaaaaaaaaaaaaaaaaaaa"},]', None, None),
        (b'[{"a": "aaaaaaaaaaaaaaaaaaaaaaaaa"} {"a": 2}]', None, None),
        (b'{"a": 1}', None, None),
        (b'"text"', None, None),
        (b"", None, None),
    ],
)
def test_what_cannot_be_cut_is_left_whole(raw: bytes, path: str | None, told: list[Any] | None) -> None:
    began = time.process_time()

    assert items(raw, path) == told
    assert time.process_time() - began < 5, "no text makes the scan go over it again and again"


@pytest.mark.usefixtures("tiny")
def test_a_page_may_be_left_and_taken_up_between_any_two_pieces(server: Hostile) -> None:
    server.pages = {n: answer(json.dumps({"list": [{"id": 10 * n + m} for m in range(7)]}).encode()) for n in (1, 2)}
    everything = [10 * n + m for n in (1, 2) for m in range(7)]
    whole = server.read()
    again = [server.read(batch.cursor) for batch in whole]

    assert ids(whole) == everything
    assert len(whole) > 4
    for number, rest in enumerate(again[:-1], 1):
        assert ids(whole[:number]) + ids(rest) == everything


@pytest.mark.usefixtures("tiny")
def test_a_page_that_is_another_one_after_a_stop_is_read_from_its_beginning(server: Hostile) -> None:
    server.pages = {1: answer(json.dumps([{"id": n} for n in range(6)]).encode())}
    first = server.read()[0]
    server.pages = {1: answer(json.dumps([{"id": n} for n in range(-2, 6)]).encode())}

    assert ids([first]) == [0, 1]
    assert ids(server.read(first.cursor)) == list(range(-2, 6))


@pytest.mark.usefixtures("tiny")
def test_what_stands_around_the_records_may_change_while_a_page_is_left(server: Hostile) -> None:
    held = [{"id": n} for n in range(6)]
    server.pages = {1: answer(json.dumps({"list": held, "generated": 1}).encode()), 2: answer(b"[]")}
    given = {"records": "list", "pagination": {"type": "none"}}
    first = server.read(**given)[1]
    server.pages = {1: answer(json.dumps({"list": held, "generated": 2}).encode())}

    assert ids([first]) == [2, 3]
    assert ids(server.read(first.cursor, **given)) == [4, 5]


def doubled(item: Any) -> Any:
    return [item, {**item, "id": -item["id"]}] if item["id"] % 2 else None


NUMBERED = [{"id": n, "at": f"2026-01-{20 - n:02}", "n": 0.5} for n in range(1, 10)]
MEETS = [
    ({"records": "$[*]"}, NUMBERED),
    ({"records": "$.of.list"}, {"of": {"list": NUMBERED}, "more": 1}),
    ({"records": "$.of.list[*]"}, {"of": {"list": NUMBERED}, "list": [1]}),
    ({"changes": {"ignore": ["n"]}}, NUMBERED),
    ({"changes": {}, "records": "of.list"}, {"of": {"list": NUMBERED}}),
    ({"transformer": f"{__name__}:doubled"}, NUMBERED),
    ({"columns": "$.meta[*].name", "records": "rows"},
     {"meta": [{"name": "id"}, {"name": "at"}], "rows": [[n, "a"] for n in range(9)]}),
    ({"columns": "first", "records": "rows"}, {"rows": [["id", "at"], *([n, "a"] for n in range(9))]}),
    ({"columns": "first"}, [["id", "at"], *([n, "a"] for n in range(9)), 7]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "body"), MEETS)
def test_what_looks_at_each_record_meets_the_same_ones(
    server: Hostile, given: dict[str, Any], body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages = {1: answer(json.dumps(body).encode()), 2: answer(b"[]"), 3: answer(b"[]")}
    given = {**given, "pagination": {"type": "none"}}
    (whole,) = server.read(**given)
    monkeypatch.setattr(content, "LARGE", 0)
    monkeypatch.setattr(pieces, "_PIECE", 20)
    found = server.read(**given)
    rest = server.read(found[0].cursor, **given)

    assert len(found) > 3
    assert [row for batch in found for row in batch.table.to_pylist()] == whole.table.to_pylist()
    assert [reject.raw for batch in found for reject in batch.rejects] == [reject.raw for reject in whole.rejects]
    assert ids([found[0], *rest]) == ids([whole])


@pytest.mark.usefixtures("tiny")
def test_newest_first_ends_behind_the_page_that_holds_an_old_record(server: Hostile) -> None:
    given = {"cursor": "at", "pagination": {**PAGE, "until": "seen"}}
    server.pages = {1: answer(json.dumps(NUMBERED[5:]).encode()), 2: answer(b"[]")}
    last = server.read(**given)[-1].cursor
    server.pages = {1: answer(json.dumps(NUMBERED).encode())}  # a second page would be an error

    assert ids(server.read(last, **given)) == list(range(1, 10))


@pytest.mark.parametrize("path", ["$.list[?(@.id > 3)]", "$..list[*]", "$.list[0:5]"])
def test_a_selector_that_needs_all_of_a_large_page_at_once_is_refused(server: Hostile, path: str) -> None:
    large = b'{"list":[' + b",".join(b'{"id":%d,"a":1,"b":2,"c":3}' % n for n in range(90_000)) + b"]}"
    small = json.dumps({"list": NUMBERED}).encode()
    server.pages = {1: answer(large)}
    with pytest.raises(GiveUp) as error:
        server.read(records=path, pagination={"type": "none"})
    server.pages = {1: answer(small)}

    assert error.value.code == "too_many_values"
    assert ids(server.read(records=path, pagination={"type": "none"}))


def test_values_are_counted_up_to_a_text_that_does_not_end() -> None:
    began = time.process_time()

    assert pieces.takes_more(b"[" + b"1," * 3000, 1000)
    assert not pieces.takes_more(b"[" + b"1," * 900 + b'"' + b',\\"' * 200_000, 1000)
    assert time.process_time() - began < 5, "no quotation mark makes the scan go over the rest again"


LINES = [
    b'{"id": 1, "n": 1.5}',
    b"garbage",
    b"",
    b'{"id": 2, "n": 10000000000000001}',
    *[b"no"] * 9,
    b'{"id": 3}',
    b"last",
]
TABLE = [b"id,name", b'1,"a\nb"', b"2,\xc3\xa9", b"3", b"4,d,e", b"5,", b'6,"""x"""', b"", b"7,y", b"8"]


TREE = (
    b"<r a='1'><of>" + b"".join(b"<x><id>%d</id><y/><y n='%d'>text</y></x>\n" % (n, n) for n in range(9)) + b"</of></r>"
)


@pytest.mark.parametrize(("form", "raw"), [("jsonl", b"\n".join(LINES)), ("csv", b"\r\n".join(TABLE) + b"\r\n")])
def test_lines_and_rows_come_in_pieces_too(
    server: Hostile, form: str, raw: bytes, request: pytest.FixtureRequest
) -> None:
    server.pages = {1: answer(raw)}
    given = {"format": form, "pagination": {"type": "none"}}
    (whole,) = server.read(**given)
    request.getfixturevalue("tiny")
    parts = server.read(**given)
    rests = [server.read(batch.cursor, **given) for batch in parts[:-1]]

    assert len(parts) > 2
    assert [str(row["id"]) for batch in parts for row in batch.table.to_pylist()] == list(map(str, ids([whole])))
    assert [reject for batch in parts for reject in batch.rejects] == list(whole.rejects)
    assert len(whole.rejects) > 2
    for number, rest in enumerate(rests, 1):
        assert [*map(str, ids(parts[:number]) + ids(rest))] == [*map(str, ids([whole]))]


def test_elements_come_in_pieces_too(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pages = {1: answer(TREE)}
    given = {"format": "xml", "records": "r.of.x", "pagination": {"type": "none"}}
    (whole,) = server.read(**given)
    monkeypatch.setattr(content, "LARGE", 0)
    monkeypatch.setattr(xml_elements, "_CHUNK", 100)
    parts = server.read(**given)
    rests = [server.read(batch.cursor, **given) for batch in parts[:-1]]

    assert [batch.complete for batch in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 2
    assert [row for batch in parts for row in batch.table.to_pylist()] == whole.table.to_pylist()
    assert whole.table.to_pylist()[2] == {"id": "2", "y": [None, {"@n": "2", "#text": "text"}]}
    for number, rest in enumerate(rests, 1):
        assert ids(parts[:number]) + ids(rest) == ids([whole])


@pytest.mark.parametrize(
    "raw",
    [
        b"<r>" + b"<x/>" * 10_000 + b"</r>",
        b"<r>" + b"<x a='' b='' c='' d=''/>" * 2_000 + b"</r>",
        b"<r><of><x>" + b"<y/>" * 10_000 + b"</x></of></r>",
    ],
)
def test_many_small_elements_meet_a_limit(server: Hostile, raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_elements, "MOST", 10_000)
    server.pages = {1: answer(raw)}
    with pytest.raises(GiveUp) as error:
        server.read(format="xml", records="r.of.x")

    assert error.value.code == "too_many_values"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("form", "raw", "code"),
    [
        ("jsonl", b"<html>\n</html>", "not_json"),
        ("csv", b'id,name\n1,"a\n2,b\n3,c', "not_csv"),
        ("csv", b"id,id\n1,2", "not_csv"),
        ("csv", b"id,name\n1,\xff", "not_csv"),
    ],
)
def test_no_line_of_a_page_comes_that_turns_out_to_be_none(server: Hostile, form: str, raw: bytes, code: str) -> None:
    server.pages = {1: answer(raw)}
    found = []
    with server.bee(format=form) as bee, pytest.raises(GiveUp) as error:
        found.extend(bee.collect_nectar("x", None))

    assert (error.value.code, found) == (code, [])


@pytest.mark.usefixtures("tiny")
def test_marks_positions_and_tokens_are_those_of_whole_pages(server: Hostile) -> None:
    rows = [{"id": n, "at": f"2026-01-{n:02}"} for n in range(1, 8)]
    body = {"list": [*rows[:5], 7, *rows[5:]], "token": "t2"}
    server.pages = {1: answer(json.dumps(body).encode())}
    given = {"records": "list", "pagination": {"type": "none"}}
    batches = server.read(**given, token_path="token", cursor_param="since")
    marked = server.read(**given, cursor="at", cursor_param="since")

    assert [reject.position for batch in batches for reject in batch.rejects] == ["page 1, item 6"]
    assert ids(batches) == list(range(1, 8))
    assert [batch.cursor.get("token") for batch in batches] == [None] * (len(batches) - 1) + ["t2"]
    assert marked[-1].cursor["since"] == "2026-01-07"
    assert [batch.complete for batch in marked] == [False] * (len(marked) - 1) + [True]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"list": [{"id": 1}, {"id": 2}], "error": "no"}', "error_inside"),
        (b'{"list": [{"id": 1}, {"id": 2}, {"id": 3}', "not_json"),
        (b'{"list": [{"id": 1}, {"id": 2}, {"id": 3}]} and more', "not_json"),
        (b'{"errors": [{"id": 1}, {"id": 2}, {"id": 3}]}', "error_inside"),
        (b'{"one": [{"id": 1}, {"id": 2}], "two": []}', "no_records"),
    ],
)
def test_nothing_of_a_page_comes_that_turns_out_to_be_none(server: Hostile, body: bytes, code: str) -> None:
    server.pages = {1: answer(body)}
    found = []
    with server.bee(source={"errors": {"at": "error"}}) as bee, pytest.raises(GiveUp) as error:
        found.extend(bee.collect_nectar("x", None))

    assert (error.value.code, found) == (code, [])


def test_a_source_that_gives_one_large_page_for_ever_is_still_noticed(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "LARGE", 0)
    same = answer(json.dumps([{"id": 1}, {"id": 2}]).encode())
    server.pages = {1: same, 2: same}
    with pytest.raises(GiveUp) as error:
        server.read(pagination=PAGE)

    assert error.value.code == "pagination_loop"


@pytest.mark.servers
def test_a_flight_hands_over_in_the_middle_of_a_page(
    server: Hostile, make_nest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "LARGE", 0)
    monkeypatch.setattr(pieces, "_PIECE", 2_000)
    nest = make_nest(leg=0, batch_rows=40)
    page = [{"id": n, "text": "a text of some length"} for n in range(400)]
    server.pages = {1: answer(json.dumps(page).encode())}
    stream = {"path": "/x?page=1", "key": "id", "pagination": {"type": "none"}}
    source = {"base_url": server.url, "allow_private": True}
    nest.hive.register_worker("rest", {"name": "desk", "source": source, "streams": {"rows": stream}})
    landed = nest.land("desk")

    assert (landed.state, landed.records_landed, landed.records_read) == ("complete", 400, 400)
    assert len(server.asked) > 5, "each leg asks for the page once more, and goes on where the last one stopped"


ROW = b'{"id":%d,"name":"somebody","at":"2026-01-02","n":1.5}'


@pytest.mark.parametrize(
    ("form", "first", "row", "between", "last"),
    [
        ("json", b"[", ROW, b",", b"]"),
        ("looked at", b"[", ROW, b",", b"]"),
        ("jsonl", b"", ROW, b"\n", b""),
        (
            "xml",
            b"<r><of>",
            b'<x><id>%d</id><name n="a">somebody</name><at>2026-01-02</at></x>',
            b"\n",
            b"</of><n>7</n></r>",
        ),
        ("csv", b"id,name,at,number,more\n", b'%d,somebody,2026-01-02,"1.5",and more of it', b"\n", b"\n"),
    ],
)
def test_a_large_page_costs_little_more_than_its_bytes(
    server: Hostile, form: str, first: bytes, row: bytes, between: bytes, last: bytes
) -> None:
    page = first + between.join(row % n for n in range(110_000)) + last
    assert 4 << 20 < len(page) < 16 << 20
    server.pages = {1: answer(first + row % 1 + last), 2: answer(page)}
    run = [sys.executable, "-c", _READER, server.url, form]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    (_, before), (rows, after) = json.loads(done.stdout.splitlines()[-1])

    assert rows == 110_000
    assert after - before < 48 << 10, "KiB: whole, the page makes some 80 MiB of objects"
