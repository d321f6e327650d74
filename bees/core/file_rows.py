"""What a file's bytes are: a document, rows, or neither. The file bee's seam to the formats.

`judged` decides over a document's bytes; how rows are read, `reading_of` tells `bees.core.formats.read_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bees.core.bee import BeeOptions, KeyColumns, Words
from bees.core.files import checked_patterns
from bees.core.formats import ARCHIVE_ENDINGS, ROW_ENDINGS, Format, Reading, is_table, rows_by_name
from bees.core.formats.members import is_archive
from bees.core.formats.names import endings_of, is_companion
from bees.core.formats.packed import ENDINGS
from bees.core.formats.rows import found_encoding
from bees.core.tabular import MAX_RAW
from nectar.batch import Reject
from nectar.extract.cards import unfolded
from nectar.extract.kinds import media_type
from nectar.extract.read import needs_reader
from nectar.extract.text import decodes, encoding_of, looks_textual

NO_TEXT = "its name says that the file is text, and what it holds is none: mend it, or leave it out by `patterns`"
_NO_DOCUMENT = (
    "its name says that the file is a document, and what it holds is none: mend it, or leave it out by `patterns`"
)
_NO_ARCHIVE = (
    "its name says that the file is an archive or compressed, and what it holds is neither: put the whole file in its "
    "place, or leave it out by `patterns`"
)
_NO_READER = "no reader is there for this format: convert the file, or leave it out by `patterns`"
_EMPTY = "the file is empty, as no whole one of its kind is"
HOLDERS = (*ARCHIVE_ENDINGS, *ENDINGS)
"""Endings of files that may hold several documents."""
_TEXTS = (".txt", ".text", ".md", ".markdown", ".rst", ".log", ".htm", ".html")
_OFFICE = (".pdf", ".docx", ".docm", ".pptx", ".pptm", ".odt", ".odp", ".epub", ".doc", ".ppt", ".rtf")
_DOCUMENTS = (*_OFFICE, ".eml", ".mbox", ".ics", ".vcf", ".json", ".xml", ".yaml", ".yml", ".xhtml")
_UNREAD = (
    ".msg", ".pst", ".wpd", ".wps", ".pub", ".one", ".mobi", ".azw3", ".djvu", ".hwp",
    ".rar", ".lz4", ".lz", ".lzma", ".z", ".cab", ".arj", ".lzh", ".cpio",
)  # fmt: skip
"""Documents and archives that people may miss, and nothing here reads."""

_CARDS = {"text/calendar", "text/vcard"}

Patterns = Annotated[Words, Field(min_length=1), AfterValidator(checked_patterns)]


class FileStream(BeeOptions):
    """Some of the folder's files, read in one way."""

    patterns: Patterns = Field((), description="globs of this stream's files; unset: those of the bee")
    format: Literal["auto", "document"] | Format = Field(
        "auto", description="auto: rows if every pattern ends as files of rows do (.csv, .jsonl.gz), else documents"
    )
    key: KeyColumns = Field((), description="fields that identify a row; unset: its file and line")
    header: bool = Field(True, description="the first row of a CSV file or sheet names its columns; else column_1, ...")
    delimiter: str = Field("", pattern=r'^[^"\r\n]?$', description="of CSV; unset: of , ; tab | the one that fits")
    element: str = Field(
        "",
        pattern=r"^[^\s/{}]*$",
        description="of XML: the elements that are rows, by name; unset: those inside the root",
    )


def reading(stream: FileStream, *, built_in: bool) -> tuple[bool, tuple[str, ...]]:
    """Whether files are documents, and the endings they must have: where no pattern was chosen for a stream of rows."""
    if stream.format == "document":
        return True, ()
    if stream.format == "auto":
        rows = built_in or (stream.patterns and all(p.lower().endswith(ROW_ENDINGS) for p in stream.patterns))
        return (False, (*ROW_ENDINGS, *ARCHIVE_ENDINGS)) if rows else (True, ())
    return False, () if stream.patterns else endings_of(stream.format)


