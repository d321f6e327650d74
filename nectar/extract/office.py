"""Word, PowerPoint, OpenDocument and EPUB: zip files of XML, read as such. No macro, field or link is followed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from nectar.extract.document import PAGE, Document, NoText, Within, bounded, none_within
from nectar.extract.markup import closed, html
from nectar.extract.zipped import Zipped, xml

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_TERMS = "{http://purl.org/dc/terms/}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_SIGNS = {f"{_W}tab": "\t", f"{_W}ptab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_META = "{urn:oasis:names:tc:opendocument:xmlns:meta:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_SCHEMAS = b"http://schemas.openxmlformats.org/"
_STRICT = {
    b"http://purl.oclc.org/ooxml/wordprocessingml/main": _SCHEMAS + b"wordprocessingml/2006/main",
    b"http://purl.oclc.org/ooxml/drawingml/main": _SCHEMAS + b"drawingml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/math": _SCHEMAS + b"officeDocument/2006/math",
    b"http://purl.oclc.org/ooxml/drawingml/chart": _SCHEMAS + b"drawingml/2006/chart",
    b"http://purl.oclc.org/ooxml/officeDocument/relationships": _SCHEMAS + b"officeDocument/2006/relationships",
}
"""Names of ISO 29500's strict form -> those of the usual one, with the same elements (part 1, annex A)."""
_BESIDE = re.compile(r"word/(?:header|footer|footnotes|endnotes|comments)\d*\.xml")
_CHART = re.compile(r"word/charts/chart\d*\.xml")
_DIAGRAM = re.compile(r"word/diagrams/data\d*\.xml")
_MHTML = (".mht", ".mhtml")
"""Pages as messages, with their pictures attached."""
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The name of the part that holds an office file with a password."""
_MOST_SPACES = 1000


def locked(content: bytes, _charset: str = "") -> Document:
    """The container of older office files, in which newer ones are locked too."""
    raise NoText("password_protected" if ENCRYPTED in content else "unknown_format")


def docx(content: bytes, _charset: str = "", within: Within = none_within) -> Document:
    parts = Zipped(content)
    main = _main(parts, "word/document.xml")
    root = _part(parts, main)
    blocks = [*_word_blocks(root), *_imported(parts, main, root, within)]
    for name in sorted(parts.names):
        if _BESIDE.fullmatch(name):
            blocks.extend(_word_blocks(_part(parts, name)))
        elif _CHART.fullmatch(name):
            blocks.extend(_chart(_part(parts, name)))
        elif _DIAGRAM.fullmatch(name):
            blocks.extend(_diagram(_part(parts, name)))
    return _described(parts, bounded(blocks, "\n\n"))


def _imported(parts: Zipped, main: str, root: Any, within: Within) -> Iterator[str]:
    """Parts in other formats, such as pages, which Word takes in when it opens the document (ISO 29500-1, 17.17.2)."""
    targets = _relations(parts, main)
    for chunk in root.iter(f"{_W}altChunk"):
        _, name = targets.get(chunk.get(f"{_R}id") or "", ("", ""))
        if name in parts:
            text = within(parts.bytes(name), f"{name}.eml" if name.lower().endswith(_MHTML) else name).strip()
            yield from [text] if text else []


def _main(parts: Zipped, usual: str) -> str:
    """The part that holds the document: some servers call it otherwise, and say so."""
    if usual in parts:
        return usual
    return next((name for kind, name in _relations(parts, "").values() if kind == "officeDocument"), usual)


def _part(parts: Zipped, name: str) -> Any:
    """The root of a part, in the usual namespaces, without what stands there twice: other forms and moved text."""
    data = parts.bytes(name)
    for strict, usual in _STRICT.items():
        data = data.replace(strict, usual)
    root = xml(data)
    for element in [*root.iter(f"{_MC}Fallback", f"{_W}moveFrom")]:
        parent = element.getparent()
        if parent is not None and (element.tag != f"{_MC}Fallback" or parent.find(f"{_MC}Choice") is not None):
            parent.remove(element)
    return root


def _word_blocks(root: Any) -> Iterator[str]:
    """Paragraphs and rows of tables. A paragraph within a cell belongs to its row."""
    for element in root.iter(f"{_W}p", f"{_W}tr"):
        if element.tag == f"{_W}tr":
            if _within(element, f"{_W}tr"):
                continue
            own = [cell for cell in element.iter(f"{_W}tc") if next(cell.iterancestors(f"{_W}tr")) is element]
            cells = [" ".join(" ".join(map(_word_text, cell.iter(f"{_W}p"))).split()) for cell in own]
            if any(cells):
                yield " | ".join(cells)
        elif not _within(element, f"{_W}tr") and (text := _word_text(element).strip()):
            yield _word_prefix(element) + text


def _within(element: Any, tag: str) -> bool:
    return next(element.iterancestors(tag), None) is not None


def _word_text(paragraph: Any) -> str:
    """The text of a paragraph without that of a box within it, whose paragraphs follow."""
    made: list[str] = []
    boxed = next(paragraph.iterdescendants(f"{_W}p"), None) is not None
    for element in paragraph.iter(f"{_W}t", f"{_M}t", *_SIGNS):
        if boxed and next(element.iterancestors(f"{_W}p")) is not paragraph:
            continue
        made.append(_SIGNS.get(element.tag) or element.text or "")
    return "".join(made)


def _word_prefix(paragraph: Any) -> str:
    style = paragraph.find(f"{_W}pPr/{_W}pStyle")
    name = (style.get(f"{_W}val") or "").lower() if style is not None else ""
    found = re.fullmatch(r"(?:heading|berschrift|titre|titolo|rubrik)\s*([1-6])", name)
    if found:
        return "#" * int(found[1]) + " "
    if name == "title":
        return "# "
    listed = paragraph.find(f"{_W}pPr/{_W}numPr") is not None or name.startswith("list")
    return "- " if listed else ""


def pptx(content: bytes, _charset: str = "") -> Document:
    """A slide is a page; its notes follow it."""
    parts = Zipped(content)
    slides = [_slide(parts, name) for name in _slides(parts)]
    return _described(parts, bounded(slides, f"\n{PAGE}\n"), pages=len(slides))


def _slides(parts: Zipped) -> list[str]:
    main = _main(parts, "ppt/presentation.xml")
    root, targets = _part(parts, main), _relations(parts, main)
    ids = [slide.get(f"{_R}id") or "" for slide in root.iter() if str(slide.tag).endswith("}sldId")]
    return [targets[i][1] for i in ids if i in targets and targets[i][1] in parts]


def _relations(parts: Zipped, name: str) -> dict[str, tuple[str, str]]:
    """Id -> kind and part, of the parts that a part refers to; nothing outside the file."""
    folder, file = posixpath.split(name)
    listed = f"{folder}/_rels/{file}.rels".lstrip("/")
    if listed not in parts:
        return {}
    found = {}
    for relation in parts.xml(listed):
        if isinstance(relation.tag, str) and relation.get("TargetMode") != "External":
            target = posixpath.normpath(posixpath.join(folder, relation.get("Target") or "")).lstrip("/")
            found[relation.get("Id") or ""] = ((relation.get("Type") or "").rpartition("/")[2], target)
    return found


def _slide(parts: Zipped, name: str) -> str:
    blocks = _drawn(_part(parts, name))
    beside = [relation for relation in _relations(parts, name).values() if relation[1] in parts]
    for target in (target for kind, target in beside if kind == "diagramData"):
        blocks += _diagram(_part(parts, target))
    for target in (target for kind, target in beside if kind == "chart"):
        blocks += _chart(_part(parts, target))
    for kind in ("notesSlide", "comments"):
        for target in (target for its, target in beside if its == kind):
            root = _part(parts, target)
            blocks += _drawn(root)
            blocks += [text for e in root.iter(f"{_P}text") if (text := (e.text or "").strip())]
    return "\n\n".join(blocks)


def _drawn(root: Any) -> list[str]:
    blocks: list[str] = []
    for shape in root.iter():
        tag = str(shape.tag).rpartition("}")[2]
        if tag == "txBody" and not _within(shape, f"{_A}tr"):
            lines = [line for p in shape.iter(f"{_A}p") if (line := _run_text(p).strip())]
            titled = any(str(e.get("type")) in {"title", "ctrTitle"} for e in shape.getparent().iter() if e.get("type"))
            if lines:
                blocks.append(("# " if titled else "") + "\n".join(lines))
        elif shape.tag == f"{_A}tr":
            cells = [" ".join(" ".join(map(_run_text, c.iter(f"{_A}p"))).split()) for c in shape.iter(f"{_A}tc")]
            if any(cells):
                blocks.append(" | ".join(cells))
    return blocks


def _diagram(root: Any) -> list[str]:
    lines = [line for p in root.iter(f"{_A}p") if (line := _run_text(p).strip())]
    return ["\n".join(lines)] if lines else []


def _chart(root: Any) -> list[str]:
    """What is written in a chart: titles, and names of series and categories, each once. Its numbers are no words."""
    lines = [line for p in root.iter(f"{_A}p") if (line := _run_text(p).strip())]
    names = [(v.text or "").strip() for cache in root.iter(f"{_C}strCache") for v in cache.iter(f"{_C}v")]
    made = list(dict.fromkeys([*lines, *filter(None, names)]))
    return ["\n".join(made)] if made else []


def _run_text(paragraph: Any) -> str:
    return "".join("\n" if e.tag == f"{_A}br" else e.text or "" for e in paragraph.iter(f"{_A}t", f"{_A}br"))


def _described(parts: Zipped, text: str, *, pages: int | None = None) -> Document:
    if "docProps/core.xml" not in parts:
        return Document(text, pages=pages)
    root = parts.xml("docProps/core.xml")
    title, author, language = (_value(root, f"{_DC}{name}") for name in ("title", "creator", "language"))
    return Document(text, title, author, _value(root, f"{_TERMS}created"), language, pages)


def _value(root: Any, tag: str) -> str:
    found = next(root.iter(tag), None)
    return " ".join((found.text or "").split()) if found is not None else ""


def opendocument(content: bytes, _charset: str = "") -> Document:
    """Texts and presentations; a page of the latter is a page."""
    parts = Zipped(content)
    if "META-INF/manifest.xml" in parts and b"encryption-data" in parts.bytes("META-INF/manifest.xml"):
        raise NoText("password_protected")
    root = parts.xml("content.xml")
    drawn = list(root.iter(f"{_DRAW}page"))
    if drawn:
        text = bounded(["\n\n".join(_open_blocks(page)) for page in drawn], f"\n{PAGE}\n")
    else:
        text = bounded([*_open_blocks(root), *_around(parts)], "\n\n")
    if "meta.xml" not in parts:
        return Document(text, pages=len(drawn) or None)
    meta = parts.xml("meta.xml")
    author = _value(meta, f"{_META}initial-creator") or _value(meta, f"{_DC}creator")
    created, language = _value(meta, f"{_META}creation-date"), _value(meta, f"{_DC}language")
    return Document(text, _value(meta, f"{_DC}title"), author, created, language, len(drawn) or None)


def _around(parts: Zipped) -> Iterator[str]:
    """What stands above and below each page of a text."""
    if "styles.xml" not in parts:
        return
    told: set[str] = set()
    for element in _named(parts.xml("styles.xml"), "master-page"):
        for block in (block for beside in element for block in _open_blocks(beside)):
            if block not in told:  # pages of several kinds have it alike
                told.add(block)
                yield block


def _open_blocks(root: Any) -> Iterator[str]:
    row, cell = f"{_TABLE}table-row", f"{_TABLE}table-cell"
    for element in root.iter(f"{_TEXT}h", f"{_TEXT}p", row):
        if element.tag == row:
            if _within(element, row):
                continue  # of a table within a cell
            own = [found for found in element.iter(cell) if next(found.iterancestors(row)) is element]
            cells = [" ".join(" ".join(_open_text(p) for p in c.iter(f"{_TEXT}p")).split()) for c in own]
            if any(cells):
                yield " | ".join(cells)
            continue
        if _within(element, f"{_TEXT}tracked-changes"):
            continue  # what somebody deleted
        if _within(element, row) or not (text := _open_text(element).strip()):
            continue
        if element.tag == f"{_TEXT}h":
            level = element.get(f"{_TEXT}outline-level") or "1"
            yield "#" * min(int(level) if level.isdigit() else 1, 6) + " " + text
        else:
            yield ("- " if _within(element, f"{_TEXT}list-item") else "") + text


_APART = {f"{_TEXT}{name}" for name in ("note", "p", "h", "list")} | {f"{_TABLE}table", f"{_OFFICE}annotation"}


def _open_text(paragraph: Any) -> str:
    """The text of a paragraph. A note or a box within it is none of its words: its paragraphs follow."""
    made = [paragraph.text or ""]
    for element in paragraph:
        if element.tag == f"{_TEXT}s":
            count = element.get(f"{_TEXT}c") or "1"
            made.append(" " * (min(int(count), _MOST_SPACES) if count.isdigit() else 1))
        elif element.tag in {f"{_TEXT}tab", f"{_TEXT}line-break"}:
            made.append("\t" if element.tag == f"{_TEXT}tab" else "\n")
        elif element.tag not in _APART:
            made.append(_open_text(element))
        made.append(element.tail or "")
    return "".join(made)


def _named(root: Any, name: str) -> Iterator[Any]:
    return (e for e in root.iter() if isinstance(e.tag, str) and e.tag.rpartition("}")[2] == name)


def _target(folder: str, link: str) -> str:
    """The name of the part that a link leads to."""
    return posixpath.normpath(posixpath.join(folder, unquote(link.partition("#")[0])))


def _locked(parts: Zipped) -> set[str]:
    """Parts of a book that are encrypted: in many these are its fonts alone."""
    if "META-INF/encryption.xml" not in parts:
        return set()
    return {_target("", e.get("URI") or "") for e in _named(parts.xml("META-INF/encryption.xml"), "CipherReference")}


def epub(content: bytes, _charset: str = "") -> Document:
    """The chapters in the order of the book."""
    parts = Zipped(content)
    locked = _locked(parts)
    container = parts.xml("META-INF/container.xml")
    opf = next((e.get("full-path") for e in _named(container, "rootfile")), None)
    if not opf:
        raise NoText("unreadable_document")
    package, folder = parts.xml(opf), posixpath.dirname(opf)
    items = {e.get("id"): e.get("href") or "" for e in _named(package, "item")}
    chapters = []
    for item in _named(package, "itemref"):
        name = _target(folder, items.get(item.get("idref"), ""))
        if name in locked:
            raise NoText("password_protected")
        if name in parts and (text := html(closed(parts.bytes(name))).text):
            chapters.append(text)
    title, author, created, language = (_value(package, f"{_DC}{n}") for n in ("title", "creator", "date", "language"))
    return Document(bounded(chapters, "\n\n"), title, author, created, language)
