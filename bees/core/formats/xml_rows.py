"""XML as rows: elements one after another. Runs behind the wall; see `bees.core.sandbox`.

A row is an element: its attributes, then the elements in it, by their names without namespace. One that holds text
alone is that text, one that holds elements is an object, one that comes again makes a list; text beside elements is the
field `text`. Nothing is loaded from anywhere, and a file with entities of its own is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from bees.core.formats.part import Part, Place
from nectar.batch import Reject

_DEEPEST = 32
"""Elements within a row, above which the rest of it is left out as text."""

Rows = Callable[..., Part]


def xml_parts(
    file: BinaryIO, request: Mapping[str, Any], place: Place, rows_part: Rows, refused: Callable[[str, str], Exception]
) -> Iterator[Part]:
    """`rows_part` makes a part of rows, `refused` the error for a file that gives none."""
    from lxml import etree

    start = number = int(place.get("number", 0))
    rows: list[dict[str, Any]] = []
    size = index = 0
    elements = _elements(file, request["element"], refused)
    while True:
        try:
            element = next(elements, None)
        except etree.XMLSyntaxError:
            reason = "the file is no XML from here on: the rest was left out"
            if not index:
                raise refused("not_xml", "the file is no XML") from None
            reject = Reject(f"{request['name']}, element {index + 1}", "not_xml", reason)
            yield rows_part(rows, request, number, (reject,))
            return
        if element is None:
            break
        index += 1
        if index > start:
            row = _row(element, 0)
            rows.append(row if isinstance(row, dict) else {"text": row})
            size += 64 + sum(len(str(value)) for value in rows[-1].values())
        element.clear(keep_tail=False)
        if len(rows) >= request["batch_rows"] or size >= request["batch_bytes"]:
            yield rows_part(rows, request, number)
            number, rows, size = number + len(rows), [], 0
    if rows:
        yield rows_part(rows, request, number)


def _elements(file: BinaryIO, wanted: str, refused: Callable[[str, str], Exception]) -> Iterator[Any]:
    """The elements of this name wherever they are, or those just inside the root. What is done with is forgotten."""
    from lxml import etree

    parser = etree.iterparse(
        file, events=("start", "end"), resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    depth = inside = 0
    for event, element in parser:
        if event == "start":
            if not depth:
                declared = element.getroottree().docinfo.internalDTD
                if declared is not None and any(True for _ in declared.iterentities()):
                    raise refused("xml_entities", "the file declares entities of its own, which are not expanded")
            depth += 1
            inside += bool(wanted) and _name(element) == wanted
            continue
        depth -= 1
        ends = _name(element) == wanted if wanted else depth == 1
        inside -= bool(wanted) and ends
        if ends and not inside:
            yield element
        if depth and (not inside if wanted else ends):
            if not ends:
                element.clear(keep_tail=False)
            parent = element.getparent()
            while parent is not None and parent[0] is not element:
                del parent[0]


def _name(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _row(element: Any, depth: int) -> Any:
    """Text, or an object of what is inside."""
    made: dict[str, Any] = {}
    for name, value in element.attrib.items():
        _put(made, name.rpartition("}")[2], value)
    if depth >= _DEEPEST:
        return "".join(element.itertext())
    texts = [element.text or ""]
    for child in element:
        if _name(child):
            _put(made, _name(child), _row(child, depth + 1))
        texts.append(child.tail or "")
    text = "".join(texts).strip()
    if not made:
        return text or None
    if text:
        _put(made, "text", text)
    return made


def _put(made: dict[str, Any], name: str, value: Any) -> None:
    if name not in made:
        made[name] = value
    elif isinstance(made[name], list):
        made[name].append(value)
    else:
        made[name] = [made[name], value]
