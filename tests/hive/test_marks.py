"""What is written beside a record: its key for people, and what was removed from it."""

from __future__ import annotations

import json

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from hive.flight import frame
from nectar.batch import FEW

names = st.sampled_from(["note", 'a"b', "ü.x", "{}", "a\\b"])
kinds = st.sampled_from(["EMAIL_ADDRESS", "PHONE_NUMBER", 'my "kind"'])


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(st.integers(0, 40), names, kinds), st.integers(1, 9), min_size=FEW + 1, max_size=80),
    st.dictionaries(st.integers(0, 40), st.dictionaries(names, st.just("nul"), min_size=1), max_size=4),
)
def test_many_marks_read_as_few_do(found, inexact):
    lines = [(row, name, kind, count) for (row, name, kind), count in found.items()]
    schema = pa.schema([("row", pa.int32()), ("field", pa.string()), ("kind", pa.string()), ("count", pa.int32())])
    removed = pa.table([list(column) for column in zip(*lines, strict=True)], schema=schema)

    marks = frame.marks(removed, inexact, 41)
    one_by_one = frame.marks_of(removed, inexact, 41)

    assert len(marks) == 41
    assert [m and json.loads(m) for m in marks] == [m and json.loads(m) for m in one_by_one]


def test_fields_that_are_named_for_each_record_are_marked_too():
    schema = pa.schema([("row", pa.int32()), ("field", pa.string()), ("kind", pa.string()), ("count", pa.int32())])
    lines = [(row, f"users.{row % 300}.mail", "EMAIL_ADDRESS", 1 + row % 2) for row in range(600)]
    removed = pa.table([list(column) for column in zip(*lines, strict=True)], schema=schema)

    marks = frame.marks(removed, {}, 601).to_list()

    assert json.loads(marks[301]) == {"removed": {"users.1.mail": {"EMAIL_ADDRESS": 2}}}
    assert marks == frame.marks_of(removed, {}, 601)


def test_a_key_of_one_column_reads_as_python_writes_it():
    hashes = pl.Series(["aa", "bb", "cc"])
    table = pa.table({"n": pa.array([1, None, -3]), "t": ["x\0y", None, ""], "f": [1.5, 2.0, None]})

    assert frame.record_keys(table, ["n"], hashes).to_list() == ["1", "bb", "-3"]
    assert frame.record_keys(table, ["t"], hashes).to_list() == ["x\ufffdy", "bb", ""]
    assert frame.record_keys(table, ["f"], hashes).to_list() == ["1.5", "2.0", "cc"]
    assert frame.record_keys(table, ["n", "t"], hashes).to_list() == [r'["1", "x\u0000y"]', "bb", '["-3", ""]']
    assert frame.record_keys(table, ["gone"], hashes).to_list() == ["aa", "bb", "cc"]


def test_a_key_of_several_columns_reads_alike_in_few_rows_and_in_many(monkeypatch):
    odd = ['a"b\\ü\0.csv', "x", None]
    table = pa.table({"file": [odd[n % 3] for n in range(90)], "line": pa.array([None, *range(89)], pa.int64())})
    hashes = pl.Series([f"{n:032x}" for n in range(90)])
    many = frame.record_keys(table, ["file", "line"], hashes)
    monkeypatch.setattr(frame, "FEW", 90)

    assert many.to_list() == frame.record_keys(table, ["file", "line"], hashes).to_list()
    assert many[1] == '["x", "0"]'
