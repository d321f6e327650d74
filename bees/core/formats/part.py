"""What a reader of rows is asked, and what it gives: Arrow tables with the place where reading goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nectar.batch import Reject

Place = Mapping[str, Any]
"""A small JSON object that only the reader of the same file with the same settings understands."""


@dataclass(frozen=True)
class Reading:
    """How a file's rows are read.

    format       `auto` (by content, then by the name), or one of `FORMATS`
    key          fields that identify a row, as the source calls them; none: each row gets its file and line or number
    header       of CSV: the first row names the columns; of spreadsheets too
    delimiter    of CSV; empty: the one that fits
    encoding     of text without a byte order mark; empty: UTF-8; `auto`: found out from the beginning of the file
    batch_rows   rows of a part at most
    element      of XML: the elements that are rows, by name; empty: those just inside the root
    rows_apart   another stream reads the documents within archives, and tells what is wrong with these
    batch_bytes  bytes of the file that make a part, about
    """

    format: str = "auto"
    key: tuple[str, ...] = ()
    header: bool = True
    delimiter: str = ""
    encoding: str = ""
    element: str = ""
    rows_apart: bool = False
    batch_rows: int = 5000
    batch_bytes: int = 8 << 20


@dataclass(frozen=True)
class Part:
    """Some rows of one file.

    place  where reading goes on after them. `offset`, where it has one, counts the file's own bytes, and what stands
           before it may be compared to learn whether the file has only grown; a place without it holds for the same
           content only
    size   bytes of the file that were read for it, about
    whole  False: more than the rows of `rejects` was left out here, told or not
    """

    table: pa.Table
    place: Place
    rejects: tuple[Reject, ...] = ()
    size: int = 0
    whole: bool = True


class TableBuffer:
    """Parts of one or several files, until they make a batch. All rows of a batch have the same columns."""

    def __init__(self, rows: int, size: int) -> None:
        self._limits = rows, size
        self.clear()

    def clear(self) -> None:
        self.rows: list[pa.Table] = []
        self.rejects: list[Reject] = []
        self.size = self._count = 0

    def add(self, part: Part) -> None:
        """Take a part that `fits`."""
        if part.table.num_rows:
            self.rows.append(part.table)
            self._count += part.table.num_rows
        self.rejects.extend(part.rejects)
        self.size += part.size + sum(len(reject.raw) for reject in part.rejects)

    def fits(self, part: Part) -> bool:
        """Whether the part's columns are those of the rows that wait."""
        if not self.rows or not part.table.num_rows:
            return True
        return bool(self.rows[0].schema.equals(part.table.schema, check_metadata=True))

    @property
    def count(self) -> int:
        """Rows that wait."""
        return self._count

    def full(self) -> bool:
        return self._count + len(self.rejects) >= self._limits[0] or self.size >= self._limits[1]

    def table(self) -> pa.Table:
        return pa.concat_tables(self.rows) if self.rows else pa.table({})


def sliced(table: pa.Table, rows: int) -> Sequence[pa.Table]:
    """The table in pieces of at most so many rows; a table without rows is one piece."""
    return [table.slice(at, rows) for at in range(0, max(table.num_rows, 1), rows)]
