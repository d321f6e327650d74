"""Documents become text: by their bytes, with a title, and a reason for each that has none."""

from __future__ import annotations

import codecs
import tracemalloc
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nectar.extract import extract
from nectar.extract.read import read
from nectar.extract.text import decode, decodes, encoding_of, first_line, looks_textual


def documents(*contents: bytes | None, media_type: str = "text/plain") -> pa.Table:
    return pa.table(
        {
            "path": [f"{n}.txt" for n in range(len(contents))],
            "media_type": [media_type] * len(contents),
            "content": pa.array(contents, pa.binary()),
            "size": [len(c or b"") for c in contents],
        }
    )


def one(content: bytes, media_type: str = "text/plain") -> dict[str, Any]:
    table, failures = extract(documents(content, media_type=media_type))
    assert not failures
    return dict(table.to_pylist()[0])


def test_content_gives_way_to_text_title_and_length() -> None:
    table, failures = extract(documents("Grüße\r\n\r\nan alle\rhier".encode()))

    assert failures == {}
    told = ["author", "created", "language", "pages", "scanned_pages"]
    assert table.column_names == ["path", "media_type", "text", "title", "characters", *told, "size"]
    assert table.to_pylist()[0] == {
        "path": "0.txt", "media_type": "text/plain", "text": "Grüße\n\nan alle\nhier", "title": "Grüße",
        "characters": 19, "size": 23, **dict.fromkeys(told),
    }  # fmt: skip


def test_a_table_without_content_comes_back_as_it_is() -> None:
    table = pa.table({"id": [1]})

    assert extract(table) == (table, {})


def test_marks_and_metadata_of_other_columns_stay() -> None:
    fields = [pa.field("n", pa.string(), metadata={"hive.mark": "number"}), pa.field("content", pa.binary())]
    table = pa.table([["1.50"], [b"x"]], schema=pa.schema(fields))

    assert extract(table)[0].schema.field("n").metadata == {b"hive.mark": b"number"}


def test_what_gives_no_text_keeps_its_row_and_is_told_with_a_reason() -> None:
    table, failures = extract(documents(b"good", bytes(range(256)) * 9, b"caf\xe9 au lait", None, b""))

    assert failures == {1: "not_text", 2: "not_utf8"}
    assert table.column("text").to_pylist() == ["good", None, None, None, ""]
    assert table.column("characters").to_pylist() == [4, None, None, None, 0]


def test_a_declared_charset_is_used_and_an_unknown_one_is_a_reason() -> None:
    assert one(b"caf\xe9 au lait", "text/plain; charset=iso8859-1")["text"] == "café au lait"
    assert extract(documents(b"x", media_type="text/plain; charset=klingon"))[1] == {0: "unknown_charset"}
    assert extract(documents(b"x", media_type="text/plain; charset=hex"))[1] == {0: "unknown_charset"}


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)  # fmt: skip
def test_byte_order_marks_are_understood_and_go_before_what_was_declared(mark: bytes, codec: str) -> None:
    text = "Grüße 漢字 😀\nzweite Zeile"

    assert one(mark + text.encode(codec))["text"] == text
    assert one(mark + text.encode(codec), "text/plain; charset=latin-1")["text"] == text


def test_a_nul_in_a_text_stays_for_landing_to_mark() -> None:
    assert one(b"a long enough line of text\0 with a NUL")["text"] == "a long enough line of text\0 with a NUL"


@pytest.mark.parametrize("head", [b"%PDF-1.7\nplain words", b"PK\x03\x04" + b"words " * 99, bytes(100)])
def test_known_binary_formats_and_runs_of_nuls_are_no_text(head: bytes) -> None:
    assert not looks_textual(head, encoding_of(head))


def test_half_a_surrogate_pair_is_not_text_in_any_encoding() -> None:
    assert not decodes(b"+2AA-", "utf-7")
    assert not decodes(codecs.BOM_UTF16_LE + b"\x00\xd8a\x00")


def test_a_large_text_is_looked_at_in_little_memory() -> None:
    data = b"some words of a text\n" * 400_000 + "\N{SNOWMAN}\N{PILE OF POO}".encode()
    broken = data[:-1]
    tracemalloc.start()
    try:
        assert decodes(data)
        assert not decodes(broken)
        assert tracemalloc.get_traced_memory()[1] < len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-16-le", "utf-32-be", "utf-7", "cp1252", "shift_jis", "iso2022_jp", "gb18030"]
)
@settings(deadline=None)
@given(data=st.binary(max_size=40), text=st.text(max_size=20))
def test_a_text_looked_at_in_pieces_is_one_exactly_where_the_whole_is(codec: str, data: bytes, text: str) -> None:
    for given_ in (data, text.encode(codec, "ignore"), text.encode(codec, "ignore")[:-1]):
        try:
            decode(given_, codec)
            whole = True
        except UnicodeError:
            whole = False
        with mock.patch("nectar.extract.text._PIECE", 3):
            assert decodes(given_, codec) == whole


@given(st.text())
def test_any_text_survives_its_encoding(text: str) -> None:
    assert decode(text.encode()) == text.removeprefix("\ufeff")
    assume(not text.startswith("\0"))  # the two marks of UTF-16 and UTF-32 are then the same bytes
    assert decode(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == text


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Intro\n\n# The *title* ##\ntext", "The *title*"),
        ("---\ntitle: front\n---\n\nFirst line\n", "First line"),
        ("```\n# a comment\n```\n## Real", "Real"),
        ("~~~~\n```\n# no\n~~~\n~~~~\n### Yes", "Yes"),
        ("Underlined\n==========\n", "Underlined"),
        ("#no heading\n\nplain", "#no heading"),
        ("#   \n\n", "#"),
        ("", ""),
        ("# " + "x" * 300, "x" * 200),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(text: str, title: str) -> None:
    row = one(text.encode(), "text/markdown")

    assert row["title"] == title
    assert row["text"] == text


def test_the_title_of_plain_text_is_its_first_line() -> None:
    assert one(b"\n   \n  Dear all,\n# not a heading\n")["title"] == "Dear all,"


def test_front_matter_tells_who_wrote_markdown() -> None:
    told = b"---\r\ntitle: 'The plan'\nAuthor: Ann Lee\ndate: 2024-05-01\nlang: en\ntags: [a]\n---\n# Garden\n"
    odd = b"---\ntitle: [a, b]\nauthor:\ndate: yesterday\nbody title: no\n---\n# Garden\nauthor: me\n"

    for raw, expected in [(told, ("Garden", "Ann Lee", "2024-05-01", "en")), (odd, ("Garden", "", "", ""))]:
        made = read(raw, "text/markdown")
        assert (made.title, made.author, made.created, made.language) == expected
        assert made.text == raw.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("", ""), (" \n\t\n", ""), ("\n  A line \t\nmore", "A line"), ("x" * 300, "x" * 200),
        ("y " * 150, "y " * 99 + "y"),
    ],
)  # fmt: skip
def test_a_title_is_the_first_line_that_holds_something(text: str, title: str) -> None:
    assert first_line(text, 200) == title


def test_a_large_text_is_not_taken_to_pieces_for_its_title() -> None:
    table = pa.table({"content": [b"a line of this text\n" * 400_000]})
    tracemalloc.start()
    try:
        assert extract(table)[0]["title"].to_pylist() == ["a line of this text"]
        assert tracemalloc.get_traced_memory()[1] < 3 * table.nbytes
    finally:
        tracemalloc.stop()
