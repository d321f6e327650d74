"""What is taken out of a document, and why nothing can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PAGE = "\f"
"""Stands between two pages, slides or messages of a text."""

MAX_TEXT = 64 << 20
"""Characters of one document's text; a file that gives more is not read."""

MAX_DEPTH = 4
"""Documents within documents: attachments of messages that are attached."""


@dataclass(frozen=True)
class Document:
    """text      paragraphs with an empty line between, headings as `# `, list items as `- `, cells of a row with ` | `
    created   ISO 8601, as far as the document tells: with seconds, and UTC where it names its zone
    language  as the document names it, such as `en-GB`; nothing is guessed
    pages     of what has pages: PDF, slides, mailboxes; None for anything else
    scanned   pages that are pictures without text
    """

    text: str
    title: str = ""
    author: str = ""
    created: str = ""
    language: str = ""
    pages: int | None = None
    scanned: int = 0


class NoText(Exception):
    """Why a document gives no text: `code` is one of `REASONS`. Holds nothing of the document."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


REASONS = {
    "not_text": "the bytes are no text",
    "not_utf8": "the text is not in the encoding it is said to be in: set `encoding`",
    "unknown_charset": "nobody knows the encoding it is said to be in",
    "unreadable_document": "the file is damaged, or no document of its kind",
    "password_protected": "the file is locked with a password",
    "xml_entities": "the file declares entities of its own, which are not read",
    "too_much_inside": "what is packed in the file is larger than any document",
    "nested_too_deep": "it is a document within too many others",
    "too_much_text": "the document gives more text than can be kept",
    "unknown_format": "no reader is there for this format",
    "reader_missing": "a library for this format is not installed: pip install worker-bees[documents]",
    "extraction_timeout": "reading the document took too long",
    "extraction_memory": "reading the document took too much memory",
    "extraction_crashed": "the reader of the document broke off",
}
"""Code of a document without text -> sentence."""


Within = Callable[[bytes, str], str]
"""The text of a file within a document by its bytes and name, or why there is none; empty for what never has one."""


def none_within(_content: bytes, _name: str) -> str:
    """A `Within` that reads nothing."""
    return ""


def bounded(parts: list[str], between: str) -> str:
    """The parts as one text. Raises NoText where it is too long."""
    if sum(map(len, parts)) > MAX_TEXT:
        raise NoText("too_much_text")
    return between.join(parts)


def not_read(code: str) -> str:
    """What stands in a text where a part of the document, such as an attachment, could not be read."""
    return f"(not read: {REASONS.get(code, code.replace('_', ' '))})"
