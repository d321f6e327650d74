"""A file of configuration as plain data that remembers its lines. YAML (safe) or JSON, duplicate keys reported.

What is wrong is collected, not raised: an error of the parser quotes the file, which may hold secrets.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from hive.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LARGEST = 1_000_000
"""Nodes of a document with its aliases written out: a few lines of nested aliases would else fill the memory."""


@dataclass
class Document:
    name: str
    data: Any = field(default=None, repr=False)
    problems: list[Problem] = field(default_factory=list)
    root: yaml.Node | None = field(default=None, repr=False)
    readable: bool = True
    """False: `data` is not there, and why is among the problems."""

    def report(self, message: str, line: int = 0) -> None:
        self.problems.append(Problem(message, file=self.name, line=line))

    def refuse(self, message: str, line: int = 0) -> None:
        self.readable = False
        self.report(message, line)

    def line(self, place: Sequence[object]) -> int:
        """Line of the key at `place`, or of the nearest thing around it; 0 where lines are not known."""
        node, line = self.root, 0
        if node is not None:
            line = node.start_mark.line + 1
        for step in place:
            node, line = _child(node, step, line)
        return line


def read_document(path: Path) -> Document:
    document = Document(str(path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        document.refuse(f"the file cannot be read: {reason}")
        return document
    if path.suffix == ".json":
        _read_json(document, text)
    else:
        _read_yaml(document, text)
    return document


def _read_yaml(document: Document, text: str) -> None:
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError:
        document.refuse("is not YAML: it holds a character that cannot be")
        return
    try:
        root = loader.get_single_node()
        if root is None:
            return
        document.root = root
        _Walk(document).size(root)
        if document.readable:
            document.data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        document.refuse(f"is not YAML: {_without_values(error.problem)}", line)
    except (yaml.YAMLError, ValueError):
        document.refuse("is not YAML: it holds a character or a date that cannot be")
    except RecursionError:
        document.refuse("is nested too deeply")
    finally:
        loader.dispose()


def _without_values(problem: str | None) -> str:
    """The parser's words without what it quotes of the file: an unquoted password may look like an alias or a tag."""
    return re.sub(r"'[^'<]{2,}'", "...", problem or "it cannot be parsed")


def _read_json(document: Document, text: str) -> None:
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(key for key, count in Counter(key for key, _ in items).items() if count > 1)
        return dict(items)

    try:
        document.data = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        document.refuse(f"is not JSON: {error.msg}", error.lineno)
        return
    except RecursionError:
        document.refuse("is nested too deeply")
        return
    try:
        # JSON is YAML but for tabs, which no JSON string holds as they are.
        document.root = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
        if document.root is not None:
            _Walk(document).size(document.root)
    except (yaml.YAMLError, RecursionError):
        document.root = None
        for key in repeated:
            document.report(f"the key {key!r} is written twice")


class _Walk:
    """Looks at each node once: finds keys that are written twice and aliases that hold themselves."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()
        self._too_large = False

    def size(self, node: yaml.Node) -> int:
        known = self._sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            self._document.readable = False
            self._report(node, "is an alias inside of itself")
            return 1
        self._open.add(id(node))
        size = 1 + sum(map(self.size, self._children(node)))
        self._open.discard(id(node))
        if size > LARGEST and not self._too_large:
            self._too_large = True
            self._document.readable = False
            self._report(node, "grows too large when its aliases are written out")
        self._sizes[id(node)] = size
        return size

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.MappingNode):
            first: dict[str, yaml.Node] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                    continue
                if first.setdefault(key.value, key) is not key:
                    line = first[key.value].start_mark.line + 1
                    self._report(key, f"the key {key.value!r} is written twice, first in line {line}")
            return [child for pair in node.value for child in pair]
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []

    def _report(self, node: yaml.Node, message: str) -> None:
        self._document.report(message, node.start_mark.line + 1)


def _child(node: yaml.Node | None, step: object, line: int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.MappingNode):
        # The last one holds: what a merge key brought in stands before what overrides it.
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        value = node.value[step]
        return value, value.start_mark.line + 1
    return None, line
