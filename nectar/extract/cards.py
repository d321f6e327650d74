"""Calendars and address cards (RFC 5545, RFC 6350, vCard 2.1): one line for each property that people read."""

from __future__ import annotations

import quopri
import re

from nectar.extract.document import Document, NoText, bounded
from nectar.extract.text import decode, decodes, normalised

_PROPERTY = re.compile(r"(?:[\w-]+\.)?([\w-]+)((?:;[^:\";]*(?:\"[^\"]*\"[^:\";]*)*)*):(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\([nN,;\\:])|;")
_FOLD = re.compile(rb"\r?\n[ \t]")
_SILENT = {"BEGIN", "END", "VERSION", "PRODID", "UID", "REV", "PHOTO", "LOGO", "SOUND", "KEY", "SEQUENCE", "DTSTAMP",
           "CALSCALE", "METHOD", "TZID", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME", "TRIGGER", "TRANSP",
           "CLASS"}  # fmt: skip
_COMPONENTS = {"VEVENT", "VTODO", "VJOURNAL", "VCARD"}
_TITLES = {"SUMMARY", "FN"}


def card(content: bytes, charset: str = "") -> Document:
    """Events, tasks or people, an empty line between two."""
    try:
        text = normalised(decode(content if decodes(content, charset) else unfolded(content), charset))
    except UnicodeError:
        raise NoText("not_utf8") from None
    text = re.sub(r"=\n(?!BEGIN|END)", "", text)  # a soft break of quoted-printable
    text = re.sub(r"\n[ \t]", "", text)
    blocks: list[str] = []
    lines: list[str] = []
    title = ""
    for line in text.split("\n"):
        found = _PROPERTY.fullmatch(line.strip())
        if not found:
            continue
        name = found[1].upper()
        if name == "BEGIN" and found[3].strip().upper() in _COMPONENTS:
            blocks.append("\n".join(lines))
            lines = []
        value = _value(found[2].upper(), found[3])
        if name in _TITLES and not title:
            title = value
        if name not in _SILENT and value:
            lines.append(f"{name.lower()}: {value}")
    blocks.append("\n".join(lines))
    return Document(bounded([block for block in blocks if block], "\n\n"), title)


def unfolded(content: bytes) -> bytes:
    """Whole lines, before they are decoded: some programs fold one within a character."""
    return _FOLD.sub(b"", content)


def _value(parameters: str, value: str) -> str:
    if "QUOTED-PRINTABLE" in parameters:
        value = quopri.decodestring(value.encode("utf-8", "replace")).decode("utf-8", "replace")
    if "ENCODING=B" in parameters:
        return ""
    plain = _ESCAPED.sub(lambda found: " " if found[0] in (";", r"\n", r"\N") else found[1], value)
    return " ".join(plain.split())
