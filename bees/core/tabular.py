"""Rows of CSV and JSON Lines files, one after another: a broken row is set aside, and reading may go on after any row.

Memory is bounded by one row, whatever the file holds.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.extract.text import HEAD, encoding_of
from nectar.jsonrows import clean_name, escape, parse, sift, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ROW = 16 << 20
"""Bytes of one row, above which it is set aside unread."""

MAX_RAW = 1 << 20
"""Bytes of a rejected item that go to quarantine."""

PLACE = ("source_file", "source_row")
"""Columns that are the key of rows for which none is configured: the file, and the line where the row begins."""

_DELIMITERS = ",;\t|"
_SEPARATOR = "sep="
MARK = "\ufeff"
"""Before a row a byte order mark, as between files that were joined: it belongs to no value."""
BLANKS = " \t\u00a0"
"""A value of nothing but these is blank."""
_WRONG_ENCODING = "the bytes are not in the file's encoding: set `encoding`"


@dataclass(frozen=True, slots=True)
class Place:
    """Between two rows: a byte offset, and the number of the line that begins there."""

    offset: int
    line: int


class Lines:
    """Lines of a binary file in any encoding whose newline is 0x0A in its own width. Numbers begin at 1.

    The characters 0x1A with which programs of DOS end a text belong to no line.
    """

    def __init__(self, file: BinaryIO, declared: str = "", limit: int = MAX_ROW) -> None:
        file.seek(0)
        head = file.read(16)
        encoding = encoding_of(head[:4], declared)
        self.encoding = encoding.name
        mark, size = head[: encoding.bom], encoding.bom
        while mark and head[size:].startswith(mark):  # of a program that marks what is marked already
            size += len(mark)
        self.start = Place(size, 1)
        self._file = file
        self._limit = limit
        self._newline, self._end = "\n".encode(encoding.name), "\x1a".encode(encoding.name)
        self._quote = '"'.encode(encoding.name)
        self.quoted = False
        """Whether the line that was taken last is above the limit and holds a quote."""
        self.go_to(self.start)

    def go_to(self, place: Place) -> None:
        self.place = place
        self._file.seek(place.offset)

    def go_to_end(self) -> None:
        self.place = Place(self._file.seek(0, io.SEEK_END), self.place.line)

    def take(self, *, through: bool = True) -> tuple[bytes, bool]:
        """The next line with its end, empty at the end of the file; False with the beginning of one above the limit.

        `through=False`: such a line is not read to its end, and `go_to` must follow.
        """
        raw, ended = self._piece(self._limit)
        whole, read = ended or len(raw) < self._limit, len(raw)
        self.quoted = not whole and self._quote in raw
        while through and not ended and not whole:
            rest, ended = self._piece(HEAD)
            read += len(rest)
            self.quoted = self.quoted or self._quote in rest
            if not rest:
                break
        self.place = Place(self.place.offset + read, self.place.line + 1)
        while not ended and whole and raw.endswith(self._end):
            raw = raw[: -len(self._end)]
        return (raw, True) if whole else (raw[:MAX_RAW], False)

    def _piece(self, limit: int) -> tuple[bytes, bool]:
        width = len(self._newline)
        if width == 1:
            raw = self._file.readline(limit)
            return raw, raw.endswith(b"\n")
        made = b""
        while len(made) < limit and (part := self._file.readline(limit - len(made))):
            made += part
            made += self._file.read(-len(made) % width)  # 0x0A may be the first byte of a character
            if made[-width:] == self._newline:
                return made, True
        return made, False


def no_key(fields: Sequence[str], how: str = "missing") -> str:
    """Why a row is set aside whose fields of the stream's key, as the configuration calls them, hold nothing."""
    return f"the row has no key: {' and '.join(fields)} {'are' if fields[1:] else 'is'} {how}"


def _no_column(fields: Sequence[str]) -> str:
    named = " and ".join(fields)
    return f"the file has no column {named} of the stream's key: correct `key`, or the first line of the file"


class JsonRows:
    """One object a line. Empty lines are no rows. Without a `key` each row gets the columns of `PLACE`."""

    columns: tuple[str, ...] = ()

    def __init__(self, lines: Lines, name: str, key: tuple[str, ...] = ()) -> None:
        self._lines = lines
        self._name = name
        self._key = key
        self.place = lines.start

    def go_to(self, place: Place) -> None:
        self.place = place
        self._lines.go_to(place)

    def rows(self) -> Iterator[dict[str, Any] | Reject]:
        """An object, or why a line is none. `place` is after what was given last."""
        while True:
            number = self._lines.place.line
            raw, whole = self._lines.take()
            if not raw:
                return
            self.place = self._lines.place
            if not whole:
                yield self._reject(number, "row_too_long", f"the line is longer than {MAX_ROW} bytes", raw)
            elif (row := self._row(number, raw)) is not None:
                yield row

    def _row(self, number: int, raw: bytes) -> dict[str, Any] | Reject | None:
        try:
            text = raw.decode(self._lines.encoding).lstrip(MARK)
            if not text.strip():
                return None
            rows, rejects = sift([parse(text)], self._name, number)
        except UnicodeError:
            return self._reject(number, "not_utf8", _WRONG_ENCODING, raw)
        except SkipRecord as error:
            return self._reject(number, error.code, str(error), raw)
        if rejects:
            return self._reject(number, rejects[0].code, rejects[0].reason, raw)
        row = rows[0]
        if not self._key:
            return placed(row, self._name, number)
        if missing := [field for field in self._key if row.get(field) is None]:
            return self._reject(number, "no_key", no_key(missing), raw)
        return row

    def _reject(self, line: int, code: str, reason: str, raw: bytes) -> Reject:
        return Reject(f"{self._name}:{line}", code, reason, raw[:MAX_RAW])


