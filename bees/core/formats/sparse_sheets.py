"""Sheets of an .xlsx file that are far larger than what stands in them, such as one with a cell in its last corner.

The quick reader lays a sheet out as a rectangle, and 1,048,576 rows of 16,384 columns are too much for it. Such a sheet
is read cell by cell here, in the order of the file (ECMA-376 part 1, 18.3): what is not there takes nothing.
"""

from __future__ import annotations

import datetime as dt
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO
from xml.parsers import expat

DENSE = 16 << 20
"""Cells of a sheet up to which its rectangle is laid out."""

_BOOK = "xl/workbook.xml"
_CHUNK = 1 << 18
_DIMENSION = re.compile(rb"<(?:\w+:)?dimension\s[^>]*ref=\"(?:[A-Z]+[0-9]+:)?([A-Z]{1,3})([0-9]{1,7})\"")
_LETTERS, _ROW = re.compile(rb'\sr="([A-Z]{1,3})[0-9]'), re.compile(rb'row\s[^<>]{0,200}?\br="([0-9]{1,7})"')
_OVERLAP = 256
_DAYS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_PLAIN = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_LAPSE = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_LAST = 10_000_000.0
"""Above this no number is a day that Python knows."""
_EXACT = 2**53

BROKEN = (expat.ExpatError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, IndexError)

_Begin = Callable[[str, dict[str, str]], None]
_End = Callable[[str], None]
_Text = Callable[[str], None]

Row = tuple[int, dict[int, Any]]
"""The row's number, and its values by the number of their column; both begin at 1."""


def sparse_sheets(file: BinaryIO, above: int = DENSE) -> dict[int, Callable[[], Iterator[Row]]]:
    """Sheets of more cells than `above`, by their place in the workbook: all of them where that is negative.

    None where the file is no .xlsx, or tells no dimensions. Reading one raises ValueError or what is in `BROKEN`.
    """
    try:
        book = zipfile.ZipFile(file)
        parts = _parts(book)
        wide = [n for n, part in enumerate(parts) if part in book.NameToInfo and _cells(book, part) > above]
        if not wide:
            return {}
        about = _About(book)
    except (zipfile.BadZipFile, KeyError, expat.ExpatError, ValueError, OSError, NotImplementedError):
        return {}
    return {number: partial(_rows, book, parts[number], about) for number in wide}


def _cells(book: zipfile.ZipFile, part: str) -> int:
    """Cells of the rectangle around all that the sheet holds: as it tells, or measured where it tells too little."""
    with book.open(part) as opened:
        piece = opened.read(4096)
        found = _DIMENSION.search(piece)
        told = _column(found[1].decode()) * int(found[2]) if found else 0
        columns = rows = 0
        while told <= 1 and len(piece) > _OVERLAP:
            columns = max([columns, *(_column(letters.decode()) for letters in set(_LETTERS.findall(piece)))])
            rows = max([rows, *map(int, _ROW.findall(piece))])
            piece = piece[-_OVERLAP:] + opened.read(_CHUNK)
    return max(told, columns * rows)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _parts(book: zipfile.ZipFile) -> list[str]:
    """The sheets' parts in the order of the workbook."""
    targets: dict[str, str] = {}
    sheets: list[str] = []

    def relation(name: str, told: dict[str, str]) -> None:
        if name == "Relationship":
            targets[told.get("Id", "")] = posixpath.normpath(posixpath.join("/xl", told.get("Target", "")))[1:]

    def sheet(name: str, told: dict[str, str]) -> None:
        if name == "sheet":
            sheets.append(next((value for key, value in told.items() if key.endswith(":id")), ""))

    _parse(book, "xl/_rels/workbook.xml.rels", relation)
    _parse(book, _BOOK, sheet)
    return [targets.get(key, "") for key in sheets]


