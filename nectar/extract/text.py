"""Bytes to text: which encoding, whether it is text at all, and one kind of line end."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = 64 << 10
"""Bytes at the beginning of a file that decide whether it is text."""

CONTROL_SHARE = 0.05
"""From this share of control characters on, bytes are no text. Random bytes have about 0.1, prose has none."""

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PIECE = 1 << 20
_SIGN = re.compile(r"\S")
_UNMARKED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}
_WIDER = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip
"""Encodings that programs name where they mean a larger one, such as Latin-1 with quotes of Windows."""
_CONTROLS = bytes(sorted({*range(0x20), 0x7F} - set(b"\t\n\r\f\b\x1b")))
_CONTROL_CHARACTERS = dict.fromkeys(_CONTROLS)
# Formats that may look like text for their first bytes, or hold text stored as it is.
_MAGIC = (b"%PDF-", b"PK\x03\x04", b"PK\x05\x06", b"\x89PNG", b"GIF87a", b"GIF89a", b"\xff\xd8\xff", b"\x1f\x8b\x08")


@dataclass(frozen=True)
class Encoding:
    """A codec's name, and the length of the byte order mark that stands before the text."""

    name: str
    bom: int = 0


def encoding_of(head: bytes, declared: str = "") -> Encoding:
    """A byte order mark decides; without one what was declared, else UTF-8. UTF-16 without a mark is little-endian."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, len(mark))
    name = codecs.lookup(declared).name if declared else "utf-8"
    return Encoding(_UNMARKED.get(name, name))


def codec_of(label: str) -> str:
    """The codec of a charset that a page or message names: more than its name says (WHATWG Encoding, 4.2).

    Raises LookupError for one that nobody knows.
    """
    name = codecs.lookup(label.strip()).name
    return _WIDER.get(name, name)


def looks_textual(head: bytes, encoding: Encoding) -> bool:
    """Whether the beginning of a file has few enough control characters. A NUL counts as one, and is no proof."""
    if not head:
        return True
    if head.startswith(_MAGIC):
        return False
    if encoding.name.startswith(("utf-16", "utf-32")):
        text = head[encoding.bom :].decode(encoding.name, "ignore")
        return len(text) - len(text.translate(_CONTROL_CHARACTERS)) <= CONTROL_SHARE * len(text)
    return len(head) - len(head.translate(None, _CONTROLS)) < CONTROL_SHARE * len(head)


def decode(data: bytes, declared: str = "") -> str:
    """The text of `data`, its byte order mark removed. Raises UnicodeError where the bytes are not in the encoding."""
    encoding = encoding_of(data[:4], declared)
    text = data[encoding.bom :].decode(encoding.name)
    if encoding.name != "utf-8":
        text.encode()  # a few codecs give half surrogate pairs, which are no text anywhere else
    return text


def decodes(data: bytes, declared: str = "", *, whole: bool = True) -> bool:
    """Whether `decode` would succeed. `whole` is false for a beginning, which may end within a character."""
    encoding = encoding_of(data[:4], declared)
    if encoding.name in {"utf-8", "ascii"} and data.isascii():
        return True
    decoder = codecs.getincrementaldecoder(encoding.name)()
    try:
        # Piece by piece: one letter beyond the usual ones makes each character of a text take four bytes.
        for at in range(encoding.bom, len(data), _PIECE):
            text = decoder.decode(data[at : at + _PIECE], whole and at + _PIECE >= len(data))
            if whole and encoding.name != "utf-8":
                text.encode()
    except UnicodeError:
        return False
    return True


def normalised(text: str) -> str:
    """Every line end is a newline. Nothing else changes, a NUL neither."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines(text: str) -> Iterator[str]:
    """What stands between newlines, piece by piece: a large text is not parted at once."""
    at = 0
    while (end := text.find("\n", at)) >= 0:
        yield text[at:end]
        at = end + 1
    yield text[at:]


def first_line(text: str, limit: int) -> str:
    """The first line that holds something, at most `limit` characters of it; empty where there is none."""
    begin = _SIGN.search(text)
    if begin is None:
        return ""
    line = text[begin.start() : begin.start() + limit].partition("\n")[0]  # no list of all lines of a large text
    return line.rstrip()
