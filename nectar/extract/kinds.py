"""What a file is, by its first bytes, and only then by its name."""

from __future__ import annotations

import io
import posixpath
import zipfile

from nectar.extract.text import HEAD, encoding_of, looks_textual

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
LOCKED = "application/x-ole-storage"
"""An older office file, or a newer one with a password: which of the two, reading tells."""

_TEXTS = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv", ".tsv": "text/tab-separated-values",
    ".html": "text/html", ".htm": "text/html", ".xhtml": "text/html", ".json": "application/json",
    ".jsonl": "application/x-ndjson", ".ndjson": "application/x-ndjson", ".xml": "application/xml",
    ".yaml": "application/yaml", ".yml": "application/yaml", ".eml": "message/rfc822", ".mbox": "application/mbox",
    ".ics": "text/calendar", ".vcf": "text/vcard", ".rtf": "text/rtf",
}  # fmt: skip
"""Of texts, by the name. Not `mimetypes`, whose answers depend on the machine."""
_OF_TEXTS = {*_TEXTS, ".txt", ".text", ".rst", ".log"} - {".rtf"}
_OFFICE_ENDINGS = {".docx": DOCX, ".docm": DOCX, ".pptx": PPTX, ".pptm": PPTX, ".odt": ODT, ".odp": ODP, ".epub": EPUB}
_MAIN_PART = {"word/document.xml": DOCX, "ppt/presentation.xml": PPTX}
_FOLDERS = {"word/document": DOCX, "ppt/presentation": PPTX}
_NAMED = {kind.encode(): kind for kind in (ODT, ODP, EPUB)}
_ZIP, _EMPTY_ZIP, _OLE = b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STARTS = (
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "text/rtf"),
    (b"From ", "application/mbox"),
    (b"BEGIN:VCALENDAR", "text/calendar"),
    (b"BEGIN:VCARD", "text/vcard"),
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<?xml", "application/xml"),
)
_EAGER = {"application/mbox": ".mbox", "application/xml": ".xml"}
"""Starts that other texts may have too: the name must say so as well, or another start must follow."""


def media_type(data: bytes, name: str) -> str | None:
    """The media type of a document, or None for a file that is none: a picture, a program, an archive, a table.

    `data`: all of the file, or its first `HEAD` bytes; office files of which only those are there go by their name.
    """
    head, ending = data[:HEAD], posixpath.splitext(name.lower())[1]
    if head.startswith(_ZIP):
        return _of_zip(data, ending)
    if head.startswith(_EMPTY_ZIP):  # no archive that lost its members, where it is called a document: a broken one
        return _OFFICE_ENDINGS.get(ending)
    if head.startswith(_OLE):
        return LOCKED if ending in {*_OFFICE_ENDINGS, ".doc", ".ppt"} else None
    # As readers do: some programs write a line before it. A text or message may name it.
    if head.lstrip().startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and ending not in _OF_TEXTS):
        return "application/pdf"
    if not looks_textual(head, encoding_of(head[:4])):
        return None
    plain = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, kind in _STARTS:
        if plain[: len(start)].lower() == start.lower() and _EAGER.get(kind, ending) == ending:
            return kind
    return _TEXTS.get(ending, "text/plain")


def _of_zip(data: bytes, ending: str) -> str | None:
    if data[30:38] == b"mimetype":  # stored first and plain, so that it can be seen from outside
        for written, kind in _NAMED.items():
            if data[38:].startswith(written):
                return kind
    try:
        names = set(zipfile.ZipFile(io.BytesIO(data)).namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return _OFFICE_ENDINGS.get(ending)
    for part, kind in _MAIN_PART.items():
        if part in names:
            return kind
    if "META-INF/container.xml" in names:
        return EPUB
    if "[Content_Types].xml" in names:  # the main part has another name, as servers give it
        return next((kind for folder, kind in _FOLDERS.items() if any(n.startswith(folder) for n in names)), None)
    return _OFFICE_ENDINGS.get(ending) if "content.xml" in names else None
