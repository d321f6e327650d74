"""One document to text, by its media type. Pure: bytes in, text out; whoever wants a wall around it builds it."""

from __future__ import annotations

import importlib
import re
from functools import partial

from nectar.extract import markdown
from nectar.extract.document import MAX_DEPTH, MAX_TEXT, Document, NoText, not_read
from nectar.extract.guess import guessed
from nectar.extract.kinds import DOCX, EPUB, LOCKED, ODP, ODT, PPTX, media_type
from nectar.extract.text import HEAD, decode, encoding_of, first_line, looks_textual, normalised

TITLE_LIMIT = 200
"""Characters of a title at most; the same for an author."""

READERS = {
    "application/pdf": "pdf:pdf",
    DOCX: "office:docx",
    PPTX: "office:pptx",
    ODT: "office:opendocument",
    ODP: "office:opendocument",
    EPUB: "office:epub",
    LOCKED: "office:locked",
    "text/html": "markup:html",
    "application/xml": "markup:xml_document",
    "text/rtf": "rtf:rtf",
    "text/calendar": "cards:card",
    "text/vcard": "cards:card",
}
"""Media type -> module and function, loaded when they are used."""
_MAIL = {"message/rfc822", "application/mbox"}
_WITH_FILES = {"application/pdf", DOCX}
"""Kinds whose readers take what reads the files within them."""
_HOLDERS = (
    b"PK\x03\x04",
    b"7z\xbc\xaf\x27\x1c",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"\xd0\xcf\x11\xe0",
)
"""Archives and spreadsheets, which are read as files and not within a document."""
_HOSTILE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    AssertionError,
)


def needs_reader(kind: str) -> bool:
    """Whether more than an encoding stands between the bytes and the text."""
    return kind in READERS or kind in _MAIL


def read(content: bytes, said: str, depth: int = 0) -> Document:
    """The text of a document. `said` is its media type, perhaps with a charset; raises NoText."""
    kind, _, parameters = said.partition(";")
    kind, charset = kind.strip().lower(), charset_of(parameters)
    try:
        made = _read(content, kind, charset, depth)
    except _HOSTILE:  # a reader that stumbled over bytes that nobody foresaw
        raise NoText("unreadable_document") from None
    if len(made.text) > MAX_TEXT:
        raise NoText("too_much_text")
    title = made.title or (_first(made.text) if needs_reader(kind) else "")
    return Document(
        _storable(made.text), _storable(title)[:TITLE_LIMIT], _storable(made.author)[:TITLE_LIMIT],
        made.created[:40], made.language[:40], made.pages, made.scanned,
    )  # fmt: skip


def _read(content: bytes, kind: str, charset: str, depth: int) -> Document:
    if kind in READERS:
        module, _, function = READERS[kind].partition(":")
        reader = getattr(importlib.import_module(f"nectar.extract.{module}"), function)
        within = (partial(attached, depth=depth + 1),) if kind in _WITH_FILES else ()
        made: Document = reader(content, charset, *within)
        return made
    if kind in _MAIL:
        from nectar.extract.mail import mailbox, message

        return mailbox(content, attached) if kind == "application/mbox" else message(content, attached, depth)
    return plain(content, kind, charset)


def attached(content: bytes, name: str, depth: int) -> str:
    """The text of a document within a document, or why it cannot be read; empty for what is none, such as a picture."""
    kind = media_type(content, name)
    if kind is None:
        return not_read("unknown_format") if content.startswith(_HOLDERS) else ""
    if depth > MAX_DEPTH:
        return not_read("nested_too_deep")
    try:
        return read(content, kind, depth).text
    except NoText as why:
        code = why.code
    if code == "not_utf8":  # nobody can be asked for its encoding
        return read(guessed(content).encode("utf-8", "replace"), kind, depth).text
    return not_read(code)


def plain(content: bytes, kind: str, charset: str) -> Document:
    """Text as it is, with one kind of line end."""
    try:
        if not looks_textual(content[:HEAD], encoding_of(content[:4], charset)):
            raise NoText("not_text")
        text = normalised(decode(content, charset))
    except LookupError:
        raise NoText("unknown_charset") from None
    except UnicodeError:
        raise NoText("not_utf8") from None  # the error would carry the bytes
    if kind != "text/markdown":
        return Document(text, first_line(text, TITLE_LIMIT))
    told = markdown.front_matter(text)
    author, created, language = (told.get(name, "") for name in ("author", "created", "language"))
    return Document(text, markdown.title(text, TITLE_LIMIT), author, created, language)


def _first(text: str) -> str:
    """The first line that holds something, without the marks of a heading."""
    return first_line(text, TITLE_LIMIT).lstrip("# ")


def charset_of(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"')
    return ""


def _storable(text: str) -> str:
    """Without halves of surrogate pairs, which some readers give and no text has."""
    if _HALF.search(text):  # which needs no second text, as writing it in UTF-8 would
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_HALF = re.compile("[\ud800-\udfff]")
