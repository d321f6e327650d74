"""How a value of each MySQL or MariaDB type travels, so that none arrives changed.

The server writes every value as text; what Arrow holds exactly becomes typed, everything else stays text:

    tinyint to bigint, bit, year            int64; uint64 where it is unsigned
    float, double                           float32, float64 (a float is widened by the server, which would round it)
    decimal                                 text, marked `number`
    date, datetime, timestamp               ISO 8601 text, timestamps with +00:00; zero dates survive
    time                                    text: it goes below zero and beyond a day
    json                                    text, marked `json` (MariaDB: longtext whose check is json_valid)
    char to longtext, enum, set, uuid, ...  text in UTF-8, turned by the server from the column's own character set
    binary to longblob                      binary
    geometry                                WKT, with `SRID=n;` before it where there is one; longitude before latitude
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from bees.core.sql.mysql.wire import Described
    from nectar.pollen import Kind

Shape = Literal["integer", "float", "text", "moment", "binary"]

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector")
_GEOMETRY = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
)  # fmt: skip
_MOMENTS: dict[str, Kind] = {"date": "date", "datetime": "timestamp", "timestamp": "timestamptz"}
# MySQL 8 turns degrees round unless it is told not to, and MariaDB takes no second argument; the binlog never does.
_TEXT = "ST_AsText({0}/*!80001 , 'axis-order=long-lat' */)"
_WKT = f"IF(ST_SRID({{0}}) = 0, {_TEXT}, CONCAT('SRID=', ST_SRID({{0}}), ';', {_TEXT}))"
WORDS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
"""Types whose values are compared by a collation."""
_WHOLE = ("utf8mb4", "utf8mb3", "utf8", "latin1", "binary")
"""Character sets of which the server writes every byte as UTF-8, or as it is."""
LOST = b"\xff"
"""Stands before the bytes of a text that its character set does not have: the server would write `?` or U+FFFD."""
_UNICODE = ("ucs2", "utf16", "utf16le", "utf32")
"""Sets that have U+FFFD themselves."""
_UNSORTABLE = ("json", "geometry")
_SORTED = 3072
"""Bytes of the longest value that an index holds whole. A sort without one compares only the beginnings of values
(`max_sort_length`)."""
_HEAD = 64
"""Characters whose weights, as collations have them, are all within what a sort compares."""
_DIGITS = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

# The protocol's numbers of types, for columns of queries.
_CODES = {
    0: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 4: "float", 5: "double", 7: "timestamp", 8: "bigint",
    9: "mediumint", 10: "date", 11: "time", 12: "datetime", 13: "year", 16: "bit", 242: "vector", 245: "json",
    246: "decimal", 247: "enum", 248: "set", 255: "geometry",
}  # fmt: skip
_UNSIGNED, _ENUM, _SET = 32, 256, 2048
_BINARY_CHARSET = 63


@dataclass(frozen=True)
class Form:
    """`name` is the server's word for the type, `carry` the expression that carries a column exactly."""

    name: str
    kind: Kind
    shape: Shape
    carry: str = "{0}"
    unsigned: bool = False
    checked: bool = False
    """Texts that UTF-8 cannot say come with `LOST`."""
    wide: bool = False
    """Its whole numbers go beyond those of 64 bits with a sign."""
    long: bool = False
    """Values may be longer than what a sort compares: they are sorted by their beginning, and a hash of all of them."""

    @property
    def told(self) -> Kind:
        """The kind that readers of records are told."""
        return "number" if self.wide else self.kind

    @property
    def mark(self) -> str | None:
        return self.kind if self.kind in ("number", "json") else None

    @property
    def moment(self) -> bool:
        return self.shape == "moment"

    @property
    def sortable(self) -> bool:
        return self.name not in _UNSORTABLE

    @property
    def exact(self) -> bool:
        """Whether values that sort as one are the same. Nearly all collations take blanks at the end for nothing."""
        return self.long or self.shape != "text" or self.name not in WORDS

    def tie(self, value: str) -> str:
        """What tells two texts apart that compare equal: their bytes, as they travel."""
        return f"CAST(CONVERT({value} USING utf8mb4) AS BINARY)"

    @property
    def least(self) -> int:
        """The smallest whole number of the type."""
        return 0 if self.unsigned or self.name in ("bit", "year") else -(2 ** (_INTEGERS.get(self.name, 64) - 1))

    def order(self, column: str) -> str:
        """What rows are sorted and compared by: the words of an enum, not the places they have in its list.

        By their code points: the session's collation may hold words equal that are two keys of the table.
        """
        if self.name in ("enum", "set"):
            return f"CAST({column} AS CHAR) COLLATE utf8mb4_bin"
        return self._head(column)

    def bound(self, text: str) -> str:
        """A value as SQL that what `order` gives is compared with."""
        return self._head(self.literal(text))

    def behind(self, value: str) -> list[str]:
        """What long values are sorted by behind `order`."""
        if not self.long:
            return []
        return [f"SHA2({value if self.shape == 'binary' else self.tie(value)}, 256)"]

    def _head(self, value: str) -> str:
        return f"LEFT({value}, {_HEAD})" if self.long else value

    def literal(self, text: str) -> str:
        """A value as SQL, from the text that `exact_text` gave. A moment may be written as the server or as we do."""
        if self.shape in ("integer", "float") or self.kind == "number":
            if not _DIGITS.fullmatch(text):
                raise ValueError("a cursor holds no number where its column does")
            return text if self.shape != "float" or "e" in text.lower() else f"{text}e0"
        if self.shape == "binary":
            return f"X'{bytes.fromhex(text).hex()}'"
        if self.moment:
            plain = text.replace("T", " ").removesuffix("+00:00")
            return f"CAST({quoted(plain)} AS {'DATE' if self.name == 'date' else 'DATETIME(6)'})"
        return f"CAST({quoted(text)} AS TIME(6))" if self.name == "time" else quoted(text)

    def arrow(self, raw: pa.Array) -> pa.Array:
        """A column's bytes as the server wrote them, as Arrow holds them. Raises ArrowInvalid: a text is no UTF-8."""
        if self.shape == "binary":
            return raw if raw.type == pa.binary() else raw.cast(pa.large_binary())
        text = raw.cast(pa.string() if raw.type == pa.binary() else pa.large_string())
        if self.shape == "integer":
            return text.cast(pa.uint64() if self.unsigned else pa.int64())
        if self.shape == "float":
            wide = text.cast(pa.float64())
            return wide.cast(pa.float32(), safe=False) if self.name == "float" else wide
        if self.moment and self.name != "date":
            iso = pc.replace_substring(text, " ", "T", max_replacements=1)
            return pc.binary_join_element_wise(iso, "+00:00", "") if self.name == "timestamp" else iso
        return text


