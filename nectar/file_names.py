"""Names of files, looked at without their endings: in `jane@example.com.pdf` the ending hides the address.

Who finds addresses knows domains by their endings, and `.pdf` is none. So what is left in a name with an `@` is looked
at once more, the ending set apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from nectar.deadline import Deadline

OF_DOCUMENTS, OF_ROWS = ("path", "name", "moved_from"), ("source_file",)
"""Columns that hold names of files."""

_APART = "\x1e"
_KNOWN = (
    "txt|pdf|docx?|docm|xlsx?|xlsm|xlsb|pptx?|pptm|odt|ods|odp|rtf|epub|eml|msg|mbox|ics|vcf|md|markdown|html?|xhtml|xml|"
    "json|jsonl|ndjson|csv|tsv|tab|parquet|pq|avro|arrow|feather|log|ya?ml|zip|7z|tar|t?gz|gzip|t?bz2|t?xz|t?zst|zstd|br|"
    "png|jpe?g|gif|tiff?|bak|old|tmp"
)
_ENDING = re.compile(rf"((?:\.(?:{_KNOWN}))+|\.[0-9a-z]{{1,8}})(?=[/#]|$)", re.IGNORECASE)


class Scrubbed(Protocol):
    @property
    def table(self) -> pa.Table: ...
    @property
    def removed(self) -> pa.Table: ...
    @property
    def failed(self) -> Mapping[int, str]: ...


class Scrubs(Protocol):
    """What is needed of a scrubber here and in the pipeline: `nectar.scrub.DataScrubber` has it."""

    def scrub(self, table: pa.Table, deadline: Deadline | None = None) -> Scrubbed: ...


@dataclass(frozen=True)
class Looked:
    """As `Scrubbed`."""

    table: pa.Table
    removed: pa.Table
    failed: Mapping[int, str]


def look_again(
    scrubbed: Scrubbed, fields: Sequence[str], scrubber: Scrubs, deadline: Deadline | None = None
) -> Scrubbed:
    """What was scrubbed, names of files in `fields` without their endings too. Mostly there is nothing to do."""
    table = scrubbed.table
    found: dict[str, dict[int, str]] = {}
    for field in fields:
        if field in table.column_names and pa.types.is_string(table.schema.field(field).type):
            values = table[field].to_pylist()
            if waiting := {row: value for row, value in enumerate(values) if value is not None and "@" in value}:
                found[field] = waiting
    if not found:
        return scrubbed
    from nectar.scrub.shapes.columns import summed  # here, so that those who only read carry no scrubber

    rows = sorted({row for waiting in found.values() for row in waiting})
    again = scrubber.scrub(_apart(found, rows), deadline)
    for field, waiting in found.items():
        made = dict(zip(rows, again.table[field].to_pylist(), strict=True))
        values = table[field].to_pylist()
        for row in waiting:
            values[row] = None if made[row] is None else str(made[row]).replace(_APART, "")
        at = table.column_names.index(field)
        table = table.set_column(at, table.schema.field(field), pa.array(values, pa.string()))
    counted = again.removed
    places = pa.array([rows[row] for row in counted["row"].to_pylist()], counted.schema.field("row").type)
    removed = summed(pa.concat_tables([scrubbed.removed, counted.set_column(0, counted.schema.field("row"), places)]))
    return Looked(table, removed, {**scrubbed.failed, **{rows[row]: code for row, code in again.failed.items()}})


def _apart(found: Mapping[str, Mapping[int, str]], rows: Sequence[int]) -> pa.Table:
    return pa.table(
        {
            field: pa.array(
                [_ENDING.sub(rf"{_APART}\1", waiting[row]) if row in waiting else None for row in rows], pa.string()
            )
            for field, waiting in found.items()
        }
    )
