"""RTF by striprtf."""

from __future__ import annotations

import datetime as dt
import re

from nectar.extract.document import Document, NoText, bounded
from nectar.extract.text import normalised

_INFO = r"\{{\\{}(?![a-z])((?:[^{{}}]|\{{[^{{}}]*\}})*)\}}"
_CREATED = re.compile(r"\\creatim\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})(?:\\hr(\d{1,2}))?(?:\\min(\d{1,2}))?")
_CODE_PAGE = re.compile(r"\\ansicpg\d+")
_BESIDE = re.compile(r"\{(?:\\\*)?\\(?:footnote|annotation)\b ?")
"""Groups that the library leaves out: notes and comments, which are words of the document too."""
_BOX = re.compile(r"\{(?:\\\*)?\\shp(?:inst|grp)?(?![a-z])")
"""A box: the library leaves out all of it. What tells its form it leaves out still, and the copy for older programs."""
_AROUND = re.compile(r"\{\\(?:(?:header|footer)[lrf]?|shptxt)\b ?")
_CELL = re.compile(r"\\(?:nest)?cell(?![a-z]) ?")
_END = "\x01"
"""Stands at the end of a cell while the library reads, which has a bar for it: bars of the text are none."""
_HEAD = 1 << 16


def rtf(content: bytes, _charset: str = "") -> Document:
    written = content.decode("latin-1").replace("\0", "").replace(_END, "")
    marked = _CELL.sub(_END, _AROUND.sub(r"{\\par ", _BOX.sub("{", _BESIDE.sub("{ ", written))))
    lines = (_row(line) if _END in line else line for line in normalised(_plain(marked)).split("\n"))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip().replace("\0", "")
    return Document(bounded([text], ""), _info(written, "title"), _info(written, "author"), _created(written))


def _plain(written: str) -> str:
    try:
        from striprtf.striprtf import rtf_to_text
    except ImportError:
        raise NoText("reader_missing") from None
    try:
        return str(rtf_to_text(written, encoding="cp1252", errors="replace"))
    except (ValueError, IndexError, KeyError, LookupError, RecursionError, AttributeError, TypeError):
        raise NoText("unreadable_document") from None


def _row(line: str) -> str:
    cells = [" ".join(cell.split()) for cell in line.split(_END)]
    if not cells[-1]:
        cells.pop()  # a mark is the end of a cell, not the border between two
    return " | ".join(cells) if any(cells) else ""


def _info(written: str, name: str) -> str:
    head = written[:_HEAD]
    found = re.search(_INFO.format(name), head)
    if not found:
        return ""
    page = _CODE_PAGE.search(head)
    return " ".join(_plain(rf"{{\rtf1\ansi{page[0] if page else ''} {found[1].lstrip()}}}").split())


def _created(written: str) -> str:
    found = _CREATED.search(written[:_HEAD])
    try:
        return dt.datetime(*(int(part or 0) for part in found.groups())).isoformat() if found else ""  # type: ignore[arg-type]  # noqa: DTZ001 - the file tells no zone
    except ValueError:
        return ""
