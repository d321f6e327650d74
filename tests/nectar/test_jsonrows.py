from __future__ import annotations

import io
import json
import time
import traceback
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nectar.batch import mark_of
from nectar.errors import SkipRecord
from nectar.jsonrows import NAME_LENGTH, clean_name, escape, parse, sift, table, text


def column(*values: Any) -> tuple[str | None, str, list[Any]]:
    """The mark, type and values of a column that came as these JSON literals."""
    made = table(parse("[" + ",".join(f'{{"c":{v}}}' for v in values) + "]"))
    return mark_of(made.schema.field("c")), str(made.schema.field("c").type), made.column("c").to_pylist()


@pytest.mark.parametrize(
    ("values", "mark", "kind", "read"),
    [
        (["1", "null", "-9223372036854775808"], None, "int64", [1, None, -(2**63)]),
        (["true", "false", "null"], None, "bool", [True, False, None]),
        (['"a"', "null"], None, "string", ["a", None]),
        (["null", "null"], None, "string", [None, None]),
        (["1.5", "1.10", "-0.0", "null"], None, "double", [1.5, 1.1, -0.0, None]),
        (["0.1000000000000000055511", "1.5"], "number", "string", ["0.1000000000000000055511", "1.5"]),
        (["1e400"], "number", "string", ["1E+400"]),
        (["1", "2.50"], "number", "string", ["1", "2.50"]),
        (["9223372036854775808", "1"], "number", "string", ["9223372036854775808", "1"]),
        (["1", '"a"', "true", "null"], "json", "string", ["1", '"a"', "true", None]),
        (["true", "1"], "json", "string", ["true", "1"]),
        (["[1,2]", "[]", "null"], None, "list<item: int64>", [[1, 2], [], None]),
        (["[1,2.50]", "[3]"], "json", "string", ["[1,2.50]", "[3]"]),
        (
            ['{"x":1,"y":[{"z":"a"}]}', "null", '{"y":[],"x":2}'],
            None,
            "struct<x: int64, y: list<item: struct<z: string>>>",
            [{"x": 1, "y": [{"z": "a"}]}, None, {"x": 2, "y": []}],
        ),
        (['{"x":1}', '{"x":1,"y":null}'], "json", "string", ['{"x":1}', '{"x":1,"y":null}']),
        (['{"x":18446744073709551616}'], "json", "string", ['{"x":18446744073709551616}']),
        (["{}"], "json", "string", ["{}"]),
        (['{"x":1}', "[1]"], "json", "string", ['{"x":1}', "[1]"]),
    ],
)
def test_a_column_holds_every_value_as_it_was_written(
    values: list[str], mark: str | None, kind: str, read: list[Any]
) -> None:
    assert column(*values) == (mark, kind, read)


def test_a_missing_field_is_null_and_columns_come_in_order() -> None:
    made = table([{"b": 1}, {"a": "x", "b": 2}])

    assert made.column_names == ["b", "a"]
    assert made.column("a").to_pylist() == [None, "x"]


def test_reserved_and_empty_names_are_escaped_and_never_meet() -> None:
    row = {"": 1, "_op": 2, "underscore": 3, "underscore_op": 4, "_": 5, "op": 6}

    made = table([row])

    assert made.column_names == [
        "underscore",
        "underscore_op",
        "underscoreunderscore",
        "underscoreunderscore_op",
        "underscore_",
        "op",
    ]
    assert made.to_pylist() == [{escape(name): value for name, value in row.items()}]


@given(st.lists(st.text(), unique=True))
def test_escaped_names_stay_apart(names: list[str]) -> None:
    escaped = [escape(name) for name in names]

    assert len(set(escaped)) == len(names)
    assert not [name for name in escaped if not name or name.startswith("_")]


@pytest.mark.parametrize("name", ["k\x00", "a\tb", "\x1b[2J", "\x85", "n" * 300, "\ufffd", "_" * 300])
def test_a_name_that_no_database_takes_is_cleaned_in_one_way(name: str) -> None:
    cleaned = escape(name)

    assert len(cleaned) <= NAME_LENGTH
    assert cleaned.isprintable()
    assert table([{name: 1}, {"other": 2}]).column_names == [cleaned, "other"]


def test_names_that_are_cleaned_stay_apart() -> None:
    names = ["k\x00", "k\x01", "k\ufffd", "n" * 300, "n" * 301, "n" * NAME_LENGTH]
    names += [clean_name(name) for name in names]

    assert len({escape(name) for name in names}) == len(names)
    assert table([dict.fromkeys(names, 1)]).num_columns == len(names)


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("k", "Straße 7", "a.b", "日本", "x" * (NAME_LENGTH - 1)):
        assert clean_name(name) == name


