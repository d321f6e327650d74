"""XML as plain values: `@name` is an attribute, `#text` the text beside others, what comes several times is a list.

A DOCTYPE is refused: entities are how XML eats memory and reads files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 1_000_000
"""Elements and attributes that are held at once: each takes some hundred bytes of memory, however few it has here."""
_DEEPEST = 100
_CHUNK = 256 << 10


def whole(raw: bytes, where: str) -> dict[str, Any]:
    """The document, by the name of its root. Raises GiveUp (`not_xml`, `too_many_values`)."""
    tree = Tree(where)
    for _ in tree.read(raw):
        pass
    return tree.root


def listed(raw: bytes, path: str, where: str) -> tuple[dict[str, Any], list[Any]]:
    """The document without the elements at a dotted path, and these. Raises GiveUp."""
    tree = Tree(where, path)
    return tree.root, [one for several in tree.read(raw) for one in several]


class Tree:
    """Elements on their way to objects. `root` is the document; without those at `path`, but for a 0 if there are any.

    path   dotted names from the root down to the elements that are given out one after another
    """

    def __init__(self, where: str, path: str | None = None) -> None:
        self._where = where
        self._wanted = path
        self._open: list[tuple[dict[str, Any], list[str], str]] = []
        self._found: list[Any] = []
        self._held = self._before = 0
        """Elements and attributes: all that are held, and those outside of the wanted element that is read."""
        self.root: dict[str, Any] = {}

    def read(self, raw: bytes) -> Iterator[list[Any]]:
        """The wanted elements, some at a time; those that are empty are left out. Raises GiveUp."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        problem = ""
        for at in range(0, len(raw) or 1, _CHUNK):
            try:
                parser.Parse(raw[at : at + _CHUNK], at + _CHUNK >= len(raw))
            except expat.ExpatError as error:
                problem = f"{expat.ErrorString(error.code)} at line {error.lineno}"
            if problem:
                raise self._refused(problem)
            if self._found:
                given, self._found = self._found, []
                yield given

    def _doctype(self, *_: Any) -> None:
        raise self._refused("it declares a DOCTYPE, which is refused")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= _DEEPEST:
            raise self._refused("it is nested too deep")
        place = f"{self._open[-1][2]}.{name}" if self._open else name
        if place == self._wanted:
            self._before = self._held
        self._held += 1 + len(attributes)
        if self._held > MOST:
            message = f"the answer holds more than {MOST:,} values at once"
            advice = "set records: the dotted path to the elements, so that they are read one after another"
            raise GiveUp(message, code="too_many_values", where=self._where, advice=advice)
        self._open.append(({f"@{key}": value for key, value in attributes.items()}, [], place))

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1][1].append(text)

    def _end(self, name: str) -> None:
        made, pieces, place = self._open.pop()
        text = "".join(pieces).strip()
        value: Any = made
        if not made:
            value = text or None
        elif text:
            made["#text"] = text
        parent = self._open[-1][0] if self._open else self.root
        if place == self._wanted:
            if value is not None:
                self._found.append(value)
            parent[name] = 0
            self._held = self._before
        elif name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]

    def _refused(self, problem: str) -> GiveUp:
        return GiveUp(f"the answer is no XML: {problem}", code="not_xml", where=self._where, advice="check format")
