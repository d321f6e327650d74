"""Documents with differing fields: all at once gives what one after the other gives, or nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import bson
import pytest
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.mongo import mixed
from bees.core.mongo.values import decode, tables
from tests.bees.bson_tables import is_the_same

NOON = dt.datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the driver gives them
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(),
    st.text(max_size=9),
    st.binary(max_size=5),
    st.binary(min_size=16, max_size=16).map(lambda raw: Binary(raw, 4)),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.integers(-(2**50), 2**50).map(DatetimeMS),
    st.just(NOON),
    st.just(Decimal128("1.50")),
    st.just(Timestamp(5, 6)),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 9) | st.text(max_size=2), max_size=2),
    st.lists(st.integers(0, 9) | st.text(max_size=2), max_size=3),
)
IDS = {
    "numbers": lambda n: n,
    "oids": lambda n: ObjectId(n.to_bytes(12, "big")),
    "texts": str,
    "odd": lambda n: {"n": n} if n % 3 else str(n),
    "hex": lambda n: f"{n:024x}" if n % 2 else ObjectId(n.to_bytes(12, "big")),
}


def same(raw: bytes, *, plain: bool = False) -> bool:
    return is_the_same(mixed.table(raw, plain_text_ids=plain), raw, plain=plain)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(sorted(IDS)), st.booleans())
def test_any_documents_give_the_same_table(data: Any, ids: str, plain: bool) -> None:
    one = st.dictionaries(st.sampled_from(["a", "b", "näme", "_op", "c.d", "x" * 20]), VALUES, max_size=6)
    few = data.draw(st.lists(one, min_size=1, max_size=6))
    raw = b"".join(bson.encode({"_id": IDS[ids](n), **few[n % len(few)]}) for n in range(60))

    assert same(raw, plain=plain)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_broken_bytes_are_left_to_the_thorough_way_or_change_nothing(data: Any) -> None:
    raw = bytearray(b"".join(bson.encode({"_id": n, **({"a": "text"} if n % 2 else {"b": [n]})}) for n in range(40)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = mixed.table(bytes(raw), plain_text_ids=False)
    except (IndexError, ValueError, OverflowError) as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    if found is None:
        return
    documents, rejects = decode(bytes(raw), "items")
    if not rejects and len(documents) == found[0].num_rows:
        ((_, table),) = tables(documents)
        assert str(found[0].to_pydict()) == str(table.to_pydict())


@pytest.mark.parametrize(
    "documents",
    [
        [{"_id": n, "x" * 80: 1, "n" + str(n % 2): 1} for n in range(50)],
        [{"_id": n, "code": bson.Code("x"), "n" + str(n % 2): 1} for n in range(50)],
        [({"_id": n} if n else {"a": 1}) for n in range(50)],
        [{"_id": n, "a" + str(n % 2): 1} for n in range(5)],
    ],
)
def test_what_it_does_not_know_is_left_to_the_thorough_way(documents: list[dict[str, Any]]) -> None:
    assert mixed.table(b"".join(map(bson.encode, documents)), plain_text_ids=False) is None
