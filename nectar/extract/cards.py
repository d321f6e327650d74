"""Calendars and address cards (RFC 5545, RFC 6350, vCard 2.1): one line for each property that people read."""

from __future__ import annotations

import quopri
import re

from nectar.extract.document import Document, NoText, bounded
from nectar.extract.guess import likely_encoding
from nectar.extract.text import decode, decodes, normalised

_PROPERTY = re.compile(r"(?:[\w-]+\.)?([\w-]+)((?:;[^:\";]*(?:\"[^\"]*\"[^:\";]*)*)*):(.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\([nN,;\\:])|;")
_FOLD = re.compile(rb"\r?\n[ \t]")
_SILENT = {"BEGIN", "END", "VERSION", "PRODID", "UID", "REV", "PHOTO", "LOGO", "SOUND", "KEY", "SEQUENCE", "DTSTAMP",
           "CALSCALE", "METHOD", "TZID", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME", "TRIGGER", "TRANSP",
           "CLASS"}  # fmt: skip
_COMPONENTS = {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VCARD"}
_PARAMETER = re.compile(r";([\w-]+)=(?:\"([^\"]*)\"|([^;\"]*))")
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
    title, zone = "", False
    for line in text.split("\n"):
        found = _PROPERTY.fullmatch(line.strip())
        if not found:
            continue
        name = found[1].upper()
        if name == "BEGIN" and found[3].strip().upper() in _COMPONENTS:
            blocks.append("\n".join(lines))
            lines = []
        if name in ("BEGIN", "END") and found[3].strip().upper() == "VTIMEZONE":
            zone = name == "BEGIN"
        if zone:
            continue  # its times are rules for clocks
        value = _value(found[2], found[3])
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
    """With what people read of the parameters: whom an address belongs to, and in which zone a time is."""
    told = {name.upper(): quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters)}
    if "QUOTED-PRINTABLE" in parameters.upper():
        value = _decoded(quopri.decodestring(value.encode("utf-8", "replace")), told.get("CHARSET", ""))
    if "ENCODING=B" in parameters.upper():
        return ""
    plain = _ESCAPED.sub(lambda found: " " if found[0] in (";", r"\n", r"\N") else found[1], value)
    return " ".join([*told.get("CN", "").split(), *plain.split(), *told.get("TZID", "").split()])


def _decoded(data: bytes, charset: str) -> str:
    """In the encoding that is told, which many programs leave out."""
    try:
        return data.decode(charset or "utf-8")
    except (LookupError, UnicodeError):
        return data.decode(likely_encoding(data) or "cp1252", "replace")
