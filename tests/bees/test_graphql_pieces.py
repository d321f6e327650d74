"""Large answers of GraphQL: read in pieces they are the same records, cost a part of the memory, a stop loses none."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees import graphql
from bees.core import graphql_answer
from bees.core.graphql_answer import page_of, pieces_at
from bees.core.rest import pieces
from nectar.batch import Batch
from nectar.jsonrows import text
from tests.bees.contract import rows
from tests.bees.test_graphql import COUNT, TOKEN, Answer, Desk, connected, desk, served

__all__ = ["desk", "served"]

_READER = """
import json, re, sys
from bees.graphql import GraphqlBee
told = []
with GraphqlBee.from_options(json.loads(sys.stdin.read())) as bee:
    for name in ("small", "large"):
        taken, problem = 0, ""
        try:
            for batch in bee.collect_nectar(name, None):
                taken += batch.table.num_rows
        except Exception as error:
            problem = error.code
        told.append([taken, problem, int(re.search("VmHWM:\\\\s+([0-9]+) kB", open("/proc/self/status").read())[1])])
print(json.dumps(told))
"""
INFO: dict[str, Any] = {"hasNextPage": False, "endCursor": None}
QUERY = """query %s($after: String) { list(after: $after) { pageInfo { hasNextPage endCursor } %s } }"""
NODE = "{ id inner { pageInfo { hasNextPage endCursor } nodes { n } } }"
INNER = """query Inner($id: ID!, $after: String) { node(id: $id) { inner(after: $after) {
 pageInfo { hasNextPage endCursor } nodes { n } } } }"""


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is a large one, and each of its pieces holds a record or two."""
    for module in (graphql, graphql_answer):
        monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(pieces, "_PIECE", 20)


def spelled(value: Any) -> Any:
    """Equal for a float and the Decimal of its digits."""
    return json.loads(text(value))


@pytest.mark.usefixtures("tiny")
@settings(max_examples=100, deadline=None)
@given(
    nodes=st.lists(
        st.none() | st.integers() | st.dictionaries(st.sampled_from(["nodes", "edges", "id"]), st.integers())
    ),
    edges=st.booleans(),
    twice=st.booleans(),
    before=st.dictionaries(st.sampled_from(["edges", "data", "list", "nodes", "errors"]), st.lists(st.integers())),
)
def test_pieces_are_what_the_whole_is(nodes: list[Any], edges: bool, twice: bool, before: dict[str, Any]) -> None:
    told: dict[str, Any] = {"edges": [{"node": node} for node in nodes]} if edges else {"nodes": nodes}
    body: dict[str, Any] = {"extensions": before, "data": {"other": before, "list": {"pageInfo": INFO, **told}}}
    raw = json.dumps(body).encode()
    if twice:
        raw = raw[:-3] + b', "nodes": [7]}}}'
    whole = page_of(json.loads(raw)["data"], "list", "").nodes
    found = pieces_at(raw, "list", "edges" if edges else "nodes")

    assert (found is None) == twice, "of two members of one name the last one counts"
    if found is not None:
        assert spelled(list(found)) == spelled(whole)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("stream", ["tickets", "people", "queues"])
