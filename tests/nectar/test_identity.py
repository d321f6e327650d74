"""Who a record is and what it says: hashes that hold for ever, whatever types a batch happened to have."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import hmac
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nectar import canonical
from nectar.batch import marked
from nectar.identity import content_hashes, key_hashes
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


def test_hashes_are_those_of_the_golden_file():
    table = every_kind()
    found = {
        "content": content_hashes(table, SECRET).to_list(),
        "records": canonical.records(table).to_list(),
        "keys": {name: key_hashes(table, [name], SECRET).to_list() for name in table.column_names},
    }

    assert found == json.loads(GOLDEN.read_text())


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


plain = st.one_of(st.text(), st.integers(), st.booleans())


@given(st.lists(plain, min_size=1, max_size=8))
def test_a_key_is_the_same_whatever_stands_beside_it(values):
    """Pages of an API have the types of what happens to be on them."""
    together = key_hashes(table_of([{"id": v} for v in values]), ["id"], SECRET).to_list()
    alone = [key_hashes(table_of([{"id": v}]), ["id"], SECRET).to_list()[0] for v in values]

    assert together == alone
