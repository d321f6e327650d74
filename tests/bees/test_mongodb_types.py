"""BSON values on their way into Arrow: none is changed, none meets another, and the same one always looks the same."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import bson
import numpy as np
import pyarrow as pa
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core.mongo import mixed, quick
from bees.core.mongo.place import Place, Value, place_of
from bees.core.mongo.queries import after, kind_of, less
from bees.core.mongo.values import CODEC, decode, iso, json_text, pieces, slices, tables
from nectar import canonical
from nectar.batch import mark_of
from nectar.encode import encode

OID = ObjectId("65f000000000000000000001")
WHEN = dt.datetime(2026, 3, 1, 12, 30, 15, 250000)  # noqa: DTZ001 - as the driver gives them
UNIQUE = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


def table_of(values: list[Any], name: str = "v") -> pa.Table:
    documents, rejects = decode(b"".join(bson.encode({name: value}) for value in values), "items")
    assert not rejects
    ((number, table),) = tables(documents)
    assert number == len(values)
    return table


@pytest.mark.parametrize(
    ("value", "kind", "mark", "text"),
    [
        ("Grüße", "string", None, "Grüße"),
        (True, "bool", None, True),
        (7, "int64", None, 7),
        (Int64(2**63 - 1), "int64", None, 2**63 - 1),
        (0.1, "double", None, 0.1),
        (Decimal128("1.10"), "string", "number", "1.10"),
        (Decimal128("-1E+6000"), "string", "number", "-1E+6000"),
        (Decimal128("NaN"), "string", "number", "NaN"),
        (WHEN, "string", None, "2026-03-01T12:30:15.250+00:00"),
        (DatetimeMS(2**53), "string", None, "287396-10-12T08:59:00.992+00:00"),
        (DatetimeMS(-(2**46)), "string", None, "0261-02-07T22:37:02.336+00:00 BC"),
        (OID, "string", None, "65f000000000000000000001"),
        (b"\x00\xff", "binary", None, b"\x00\xff"),
        (Binary.from_uuid(UNIQUE), "string", None, str(UNIQUE)),
        (Binary(bytes(16), 3), "string", "json", '{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"03"}}'),
        (Binary(b"ab", 128), "string", "json", '{"$binary":{"base64":"YWI=","subType":"80"}}'),
        (Regex("^a", "im"), "string", "json", '{"$regularExpression":{"pattern":"^a","options":"im"}}'),
        (Code("f()"), "string", "json", '{"$code":"f()"}'),
        (Code("f()", {"x": 1}), "string", "json", '{"$code":"f()","$scope":{"x":1}}'),
        (Timestamp(5, 6), "string", "json", '{"$timestamp":{"t":5,"i":6}}'),
        (DBRef("shops", OID), "string", "json", '{"$ref":"shops","$id":{"$oid":"65f000000000000000000001"}}'),
        (MinKey(), "string", "json", '{"$minKey":1}'),
        (MaxKey(), "string", "json", '{"$maxKey":1}'),
        ({"a": {"b": [1, None]}}, "string", "json", '{"a":{"b":[1,null]}}'),
        ([], "string", "json", "[]"),
        ({"n": float("nan"), "m": [float("-inf")]}, "string", "json",
         '{"n":{"$numberDouble":"NaN"},"m":[{"$numberDouble":"-Infinity"}]}'),
        ([Binary.from_uuid(UNIQUE)], "string", "json", '[{"$uuid":"00112233-4455-6677-8899-aabbccddeeff"}]'),
        ({"d": WHEN, "i": Int64(2**60), "e": Decimal128("1.10"), "u": {}}, "string", "json",
         '{"d":{"$date":"2026-03-01T12:30:15.250+00:00"},"i":1152921504606846976,"e":1.10,"u":{}}'),
    ],
)  # fmt: skip
def test_each_type_has_its_exact_form(value, kind, mark, text):
    table = table_of([value, None])
    field = table.schema.field("v")

    assert (str(field.type), mark_of(field), table["v"].to_pylist()) == (kind, mark, [text, None])


def test_floats_that_are_no_numbers_are_kept():
    values = table_of([1.5, float("inf"), float("nan")])["v"].to_pylist()

    assert values[:2] == [1.5, float("inf")]
    assert values[2] != values[2]


def test_numbers_of_several_types_keep_their_digits():
    table = table_of([1, 0.1, Int64(2**60), Decimal128("3.00"), float("inf"), None])

    assert table["v"].to_pylist() == ["1", "0.1", "1152921504606846976", "3.00", "Infinity", None]
    assert mark_of(table.schema.field("v")) == "number"


def test_a_field_of_mixed_types_is_json_text():
    table = table_of([1, "1", OID, WHEN, None, True, {"a": 1}, MinKey()])

    assert table["v"].to_pylist() == [
        "1",
        '"1"',
        '"65f000000000000000000001"',
        '"2026-03-01T12:30:15.250+00:00"',
        None,
        "true",
        '{"a":1}',
        '{"$minKey":1}',
    ]


@pytest.mark.parametrize(
    "value",
    [
        "a", "1", "", 1, Int64(2**60), 1.5, -0.0, Decimal128("1.50"), True, OID, WHEN, DatetimeMS(2**53), {"a": OID},
        Binary.from_uuid(UNIQUE), [WHEN], {}, Timestamp(5, 6), MinKey(), Regex("^a"), Binary(b"a", 128),
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [7, 1.5, "x", True, OID, {"x": 1}, Decimal128("9.10")])
def test_a_value_is_the_same_whatever_stands_beside_it(value, beside):
    """Whoever is read with others the next time is no changed record, and no other key."""
    alone, together = table_of([value]), table_of([value, beside])

    assert canonical.keys(together, ("v",))[0] == canonical.keys(alone, ("v",))[0]
    assert canonical.records(together)[0] == canonical.records(alone)[0]


def test_every_form_becomes_json_that_a_jar_takes():
    values = [1, 0.1, float("nan"), "a\0b", OID, WHEN, b"x", Decimal128("NaN"), DatetimeMS(2**53), {"a": float("inf")}]
    for some in ([value] for value in values):
        (written,), _ = encode(table_of(some))
        assert json.loads(written)["v"] is not None
    written, _ = encode(table_of(values))
    assert len([json.loads(one) for one in written]) == len(values)


class TestIds:
    ALL = (
        OID, str(OID), str(OID).upper(), "a", '"a"', '{"$oid":"65f000000000000000000001"}', 1, 1.5, "1",
        Decimal128("7.25"),
        Int64(2**50), True, WHEN, "2026-03-01T12:30:15.250+00:00", b"a", Binary(b"a", 128), Timestamp(1, 1),
        {"$oid": str(OID)[:-1]}, {"a": 1}, Binary.from_uuid(UNIQUE), str(UNIQUE), MinKey(), None,
    )  # fmt: skip

    @pytest.mark.parametrize("plain", [True, False])
    def test_the_same_id_has_the_same_key_in_whatever_company(self, plain):
        def keys(values: tuple[Any, ...]) -> list[str]:
            documents, _ = decode(b"".join(bson.encode({"_id": value}) for value in values), "items")
            ((_, table),) = tables(documents, plain_text_ids=plain)
            return canonical.keys(table, ("underscore_id",)).to_list()

        together = keys(self.ALL)
        assert together == [keys((value,))[0] for value in self.ALL]
        assert len(set(together)) == len(self.ALL)
        assert None not in together

    @pytest.mark.parametrize("others", [[OID], [1], ["a"], [1, "a", 1.5]])
    @pytest.mark.parametrize("number", [1, 99])
    def test_null_is_an_id_and_none_is_no_id(self, others, number):
        """As of `$group: {_id: null}`, whose one document holds what all of them come to."""
        documents = [{"_id": one} for _ in range(number) for one in others]
        for odd, key in (({"_id": None, "n": 1}, '{"$null":1}'), ({"n": 1}, None)):
            raw = b"".join(map(bson.encode, [*documents, odd]))
            found = quick.table(raw) or mixed.table(raw, plain_text_ids=False)
            table = found[0] if found else next(tables(decode(raw, "items")[0]))[1]
            assert table["underscore_id"].to_pylist()[-1] == key

    def test_either_kind_of_id_is_plain_where_it_is_the_only_one(self):
        ((_, objects),) = tables([{"_id": OID}])
        ((_, texts),) = tables([{"_id": str(OID)}], plain_text_ids=True)
        assert objects["underscore_id"].to_pylist() == texts["underscore_id"].to_pylist() == [str(OID)]


def test_a_document_that_is_no_bson_is_set_aside_with_its_bytes():
    bad = bson.encode({"_id": 2, "t": "abcd"}).replace(b"abcd", b"ab\xff\xfe")
    documents, rejects = decode(bson.encode({"_id": 1}) + bad + bson.encode({"_id": 3}), "items")

    assert [document["_id"] for document in documents] == [1, 3]
    assert [(r.position, r.code, r.raw) for r in rejects] == [("items, document 2", "not_bson", bad)]


def test_documents_with_nothing_in_common_make_several_tables():
    documents = [{"_id": n, **{f"f{n}-{m}": m for m in range(40)}} for n in range(500)]
    made = list(tables(documents))

    assert len(made) > 1
    assert sum(number for number, _ in made) == 500
    assert all(table.num_rows * table.num_columns <= 4_000_000 for _, table in made)


def test_slices_hold_whole_documents():
    raw = [bson.encode({"_id": n, "t": "x" * n}) for n in range(50)]
    cut = list(slices(b"".join(raw), 300))

    assert [piece for some in cut for piece in pieces(some)] == raw
    assert max(map(len, cut)) < 400


BSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
    | st.floats()
    | st.binary(max_size=9)
    | st.integers(-(2**63), 2**63 - 1).map(DatetimeMS)
    | st.binary(min_size=12, max_size=12).map(ObjectId)
    | st.decimals(places=3, min_value=-(10**9), max_value=10**9).map(Decimal128),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(BSON, min_size=1, max_size=6))
def test_no_value_breaks_a_table(values):
    table = table_of(values)
    table.validate(full=True)
    written, _ = encode(table)
    assert len([json.loads(one) for one in written]) == len(values)


@settings(deadline=None, max_examples=100)
@given(BSON)
def test_a_place_comes_back_bit_for_bit(value):
    kept = bson.decode(bson.encode({"v": value}), CODEC)["v"]
    place = Place(("f", "_id"), "rows", id=Value(kept), value=Value(kept), mark=Value(1), token={"_data": "82"})
    again = place_of(json.loads(json.dumps(place.cursor())), ("f", "_id"))

    assert again is not None
    assert again.cursor() == place.cursor()
    assert place_of(place.cursor(), ("g", "_id")) is None


@settings(deadline=None, max_examples=100)
@given(st.integers(-(2**55), 2**55))
def test_far_dates_are_those_of_another_library_s_calendar(millis):
    oracle = str(np.datetime64(millis, "ms"))  # astronomical: year 0 is 1 BC
    year, rest = oracle[1:].split("-", 1) if oracle.startswith("-") else oracle.split("-", 1)
    number = -int(year) if oracle.startswith("-") else int(year)
    told = f"{number:04d}-{rest}+00:00" if number > 0 else f"{1 - number:04d}-{rest}+00:00 BC"

    assert iso(DatetimeMS(millis)) == told


def test_json_text_of_nothing_strange_is_plain():
    assert json_text({"a": [1, "x", None, False, 1.5]}) == '{"a":[1,"x",null,false,1.5]}'


@pytest.mark.parametrize(
    ("value", "back", "found"),
    [
        (WHEN, 60, WHEN - dt.timedelta(seconds=60)),
        (Timestamp(100, 7), 10, Timestamp(90, 0)),
        (ObjectId("65f000000000000000000001"), 16, ObjectId("65efffF00000000000000000".lower())),
        (10, 3, 7),
        (10.5, 3, 7.5),
        (Decimal128("10.5"), 3, Decimal128("7.5")),
        ("a", 9, "a"),
        (-(2**63), 5, -(2**63)),
    ],
)
def test_a_look_back_goes_back_in_the_value_s_own_unit(value, back, found):
    told = less(value, back)
    assert (int(told) if isinstance(told, DatetimeMS) else told) == (
        int(DatetimeMS(found)) if isinstance(found, dt.datetime) else found
    )


def test_what_comes_after_a_value():
    assert after("_id", MaxKey()) == {"_id": {"$in": []}}
    for nan in (float("nan"), Decimal128("NaN"), Decimal128("-NaN")):
        assert after("_id", nan)["$or"][0] == {"_id": {"$gte": float("-inf")}}
        assert kind_of(nan) is None, "whoever followed it would find no other number again"
    assert after("_id", Decimal128("1.5"))["$or"][0] == {"_id": {"$gt": Decimal128("1.5")}}
    assert "objectId" in after("_id", "x")["$or"][1]["_id"]["$type"]
    assert kind_of(Decimal128("Infinity")) == "number"
