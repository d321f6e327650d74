"""Which formats hold rows, and what a file's name says of it."""

from __future__ import annotations

from typing import Literal

from bees.core.formats.packed import ENDINGS, inner_name

Format = Literal["csv", "jsonl", "json", "parquet", "arrow", "avro", "excel", "xml"]

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow",
    ".ipc": "arrow", ".avro": "avro", ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel",
    ".ods": "excel", ".xml": "xml",
}  # fmt: skip
_AMBIGUOUS = {".json", ".xml"}
"""Endings of rows and of documents alike: rows only where somebody says so."""
ROWS = tuple(sorted(set(_BY_ENDING) - _AMBIGUOUS))
ROW_ENDINGS = (*ROWS, *(f"{rows}{packed}" for rows in ROWS for packed in ENDINGS))
"""Endings of files of rows, compressed ones too."""

ARCHIVE_ENDINGS = (
    ".zip", ".7z", ".tar", ".tgz", ".tbz2", ".txz", ".tzst", *(f".tar{packed}" for packed in ENDINGS)
)  # fmt: skip
"""Endings of archives, in which files of rows may be."""


def rows_by_name(path: str) -> bool:
    """Whether the name alone says that the file holds rows."""
    return path.lower().endswith(ROW_ENDINGS)


def format_by_name(path: str) -> Format | None:
    name = inner_name(path.lower())
    return next((found for ending, found in _BY_ENDING.items() if name.endswith(ending)), None)


def format_of(head: bytes, path: str) -> Format | None:
    """The format of a file that is not compressed: by its first bytes, then by its name."""
    named = format_by_name(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if head.startswith(b"Obj\x01"):
        return "avro"
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "excel" if named in {None, "excel"} else None
    return named


def endings_of(chosen: str) -> tuple[str, ...]:
    """The endings of files of one format, compressed ones too."""
    plain = [ending for ending, found in _BY_ENDING.items() if found == chosen]
    return (*plain, *(f"{ending}{packed}" for ending in plain for packed in ENDINGS))