class _About:
    """What cells refer to: texts, and which styles are days."""

    def __init__(self, book: zipfile.ZipFile) -> None:
        self.texts: list[str] = []
        self.kinds: list[str] = []
        """Of each style: nothing, `day` or `lapse`."""
        self.since = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet knows no zones
        _parse(book, _BOOK, self._book)
        if "xl/styles.xml" in book.NameToInfo:
            self._styles(book)
        if "xl/sharedStrings.xml" in book.NameToInfo:
            self._shared(book)

    def _book(self, name: str, told: dict[str, str]) -> None:
        if name == "workbookPr" and told.get("date1904") in ("1", "true"):
            self.since = dt.datetime(1904, 1, 1)  # noqa: DTZ001

    def _styles(self, book: zipfile.ZipFile) -> None:
        codes: dict[int, str] = {}
        within = [False]

        def begin(name: str, told: dict[str, str]) -> None:
            if name == "numFmt":
                codes[int(told.get("numFmtId", -1))] = told.get("formatCode", "")
            elif name == "cellXfs":
                within[0] = True
            elif name == "xf" and within[0]:
                number = int(told.get("numFmtId", 0))
                self.kinds.append(_kind(number, codes.get(number, "")))

        def end(name: str) -> None:
            within[0] = within[0] and name != "cellXfs"

        _parse(book, "xl/styles.xml", begin, end)

    def _shared(self, book: zipfile.ZipFile) -> None:
        made: list[str] = []
        open_: list[str] = []

        def begin(name: str, _: dict[str, str]) -> None:
            open_.append(name)

        def end(name: str) -> None:
            open_.pop()
            if name == "si":
                self.texts.append("".join(made))
                made.clear()

        def text(data: str) -> None:
            if open_[-1] == "t" and "rPh" not in open_:  # not how it is pronounced
                made.append(data)

        _parse(book, "xl/sharedStrings.xml", begin, end, text)

    def value(self, kind: str, style: str, text: str) -> Any:
        """What a cell holds, as the quick reader gives it; None for nothing and for an error."""
        if kind == "s":
            return self.texts[int(text)] if text.isdecimal() and int(text) < len(self.texts) else None
        if kind in ("str", "inlineStr", "d"):
            return text or None
        if kind == "e" or not text:
            return None
        number = float(text)
        if kind == "b":
            return bool(number)
        at = int(style) if style.isdecimal() else 0
        if at < len(self.kinds) and self.kinds[at]:
            return self._moment(number, self.kinds[at])
        return int(number) if number.is_integer() and abs(number) < _EXACT else number

    def _moment(self, number: float, kind: str) -> Any:
        lapse = dt.timedelta(milliseconds=round(number * 86_400_000)) if abs(number) < _LAST else None
        if lapse is None or kind == "lapse":
            return number if lapse is None else lapse
        try:
            moment = self.since + lapse
        except OverflowError:
            return number
        if 0 <= number < 1:
            return moment.time()
        return moment.date() if number.is_integer() else moment


def _kind(number: int, code: str) -> str:
    if _LAPSE.search(code) or number == 46:
        return "lapse"
    plain = _PLAIN.sub("", code.partition(";")[0]).lower()
    return "day" if (not code and number in _DAYS) or any(letter in plain for letter in "dmyhs") else ""


def _rows(book: zipfile.ZipFile, part: str, about: _About) -> Iterator[Row]:
    done: list[Row] = []
    cell = {"row": 0, "column": 0}
    kind, style, made, values = [""], [""], list[str](), dict[int, Any]()
    open_ = [False]

    def begin(name: str, told: dict[str, str]) -> None:
        if name == "row":
            cell["row"], cell["column"] = int(told.get("r", cell["row"] + 1)), 0
        elif name == "c":
            letters = told.get("r", "").rstrip("0123456789")
            cell["column"] = _column(letters) if letters else cell["column"] + 1
            kind[0], style[0] = told.get("t", "n"), told.get("s", "0")
            made.clear()
        open_[0] = name in ("v", "t")

    def end(name: str) -> None:
        open_[0] = False
        if name == "c":
            value = about.value(kind[0], style[0], "".join(made))
            if value is not None:
                values[cell["column"]] = value
        elif name == "row" and values:
            done.append((cell["row"], dict(values)))
            values.clear()

    def text(data: str) -> None:
        if open_[0]:
            made.append(data)

    for _ in _parsed(book, part, begin, end, text):
        yield from done
        done.clear()


def _parse(book: zipfile.ZipFile, part: str, begin: _Begin, end: _End | None = None, text: _Text | None = None) -> None:
    for _ in _parsed(book, part, begin, end, text):
        pass


def _parsed(
    book: zipfile.ZipFile, part: str, begin: _Begin, end: _End | None = None, text: _Text | None = None
) -> Iterator[None]:
    """Read a part piece by piece; names come without their prefix. Raises ValueError where entities are declared."""
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise ValueError

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = lambda name, told: begin(name.rpartition(":")[2], told)
    if end is not None:
        ends = end
        parser.EndElementHandler = lambda name: ends(name.rpartition(":")[2])
    if text is not None:
        parser.CharacterDataHandler = text
    with book.open(part) as opened:
        while piece := opened.read(_CHUNK):
            parser.Parse(piece, False)
            yield
        parser.Parse(b"", True)
        yield
