"""Nectar: records on their way, as Arrow tables, with the place where reading resumes.

Rules of a table
  * One row is one record. Names of columns are the record's fields.
  * A column that Arrow cannot hold exactly is text, and its field says how to read it: metadata `hive.mark` is
    `number` (an exact decimal; NaN and infinities stay text), `json` (a JSON document), or absent (plain text).
  * Columns whose name starts with `_` are reserved. `_op` (upsert, delete, truncate) is the only one a bee may send.
  * A document is a row with the binary column `content`; `nectar.extract` turns it into `text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # what only names batches, as a command that reads the ledger does, starts without Arrow
    import pyarrow as pa

MARK = b"hive.mark"
FEW = 32
"""Rows up to which plain Python is faster than expressions over columns (measured: 4 to 10 times for one row)."""
LITTLE = 1 << 20
"""Bytes up to which it may be so: of a large text it makes a copy at each step."""
Distinct = Literal["", "first", "more"]
"""Whether a batch belongs to a run in which no key comes twice, as its first one or as one more; empty: not known."""
Cursor = Mapping[str, Any]
"""Where to resume: a JSON object that only the bee understands. Empty or None: from the beginning."""


@dataclass(frozen=True)
class Reject:
    """One item that the bee could read but not understand: a broken line, a page that is no JSON.

    `position` names the place (file and line, page), `code` is a stable word, `reason` a sentence without values,
    `raw` the item's bytes for the sealed quarantine.
    """

    position: str
    code: str
    reason: str
    raw: bytes = b""


@dataclass(frozen=True)
class Section:
    """Rows of a batch, one behind the other, that came from one section of the stream, such as a file.

    name    of the section; it stays the same from one reading to the next
    start   its first row in the batch; `stop` is the row behind its last one
    begins  here the section is read from its beginning
    ends    and here it was read to its end: what an earlier reading gave of it is deleted, unless this one or another
            section gives it too
    """

    name: str
    start: int
    stop: int
    begins: bool = False
    ends: bool = False


@dataclass(frozen=True)
class Batch:
    """Some records of one stream.

    cursor   where reading resumes once this batch is sealed; the bee gets it back as it is
    complete only on a stream's last batch: everything the source holds was read in this pass. Of a stream with
             `versions` any batch: everything was read since the one that `begins`
    begins   with this batch a reading of everything begins (streams with `versions` only)
    rejects  items that are no records; they count as read and go to quarantine
    ends     nothing of this pass comes after it: to hand over behind it would begin another pass
    sections whose rows they are, where sections of the stream are read anew or deleted by themselves; one that is gone
             begins and ends without rows
    pauses   this flight reads no further, and the pass is not over: the next flight goes on with it
    distinct no record of the run that the batch belongs to has the key of another one, whatever legs and crashes lie
             between: such batches may land in any order
    """

    stream: str
    table: pa.Table
    cursor: Cursor
    slice: str | None = None
    complete: bool = False
    rejects: tuple[Reject, ...] = ()
    begins: bool = False
    sections: tuple[Section, ...] = ()
    ends: bool = False
    pauses: bool = False
    distinct: Distinct = ""


def marked(name: str, kind: pa.DataType, mark: str) -> pa.Field:
    """An Arrow field whose text must be read as `mark` says (`number` or `json`)."""
    import pyarrow as pa

    return pa.field(name, kind, metadata={MARK: mark.encode()})


def mark_of(field: pa.Field) -> str | None:
    raw = (field.metadata or {}).get(MARK)
    return raw.decode() if raw else None
