"""One value gets one result, whatever shape of data it stands in."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import types
import uuid
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nectar.batch import marked
from nectar.errors import SkipRecord
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber
from nectar.scrub.find import engine
from nectar.scrub.find.findings import ScanError
from nectar.scrub.recognisers import recognisers

KEYS = InMemoryKeys()
ROWS = [
    {
        "id": 1,
        "email": "Bob@Example.com",
        "phone": "202-555-0143",
        "note": "card 4111 1111 1111 1111, ssn 123-45-6788, mail bob@example.com",
        "account_number": "001234567890",
        "routing": "021000021",
        "txn": "TXN-12345",
        "amount": 12.5,
        "at": dt.date(2024, 1, 2),
    },
    {
        "id": 2,
        "email": None,
        "phone": "none",
        "note": "nothing here",
        "account_number": None,
        "routing": "",
        "txn": "transaction 99887766",
        "amount": 3.0,
        "at": None,
    },
]
PROFILES = ["gdpr_compliant", "financial_data"]


def scrubber(profile=None, *rules, **more):
    return DataScrubber({"profile_id": profile, "custom_rules": list(rules), **more}, KEYS)


@pytest.fixture(params=PROFILES)
def profiled(request):
    return scrubber(request.param)


def plain(frame):
    return [{k: None if pd.isna(v) else v for k, v in row.items()} for row in frame.to_dict("records")]


def test_gdpr_takes_out_what_it_names():
    row = scrubber("gdpr_compliant").process(ROWS[0])
    token = row["email"]
    assert token == f"{KEYS.made['EMAIL_ADDRESS'][0]}:{token.split(':')[1]}"
    assert len(token.split(":")[1]) == 32
    assert row["phone"] is None
    assert row["note"] == f"card , ssn , mail {token}"
    assert row["txn"] == "TXN-12345"
    assert (row["id"], row["amount"], row["at"]) == (1, 12.5, dt.date(2024, 1, 2))


def test_financial_takes_out_what_it_names():
    row = scrubber("financial_data").process(ROWS[0])
    assert row["account_number"] == "********7890"
    assert row["routing"] is None
    assert row["txn"].startswith(KEYS.made["TRANSACTION_ID"][0] + ":")
    assert row["email"] == "Bob@Example.com"


def test_every_shape_gives_the_same_values(profiled):
    expected = [profiled.process(row) for row in ROWS]
    frame = pd.DataFrame(ROWS, index=["a", "b"])

    assert profiled.process(ROWS) == expected
    assert profiled.process(tuple(ROWS)) == tuple(expected)
    scrubbed = profiled.process(frame)
    assert list(scrubbed.columns) == list(frame.columns)
    assert list(scrubbed.index) == ["a", "b"]
    assert plain(scrubbed) == expected
    assert profiled.process(pl.DataFrame(ROWS)).to_dicts() == expected
    table = pa.Table.from_pylist(ROWS)
    assert profiled.process(table).to_pylist() == expected
    assert profiled.process(table.slice(1)).to_pylist() == expected[1:]
    assert profiled.process(table.to_batches()[0]).to_pylist() == expected
    assert profiled.scrub(table).table.to_pylist() == expected
    for name in ("email", "phone", "note", "txn"):
        series = profiled.process(pd.Series([row[name] for row in ROWS], name=name, dtype=object)).tolist()
        assert series == [row[name] for row in expected]


def test_nested_shapes_give_the_same_values(profiled):
    nested = [
        {
            "who": {"email": "a@b.com", "tags": ["x", "202-555-0143", None]},
            "cards": [{"n": "4111111111111111"}],
            "l": [],
        },
        {"who": None, "cards": None, "l": ["TXN-98765"]},
    ]
    expected = [profiled.process(row) for row in nested]

    table = pa.Table.from_pylist(nested)
    assert profiled.process(table).to_pylist() == expected
    assert profiled.process(pa.concat_tables([table, table]).slice(1, 2)).to_pylist() == [expected[1], expected[0]]
    documents = pa.table(
        {"j": pa.array([json.dumps(row) for row in nested])}, schema=pa.schema([marked("j", pa.string(), "json")])
    )
    assert [json.loads(text) for text in profiled.process(documents)["j"].to_pylist()] == expected


def test_text_is_scrubbed_as_a_field_is():
    gdpr = scrubber("gdpr_compliant")
    note = ROWS[0]["note"]
    assert gdpr.process(note) == gdpr.process({"note": note})["note"]
    assert gdpr.process("202-555-0143") == ""
    assert gdpr.process(["202-555-0143"]) == [None]


def test_the_input_is_never_changed(profiled):
    rows, frame, table = copy.deepcopy(ROWS), pd.DataFrame(ROWS), pa.Table.from_pylist(ROWS)
    polar = pl.DataFrame(ROWS)
    for data in (rows, frame, table, polar):
        profiled.process(data)
    assert rows == ROWS
    assert frame.equals(pd.DataFrame(ROWS))
    assert table.equals(pa.Table.from_pylist(ROWS))
    assert polar.equals(pl.DataFrame(ROWS))


def test_keys_of_objects_are_data_too():
    gdpr = scrubber("gdpr_compliant")
    token = gdpr.process("bob@example.com")
    data = {"bob@example.com": {"phone": "202-555-0143"}, "202-555-0143": 1, "202-555-0144": 2, "name": "x"}

    assert gdpr.process(data) == {token: {"phone": None}, "<PHONE_NUMBER>": 1, "<PHONE_NUMBER>#2": 2, "name": "x"}
    field = marked("j", pa.string(), "json")
    result = gdpr.scrub(pa.table({"j": [json.dumps(data)]}, schema=pa.schema([field])))
    assert json.loads(result.table["j"][0].as_py()) == gdpr.process(data)
    assert "bob@" not in str(result.removed.to_pylist())
    pairs = pa.array([list({"bob@example.com": "202-555-0143"}.items()), None], pa.map_(pa.string(), pa.string()))
    assert gdpr.process(pa.table({"m": pairs}))["m"].to_pylist() == [[(token, None)], None]


def test_integers_are_caught_by_field_name_or_check_digit():
    gdpr, financial = scrubber("gdpr_compliant"), scrubber("financial_data")
    row = {
        "number": 4111111111111111,
        "phone": 2025550143,
        "tel": 442079460958,
        "order_number": 2025550143,
        "ssn": 12345678,
    }
    assert gdpr.process(row) == {"number": None, "phone": None, "tel": None, "order_number": 2025550143, "ssn": None}
    assert financial.process({"account_id": 123456789, "routing": 21000021, "n": 123456789}) == {
        "account_id": "******789",
        "routing": None,
        "n": 123456789,
    }
    table = pa.table({"number": [4111111111111111, 7, None], "account_id": [123456789, None, 5]})
    assert gdpr.process(table)["number"].type == pa.int64()
    assert gdpr.process(table)["number"].to_pylist() == [None, 7, None]
    assert financial.process(table)["account_id"].to_pylist() == ["******789", None, "5"]
    assert gdpr.process(pd.DataFrame({"n": [4111111111111111, 7]}))["n"].dtype == "Int64"
    assert gdpr.process(pd.DataFrame({"n": [4111111111111111, None]}))["n"].isna().all()
    assert gdpr.process({"n": decimal.Decimal(4111111111111111)}) == {"n": None}


def test_marked_numbers_are_numbers():
    schema = pa.schema([marked("card", pa.string(), "number"), marked("x", pa.string(), "number")])
    table = pa.table({"card": ["4111111111111111", "12.50"], "x": ["2025550143", None]}, schema=schema)
    result = scrubber("gdpr_compliant").scrub(table).table
    assert result.to_pylist() == [{"card": None, "x": "2025550143"}, {"card": "12.50", "x": None}]


def test_reserved_and_binary_columns_are_left_alone():
    table = pa.table({"_op": ["bob@example.com"], "content": [b"bob@example.com"]})
    assert scrubber("gdpr_compliant").scrub(table).table.equals(table)


def test_json_keeps_what_is_not_personal():
    text = (
        r'{"a": 1.10, "big": 123456789012345678901234567890, "n": null, '
        r'"e":"bob\u0040example.com","e":"x","s":"\ud800 a@b.com"}'
    )
    untouched = '{"a":  1.10}'
    table = pa.table(
        {"j": [text, untouched, "no json bob@example.com", None]}, schema=pa.schema([marked("j", pa.string(), "json")])
    )

    result = scrubber("gdpr_compliant").scrub(table)

    first, second, third, fourth = result.table["j"].to_pylist()
    assert first.startswith('{"a":1.10,"big":123456789012345678901234567890,"n":null,"e":"')
    assert "bob" not in first
    assert "a@b" not in first
    assert json.loads(first)["e"] == "x"
    assert (second, third, fourth) == (untouched, None, None)
    assert result.failed == {2: "invalid_json"}


def test_what_was_removed_is_told_by_row_field_and_kind():
    table = pa.table(
        {"note": ["a@b.com c@d.com", "x", "a@b.com 202-555-0143"], "x": [["a@b.com"], None, []], "z": ["q"] * 3}
    )
    result = scrubber("gdpr_compliant", {"field": "z", "action": "replace"}).scrub(table)
    assert result.removed.schema == pa.schema(
        [("row", pa.int32()), ("field", pa.string()), ("kind", pa.string()), ("count", pa.int32())]
    )
    assert [tuple(row.values()) for row in result.removed.to_pylist()] == [
        (0, "note", "EMAIL_ADDRESS", 2),
        (0, "x", "EMAIL_ADDRESS", 1),
        (0, "z", "rule", 1),
        (1, "z", "rule", 1),
        (2, "note", "EMAIL_ADDRESS", 1),
        (2, "note", "PHONE_NUMBER", 1),
        (2, "z", "rule", 1),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string(), 1),
        pa.large_list(pa.string()), pa.struct([pa.field("e", pa.string())]),
    ],
)  # fmt: skip
def test_arrow_types_stay(kind):
    value = {"e": "a@b.com"} if pa.types.is_struct(kind) else ["a@b.com"] if pa.types.is_nested(kind) else "a@b.com"
    table = pa.table({"c": pa.array([value, None], kind)})
    result = scrubber("gdpr_compliant").process(table)["c"]
    assert "a@b.com" not in str(result.to_pylist())
    assert result.type == kind
    assert result.null_count == 1


def test_pandas_types_and_doubled_names_stay():
    frame = pd.DataFrame([["a@b.com", 1, "a@b.com"], ["x", 2, None]], columns=["a", "n", "a"])
    frame["c"] = pd.Series(["a@b.com", "x"], dtype="category")
    result = scrubber("gdpr_compliant").process(frame)
    assert list(result.columns) == ["a", "n", "a", "c"]
    assert [kind.name for kind in result.dtypes] == [kind.name for kind in frame.dtypes]
    assert "a@b.com" not in result.to_csv()


def test_an_index_of_addresses_is_scrubbed_and_others_stay():
    gdpr = scrubber("gdpr_compliant")
    assert "a@b" not in gdpr.process(pd.DataFrame({"n": [1]}, index=["a@b.com"])).to_csv()
    for index in (["x", "y"], [5, 5], pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])):
        frame = pd.DataFrame({"e": ["a@b.com", "x"]}, index=index)
        assert gdpr.process(frame).index.equals(frame.index)


def test_a_removed_value_makes_a_field_nullable():
    table = pa.table({"p": ["202-555-0143"]}, schema=pa.schema([pa.field("p", pa.string(), nullable=False)]))
    result = scrubber("gdpr_compliant").scrub(table).table
    result.validate(full=True)
    assert result["p"].to_pylist() == [None]


def test_empty_shapes_come_back_empty(profiled):
    for data in ("", {}, [], None, True, 1.5):
        assert profiled.process(data) == data
    assert profiled.process(pd.DataFrame()).empty
    assert profiled.process(pl.DataFrame()).is_empty()
    assert profiled.process(pa.table({"a": pa.array([], pa.string())})).num_rows == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a@b.com", "202-555-0143"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def shape(value):
    if isinstance(value, dict):
        return {"size": len(value), "of": [shape(v) for v in value.values()]}
    return [shape(v) for v in value] if isinstance(value, list) else None


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_json_is_scrubbed_and_keeps_its_shape(data):
    for profile in PROFILES:
        result = scrubber(profile).process(data)
        assert shape(result) == shape(data)
        assert "a@b.com" not in repr(scrubber("gdpr_compliant").process(data))


def test_a_recogniser_that_raises_fails_its_row_and_nothing_raw_passes(monkeypatch):
    email = next(r for r in recognisers() if r.name == "EmailRecognizer")

    def broken(text):
        if "bob" in text:
            raise RuntimeError(text)
        return []

    engine.cache.clear()
    monkeypatch.setitem(email.__dict__, "find", broken)
    table = pa.table(
        {"a": ["bob@example.com", "fine", "ann@example.com"], "j": ['{"x":"bob@x.com"}', "{}", "{}"]},
        schema=pa.schema([pa.field("a", pa.string()), marked("j", pa.string(), "json")]),
    )

    result = scrubber("gdpr_compliant").scrub(table)

    assert result.failed == {0: "recogniser_failed"}
    assert result.table.num_rows == 3
    assert result.table.to_pylist()[0] == {"a": None, "j": None}
    with pytest.raises(SkipRecord) as caught:
        scrubber("gdpr_compliant").process({"a": "bob@example.com"})
    assert "bob" not in str(caught.value)
    assert caught.value.code == "recogniser_failed"
    engine.cache.clear()


def test_what_is_too_deep_is_refused():
    deep = "a@b.com"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(SkipRecord) as caught:
        scrubber("gdpr_compliant").process(deep)
    assert caught.value.code == "too_deep"
    field = marked("j", pa.string(), "json")
    result = scrubber("gdpr_compliant").scrub(
        pa.table({"j": ["[" * 100_000 + "]" * 100_000]}, schema=pa.schema([field]))
    )
    assert result.failed == {0: "too_deep"}


def test_a_union_that_cannot_be_rebuilt_fails_its_rows():
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array(["a@b.com", "x"]), pa.array([1, 2])])
    result = scrubber("gdpr_compliant").scrub(pa.table({"u": union}))
    assert result.failed == {0: "unsupported_type", 1: "unsupported_type"}
    assert "a@b.com" not in str(result.table.to_pylist())


def test_a_failure_carries_no_value():
    assert str(ScanError("recogniser_failed")) == "recogniser_failed"


@dataclasses.dataclass(frozen=True)
class Person:
    email: str
    age: int = 0
    friends: list[Person] = dataclasses.field(default_factory=list)


class Contact(enum.StrEnum):
    BOB = "bob@example.com"


class Pair(NamedTuple):
    email: str
    number: int


def test_containers_of_every_kind_are_looked_into():
    gdpr = scrubber("gdpr_compliant")
    token = gdpr.process("bob@example.com")
    person = Person("bob@example.com", 5, [Person("x"), Person("bob@example.com")])
    for data, expected in [
        (person, Person(token, 5, [Person("x"), Person(token)])),
        ({"p": Person("none", 4)}, {"p": Person("none", 4)}),
        (Pair("bob@example.com", 4111111111111111), Pair(token, None)),
        ({"bob@example.com", 7}, {token, 7}),
        (frozenset({"bob@example.com"}), frozenset({token})),
        (collections.deque(["bob@example.com", 1], maxlen=3), collections.deque([token, 1])),
        (types.MappingProxyType({"e": "bob@example.com"}), {"e": token}),
        (collections.ChainMap({"e": "bob@example.com"}), {"e": token}),
        ({"e": Contact.BOB}, {"e": token}),
        ({("bob@example.com", 1): 2}, {(token, 1): 2}),
        (pathlib.PurePosixPath("/home/for bob@example.com"), f"/home/for {token}"),
    ]:
        result = gdpr.process(data)
        assert result == expected
        assert "bob" not in repr(result)


def test_what_holds_no_text_comes_back_as_it_is():
    values = [
        True, 1.5, float("inf"), decimal.Decimal("1.10"), 2 + 1j, dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC), dt.time(1),
        dt.timedelta(2), uuid.UUID(int=5), b"\xff\x00bob@example.com", np.datetime64("2024-01-02"), pd.NA,
        pd.Timestamp(5), pd.Period("2024"), Person("x"), pathlib.PurePosixPath("home"), ipaddress.ip_address("1.2.3.4"),
        None,
    ]  # fmt: skip
    for value, same in zip(values, scrubber("gdpr_compliant").process(values), strict=True):
        assert same is value or same == value


def test_arrays_of_numbers_keep_their_type():
    gdpr = scrubber("gdpr_compliant")
    given = {"a": np.array([[1.5, float("nan")], [2, 3]]), "b": np.array([4111111111111111, 1])}
    result = gdpr.process(given)
    assert result["a"].dtype == np.float64
    assert np.array_equal(result["a"], given["a"], equal_nan=True)
    assert result["b"].tolist() == [None, 1]


@pytest.mark.parametrize(
    "value",
    [
        (text for text in ["bob@example.com"]), iter(["bob@example.com"]), {"e": "bob@example.com"}.values(),
        types.SimpleNamespace(email="bob@example.com"), ValueError("bob@example.com"), lambda: "bob@example.com",
    ],
)  # fmt: skip
def test_what_cannot_be_looked_into_does_not_pass(value):
    for data in (value, [value], {"a": {"b": value}}, pd.DataFrame({"a": [value, 1]}, dtype=object)):
        with pytest.raises(SkipRecord) as caught:
            scrubber("gdpr_compliant").process(data)
        assert caught.value.code == "unsupported_type"
        assert "bob" not in str(caught.value)


def test_objects_that_hold_themselves_are_refused():
    around: list[object] = ["bob@example.com"]
    around.append(around)
    member: dict[str, object] = {"e": "bob@example.com"}
    member["self"] = {"again": member}
    for data in (around, member, [[member]]):
        with pytest.raises(SkipRecord) as caught:
            scrubber("gdpr_compliant").process(data)
        assert caught.value.code == "too_deep"


@pytest.mark.parametrize("depth", [10, 100, 300, 10_000, 100_000])
def test_any_depth_is_scrubbed_or_refused(depth):
    gdpr = scrubber("gdpr_compliant")
    lists, objects = "bob@example.com", "bob@example.com"
    for _ in range(depth):
        lists, objects = [lists], {"a": objects}
    text = "[" * depth + '"bob@example.com"' + "]" * depth
    table = pa.table({"j": [text, "[]"]}, schema=pa.schema([marked("j", pa.string(), "json")]))
    for data in (lists, objects):
        refused = None
        try:
            result = gdpr.process(data)
        except SkipRecord as failure:
            refused = failure.code
        assert refused in {None, "too_deep"}
        if refused is None:
            for _ in range(depth):
                result = result[0] if isinstance(result, list) else result["a"]
            assert result == gdpr.process("bob@example.com")
    scrubbed = gdpr.scrub(table)
    assert scrubbed.failed in ({}, {0: "too_deep"})
    assert "bob" not in str(scrubbed.table["j"].to_pylist()[0])
    assert scrubbed.table["j"].to_pylist()[1] == "[]"
    # Taken apart by hand: the interpreter follows such a chain down when it drops it.
    while isinstance(lists, list):
        lists = lists.pop()
    while isinstance(objects, dict):
        objects = objects.pop("a")


def test_odd_characters_stop_nothing():
    gdpr = scrubber("gdpr_compliant")
    token = gdpr.process("bob@example.com")
    odd = ["\x00", "\ud800", "\udfff\ud800", "\u200b", "\U0010ffff", "\r\n", "\x85"]
    given = [f"{sign} bob@example.com {sign}" for sign in odd]
    expected = [f"{sign} {token} {sign}" for sign in odd]
    assert gdpr.process(given) == expected
    assert gdpr.process(given * 20 + [f"{i}" for i in range(100)])[: len(odd)] == expected
    assert gdpr.process(pd.Series(given, dtype=object)).tolist() == expected
    assert [next(iter(gdpr.process({text: 1}))) for text in given] == expected
    plain = [text for text in given if text.isprintable() or "\ud800" not in text]
    assert gdpr.process(pa.table({"a": plain}))["a"].to_pylist() == [
        e for g, e in zip(given, expected, strict=True) if g in plain
    ]


def test_a_text_that_is_too_long_fails_its_row_only():
    table = pa.table({"a": ["bob@example.com " * 1_200_000, "fine"]})
    result = scrubber("gdpr_compliant").scrub(table)
    assert result.failed == {0: "text_too_long"}
    assert result.table["a"].to_pylist() == [None, "fine"]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a@b.com", None, "x"]).dictionary_encode(),
        pa.array([b"a@b.com", None], pa.binary()),
        pa.array([b"a@b.com", None], pa.binary_view()),
        pa.array([1, None], pa.timestamp("us", "UTC")),
        pa.array([1, None], pa.duration("s")),
        pa.array([1, None], pa.time64("ns")),
        pa.array([True, None]),
        pa.array([{"a": [{"b": "x"}]}, None]),
        pa.array([[["a@b.com"], None, []], None, []], pa.list_(pa.large_list(pa.string()))),
        pa.array([[("k", "a@b.com")], None], pa.map_(pa.string(), pa.string())),
        pa.array([["a@b.com", "x"], None], pa.list_view(pa.string())),
        pa.array(["a@b.com", None], pa.string_view()),
        pa.array(['{"a": "a@b.com"}', None], pa.json_()),
        pa.array([uuid.UUID(int=7).bytes, None], pa.uuid()),
        pa.array([[1.5, 2.5], None], pa.list_(pa.float64(), 2)),
        pc.run_end_encode(pa.array(["x", "x", "a@b.com"])),
    ],
    ids=lambda array: str(array.type),
)  # fmt: skip
def test_arrow_keeps_rows_metadata_and_sliced_parts(array):
    gdpr = scrubber("gdpr_compliant")
    fields = pa.schema(
        [pa.field("id", pa.int64()), pa.field("c", array.type, metadata={"k": "v"})], metadata={"m": "n"}
    )
    table = pa.table([pa.array(range(len(array))), array], schema=fields)

    result = gdpr.scrub(table)

    assert not result.failed
    assert result.table.column_names == ["id", "c"]
    assert result.table.schema.metadata == {b"m": b"n"}
    assert result.table.field("c").metadata == {b"k": b"v"}
    assert result.table["id"].equals(table["id"])
    assert [v is None for v in result.table["c"].to_pylist()] == [v is None for v in table["c"].to_pylist()]
    if not (pa.types.is_binary(array.type) or pa.types.is_binary_view(array.type)):
        assert "a@b.com" not in str(result.table["c"].to_pylist())
    part = gdpr.scrub(table.slice(1)).table
    assert part["c"].to_pylist() == result.table["c"].to_pylist()[1:]
    assert gdpr.scrub(table.slice(0, 0)).table.num_rows == 0


def test_frames_keep_what_they_say_of_themselves():
    gdpr = scrubber("gdpr_compliant")
    frame = pd.DataFrame(
        {
            "e": pd.array(["a@b.com", None, "x"], dtype="string"),
            "o": pd.Series(["a@b.com", 1, None], dtype=object),
            "a": pd.array(["a@b.com", None, "x"], dtype=pd.ArrowDtype(pa.string())),
            "f": [1.5, None, 2.0],
            "t": pd.to_datetime(["2024-01-02", None, "2024-01-03"]),
            "b": pd.array([True, None, False], dtype="boolean"),
        },
        index=pd.Index([3, 1, 2], name="key"),
    )
    frame.attrs["source"] = "crm"
    result = gdpr.process(frame)
    assert result.attrs == {"source": "crm"}
    assert result.index.equals(frame.index)
    assert result.index.name == "key"
    assert result.dtypes.tolist() == frame.dtypes.tolist()
    assert result[["f", "t", "b"]].equals(frame[["f", "t", "b"]])
    assert "a@b.com" not in result.to_csv()
    series = pd.Series(["a@b.com"], name="e")
    series.attrs["unit"] = "x"
    assert gdpr.process(series).attrs == {"unit": "x"}

    polar = pl.DataFrame(
        {"e": ["a@b.com", None], "n": [[{"m": "a@b.com"}], []], "c": pl.Series(["a@b.com", "x"], dtype=pl.Categorical)}
    )
    scrubbed = gdpr.process(polar)
    assert scrubbed.schema == polar.schema
    assert "a@b.com" not in str(scrubbed.to_dicts())
    assert gdpr.process(polar["e"]).name == "e"
