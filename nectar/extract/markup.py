"""HTML and XML to text."""

from __future__ import annotations

import re
from typing import Any

from nectar.extract.document import Document, NoText, bounded
from nectar.extract.guess import likely_encoding
from nectar.extract.text import codec_of, decode, encoding_of, normalised
from nectar.extract.zipped import xml

_SILENT = {
    "script", "style", "noscript", "template", "head", "title", "desc", "metadata", "annotation", "annotation-xml",
    "iframe", "object", "select", "datalist",
}  # fmt: skip
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "hr", "html", "main", "nav", "ol", "p", "pre", "section", "table", "tbody",
    "td", "tfoot", "th", "thead", "tr", "ul", "li", "h1", "h2", "h3", "h4", "h5", "h6", "option", "summary", "details",
    "text",
}  # fmt: skip
_SPACE = re.compile(r"[ \t\r\n\f]+")
_DEEPEST = 500
_HEAD = 4096
_CHARSET = re.compile(rb"(?:\A\s*<\?xml\s[^>]*encoding|<meta\s[^>]*charset)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_EMPTY = re.compile(
    rb"<((?:[a-z]+:)?(?!(?:br|hr|img|input|link|meta|col|area|base|wbr)\b)[a-z][a-z0-9]*)((?:\s[^<>]*)?)/>",
    re.IGNORECASE,
)


def html(content: bytes, charset: str = "") -> Document:
    """The text that a reader would see, without scripts, styles and comments; what is hidden by style is text too."""
    root = _html_root(content, charset)
    if root is None:
        return Document("")
    title = " ".join((root.findtext(".//title") or "").split())
    text = html_text(root)
    first = root.find(".//h1")
    heading = " ".join("".join(first.itertext()).split()) if first is not None else ""
    return Document(
        text, title or heading, author=_meta(root, "author", "dc.creator"),
        created=_meta(root, "article:published_time", "dcterms.created", "date"), language=root.get("lang") or "",
    )  # fmt: skip


def _html_root(content: bytes, charset: str) -> Any:
    try:
        from lxml import etree
        from lxml import html as parsed
    except ImportError:
        raise NoText("reader_missing") from None
    declared: str | None = None
    if charset or encoding_of(content[:4]).bom:
        try:
            content, declared = decode(content, charset).encode(), "utf-8"
        except UnicodeError:
            raise NoText("not_utf8") from None
    elif label := _CHARSET.search(content[:_HEAD]):
        content, declared = _as_told(content, label[1].decode())
    elif b"charset" not in content[:_HEAD].lower():
        try:
            content.decode()
            declared = "utf-8"
        except UnicodeDecodeError:
            declared = "cp1252"  # what browsers take where nothing is told
    # libxml2 drops what is nested deeper than 2,048 (256 without `huge_tree`), and only its log tells.
    parser = parsed.HTMLParser(no_network=True, huge_tree=True, remove_comments=True, encoding=declared)
    try:
        root = parsed.document_fromstring(content.replace(b"\0", b""), parser=parser) if content.strip() else None
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return None
    except LookupError:
        raise NoText("unknown_charset") from None
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise NoText("too_much_inside")
    return root


def _as_told(content: bytes, label: str) -> tuple[bytes, str | None]:
    """A page that names its encoding, in UTF-8. One that nobody knows is the parser's to judge."""
    try:
        codec = codec_of(label)
    except LookupError:
        return content, None
    wide = codec.startswith(("utf-16", "utf-32"))  # it could not be read if it were so
    for one in ("utf-8" if wide else codec, likely_encoding(content) or "utf-8"):
        try:
            return content.decode(one).encode(), "utf-8"
        except (LookupError, ValueError):
            continue
    return content.decode(codec, "replace").encode("utf-8", "replace"), "utf-8"


def closed(content: bytes) -> bytes:
    """A page of XHTML, in which elements that are empty end at once: in HTML they would go on."""
    return _EMPTY.sub(rb"<\1\2></\1>", content)


def _meta(root: Any, *names: str) -> str:
    for name in names:
        for found in root.iter("meta"):
            if name in {(found.get("name") or "").lower(), (found.get("property") or "").lower()}:
                return " ".join((found.get("content") or "").split())
    return ""


class _Writer:
    """Collects runs of text into blocks. White space is one space, but in `pre`."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._run: list[str] = []
        self.mark = ""
        """What stands before the next block: an item of a list may begin with a paragraph, and hold another list."""

    def write(self, text: str | None, *, plain: bool) -> None:
        if text:
            self._run.append(text if plain else _SPACE.sub(" ", text))

    def block(self, prefix: str = "", *, plain: bool = False) -> None:
        """What was written becomes a block of its own; its lines keep their indents if it is `plain`."""
        lines = "".join(self._run).split("\n")
        text = "\n".join(line.rstrip(" ") if plain else line.strip(" ") for line in lines).strip("\n")
        if text:
            self.blocks.append((prefix or self.mark) + text)
            self.mark = ""
        self._run.clear()


def html_text(root: Any) -> str:
    """The text beneath an element."""
    writer = _Writer()
    _walk(root, writer, plain=False, depth=0)
    writer.block()
    return bounded(writer.blocks, "\n\n")


def _walk(element: Any, writer: _Writer, *, plain: bool, depth: int) -> None:
    tag = element.tag if isinstance(element.tag, str) else ""
    tag = tag.rpartition("}")[2].lower()
    if tag in _SILENT or not tag:
        return
    if depth > _DEEPEST:
        writer.write(" ".join(element.itertext()), plain=False)
        return
    if tag == "br":
        writer.write("\n", plain=True)
        return
    if tag == "tr":
        writer.block(plain=plain)
        cells = [" ".join(html_text(cell).split()) for cell in element if isinstance(cell.tag, str)]
        writer.write(" | ".join(cells) if any(cells) else "", plain=True)
        writer.block()
        return
    if tag == "img":
        writer.write(element.get("alt"), plain=False)
    block = tag in _BLOCKS
    if block:
        writer.block(plain=plain)
    if tag == "li":
        writer.mark = "- "
    plain = plain or tag in {"pre", "textarea"}
    writer.write(element.text, plain=plain)
    for child in element:
        _walk(child, writer, plain=plain, depth=depth + 1)
        writer.write(child.tail, plain=plain)
    if block:
        heading = tag[0] == "h" and tag[1:].isdigit()
        writer.block("#" * int(tag[1:]) + " " if heading else "", plain=plain)
    if tag == "li":
        writer.mark = ""


def xml_document(content: bytes, _charset: str = "") -> Document:
    """One line for each element with text and for each attribute, under its name."""
    root = xml(content)
    lines: list[str] = []
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        name = element.tag.rpartition("}")[2]
        text = " ".join((element.text or "").split())
        if text:
            lines.append(f"{name}: {text}")
        lines.extend(
            f"{name}.{key.rpartition('}')[2]}: {' '.join(value.split())}" for key, value in element.attrib.items()
        )
        lines.extend(tail for child in element if (tail := " ".join((child.tail or "").split())))
    title = next((e.text for e in root.iter() if isinstance(e.tag, str) and e.tag.endswith("title") and e.text), "")
    language = root.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    return Document(normalised(bounded(lines, "\n")), " ".join(title.split()), language=language)
