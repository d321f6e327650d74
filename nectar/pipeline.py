"""From a raw batch to what may be stored: validate, extract, transform, scrub. Pure: the same input, the same output.

The steps of the documents' `NectarProcessor`, on whole tables: validation and format conversion (sizes, marks),
content extraction (documents become text), the bee's own steps (`nectar.transform`), scrubbing of what those gave,
chunking (`nectar.chunk`, at landing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from nectar.deadline import Deadline
from nectar.extract import Extracts, extract
from nectar.extract.document import REASONS
from nectar.file_names import OF_DOCUMENTS, OF_ROWS, Scrubs, look_again
from nectar.jsonrows import clean_name


class Transforms(Protocol):
    """What the pipeline needs of a bee's own steps: `nectar.transform.Transform` has it."""

    def apply(self, table: pa.Table, key: Sequence[str]) -> Transformed: ...


class Transformed(Protocol):
    @property
    def table(self) -> pa.Table: ...
    @property
    def rows(self) -> list[int]: ...
    @property
    def dropped(self) -> list[int]: ...
    @property
    def failed(self) -> Mapping[int, str]: ...


@dataclass(frozen=True)
class Refined:
    """table    rows that may be stored, in the order of `rows`
    rows     their places in the table that came in
    removed  (row, field, kind, count): what was taken out; `row` counts in `table`
    failed   place in the table that came in -> reason code: to quarantine, never landed
    reasons  place -> sentence, of those that failed for a reason of their own
    dropped  places that a step of the bee left out on purpose: the jar shall not hold them
    """

    table: pa.Table
    rows: list[int]
    removed: pa.Table
    failed: dict[int, str]
    reasons: Mapping[int, str] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()


def refine(
    table: pa.Table,
    scrubber: Scrubs,
    *,
    document: bool,
    value_limit: int,
    transform: Transforms | None = None,
    key: Sequence[str] = (),
    deadline: Deadline | None = None,
    extractor: Extracts | None = None,
) -> Refined:
    """Validate, extract, transform and scrub. A record that cannot be used is in `failed`; the others do not suffer.

    `key`: the columns of the records' key, for `transform`. `deadline`: for the scrubbing of each value.
    `extractor`: reads documents of other formats than text, behind a wall; without it they are read in this process.
    """
    table = _without_nul(table)
    failed = oversized(table, value_limit)
    table, rows = without(table, list(range(table.num_rows)), failed)
    reasons: dict[int, str] = {}
    if document:
        table, unreadable = extract(table, extractor)
        failed |= {rows[i]: code for i, code in unreadable.items()}
        reasons = {rows[i]: REASONS.get(code, code.replace("_", " ")) for i, code in unreadable.items()}
        table, rows = without(table, rows, unreadable)
        grown = oversized(table, value_limit)
        failed |= {rows[i]: code for i, code in grown.items()}
        table, rows = without(table, rows, grown)
    dropped: tuple[int, ...] = ()
    if transform is not None and table.num_rows:
        done = transform.apply(table, key)
        broken = {rows[i]: reason for i, reason in done.failed.items()}
        reasons |= broken
        failed |= dict.fromkeys(broken, "transform_failed")
        dropped = tuple(rows[i] for i in done.dropped)
        table, rows = done.table, [rows[i] for i in done.rows]
        grown = oversized(table, value_limit)
        failed |= {rows[i]: code for i, code in grown.items()}
        table, rows = without(table, rows, grown)
    scrubbed = look_again(scrubber.scrub(table, deadline), OF_DOCUMENTS if document else OF_ROWS, scrubber, deadline)
    if not scrubbed.failed:
        return Refined(scrubbed.table, rows, scrubbed.removed, failed, reasons, dropped)
    for i, code in scrubbed.failed.items():
        failed[rows[i]] = str(code)
        by = getattr(code, "rule", "")  # the recogniser or rule that failed, if it was one
        if by:
            reasons[rows[i]] = f"{code.replace('_', ' ')}: {by}"
    clean, kept = without(scrubbed.table, list(range(table.num_rows)), scrubbed.failed)
    return Refined(clean, [rows[i] for i in kept], _renumber(scrubbed.removed, kept), failed, reasons, dropped)


def _without_nul(table: pa.Table) -> pa.Table:
    """PostgreSQL takes no NUL, in names neither: a bee that makes its own tables may have sent one."""
    if not any("\x00" in name for name in table.column_names):
        return table
    return table.rename_columns([clean_name(name) if "\x00" in name else name for name in table.column_names])


def oversized(table: pa.Table, limit: int) -> dict[int, str]:
    """Rows with a text or binary value above `limit` bytes."""
    found: dict[int, str] = {}
    if table.nbytes <= limit:
        return found
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_string(column.type):
            big = pc.fill_null(pc.greater(pc.binary_length(column), limit), fill_value=False)
            found |= {int(i): "too_large" for i in pc.indices_nonzero(big).to_pylist()}
    return found


def without(table: pa.Table, rows: list[int], gone: Mapping[int, str]) -> tuple[pa.Table, list[int]]:
    """The table and its row places without the rows in `gone`, which counts in this table."""
    if not gone:
        return table, rows
    keep = [i for i in range(table.num_rows) if i not in gone]
    return table.take(pa.array(keep, pa.int64())), [rows[i] for i in keep]


def _renumber(removed: pa.Table, kept: list[int]) -> pa.Table:
    new = {old: i for i, old in enumerate(kept)}
    places = [new.get(r) for r in removed["row"].to_pylist()]
    renumbered = removed.set_column(0, "row", pa.array(places, pa.int32()))
    return renumbered.filter(pc.is_valid(renumbered["row"]))