def reading_of(stream: FileStream, encoding: str, batch_rows: int, batch_bytes: int) -> Reading:
    """How the stream's files of rows are read."""
    return Reading(
        format=stream.format, key=stream.key, header=stream.header, delimiter=stream.delimiter, encoding=encoding,
        element=stream.element,
        batch_rows=batch_rows, batch_bytes=batch_bytes,
    )  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A document: its bytes, why it is set aside, or neither where it is left out. `media_type` has a charset where the
    bytes do not tell it.
    """

    data: bytes | None = None
    media_type: str = ""
    reject: Reject | None = None


def is_document(head: bytes, declared: str, name: str) -> bool:
    """Whether a file that begins so is collected as a document at all."""
    if is_table(head):
        return False
    if media_type(head, name) is not None or is_archive(head, name):
        return True
    return looks_textual(head, encoding_of(head[:4], _encoding(declared, head)))


def is_misnamed(head: bytes, name: str) -> bool:
    """Whether a file that begins so is a table, and its name does not say it: nobody would read it as one."""
    return is_table(head) and not rows_by_name(name)


def no_document(head: bytes, path: str) -> tuple[str, str] | None:
    """Of a file that is none: code and reason if its name says that somebody may miss it; not of pictures, programs."""
    lower = path.lower()
    if is_companion(head):
        return None
    if lower.endswith(_TEXTS):
        return "not_text", NO_TEXT
    if lower.endswith(_DOCUMENTS):
        return "unreadable_document", _NO_DOCUMENT
    if lower.endswith(HOLDERS):
        return "broken_archive", _NO_ARCHIVE
    return ("unknown_format", _NO_READER) if lower.endswith(_UNREAD) else None


def rows_may_be_in(path: str) -> bool:
    """Whether the built-in stream of rows looks into a file of this name."""
    return path.lower().endswith((*ROW_ENDINGS, *ARCHIVE_ENDINGS))


def holds_others(data: bytes, name: str) -> bool:
    """Whether a document is an archive, or compressed: what is within it is collected."""
    return media_type(data, name) is None and is_archive(data[:512], name)


def is_lost_archive(head: bytes, name: str) -> bool:
    """Whether a file that begins so is called an archive and is none, nor a document that needs a reader."""
    if not name.lower().endswith(HOLDERS) or is_archive(head, name):
        return False
    return media_type(head, name) is None or looks_textual(head, encoding_of(head[:4]))


def judged(name: str, data: bytes, declared: str) -> Judged:
    """A whole document; `name` is its path as shown."""
    if not data and name.lower().endswith(_OFFICE):
        return Judged(reject=Reject(name, "empty_file", _EMPTY))
    said = "" if declared == "auto" else declared  # a page says itself what it is in
    kind = media_type(data, name)
    declared = _encoding(declared, unfolded(data) if kind in _CARDS else data)
    encoding = encoding_of(data[:4], declared)
    if kind is None and not looks_textual(data, encoding):
        # Its beginning looked like a document, and the whole of it is none.
        told = no_document(data, name)
        return Judged(reject=Reject(name, *told) if told else None)
    if kind is not None and needs_reader(kind):
        charset = said if kind == "text/html" else declared if kind in _CARDS and not encoding.bom else ""
        return Judged(data, f"{kind}; charset={charset}" if charset else kind)
    if not decodes(data, declared):
        reason = f"the text is not {encoding.name}: set `encoding` to what it is in"
        return Judged(reject=Reject(name, "not_utf8", reason, data[:MAX_RAW]))
    kind = kind or "text/plain"
    return Judged(data, f"{kind}; charset={declared}" if declared and not encoding.bom else kind)


def _encoding(declared: str, data: bytes) -> str:
    return found_encoding(data) if declared == "auto" else declared
