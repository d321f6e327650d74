"""The quick way from BSON to Arrow gives what the thorough one gives, or nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import bson
from bson import DatetimeMS, Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.mongo import quick
from bees.core.mongo.values import decode, tables
from tests.bees.bson_tables import is_the_same

NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the driver gives them
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=9),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1).map(Int64),
    "double": st.floats(),
    "bool": st.booleans(),
    "date": st.integers(-62135596800000, 253402300799999).map(DatetimeMS),
    "far": st.integers(-(2**60), 2**60).map(DatetimeMS),
    "oid": st.binary(min_size=12, max_size=12).map(ObjectId),
    "null": st.none(),
}
IDS = {"numbers": lambda n: n, "longs": Int64, "oids": lambda n: ObjectId(n.to_bytes(12, "big")), "texts": str}


def same(raw: bytes, *, plain: bool = False) -> bool:
    return is_the_same(quick.table(raw, plain_text_ids=plain), raw, plain=plain)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(sorted(IDS)), st.lists(st.sampled_from(sorted(FIELDS)), max_size=5, unique=True))
def test_alike_documents_give_the_same_table_either_way(data, ids, names):
    few = [{name: data.draw(FIELDS[name] | st.none()) for name in names} for _ in range(4)]
    raw = b"".join(bson.encode({"_id": IDS[ids](n), **few[n % 4]}) for n in range(70))

    taken = same(raw)
    if ids != "texts" and "far" not in names and not any(one.get("oid", 1) is None for one in few):
        assert taken


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_broken_bytes_are_left_to_the_thorough_way(data):
    document = {"_id": 1, "t": "abc", "d": NOON, "f": 1.5, "o": ObjectId(b"a" * 12), "b": True}
    raw = bytearray(b"".join(bson.encode(document | {"_id": n}) for n in range(66)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = quick.table(bytes(raw))
    if found is None:
        return
    documents, rejects = decode(bytes(raw), "items")
    assert not rejects
    ((_, table),) = tables(documents)
    assert str(found[0].to_pydict()) == str(table.to_pydict())


def test_documents_that_differ_are_left_to_the_thorough_way():
    usual = [{"_id": n, "a": n, "b": "x"} for n in range(70)]
    assert same(b"".join(map(bson.encode, usual)))
    for odd in (
        {"_id": 70},
        {"_id": 70, "b": "x", "a": 1},
        {"_id": 70, "a": 1, "b": []},
        {"_id": 70, "a": "1", "b": "x"},
    ):
        assert not same(b"".join(map(bson.encode, [*usual, odd])))
    assert not same(b"".join(map(bson.encode, usual[:5])))


def test_object_ids_beside_plain_texts_are_left_to_the_thorough_way():
    raw = b"".join(bson.encode({"_id": ObjectId(n.to_bytes(12, "big"))}) for n in range(70))

    assert same(raw)
    assert not same(raw, plain=True)
