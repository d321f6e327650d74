"""Messages and mailboxes: headers that people read, the body, and the text of what is attached."""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

from nectar.extract.document import MAX_DEPTH, PAGE, Document, NoText, bounded, not_read
from nectar.extract.guess import guessed
from nectar.extract.markup import html
from nectar.extract.text import codec_of, decodes, normalised

MAX_PARTS = 1000
MAX_MESSAGES = 20_000
_SHOWN = ("From", "Reply-To", "To", "Cc", "Bcc", "Date", "Subject")
_BROKEN = (MessageError, LookupError, UnicodeError, ValueError, AttributeError, TypeError, KeyError, IndexError)
_FROM = re.compile(rb"(?:\A|\n\r?\n)From [^\n]*\n")
_DATED = re.compile(
    rb"(?:\A|\n\r?\n)From [^\n]*\d:\d\d[^\n]*\d{4}[^\n]*\n|\nFrom [^\n]*\d:\d\d[^\n]*\d{4}[^\n]*\n(?=[\w-]+:[^\n]*\n)"
)
"""With a time and a year (RFC 4155): not every program writes them, and letters may hold a line that begins so."""

Attached = Callable[[bytes, str, int], str]
"""The text of an attachment by its bytes, name and depth, or why there is none; empty for what never has one."""


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
        value = str(read.get(name) or "")
        if "\ufffd" in value:  # bytes that nobody declared
            raw = next((v for k, v in read.raw_items() if k.lower() == name.lower()), "")
            value = guessed(raw.encode("ascii", "surrogateescape"))
        return " ".join(value.split())
    except _BROKEN:
        return ""


def _instant(written: str) -> str:
    try:
        instant = parsedate_to_datetime(written)
        return instant.astimezone(UTC).isoformat() if instant.tzinfo else instant.isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _parts(read: Any) -> Iterator[EmailMessage]:
    """Parts with content; a message within is one part."""
    waiting, count = [read], 0
    while waiting:
        part = waiting.pop(0)
        count += 1
        if count > MAX_PARTS:
            raise NoText("too_much_inside")
        kind = part.get_content_type()
        if kind == "multipart/alternative" and part.is_multipart():
            waiting[:0] = _chosen(list(part.iter_parts()))
        elif part.is_multipart() and kind != "message/rfc822":
            waiting[:0] = list(part.iter_parts())
        else:
            yield part


def _chosen(choices: list[Any]) -> list[Any]:
    """Of a text in several forms the plain one unless nothing stands in it, and what is attached to the others."""
    plain = [c for c in choices if c.get_content_type() == "text/plain" and _is_written(c)]
    rich = [c for c in choices if c.get_content_type() == "text/html" or c.is_multipart()]
    chosen = plain[:1] or rich[-1:] or choices[-1:]
    others = [choice for choice in choices if choice not in chosen and choice.is_multipart()]
    return [*chosen, *(leaf for choice in others for leaf in choice.walk() if _is_attached(leaf))]


def _is_written(part: Any) -> bool:
    try:
        return bool((part.get_payload(decode=True) or b"").strip())
    except _BROKEN:
        return True


def _is_attached(part: Any) -> bool:
    """Whether a part is a file of its own, and no picture of the page around it."""
    try:
        return not part.is_multipart() and bool(part.get_filename()) and part.get_content_maintype() != "image"
    except _BROKEN:
        return False


def _part(part: EmailMessage, attached: Attached, depth: int) -> tuple[str, str]:
    """The name of an attachment, empty for the body, and the text."""
    kind = part.get_content_type()
    try:
        name = " ".join((part.get_filename() or "").split())
        if kind == "message/rfc822":
            inner = _within(part) if depth < MAX_DEPTH else b"\n"
            return name or "message.eml", attached(inner, "message.eml", depth + 1) if inner else ""
        data = part.get_payload(decode=True) or b""
        if not isinstance(data, bytes):
            return name, ""
        if kind.startswith("text/") and not (name and part.get_content_disposition() == "attachment"):
            return "", _body(data, kind, part.get_content_charset() or "")
        if kind.startswith("text/") and kind != "text/html" and not decodes(data):
            data = _as_told(data, part.get_content_charset() or "")
    except _BROKEN:
        return "attachment", not_read("unreadable_document")
    return name or "attachment", attached(data, name, depth + 1)


def _as_told(data: bytes, charset: str) -> bytes:
    """A text in UTF-8, if it is in the encoding that its part names."""
    try:
        return data.decode(codec_of(charset)).encode() if charset else data
    except (LookupError, UnicodeError):
        return data


def _within(part: EmailMessage) -> bytes:
    """A message within, also one that was encoded, which the rules forbid and some servers do."""
    inner = part.get_content()
    data: bytes = inner.as_bytes()
    how = str(part.get("Content-Transfer-Encoding") or "").strip().lower()
    if how == "quoted-printable":
        return quopri.decodestring(data)
    if how != "base64" or inner.keys():
        return data
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return data


def _body(data: bytes, kind: str, charset: str) -> str:
    if kind == "text/html" and not charset and not decodes(data):
        return html(data).text  # the page may say it itself
    try:
        text = data.decode(codec_of(charset) if charset else "utf-8")
    except (LookupError, UnicodeError):
        text = guessed(data)
    return html(text.encode(), "utf-8").text if kind == "text/html" else normalised(text).strip()


def mailbox(content: bytes, attached: Attached) -> Document:
    """The messages of an mbox file, each a page. Of a message that cannot be read its page says so.

    What stands before the first line that begins one is a message, too.
    """
    content = content.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    dated = _DATED.match(content) if content.startswith(b"From ") else _DATED.search(content)
    separator = _DATED if dated else _FROM
    found = [(match.start(), match.end()) for match in separator.finditer(content)]
    if len(found) > MAX_MESSAGES:
        raise NoText("too_much_inside")
    if not content:
        return Document("", pages=0)
    if not found or found[0][0]:
        found.insert(0, (0, 0))
    starts = [end for _, end in found]
    ends = [*[start for start, _ in found[1:]], len(content)]
    pages: list[str] = []
    for start, end in zip(starts, ends, strict=True):
        raw = re.sub(rb"(?m)^>(>*From )", rb"\1", content[start:end])
        try:
            pages.append(message(raw, attached).text)
        except NoText as why:
            pages.append(not_read(why.code))
    return Document(bounded(pages, f"\n{PAGE}\n"), pages=len(pages))
