"""Which formats hold rows, and what a file's name says of it."""

from __future__ import annotations

import re
from typing import Literal

from bees.core.formats.packed import ENDINGS, inner_name
from nectar.errors import SkipRecord
from nectar.extract.text import encoding_of, looks_textual
from nectar.jsonrows import parse

Format = Literal["csv", "jsonl", "json", "parquet", "arrow", "avro", "excel", "xml"]

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow",
    ".ipc": "arrow", ".avro": "avro", ".xlsx": "excel", ".xlsm": "excel", ".xlsb": "excel", ".xls": "excel",
    ".ods": "excel", ".xml": "xml",
}  # fmt: skip
_AMBIGUOUS = {".json", ".xml"}
"""Endings of rows and of documents alike: rows only where somebody says so."""
_BINARY = {"parquet", "arrow", "avro", "excel"}
_AS_NAMED = {"json", "xml"}
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_SHEETS = (b"xl/workbook", b"xl/worksheets", b"opendocument.spreadsheet")
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
    if binary := _binary(head):
        return binary
    if head.startswith(_OLE):
        return "excel"
    if head.startswith(_ZIP):
        return "excel" if named in {None, "excel"} or is_workbook(head) else None
    if named is None or named in _AS_NAMED or not looks_textual(head, encoding_of(head[:4])):
        return named
    found = _of_text(head)
    if named == "jsonl":
        return "json" if found == "json" else "jsonl"
    return found or (None if named in _BINARY else named)


def is_workbook(head: bytes) -> bool:
    """Whether a zip file that begins so is a spreadsheet, whatever its name."""
    return head.startswith(_ZIP) and any(part in head for part in _SHEETS)


def is_companion(head: bytes) -> bool:
    """Whether a file is what macOS writes beside another one, `._name`: an AppleDouble file (RFC 1740, appendix B).

    It has the other one's name and ending, and nothing that people wrote.
    """
    return head.startswith(b"\0\5\x16\7\0\2\0\0")


def is_lock(path: str) -> bool:
    """Whether the name is of the small file that an office program writes beside one that somebody has open.

    Microsoft's: `~$book.xlsx`; LibreOffice's: `.~lock.book.ods#`. They hold that person's name, nothing of the file.
    """
    name = path.rpartition("/")[2]
    return name.startswith("~$") or (name.startswith(".~lock.") and name.endswith("#"))


def names_locks(pattern: str) -> bool:
    """Whether a pattern of a stream means such files and no others."""
    return pattern.rpartition("/")[2].startswith(("~$", ".~lock"))


def is_table(head: bytes) -> bool:
    """Whether a file holds rows by its bytes alone."""
    return _binary(head) is not None or is_workbook(head)


def _binary(head: bytes) -> Format | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    return "avro" if head.startswith(b"Obj\x01") else None


def _of_text(head: bytes) -> Format | None:
    """What a text holds: exports get wrong endings. None where its beginning does not tell."""
    lines = [line.strip() for line in head[encoding_of(head[:4]).bom :].split(b"\n") if line.strip()][:2]
    if not lines or lines[0].startswith(b"<"):
        return None
    if lines[0] == b"[" or lines[0].startswith(b"[{"):
        return "json"
    if lines[0].startswith(b"{"):
        try:
            parse(lines[0].decode())
        except (SkipRecord, UnicodeError):
            return None
        return "jsonl"
    return "csv" if any(all(mark in line for line in lines) for mark in (b",", b";", b"\t", b"|")) else None


_KINDS = ("", "csv", "json", "jsonl", "parquet", "arrow", "avro", "excel", "xml")
BLANK = 31
"""The kind of a file without a sign in it."""
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html[\s>]|head[\s>]|body[\s>]|\?xml[\s])", re.IGNORECASE)


def seen_kind(head: bytes, *, whole: bool) -> int:
    """What kind of table a file is by its first bytes alone, as a number of 5 bits: 0 is not known, or `BLANK`.

    `whole`: there are no others.
    """
    if whole and not head[encoding_of(head[:4]).bom :].strip(b"\0 \t\r\n"):
        return BLANK
    if head.startswith((_ZIP, _OLE)):
        return _KINDS.index("excel") if head.startswith(_OLE) or is_workbook(head) else 0
    text = looks_textual(head, encoding_of(head[:4]))
    return _KINDS.index(_binary(head) or (_of_text(head) if text else None) or "")


def is_page(head: bytes) -> bool:
    """Whether a text is a page of HTML, or XML: what servers answer instead of a table."""
    return _PAGE.match(head[encoding_of(head[:4]).bom :]) is not None


_DOCUMENTS = (b"%PDF-", b"{\\rtf")
_FIRST_FIELD = re.compile(rb"(?:From|Received|Return-Path|Delivered-To|Message-ID|MIME-Version): ", re.IGNORECASE)
_FIELD = re.compile(rb"[!-9;-~]+:(?:[ \t]|$)")


def is_text_document(head: bytes, delimiter: str = "") -> bool:
    """Whether a text is a document whatever its name: PDF or RTF all in ASCII, or an e-mail message (RFC 5322, 2.2).

    A message begins with a field that programs write first, and two more follow it. A first line that `delimiter`, or
    without one any usual mark, parts into columns is a table's.
    """
    text = head[encoding_of(head[:4]).bom :].lstrip()
    if text.startswith(_DOCUMENTS):
        return True
    lines = [line.rstrip(b"\r") for line in text.split(b"\n")]
    marks = (delimiter.encode(),) if delimiter else (b",", b";", b"\t", b"|")
    if not _FIRST_FIELD.match(lines[0]) or any(mark in lines[0] for mark in marks):
        return False
    fields = [line for line in lines[1:] if not line.startswith((b" ", b"\t"))][:2]  # a line that is indented goes on
    return len(fields) == 2 and all(map(_FIELD.match, fields))


def endings_of(chosen: str) -> tuple[str, ...]:
    """The endings of files of one format, compressed ones too."""
    plain = [ending for ending, found in _BY_ENDING.items() if found == chosen]
    return (*plain, *(f"{ending}{packed}" for ending in plain for packed in ENDINGS))