def test_answers_in_pieces_hold_the_same_records(desk: Desk, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = desk.read(stream)
    monkeypatch.undo()
    whole = desk.read(stream)

    assert rows(parts) == rows(whole)
    assert len(parts) > len(whole) or stream == "queues"
    assert [batch.complete for batch in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].cursor == whole[-1].cursor


@pytest.mark.usefixtures("tiny")
def test_a_page_may_be_left_and_taken_up_between_any_two_pieces(desk: Desk) -> None:
    left = iter(range(10_000, 0, -1))

    def spending(v: dict[str, Any]) -> Answer:  # no two answers are alike, and the records in them are
        told = {"list": next(left)}
        return {**Desk._people(desk, v), "extensions": {"cost": told}}

    desk.broken["People"] = spending
    whole = desk.read("people")
    everything = [row["id"] for row in rows(whole)]

    assert everything == list(range(COUNT))
    assert len(whole) > 8
    for number, batch in enumerate(whole[:-1], 1):
        rest = desk.read("people", cursor=json.loads(json.dumps(batch.cursor)))
        assert [row["id"] for row in [*rows(whole[:number]), *rows(rest)]] == everything


@pytest.mark.usefixtures("tiny")
def test_records_that_are_others_after_a_stop_are_read_from_the_first_one(desk: Desk) -> None:
    with desk.bee() as bee:
        first = next(bee.collect_nectar("people", None))
    others = connected([{"id": n} for n in range(-2, 8)], 10, None, edges=True)
    desk.broken["People"] = lambda _: {"data": {"people": others}}

    assert 0 < first.table.num_rows < 10
    assert [row["id"] for row in rows(desk.read("people", cursor=first.cursor))] == list(range(-2, 8))


@pytest.mark.usefixtures("tiny")
def test_errors_beside_data_come_once_and_the_cursor_stays(desk: Desk) -> None:
    def partial(v: dict[str, Any]) -> Answer:
        told = desk._tickets(v)
        told["data"]["desk"]["tickets"]["nodes"][3] = None
        return {"errors": [{"message": "Jane Roe", "path": ["desk", "tickets", "nodes", 3]}], **told}

    desk.broken["Tickets"] = partial
    found = desk.read()
    pages = -(-COUNT // 10)

    assert len(rows(found)) == COUNT - pages
    assert [reject.reason for batch in found for reject in batch.rejects] == [
        "an error at desk.tickets.nodes.3"
    ] * pages
    assert not any(batch.complete for batch in found)
    assert not any(batch.cursor.get("whole", True) for batch in found[:-1]), "from the first part on"
    del desk.broken["Tickets"]
    assert len(rows(desk.read(cursor=found[-1].cursor))) == COUNT, "what was missing is asked for again"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"data": {"people": {"edges": [{"node": {"id": n}} for n in range(9)]}}}, "no_page_info"),
        ({"data": {"people": {"pageInfo": INFO}}}, "no_records"),
        ({"data": None, "errors": [{"type": "FORBIDDEN"}] * 9}, "denied"),
        ({"data": {"people": None}, "errors": [{"type": "RATE_LIMITED"}] * 9}, "rate_limited"),
        ({"data": {"people": {"pageInfo": INFO, "edges": [{"node": 7}] * 30_000}}}, "no_records"),
    ],
)
def test_nothing_of_an_answer_comes_that_turns_out_to_be_none(
    desk: Desk, body: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(str(body)) > 10_000:
        monkeypatch.setattr(pieces, "_PIECE", 256 << 10)
    desk.broken["People"] = lambda _: body
    assert desk.failure("people").code == code
    raw = json.dumps(body).encode()
    desk.broken["People"] = lambda _: raw[:-2]
    assert desk.failure("people").code == "not_json"


def test_records_with_much_inside_come_in_several_batches(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(desk.read())
    monkeypatch.setattr(graphql, "LARGE", 150)  # about as much as one more page of comments has
    found = desk.read()
    again: list[Batch] = []
    for _ in range(100):
        with desk.bee() as bee:
            again.append(next(bee.collect_nectar("tickets", again[-1].cursor if again else None)))
        if again[-1].complete:
            break

    assert [row["id"] for row in rows(found)] == [row["id"] for row in whole]
    assert [json.loads(text(row)) for row in rows(again)] == [json.loads(text(row)) for row in rows(found)]
    assert len(again) == len(found) > 8


def test_more_inside_of_a_record_than_one_may_hold_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql, "_LARGEST_NESTED", 100)
    assert desk.failure().code == "too_many"


def node(number: int, inner: bytes) -> bytes:
    return b'{"id":%d,"inner":{"pageInfo":{"hasNextPage":false},"nodes":[%s]}}' % (number, inner)


def body(nodes: bytes, name: bytes = b"nodes", rest: bytes = b"") -> bytes:
    return b'{"data":{"list":{"pageInfo":{"hasNextPage":false},"%s":[%s]}}%s}' % (name, nodes, rest)


MANY = b",".join(node(n, b'{"n":1.5}') for n in range(110_000))
VALUES = b",".join([b'{"n":1.5}'] * 900_000)


@pytest.mark.parametrize(
    ("name", "answer", "taken", "problem"),
    [
        ("nodes", body(MANY), 110_000, ""),
        ("edges", body(MANY.replace(b'{"id"', b'{"node":{"id"').replace(b"]}}", b"]}}}"), b"edges"), 110_000, ""),
        ("nodes", body(b",".join(node(n, VALUES[:89_999]) for n in range(100))), 100, ""),
        ("nodes", body(node(1, VALUES)), 0, "too_many_values"),
        ("nodes", body(node(1, b""), rest=b',"errors":[' + VALUES + b"]"), 0, "too_many_values"),
        ("nodes", (body(node(1, b"").replace(b"false", b'true,"endCursor":"a"')), VALUES), 0, "too_many"),
    ],
    ids=["nodes", "edges", "nested", "one record", "errors", "inner pages"],
)
def test_a_large_answer_costs_little_more_than_its_bytes(
    desk: Desk, name: str, answer: bytes | tuple[bytes, bytes], taken: int, problem: str
) -> None:
    outer, inner = answer if isinstance(answer, tuple) else (answer, b"")
    assert 7 << 20 < len(outer) + len(inner) < 16 << 20
    desk.broken["Small"] = lambda _: body(b'{"node":{"id":1}}' if name == "edges" else b'{"id":1}', name.encode())
    desk.broken["Large"] = lambda _: outer
    desk.broken["Inner"] = lambda _: b'{"data":{"node":' + node(1, inner) + b"}}"
    asked = f"edges {{ node {NODE} }}" if name == "edges" else f"nodes {NODE}"
    nested = {"inner": {"query": INNER, "connection": "node.inner"}}
    streams = {
        at: {"query": QUERY % (at.title(), asked), "connection": "list", "nested": nested if inner else {}}
        for at in ("small", "large")
    }
    run = [sys.executable, "-c", _READER]
    given = json.dumps({**desk.options(), "streams": streams})
    done = subprocess.run(run, input=given, capture_output=True, text=True, check=True)
    (_, _, before), (rows_, failed, after) = json.loads(done.stdout)

    assert TOKEN not in done.stderr
    assert (rows_, failed) == (taken, problem)
    assert after - before < 56 << 10, "KiB: whole, such an answer makes 100 to 400 MiB of objects"