class CsvRows:
    """Rows of a CSV file, all values text. The first row names the columns, unless `header` is false.

    Without a `key` each row ends with the columns of `PLACE`. With one, a row in which all of its columns are blank is
    set aside, for all of them would be one record; a row of nothing but delimiters is none then.

    A line above the limit is one row, if no quote is in it.

    Quotes are read strictly: a row with text after a closing quote is set aside. After a quote that is never closed,
    nobody can tell rows from text, so the rest of the file is set aside with it, as `unclosed_quote`.
    """

    def __init__(
        self, lines: Lines, name: str, key: tuple[str, ...] = (), *, header: bool = True, delimiter: str = ""
    ) -> None:
        """Reads the header. `refusal` says why the file gives no rows, if so; `columns` is empty for an empty file."""
        # A process-wide limit of 128 KiB a field; ours is by row and counted in `_texts`.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW))
        self._lines = lines
        self._name = name
        self.delimiter = delimiter or _told(lines) or _delimiter(lines)
        self.skips_blanks = _skips_blanks(_sample(lines), self.delimiter)
        self._record: list[bytes] = []
        self._bad = self._long = self._marked = False
        self.columns: tuple[str, ...] = ()
        self._header: list[str] | None = None
        self.refusal: Reject | None = None
        self.go_to(lines.start)
        self._width = 0
        self._placed = not key
        self.key_at: tuple[int, ...] = ()
        self.keyless = no_key(key, "blank")
        self._begin_file(header, key)

    def _begin_file(self, header: bool, key: tuple[str, ...]) -> None:
        first = next(self._records(), None)
        if isinstance(first, Reject):
            self.refusal = first
        elif first:
            self._width = len(first[1])
            own = PLACE if self._placed else ()
            self._header = first[1] if header else None
            fields = first[1] if header else [""] * self._width
            names = [escape(name.strip() or f"column_{number}") for number, name in enumerate(fields, 1)]
            self.columns = (*unique(names, own), *own)
            if missing := [field for field in key if escape(field) not in self.columns]:
                self.refusal = Reject(self._name, "no_key", _no_column(missing))
            else:
                self.key_at = tuple(self.columns.index(escape(field)) for field in key)
        self.go_to(self.place if header else self._lines.start)

    def go_to(self, place: Place) -> None:
        self.place = place
        self._lines.go_to(place)

    def rows(self) -> Iterator[list[Any] | Reject]:
        """Values, or why a row is none. `place` is after what was given last."""
        for item in self._records():
            if isinstance(item, Reject):
                yield item
            elif self._marked and item[1] == self._header:
                continue  # of a file that was joined to the first one
            elif len(item[1]) != self._width:
                reason = f"the row has {len(item[1])} fields, the first one {self._width}"
                yield self._reject(item[0], "ragged_row", reason)
            elif self.key_at and not any(item[1][at].strip(BLANKS) for at in self.key_at):
                if any(value.strip(BLANKS) for value in item[1]):
                    yield self._reject(item[0], "no_key", self.keyless)
            else:
                yield [*item[1], self._name, item[0]] if self._placed else item[1]

    def _records(self) -> Iterator[tuple[int, list[str]] | Reject]:
        while True:
            reader = csv.reader(
                self._texts(), delimiter=self.delimiter, strict=True, skipinitialspace=self.skips_blanks
            )
            try:
                while True:
                    line = self._begin()
                    values = next(reader, None)
                    if values is None:
                        return
                    self.place = self._lines.place
                    if self._bad:
                        yield self._reject(line, "not_utf8", _WRONG_ENCODING)
                    elif values:
                        yield line, values
            except csv.Error as error:
                if self._long and len(self._record) == 1 and not self._lines.quoted:
                    self._long = False
                    self.place = self._lines.place
                    yield self._reject(line, "row_too_long", f"the line is longer than {MAX_ROW} bytes")
                elif self._long or "end of data" in str(error):
                    self._lines.go_to_end()
                    self.place = self._lines.place
                    yield self._unclosed(line)
                    return
                else:
                    self.place = self._lines.place
                    yield self._reject(line, "broken_row", "the row breaks the rules of quoting")

    def _begin(self) -> int:
        self._record.clear()
        self._bad = self._marked = False
        return self._lines.place.line

    def _texts(self) -> Iterator[str]:
        size = 0
        while True:
            if not self._record:
                size = 0
            raw, whole = self._lines.take()
            if not raw:
                return
            size += len(raw)
            self._record.append(raw)
            if not whole or size > MAX_ROW:
                self._long = True
                raise csv.Error
            try:
                text = raw.decode(self._lines.encoding)
            except UnicodeError:
                self._bad = True
                text = raw.decode(self._lines.encoding, "replace")
            if len(self._record) == 1:
                self._marked = text.startswith(MARK)
                text = text.lstrip(MARK)
            yield text

    def _unclosed(self, line: int) -> Reject:
        reason = f"a quote is not closed within {MAX_ROW} bytes, or a row is longer: the rest of the file was left out"
        return self._reject(line, "unclosed_quote", reason)

    def _reject(self, line: int, code: str, reason: str) -> Reject:
        return Reject(f"{self._name}:{line}", code, reason, b"".join(self._record)[:MAX_RAW])


