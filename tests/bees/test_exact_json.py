"""Pages are read quickly only where no digit comes out otherwise than the exact parser gives it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core import exact_json
from nectar.errors import SkipRecord
from nectar.jsonrows import parse, table, text

NUMBERS = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
)
VALUES = st.recursive(
    NUMBERS | st.text(max_size=8).map(json.dumps) | st.sampled_from(["null", "true", '"\\ud800"', '"1.50"']),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + " , ".join(items) + "]")
        | st.dictionaries(st.text(max_size=3), inner, max_size=4).map(
            lambda found: "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in found.items()) + "}"
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6))
def test_it_is_what_the_exact_parser_gives(values: list[str]) -> None:
    raw = ("[" + ",".join(values) + "]").encode("utf-8", "surrogatepass")

    assert text(exact_json.read(raw)) == text(parse(raw))


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, VALUES), min_size=1, max_size=5))
def test_columns_are_the_same(rows: list[tuple[str, str]]) -> None:
    raw = ("[" + ",".join(f'{{"a": {number}, "b": {value}}}' for number, value in rows) + "]").encode()
    if "\\ud800" in raw.decode():
        return  # set aside before a table is made
    quick, exact = table(exact_json.read(raw)), table(parse(raw))

    assert quick.equals(exact, check_metadata=True)


@pytest.mark.parametrize("raw", [b"", b"<html>", b'{"a": }', b'[{"a": NaN}]', b'{"a":1}{"b":2}', b'{"a": "\xff"}'])
def test_what_is_no_json_is_said_in_the_exact_parser_s_words(raw: bytes) -> None:
    def problem(read: Any) -> str:
        with pytest.raises(SkipRecord) as error:
            read(raw)
        return str(error.value)

    assert problem(exact_json.read) == problem(parse)