def test_of_equal_keys_the_last_wins() -> None:
    assert parse('{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    "raw",
    [b"[NaN]", b"[-Infinity]", b'{"secret-value": ', b"\xff\xfa", b"[" * 100_000, b"[" * 999 + b"]" * 999, b""],
)
def test_what_is_no_json_is_refused_without_repeating_it(raw: bytes) -> None:
    with pytest.raises(SkipRecord) as error:
        parse(raw)

    assert error.value.code == "not_json"
    assert "secret-value" not in "".join(traceback.format_exception(error.value))
    assert error.value.__context__ is None, "the decoder's own error holds the document"


def test_a_byte_order_mark_is_no_fault() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_what_is_no_row_is_set_aside_with_its_bytes_and_place() -> None:
    deep = "[" * 600 + "]" * 600
    items = parse(r'["x", {"a": 1}, {"a": "\ud800"}, {"\udfff": 1}, {}, 1.50, null, {"n": 99999999999999999999}]')

    rows, rejects = sift([*items, {"deep": parse(deep), "long": 2**64}], "page 3", first=11)

    assert rows[:2] == [{"a": 1}, {"n": 99999999999999999999}]
    assert [(r.position, r.code) for r in rejects[:6]] == [
        ("page 3, item 11", "not_object"),
        ("page 3, item 13", "bad_unicode"),
        ("page 3, item 14", "bad_unicode"),
        ("page 3, item 15", "empty_object"),
        ("page 3, item 16", "not_object"),
        ("page 3, item 17", "not_object"),
    ]
    assert [r.raw for r in rejects[:6]] == [b'"x"', rb'{"a":"\ud800"}', rb'{"\udfff":1}', b"{}", b"1.50", b"null"]
    assert "x" not in rejects[0].reason.replace("expected", "").replace("text", "")
    assert len(rows) + len(rejects) == 9


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), JSON, min_size=1, max_size=4), min_size=1, max_size=4))
def test_every_value_can_be_read_back_exactly_from_the_stored_table(objects: list[dict[str, Any]]) -> None:
    objects = [parse(text(o)) for o in objects]
    made = stored_and_read(table(objects))

    assert made.num_rows == len(objects)
    for row, source in zip(made.to_pylist(), objects, strict=True):
        for name, value in source.items():
            read = row[escape(name)]
            if read is not None and mark_of(made.schema.field(escape(name))) in {"json", "number"}:
                read = parse(read)
            assert written(read) == written(value)


def stored_and_read(made: pa.Table) -> pa.Table:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, made.schema) as writer:
        writer.write_table(made)
    return pa.ipc.open_stream(sink.getvalue()).read_all()


def written(value: Any) -> str:
    """A value in one form, whichever type carries it; what is an integer and what a fraction stays apart."""
    if isinstance(value, dict):
        return json.dumps({k: written(v) for k, v in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps([written(v) for v in value])
    if isinstance(value, float | Decimal):
        return f"fraction {Decimal(repr(value)) if isinstance(value, float) else value:f}".rstrip("0").rstrip(".")
    return json.dumps(value)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("1e999999999", "number_too_long"),
        ("1e-999999999", "number_too_long"),
        ("1e99999999999999999999", "number_too_long"),
        ("9" * 1_000_000, "number_too_long"),
        ("-" + "9" * 4400, "number_too_long"),
        ("0." + "3" * 100_000, "number_too_long"),
        ('{"x":[1,{"y":1e5000}]}', "number_too_long"),
        ("[" * 500 + "]" * 500, "too_deep"),
        ("[" * 10_000 + '"]"' + "]" * 10_000, "too_deep"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "too_deep"),
        ('"\\ud800"', "bad_unicode"),
    ],
    ids=lambda value: value[:12],
)
def test_one_value_that_nothing_takes_sets_its_record_aside_and_no_other(value: str, code: str) -> None:
    document = f'[{{"id":1,"a":{value}}},{{"id":2,"a":{"9" * 3999}}},{{"id":3,"b":"[["}}]'
    rows, rejects = sift(parse(document.encode()), "page 1")

    assert [(one.code, one.position) for one in rejects] == [(code, "page 1, item 1")]
    assert rejects[0].raw.startswith(b'{"id":1,"a":')
    assert [row["id"] for row in rows] == [2, 3]
    assert table(rows)["a"].to_pylist() == ["9" * 3999, None]
    assert text(rows[0]) == f'{{"id":2,"a":{"9" * 3999}}}'


def test_a_deep_document_with_a_text_that_does_not_end_is_told_at_once() -> None:
    began = time.process_time()

    with pytest.raises(SkipRecord, match="nested too deep"):
        parse("[" * 5000 + '{"a":1}"' + '\\"' * 200_000)
    assert time.process_time() - began < 5, "no quotation mark makes the scan go over the rest again"
