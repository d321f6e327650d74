"""Who a record is and what it says: hashes that hold for ever, whatever types a batch happened to have."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import hmac
import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nectar import canonical
from nectar.batch import marked
from nectar.identity import content_hashes, key_hash, key_hashes
from nectar.jsonrows import parse, text
from nectar.jsonrows import table as table_of

SECRET = bytes(range(32))
GOLDEN = Path(__file__).parents[1] / "data" / "identity.json"


def every_kind() -> pa.Table:
    """A row of ordinary values, one of odd ones, one of nulls."""
    columns = {
        "text": (pa.string(), ["Ωmega 'x'", "", None]),
        "integer": (pa.int64(), [42, -(2**63), None]),
        "small": (pa.int16(), [42, -1, None]),
        "boolean": (pa.bool_(), [True, False, None]),
        "float": (pa.float64(), [1.5, float("-inf"), None]),
        "single": (pa.float32(), [1.5, -0.0, None]),
        "decimal": (pa.decimal128(20, 4), [decimal.Decimal("12.3400"), decimal.Decimal("-0.0001"), None]),
        "instant": (
            pa.timestamp("us", tz="UTC"),
            [dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), dt.datetime(1, 1, 1, tzinfo=dt.UTC), None],
        ),
        "date": (pa.date32(), [dt.date(2026, 2, 28), dt.date(1, 1, 1), None]),
        "time": (pa.time64("us"), [dt.time(23, 59, 59, 999999), dt.time(0), None]),
        "binary": (pa.binary(), [b"\x00\xff", b"", None]),
        "list": (pa.list_(pa.int64()), [[1, None, 3], [], None]),
        "struct": (
            pa.struct([("b", pa.string()), ("a", pa.int64())]),
            [{"b": "x", "a": 1}, {"b": None, "a": None}, None],
        ),
    }  # fmt: skip
    arrays = [pa.array(values, kind) for kind, values in columns.values()]
    fields = [pa.field(name, kind) for name, (kind, _) in columns.items()]
    arrays += [pa.array(["1.10", "NaN", None]), pa.array(['{"k": [1]}', '"a\\u00e9"', None])]
    fields += [marked("number", pa.string(), "number"), marked("json", pa.string(), "json")]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=40))
def test_a_key_at_hand_is_named_as_in_a_table(keys):
    names, numbers = zip(*keys, strict=True)
    table = pa.table({"name": pa.array(names, pa.string()), "number": pa.array(numbers, pa.int64())})

    assert key_hashes(table, ("name", "number"), SECRET).to_list() == [key_hash(key, SECRET) for key in keys]


def test_hashes_are_those_of_the_golden_file():
    table = every_kind()
    found = {
        "content": content_hashes(table, SECRET).to_list(),
        "records": canonical.records(table).to_list(),
        "keys": {name: key_hashes(table, [name], SECRET).to_list() for name in table.column_names},
    }

    assert found == json.loads(GOLDEN.read_text())


def test_the_canonical_text_comes_in_pieces_as_it_comes_whole():
    large = pa.table(
        {"b": [b"\xfe" * (3 << 20), None, b""], "é": ["ü", None, "x"], "n": [1, 2, None], "_op": ["upsert"] * 3}
    )

    for table in (every_kind(), large):
        made = [b"".join(pieces).decode() for pieces in canonical.pieces(table)]
        assert made == canonical.records(table).to_list()
    alone = [content_hashes(large.slice(row, 1), SECRET)[0] for row in range(3)]
    texts = [text.encode() for text in canonical.records(large).to_list()]
    assert content_hashes(large, SECRET).to_list() == alone
    assert alone == [hmac.new(SECRET.hex().encode(), text, hashlib.sha256).hexdigest()[:32] for text in texts]


def test_a_large_document_is_hashed_in_little_memory():
    table = pa.table({"content": [b"x" * (32 << 20)]})
    tracemalloc.start()
    try:
        content_hashes(table, SECRET)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_long_texts_hash_the_same_alone_and_among_many_rows():
    rows = [
        {"id": n, "text": f"{n} \u00fc" * (200_000 if n < 3 else 1), "note": None if n == 1 else "s"} for n in range(40)
    ]
    many, few = pa.Table.from_pylist(rows), pa.Table.from_pylist(rows[:3])

    assert content_hashes(few, SECRET).to_list() == content_hashes(many, SECRET).to_list()[:3]


def test_a_hash_is_an_hmac_of_the_canonical_text():
    table = pa.table({"id": ["a"], "n": [7]})

    expected = [hmac.new(SECRET.hex().encode(), text, hashlib.sha256).hexdigest()[:32] for text in (b"s1:aj1:7",)]

    assert key_hashes(table, ["id", "n"], SECRET).to_list() == expected


def test_a_null_is_as_if_the_column_were_not_there():
    with_null = pa.table({"id": [1], "more": pa.array([None], pa.string())})

    assert content_hashes(with_null, SECRET).to_list() == content_hashes(pa.table({"id": [1]}), SECRET).to_list()


def test_the_order_of_columns_says_nothing():
    one, other = pa.table({"a": [1], "b": ["x"]}), pa.table({"b": ["x"], "a": [1]})

    assert content_hashes(one, SECRET).to_list() == content_hashes(other, SECRET).to_list()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "bc"}, {"ab": "c"}), ({"a": "1"}, {"a": 1}), ({"a": "x", "b": "y"}, {"a": "xy", "b": ""}),
        ({"a": 1}, {"a": True}),
    ],
)  # fmt: skip
def test_what_differs_hashes_differently(one, other):
    assert content_hashes(table_of([one]), SECRET).to_list() != content_hashes(table_of([other]), SECRET).to_list()


def test_a_key_without_a_value_has_no_hash():
    assert key_hashes(pa.table({"id": [None, "x"], "n": [1, 1]}), ["id", "n"], SECRET).to_list()[0] is None


fractions = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(allow_nan=False, allow_infinity=False)
numbers = st.integers() | fractions | st.integers(-(10**40), 10**40)
scalars = st.none() | st.booleans() | st.text() | numbers
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.booleans() | st.text() | numbers, min_size=1, max_size=8))
def test_a_key_is_the_same_whatever_stands_beside_it(values):
    """Pages of an API have the types of what happens to be on them."""
    together = key_hashes(table_of([{"id": v} for v in values]), ["id"], SECRET).to_list()
    alone = [key_hashes(table_of([{"id": v}]), ["id"], SECRET).to_list()[0] for v in values]

    assert together == alone


@example([{"a": [Decimal("0.00009999")]}, {"a": [1e-5, 1e-4, 1e15, 1e16, -0.0]}, {"a": False}])
@given(st.lists(st.dictionaries(st.sampled_from("abc"), nested, min_size=1, max_size=3), min_size=1, max_size=5))
def test_a_record_is_the_same_whatever_stands_beside_it(records):
    records = [parse(text(record)) for record in records]
    together = content_hashes(table_of(records), SECRET).to_list()
    alone = [content_hashes(table_of([record]), SECRET).to_list()[0] for record in records]

    assert together == alone


@given(st.lists(scalars.filter(lambda v: v is not None), min_size=2, max_size=2))
def test_two_values_hash_alike_only_if_they_are_equal(values):
    one, other = canonical.records(table_of([{"a": v} for v in values])).to_list()
    kinds = {type(v) if isinstance(v, str | bool) else "number" for v in values}
    numeric = [v if isinstance(v, str | bool) else Decimal(str(v)) for v in values]

    assert (one == other) == (len(kinds) == 1 and numeric[0] == numeric[1])


@example([-0.0, 1e15, 1e16, 1e22, 1e38, 5e-324, 0.00001, 0.000001, float("nan"), float("-inf")], [Decimal("-0.00")])
@given(st.lists(st.floats(), min_size=1), st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_number_has_one_form_whatever_type_carries_it(floats, decimals):
    """Columns are done at once, in Rust; nothing may differ from what Python says of one value."""
    column = canonical.records(pa.table({"n": pa.array(floats, pa.float64(), from_pandas=False)})).to_list()
    texts = pa.table([pa.array(map(repr, floats))], schema=pa.schema([marked("n", pa.string(), "number")]))
    exact = pa.table([pa.array(map(str, decimals))], schema=pa.schema([marked("n", pa.string(), "number")]))

    assert column == canonical.records(texts).to_list()
    assert canonical.records(exact).to_list() == [
        f"1:nj{len(form)}:{form}" for form in (canonical.exact(str(d)) for d in decimals)
    ]
    for value in decimals:
        assert Decimal(canonical.exact(str(value))) == value


@given(nested)
@example({'\x7f\x1f\n"\\/\u2028é': ["\b\f", {"b": 1, "a": -(2**63), "ß": 2**64}], "": None})
@example([10**15, 10**16, -0.0, 2**63, 1e16, 1e-5, {"2026-01-02": "v1.5"}])
def test_the_quick_way_and_the_slow_one_agree(value):
    """orjson writes what holds no odd numbers."""
    table = pa.table([pa.array([text([value])])], schema=pa.schema([marked("v", pa.string(), "json")]))
    expected = canonical.spelled([json.loads(text(value), parse_float=Decimal)])

    assert canonical.records(table).to_list() == [f"1:vn{len(expected.encode())}:{expected}"]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("1", "1"), ("1.0", "1"), ("1e0", "1"), ("10E-1", "1"), ("-0.0", "0"), ("0e9", "0"), ("0.00001", "0.00001"),
        ("0.000001", "1e-6"), ("12.50e-7", "1.25e-6"), ("1" + "0" * 37, "1" + "0" * 37), ("1" + "0" * 38, "1e38"),
        ("-123E+2", "-12300"), ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1.5", "1.5"),
    ],
)  # fmt: skip
def test_equal_numbers_are_written_alike(written, form):
    table = pa.table([pa.array([written])], schema=pa.schema([marked("n", pa.string(), "number")]))

    assert canonical.records(table).to_list() == [f"1:nj{len(form)}:{form}"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"x": 1, "y": [1.50]}}, {"a": {"y": [1.5], "x": 1.0}}),
        ({"a": {"x": None}}, {"a": {}}),
        ({"a": {"x": "1"}}, {"a": {"x": 1}}),
        ({"a": [True]}, {"a": [1]}),
        ({"a": "[1]"}, {"a": [1]}),
    ],
)
def test_objects_are_equal_by_what_they_say(one, other):
    equal = one == other and "[1]" not in one.values() and one["a"] != [True]
    found = [content_hashes(table_of([record]), SECRET).to_list() for record in (one, other)]

    assert (found[0] == found[1]) == equal


def test_what_nobody_can_put_in_order_stands_for_itself():
    """JSON text that is none, halves of surrogate pairs and endless nesting are no reason to fail."""
    deep = "[" * 5000 + "]" * 5000
    odd = ["no json", '"\\ud800"', '{"\\ud800": 1}', deep, "[" * 150 + "]" * 150, "NaN"]
    table = pa.table([pa.array(odd)], schema=pa.schema([marked("v", pa.string(), "json")]))

    assert len(set(canonical.records(table).to_list())) == len(odd)
