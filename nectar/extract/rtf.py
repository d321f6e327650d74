"""RTF by striprtf."""

from __future__ import annotations

import re

from nectar.extract.document import Document, NoText, bounded
from nectar.extract.text import normalised

_INFO = r"\{{\\{}\s([^{{}}]*)\}}"
_BESIDE = re.compile(r"\{(?:\\\*)?\\(?:footnote|annotation)\b ?")
"""Groups that the library leaves out: notes and comments, which are words of the document too."""
_HEX = re.compile(r"\\'([0-9a-fA-F]{2})")


def rtf(content: bytes, _charset: str = "") -> Document:
    try:
        from striprtf.striprtf import rtf_to_text
    except ImportError:
        raise NoText("reader_missing") from None
    written = _BESIDE.sub("{ ", content.decode("latin-1"))
    try:
        text: str = rtf_to_text(written, encoding="cp1252", errors="replace")
    except (ValueError, IndexError, KeyError, LookupError, RecursionError, AttributeError, TypeError):
        raise NoText("unreadable_document") from None
    text = re.sub(r"\n{3,}", "\n\n", normalised(text)).strip().replace("\0", "")
    return Document(bounded([text], ""), _info(written, "title"), _info(written, "author"))


def _info(written: str, name: str) -> str:
    found = re.search(_INFO.format(name), written[:65536])
    if not found:
        return ""
    plain = _HEX.sub(lambda code: bytes([int(code[1], 16)]).decode("cp1252", "replace"), found[1])
    return " ".join(re.sub(r"\\[a-z]+-?\d* ?", "", plain).split())