def form_of(
    word: str,
    column_type: str = "",
    *,
    binary: bool = False,
    checked_json: bool = False,
    charset: str = "",
    length: int = 0,
) -> Form:
    """The form of a type: `word` is DATA_TYPE of the catalog, `column_type` its COLUMN_TYPE, `length` in bytes."""
    unsigned, zerofill = " unsigned" in column_type, " zerofill" in column_type
    if word in _INTEGERS:
        return Form(word, "integer", "integer", unsigned=unsigned, wide=unsigned and word == "bigint")
    if word == "bit":
        return Form(word, "integer", "integer", "({0} + 0)", unsigned=True, wide=column_type.startswith("bit(64)"))
    if word == "year":
        return Form(word, "integer", "integer")
    if word == "decimal":
        # Zeros before a number are no part of it.
        return Form(word, "number", "text", "({0} + 0)" if zerofill else "{0}")
    if word in ("float", "double"):
        return Form(word, "float", "float", "({0} + 0e0)")
    if word in _MOMENTS:
        return Form(word, _MOMENTS[word], "moment")
    if word == "time":
        return Form(word, "time", "text")
    if word in _GEOMETRY:
        return Form("geometry", "text", "text", _WKT)
    if word == "json" or checked_json:
        return Form("json", "json", "text")
    if word == "uuid":
        return Form(word, "uuid", "text")
    if word in _BINARY or binary:
        return Form(word, "binary", "binary", long=length > _SORTED)
    if word in WORDS and charset and charset not in _WHOLE:
        return Form(word, "text", "text", _whole_or_lost(charset), checked=True, long=length > _SORTED)
    return Form(word, "text", "text", long=word in WORDS and length > _SORTED)


def _whole_or_lost(charset: str) -> str:
    """What carries a text of a set in which some bytes stand for nothing: UTF-8, or `LOST` and the bytes themselves."""
    utf8 = "CONVERT({0} USING utf8mb4)"
    marks, there = (f"CHAR_LENGTH({text}) - CHAR_LENGTH(REPLACE({text}, '?', ''))" for text in (utf8, "{0}"))
    lost = f"LOCATE('?', {utf8}) AND {marks} <> {there}"
    if charset not in _UNICODE:
        lost = f"({lost}) OR LOCATE(_utf8mb4 X'EFBFBD', {utf8} COLLATE utf8mb4_bin)"
    return f"IF({lost}, CONCAT(X'{LOST.hex()}', CAST({{0}} AS BINARY)), CAST({utf8} AS BINARY))"


def form_of_result(told: Described) -> Form:
    """The form of a query's column."""
    word = _CODES.get(told.code, "varchar")
    if told.flags & (_ENUM | _SET):
        word = "enum" if told.flags & _ENUM else "set"
    plain = word == "varchar" and told.charset == _BINARY_CHARSET and told.code != 6  # 6: NULL, of no type
    return form_of(word, " unsigned" if told.flags & _UNSIGNED else "", binary=plain, length=told.length)


def quoted(text: str) -> str:
    """A text as a literal: its bytes, so that no setting of the server reads it in another way."""
    return f"_utf8mb4 X'{text.encode().hex()}'" if text else "''"


def name_of(*parts: str) -> str:
    """A name between backticks."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def exact_text(value: Any) -> str:
    """A key's value as text that `Form.literal` writes as SQL of the same value."""
    if isinstance(value, bytes):
        return value.hex()
    return repr(value) if isinstance(value, float) else str(value)
