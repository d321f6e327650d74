"""What a source offers, before anything is read: streams, their columns, keys and cursors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "text",
    "integer",
    "number",
    "float",
    "boolean",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "json",
    "binary",
    "uuid",
]
"""What a column holds, in words that the typed views know. `number` is exact decimal, `float` binary floating point."""

Resumes = Literal["row", "slice", "none"]
"""Where reading may go on after a stop: after any batch, only between slices, or not at all.

With `none` a batch may carry the cursor at which the reading began; then the hive lets the reading go on to its end in
one go, and a stop or a crash means to read from there again. As soon as a batch carries another cursor, that is taken.
"""


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind = "text"
    nullable: bool = True
    comment: str = ""
    source_type: str = ""
    """The source's own name of the type, such as `numeric(10,2)`; for people."""


@dataclass(frozen=True)
class Stream:
    """One table, folder or endpoint of a source."""

    name: str
    columns: tuple[Column, ...] = ()
    """Empty where the source cannot tell before it is read."""
    key: tuple[str, ...] = ()
    """Columns that identify a record. Empty: the stream cannot land in a continuous jar (its message says how)."""
    cursors: tuple[str, ...] = ()
    """Columns that incremental reading may follow."""
    cursor: str | None = None
    """The one that is followed; None reads the whole stream each time."""
    resumes: Resumes = "row"
    comment: str = ""
    document: bool = False
    """Records are documents: they carry a `content` column of bytes, from which text is extracted."""
    replaces: bool = False
    """Records have no identity but what stands in them: a complete read takes the place of all that was there."""
    versions: bool = False
    """The source tells where a reading of everything begins and when it is complete, by `Batch.begins` and `complete`;
    several flights may lie between, and there may be a cursor.
    """
    labels: dict[str, str] = field(default_factory=dict)
    trouble: Exception | None = None
    """Why it cannot be read for now, while others can: who reads it is told so, and where its reading stood stays."""
