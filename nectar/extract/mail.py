"""Messages and mailboxes: headers that people read, the body, and the text of what is attached."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from nectar.extract.document import MAX_DEPTH, PAGE, Document, NoText, bounded
from nectar.extract.markup import html
from nectar.extract.text import normalised

MAX_PARTS = 1000
MAX_MESSAGES = 20_000
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_BROKEN = (MessageError, LookupError, UnicodeError, ValueError, AttributeError, TypeError, KeyError, IndexError)
_FROM = re.compile(rb"(?:\A|\n\r?\n)From [^\n]*\n")

Attached = Callable[[bytes, str, int], str]
"""The text of an attachment by its bytes, name and depth; empty where it has none."""


def message(content: bytes, attached: Attached, depth: int = 0) -> Document:
    """One message. Each attachment that has text follows under a heading with its name."""
    try:
        read = message_from_bytes(content, policy=policy.default.clone(raise_on_defect=False))
    except (*_BROKEN, RecursionError):
        raise NoText("unreadable_document") from None
    headers = {name: _header(read, name) for name in _SHOWN}
    blocks = ["\n".join(f"{name}: {value}" for name, value in headers.items() if value)]
    names: list[str] = []
    for part in _parts(read):
        name, text = _part(part, attached, depth)
        names += [name] if name else []
        if text.strip():
            blocks.append(f"## {name}\n\n{text}" if name else text)
        elif name:
            blocks.append(f"## {name}")
    text = bounded([block for block in blocks if block], "\n\n")
    return Document(text, headers["Subject"], headers["From"], _instant(headers["Date"]))


def _header(read: Any, name: str) -> str:
    try:
        return " ".join(str(read.get(name) or "").split())
    except _BROKEN:
        return ""


def _instant(written: str) -> str:
    try:
        instant = parsedate_to_datetime(written)
        return instant.astimezone(UTC).isoformat() if instant.tzinfo else instant.isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _parts(read: Any) -> Iterator[EmailMessage]:
    """Parts with content. Of a text in two forms the plain one; a message within is one part."""
    waiting, count = [read], 0
    while waiting:
        part = waiting.pop(0)
        count += 1
        if count > MAX_PARTS:
            raise NoText("too_much_inside")
        kind = part.get_content_type()
        if kind == "multipart/alternative" and part.is_multipart():
            choices = list(part.iter_parts())
            plain = [c for c in choices if c.get_content_type() == "text/plain"]
            waiting[:0] = plain[:1] or choices[-1:]
        elif part.is_multipart() and kind != "message/rfc822":
            waiting[:0] = list(part.iter_parts())
        else:
            yield part


def _part(part: EmailMessage, attached: Attached, depth: int) -> tuple[str, str]:
    """The name of an attachment, empty for the body, and the text."""
    kind = part.get_content_type()
    try:
        name = " ".join((part.get_filename() or "").split())
        if kind == "message/rfc822":
            inner = part.get_content().as_bytes() if depth < MAX_DEPTH else b""
            return name or "message.eml", attached(inner, "message.eml", depth + 1) if inner else ""
        data = part.get_payload(decode=True) or b""
        if not isinstance(data, bytes):
            return name, ""
        if kind.startswith("text/") and not (name and part.get_content_disposition() == "attachment"):
            return "", _body(data, kind, part.get_content_charset() or "utf-8")
    except _BROKEN:
        return "attachment", ""
    return name or "attachment", attached(data, name, depth + 1) if depth < MAX_DEPTH else ""


def _body(data: bytes, kind: str, charset: str) -> str:
    try:
        text = data.decode(charset)
    except (LookupError, UnicodeError):
        text = data.decode("utf-8", "replace")
    return html(text.encode(), "utf-8").text if kind == "text/html" else normalised(text).strip()


def mailbox(content: bytes, attached: Attached) -> Document:
    """The messages of an mbox file, each a page. A message that cannot be read leaves an empty page."""
    starts = [found.end() for found in _FROM.finditer(content)]
    if len(starts) > MAX_MESSAGES:
        raise NoText("too_much_inside")
    ends = [*[found.start() for found in _FROM.finditer(content)][1:], len(content)]
    pages: list[str] = []
    for start, end in zip(starts, ends, strict=True):
        raw = re.sub(rb"(?m)^>(>*From )", rb"\1", content[start:end])
        try:
            pages.append(message(raw, attached).text)
        except NoText:
            pages.append("")
    return Document(bounded(pages, f"\n{PAGE}\n"), pages=len(pages))
