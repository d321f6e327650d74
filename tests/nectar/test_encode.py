"""What lands in jsonb: names and values that PostgreSQL takes, and nothing lost on the way."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pyarrow as pa

from nectar.encode import encode
from nectar.jsonrows import parse
from nectar.jsonrows import table as table_of
from nectar.pipeline import refine


class Untouched:
    """A scrubber that finds nothing."""

    def scrub(self, table, deadline=None):
        removed = pa.table({"row": pa.array([], pa.int32()), "field": pa.array([], pa.string())})
        return SimpleNamespace(table=table, removed=removed, failed={})


def landed(*records):
    texts, marks = encode(table_of([parse(record) for record in records]))
    assert "\\u0000" not in "".join(texts)
    return [json.loads(text) for text in texts], marks


def test_members_of_objects_with_nul_in_their_name_are_kept_apart():
    nested = r'{"a": {"k\u0000": 1, "k\ufffd": 2}}'
    data, marks = landed(nested, r'{"a": {"k\u0000": 1, "k\ufffd": 2, "x": 1.10}}', '{"a": 1}')

    assert data[0] == {"a": {"k\ufffd#2": 1, "k\ufffd": 2}}
    assert data[1] == {"a": {"k\ufffd#2": 1, "k\ufffd": 2, "x": 1.1}}
    assert marks == {0: {"a": "nul"}, 1: {"a": "nul"}}
    assert landed(nested)[0] == data[:1], "alone it is a struct, and the same"


def test_numbers_beside_a_nul_keep_their_digits():
    digits = "0.1000000000000000055511"
    texts, _ = encode(table_of([parse(rf'{{"a": {{"k\u0000": {digits}}}}}'), {"a": 1}]))

    assert digits in texts[0]


def test_a_column_whose_name_holds_nul_gets_another_name():
    refined = refine(pa.table({"k\x00": ["x"], "k\ufffd": ["y"]}), Untouched(), document=False, value_limit=100)

    assert len(set(refined.table.column_names)) == 2
    assert not any("\x00" in name for name in refined.table.column_names)