class RowBuffer:
    """Records and rejects of the next batch. All records of one batch have the same columns."""

    def __init__(self, rows: int, size: int) -> None:
        self._limits = rows, size
        self.columns: tuple[str, ...] = ()
        self.clear()

    def clear(self) -> None:
        self.rows: list[Any] = []
        self.rejects: list[Reject] = []
        self.size = 0

    def add(self, row: Any, size: int) -> None:
        self.rows.append(row)
        self.size += size

    def full(self) -> bool:
        return len(self.rows) + len(self.rejects) >= self._limits[0] or self.size >= self._limits[1]

    def table(self) -> pa.Table:
        return text_table(self.columns, self.rows) if self.columns else table(self.rows)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows of `CsvRows` as a table: text, but for the line's number. A column's type never depends on its values."""
    kinds = [pa.int64() if name == PLACE[1] else pa.string() for name in columns]
    values = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return pa.table({n: pa.array(v, k) for n, v, k in zip(columns, values, kinds, strict=True)})


def unique(names: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """The names, numbered where one comes again or is taken: `name`, `name_2`."""
    used = {*taken, *names}
    made: dict[str, None] = {}
    for name in names:
        candidate, count = name, 1
        while candidate in made or candidate in taken or (count > 1 and candidate in used):
            count += 1
            candidate = clean_name(f"{name}_{count}")
        made[candidate] = None
    return tuple(made)


def placed(row: dict[str, Any], name: str, line: int) -> dict[str, Any]:
    own = {PLACE[0]: name, PLACE[1]: line}
    if own.keys().isdisjoint(row):
        return own | row
    return own | dict(zip(unique(list(row), PLACE), row.values(), strict=True))


def _told(lines: Lines) -> str:
    """The delimiter of a first line `sep=;`, as spreadsheets write it; the file then begins behind it."""
    lines.go_to(lines.start)
    first = lines.take(through=False)[0][:64].decode(lines.encoding, "replace").rstrip("\r\n").strip('"')
    if len(first) != len(_SEPARATOR) + 1 or not first.lower().startswith(_SEPARATOR):
        return ""
    lines.start = lines.place
    return first[-1]


def _delimiter(lines: Lines) -> str:
    """The one that parts the first rows into the same number of fields, the most of them; a comma where none does."""
    sample = _sample(lines)
    best, most = ",", (False, 1)
    for delimiter in _DELIMITERS:
        widths = _widths(sample, delimiter)
        score = (len(set(widths)) == 1, widths[0] if widths else 0)
        if score[1] > 1 and score > most:
            best, most = delimiter, score
    return best


def _sample(lines: Lines) -> list[str]:
    """The first rows, or the first lines of them."""
    lines.go_to(lines.start)
    sample: list[str] = []
    size = 0
    while size < HEAD and len(sample) < 50 and (raw := lines.take(through=False)[0]):
        size += len(raw)
        sample.append(raw.decode(lines.encoding, "replace"))
    return sample


def _skips_blanks(sample: list[str], delimiter: str) -> bool:
    """Whether a blank stands between delimiter and quote, `a, "b, c"`: read so, all of the first rows are rows."""
    begins = re.compile(re.escape(delimiter) + ' +"')
    if not any(begins.search(line) for line in sample):
        return False
    widths: set[int] = set()
    reader = csv.reader(sample, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        widths.update(len(values) for values in reader if values)
    except csv.Error as error:
        if "end of data" not in str(error):  # the sample ends within a row
            return False
    return len(widths) == 1


def _widths(sample: list[str], delimiter: str) -> list[int]:
    widths: list[int] = []
    with contextlib.suppress(csv.Error):
        reader = csv.reader(sample, delimiter=delimiter, skipinitialspace=_skips_blanks(sample, delimiter))
        widths.extend(len(values) for values in reader if values)
    return widths
