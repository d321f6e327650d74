"""What an answer's body says: JSON, JSON Lines, CSV or XML, each read with its dangers in mind.

json    one document
jsonl   a document a line; a broken line is set aside
csv     a header, then a row a record, all text; a row of another width is set aside
xml     elements as objects: `@name` is an attribute, `#text` the text beside others; what comes several times is a
        list. A DOCTYPE is refused: entities are how XML eats memory and reads files
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from bees.core import exact_json
from bees.core.errors import GiveUp
from bees.core.rest import xml_elements
from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import parse

Format = Literal["json", "jsonl", "csv", "xml"]
ACCEPT: dict[str, str] = {
    "json": "application/json",
    "jsonl": "application/x-ndjson, application/jsonl",
    "csv": "text/csv",
    "xml": "application/xml, text/xml",
}
MOST_VALUES = 2_000_000
"""Of one body of JSON: each takes some hundred bytes of memory, however few it has on its way."""

_FOREIGN = re.compile(
    r"iso-8859-[0-9]{1,2}|latin-?[0-9]|windows-[0-9]{3,4}|cp[0-9]{3,4}|utf-?(16|32)(-?[bl]e)?|koi8-[rut]"
    r"|gb(k|2312|18030)|big5|shift[_-]jis|euc-(jp|kr)|macintosh",
    re.IGNORECASE,
)
"""Encodings that are read where they are told; what is told of others, and of plain ASCII, is not believed."""
_SMALLEST = 8
"""Bytes of a value with its comma, on the average."""


def read(
    raw: bytes, form: Format, where: str, delimiter: str = ",", *, decimals: bool = False
) -> tuple[Any, list[Reject]]:
    """The body as plain values, and what of it cannot be read. Raises GiveUp (`not_json`, `not_csv`, `not_xml`).

    `decimals`: every fraction of JSON comes as Decimal, for those who calculate with it.
    """
    exactly = parse if decimals else exact_json.read
    if form in ("json", "jsonl"):
        bounded(raw, where)
    if form == "jsonl":
        return _lines(raw, where, exactly)
    if form == "csv":
        return _rows(raw, delimiter, where)
    if form == "xml":
        return xml_elements.whole(raw, where), []
    try:
        return exactly(raw), []
    except SkipRecord as error:
        advice = "check base_url and path: is this the API, or a page for people?"
        raise GiveUp(f"the answer is no JSON: {error}", code="not_json", where=where, advice=advice) from None


def utf_8(raw: bytes, form: Format, headers: Mapping[str, str], where: str) -> bytes:
    """A body in UTF-8, where its header names another encoding; XML says so itself. Raises GiveUp (`bad_charset`)."""
    told = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", headers.get("content-type", ""), re.ASCII | re.IGNORECASE)
    if told is None or form == "xml" or not _FOREIGN.fullmatch(told[1]):
        return raw
    try:
        return raw.decode(told[1]).encode()
    except (UnicodeError, LookupError):
        pass
    message = f"the answer is not in the encoding that it says it is in ({told[1].lower()})"
    raise GiveUp(message, code="bad_charset", where=where, advice="ask for UTF-8, if the source can")


def bounded(raw: bytes, where: str, *, in_pieces: bool = False) -> None:
    """Raises GiveUp for JSON of more than MOST_VALUES values, by commas or lines, before one of them is made.

    `in_pieces`: a part of them is made at a time, so that a body above the usual limit may hold as many more.
    """
    most = max(MOST_VALUES, len(raw) // _SMALLEST) if in_pieces else MOST_VALUES
    if max(raw.count(b","), raw.count(b"\n")) > most:
        message = f"the answer holds more than {most:,} values"
        advice = "ask for smaller pages (pagination.size), or for fewer fields"
        raise GiveUp(message, code="too_many_values", where=where, advice=advice)


def _lines(raw: bytes, where: str, exactly: Callable[[bytes], Any]) -> tuple[list[Any], list[Reject]]:
    found, rejects = lines(raw, where, exactly)
    if rejects and not found:
        advice = "check path and format: is this the API, or a page for people?"
        raise GiveUp("not one line of the answer is JSON", code="not_json", where=where, advice=advice)
    return found, rejects


def lines(
    raw: bytes, where: str, exactly: Callable[[bytes], Any] = exact_json.read, first: int = 1
) -> tuple[list[Any], list[Reject]]:
    """Documents, and lines that are none; `first` is the number of the first line."""
    found: list[Any] = []
    rejects: list[Reject] = []
    for number, line in enumerate(raw.split(b"\n"), first):
        if not line.strip():
            continue
        try:
            found.append(exactly(line))
        except SkipRecord as error:
            rejects.append(Reject(f"{where}, line {number}", "not_json", str(error), line))
    return found, rejects


def _rows(raw: bytes, delimiter: str, where: str) -> tuple[list[Any], list[Reject]]:
    told = list(rows(raw, delimiter, where))
    return [one for one in told if isinstance(one, dict)], [one for one in told if isinstance(one, Reject)]


def rows(raw: bytes, delimiter: str, where: str) -> Iterator[dict[str, str] | Reject]:
    """Records, and rows that are none, one after another. Raises GiveUp (`not_csv`)."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(raw), "utf-8-sig", newline=""), delimiter=delimiter, strict=True)
    problem = ""
    try:
        header = next(reader, [])
        if len(set(header)) < len(header) or any(not name.strip() for name in header):
            problem = "the header has a column without a name, or two of one name"
        for row in reader if not problem else ():
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True))
            elif row:
                reason = f"{len(row)} values, and the header has {len(header)}"
                kept = delimiter.join(row).encode("utf-8", "backslashreplace")
                yield Reject(f"{where}, line {reader.line_num}", "wrong_width", reason, kept)
    except UnicodeDecodeError:
        problem = f"it is not in UTF-8, near line {reader.line_num + 1}"
    except csv.Error:
        problem = f"a value is not closed, or larger than a field may be, near line {reader.line_num}"
    if problem:
        raise GiveUp(f"the answer is no CSV: {problem}", code="not_csv", where=where, advice="check format, delimiter")
