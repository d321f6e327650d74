"""Nothing comes back in the places where a shape of data keeps values that no row shows; the shape itself stays."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from pathlib import PurePosixPath

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nectar.errors import SkipRecord
from nectar.scrub import DataScrubber

JANE = "jane@acme.com"
MAIL = "<EMAIL_ADDRESS>"
PROFILE = {"pii_detection": ["EMAIL_ADDRESS", "IP_ADDRESS"], "default_action": "replace"}


@pytest.fixture
def scrubber():
    return DataScrubber({"profiles": {"p": PROFILE}, "profile": "p"})


# pandas and polars


@pytest.mark.parametrize("value", ["a", JANE])
def test_categories_are_scrubbed_in_their_order_used_or_not(scrubber, value):
    given = pd.Series(pd.Categorical(["b", value, None], categories=["b", "a", JANE], ordered=True), name="x")

    new = scrubber.process(given)

    assert new.tolist()[:2] == ["b", MAIL if value == JANE else "a"]
    assert new.isna().tolist() == [False, False, True]
    assert new.cat.categories.tolist() == ["b", "a", MAIL]
    assert new.cat.ordered
    assert given.cat.categories.tolist() == ["b", "a", JANE]


def test_categories_without_findings_stay_as_they_are(scrubber):
    given = pd.Series(pd.Categorical(["b"], categories=["z", "b"], ordered=True))

    assert scrubber.process(given).dtype == given.dtype


def test_categories_that_are_removed_leave_nulls():
    scrubber = DataScrubber({"profiles": {"p": PROFILE | {"default_action": "remove"}}, "profile": "p"})
    new = scrubber.process(pd.Series(["a", JANE, JANE], dtype="category"))

    assert new.cat.categories.tolist() == ["a"]
    assert new.isna().tolist() == [False, True, True]


def test_labels_indexes_and_notes_of_pandas_hold_nothing(scrubber):
    frame = pd.DataFrame(
        {JANE: [1, 2], "b": ["x", "y"]}, index=pd.CategoricalIndex(["u", "v"], categories=["u", "v", JANE])
    )
    frame.columns.name = frame.index.name = JANE
    frame.attrs = {"who": JANE, "unit": "m", "how": print}

    new = scrubber.process(frame)
    series = scrubber.process(frame["b"].rename(JANE))

    assert new.columns.tolist() == [f"{MAIL}1", "b"]
    assert new["b"].tolist() == ["x", "y"]
    assert new.attrs == {"unit": "m"}
    assert series.name == new.index.name == f"{MAIL}1"
    for each in (new, series):
        assert each.index.tolist() == ["u", "v"]
        assert JANE not in f"{each!r} {each.index.categories.tolist()} {each.attrs}"


def test_a_part_of_a_pandas_index_of_several_levels_holds_nothing_of_the_rest(scrubber):
    index = pd.MultiIndex.from_tuples([(1, JANE), (2, "b")], names=["k", "v"])
    frame = pd.DataFrame({"a": [1, 2]}, index=index)

    assert scrubber.process(frame).index.tolist() == [(1, MAIL), (2, "b")]
    assert [level.tolist() for level in scrubber.process(frame.iloc[1:]).index.levels] == [[2], ["b"]]


def test_columns_of_several_levels_keep_them(scrubber):
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", JANE), ("a", "b")]))

    assert scrubber.process(frame).columns.tolist() == [("a", f"{MAIL}1"), ("a", "b")]


def test_an_enum_of_polars_stays_one(scrubber):
    own = pl.Enum(["b", "a", JANE])
    frame = pl.DataFrame(
        {JANE: pl.Series(["a", None], dtype=own), "same": pl.Series(["b", "a"], dtype=pl.Enum(["b", "a"]))}
    )

    new = scrubber.process(frame)

    assert new.schema == {f"{MAIL}1": pl.Enum(["b", "a", MAIL]), "same": pl.Enum(["b", "a"])}
    assert new[f"{MAIL}1"].to_list() == ["a", None]


# Arrow


def test_a_dictionary_holds_only_what_may_pass(scrubber):
    own = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), pa.array(["x", JANE]), ordered=True)
    plain = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), pa.array(["x", "unused"]))

    new = scrubber.process(pa.table({"a": own, "b": plain}))

    assert new["a"].type == own.type
    assert new["a"].chunk(0).dictionary.to_pylist() == ["x"]
    assert new["a"].to_pylist() == ["x", None]
    assert new["b"].chunk(0).dictionary.to_pylist() == ["x", "unused"]


def test_a_dictionary_with_a_finding_keeps_the_type_of_its_places(scrubber):
    own = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["x", JANE]))

    assert scrubber.process(own).type == own.type
    assert scrubber.process(own).to_pylist() == ["x", MAIL]


def test_what_stands_under_a_null_does_not_come_back(scrubber):
    nothing = pa.array([True, False])
    values = pa.array([JANE, "b"])
    struct = pa.StructArray.from_arrays([values], names=["e"], mask=nothing)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), values, mask=nothing)

    new = scrubber.process(pa.table({"s": struct, "l": lists}))

    assert new["s"].to_pylist() == [None, {"e": "b"}]
    assert new["s"].chunk(0).field(0).to_pylist() == [None, "b"]
    assert new["l"].to_pylist() == [None, ["b"]]
    assert new["l"].chunk(0).values.to_pylist() == ["b"]  # noqa: PD011  an Arrow array


def test_names_and_notes_of_a_table_hold_nothing(scrubber):
    field = pa.field(JANE, pa.string(), metadata={"who": JANE, "unit": "m", "ARROW:x": "y"})
    table = pa.table([pa.array(["v"])], schema=pa.schema([field], metadata={"who": JANE, "from": "here"}))

    for new in (scrubber.process(table), scrubber.scrub(table).table, scrubber.process(table.to_batches()[0])):
        assert new.schema.names == [f"{MAIL}1"]
        assert new.schema.metadata == {b"from": b"here"}
        assert new.schema.field(0).metadata == {b"unit": b"m", b"ARROW:x": b"y"}


def test_pandas_notes_on_columns_go_with_the_names(scrubber):
    table = pa.Table.from_pandas(pd.DataFrame({JANE: ["v"]}))

    assert JANE not in str(scrubber.process(table).schema)
    assert scrubber.process(table).to_pandas().columns.tolist() == [f"{MAIL}1"]
    assert b"pandas" in scrubber.process(pa.Table.from_pandas(pd.DataFrame({"a": ["v"]}))).schema.metadata


def test_an_array_alone_comes_back_as_one(scrubber):
    assert scrubber.process(pa.array([JANE, None])).equals(pa.array([MAIL, None]))
    assert scrubber.process(pa.chunked_array([[JANE], [None]])).to_pylist() == [MAIL, None]


# Keys of objects


class Known(str, enum.Enum):  # noqa: UP042  its text is `Known.A`
    A = "a"
    JANE = JANE


@dataclasses.dataclass(frozen=True)
class Person:
    mail: str


def test_keys_of_every_kind_are_scrubbed_as_values_are(scrubber):
    given = {
        Known.A: 1,
        Known.JANE: 2,
        frozenset({JANE}): 3,
        Person(JANE): 4,
        ipaddress.ip_address("10.0.0.1"): 5,
        PurePosixPath(f"/home/{JANE}"): 6,
        None: 7,
    }

    new = scrubber.process(given)

    assert list(new) == [Known.A, MAIL, frozenset({MAIL}), Person(MAIL), "<IP_ADDRESS>", f"/home/{MAIL}", None]
    assert list(new.values()) == [1, 2, 3, 4, 5, 6, 7]
    assert next(iter(new)) is Known.A


def test_a_key_that_cannot_be_looked_into_is_refused(scrubber):
    with pytest.raises(SkipRecord) as caught:
        scrubber.process({object(): 1})
    assert caught.value.code == "unsupported_type"
    assert "process takes text, numbers, dates" in str(caught.value)
