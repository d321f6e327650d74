"""Files of rows as Arrow tables: CSV, JSON Lines, JSON, Parquet, Arrow, Avro and spreadsheets, compressed too.

    for part in read_rows(file, "sales.csv.gz", Reading()):
        part.table, part.rejects, part.place

A line, item or file that cannot be read is a reject with its place and reason; the rest comes.
"""

from __future__ import annotations

from bees.core.formats.names import ARCHIVE_ENDINGS, ROW_ENDINGS, Format, format_of, is_table, rows_by_name
from bees.core.formats.part import Part, Place, Reading, TableBuffer
from bees.core.formats.rows import read_rows

__all__ = [
    "ARCHIVE_ENDINGS", "ROW_ENDINGS", "Format", "Part", "Place", "Reading", "TableBuffer", "format_of", "is_table",
    "read_rows", "rows_by_name",
]  # fmt: skip
