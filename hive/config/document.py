"""A file of configuration as plain data that remembers its lines. YAML (safe), JSON or `.env`; repeated keys reported.

What is wrong is collected, not raised: an error of the parser quotes the file, which may hold secrets.
"""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from hive.config.problems import Problem
from hive.garbage import unsearched

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 1_000_000
"""Nodes of a document with its aliases written out: a few lines of nested aliases would else fill the memory."""
LARGEST_FILE = 16 << 20
"""Bytes; 10,000 bees are 3 MB."""
ENVIRONMENT = "environment"
"""The name of the document that is the process's environment."""

DEEPEST = 200
"""Levels of nesting: the parser in C would else run out of its stack, and end the process."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TEXT, _MAP, _LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))
_SEVERAL = "but found another document"
"""The parser's word for a second document."""
_VARIABLE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


class _Loader(_Base):  # type: ignore[misc]  # what it is depends on how PyYAML was built
    """The parser tells where it goes down and comes up again: its hooks for path resolvers, which nobody uses."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._tags: dict[Any, Any] = {}

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> Any:
        """As PyYAML's own, which tries all its forms on each word: the same words come again and again."""
        if kind is not yaml.ScalarNode:
            return super().resolve(kind, value, implicit)
        known = self._tags.get((value, implicit))
        if known is None:
            known = self._tags[value, implicit] = super().resolve(kind, value, implicit)
        return known

    def descend_resolver(self, _node: object, _index: object) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise RecursionError

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _timestamp(loader: Any, node: yaml.ScalarNode) -> Any:
    """A date that cannot be, such as 31 February, stays text: who expects a date there says so, with its place."""
    try:
        return loader.construct_yaml_timestamp(node)
    except (ValueError, OverflowError):
        return node.value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _timestamp)


@dataclass
class Document:
    name: str
    data: Any = field(default=None, repr=False)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    root: yaml.Node | None = field(default=None, repr=False)
    readable: bool = True
    """False: `data` is not there, and why is among the problems."""
    variables: Mapping[str, int] | None = field(default=None, repr=False)
    """Lines of the variables (0: there are none), where this is an environment; `data` maps them to text."""
    _index: dict[int, dict[str, tuple[yaml.Node, int]]] = field(default_factory=dict, repr=False)

    def report(self, message: str, line: int = 0) -> None:
        self.problems.append(Problem(message, file=self.name, line=line))

    def warn(self, message: str, line: int = 0) -> None:
        self.warnings.append(Problem(message, file=self.name, line=line))

    def refuse(self, message: str, line: int = 0) -> None:
        self.readable = False
        self.report(message, line)

    def line(self, place: Sequence[object]) -> int:
        """Line of the key at `place`, or of the nearest thing around it; 0 where lines are not known."""
        if self.variables is not None:
            return self.variables.get(str(place[0]), 0) if place else 0
        node, line = self.root, 0
        if node is not None:
            line = node.start_mark.line + 1
        for step in place:
            node, line = self._child(node, step, line)
        return line

    def origin(self, place: Sequence[object]) -> str:
        """Where the value at `place` was written: file and line, or the name of a variable."""
        if self.name == ENVIRONMENT:
            return str(place[0]) if place else self.name
        line = self.line(place)
        return f"{self.name}:{line}" if line else self.name

    def _child(self, node: yaml.Node | None, step: object, line: int) -> tuple[yaml.Node | None, int]:
        if isinstance(node, yaml.MappingNode):
            found = self._keys(node).get(str(step)) or _otherwise_written(node, step)
            if found is not None:
                return found
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            value = node.value[step]
            return value, value.start_mark.line + 1
        return None, line

    def _keys(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, int]]:
        """The last one of a name holds: what a merge key brought in stands before what overrides it."""
        if id(node) not in self._index:
            self._index[id(node)] = {
                key.value: (value, key.start_mark.line + 1)
                for key, value in node.value
                if isinstance(key, yaml.ScalarNode)
            }
        return self._index[id(node)]


def _otherwise_written(node: yaml.MappingNode, step: object) -> tuple[yaml.Node, int] | None:
    """The value at a key that is no text: `null`, `yes`, `0x1`."""
    if not isinstance(step, str):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _TEXT and yaml.safe_load(key.value) == step:
                return value, key.start_mark.line + 1
    return None


def read_document(path: Path) -> Document:
    document = Document(str(path))
    text = _text(document, path)
    if text is None:
        return document
    with unsearched():
        if path.suffix == ".env" or path.name.startswith(".env"):
            _read_environment(document, text)
        elif path.suffix == ".json":
            _read_json(document, text)
        else:
            _read_yaml(document, text)
    return document


def environment_document(environ: Mapping[str, str]) -> Document:
    """The process's environment, as a document."""
    return Document(ENVIRONMENT, dict(environ), variables={})


def _text(document: Document, path: Path) -> str | None:
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or path.is_relative_to("/dev")):
            # Who opens a pipe waits for somebody to write; `/dev/stdin` and `<(...)` of a shell are meant.
            document.refuse("the file cannot be read: it is no file, but a pipe, socket or device")
            return None
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            megabytes = LARGEST_FILE >> 20
            document.refuse(f"the file is larger than {megabytes} MB, expected several smaller ones in a folder")
            return None
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        document.refuse(f"the file cannot be read: {reason}")
        return None


def _read_environment(document: Document, text: str) -> None:
    """Lines `NAME=value`, with `export` before or not; `#` begins a comment, quotes around a value are taken off."""
    data: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _VARIABLE.match(line)
        if found is None:
            document.report("is no line of an environment, expected NAME=value", number)
            continue
        name, value = found[1], found[2].strip()
        if name in data:
            document.report(f"the variable {name!r} is set twice, first in line {lines[name]}", number)
        quoted = re.match(r"([\"'])(.*)\1\s*(?:#.*)?$", value)
        data[name] = quoted[2] if quoted else re.sub(r"(^|\s+)#.*$", "", value)
        lines[name] = number
    document.data, document.variables = data, lines


def _read_yaml(document: Document, text: str) -> None:
    try:
        loader = _Loader(text)
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
            document.data = _built(root, loader, {})
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        lines = text.splitlines()
        tab = 0 < line <= len(lines) and re.match(r"[ ]*(- *)*\t", lines[line - 1])
        reason = "a tab indents this line, expected spaces" if tab else _without_values(error.problem)
        if error.problem == _SEVERAL:
            document.refuse("holds several documents, expected one: put what follows `---` in a file of its own", line)
        else:
            document.refuse(f"is not YAML: {reason}", line)
    except (yaml.YAMLError, ValueError):
        document.refuse("is not YAML: it holds a character or a number that cannot be")
    except RecursionError:
        document.refuse("is nested too deeply")
    finally:
        loader.dispose()


def _built(node: yaml.Node, loader: Any, known: dict[int, Any]) -> Any:
    """The node as plain data. PyYAML's own way takes three times as long; it is asked for all that is not plain."""
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _TEXT else loader.construct_object(node, deep=True)
    if id(node) in known:
        return known[id(node)]
    built: Any
    if isinstance(node, yaml.MappingNode) and node.tag == _MAP and all(key.tag == _TEXT for key, _ in node.value):
        built = {key.value: _built(value, loader, known) for key, value in node.value}
    elif isinstance(node, yaml.SequenceNode) and node.tag == _LIST:
        built = [_built(item, loader, known) for item in node.value]
    else:
        built = loader.construct_object(node, deep=True)
    known[id(node)] = built
    return built


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
        document.root = yaml.compose(text.replace("\t", " "), Loader=_Loader)
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
        size = 1
        if isinstance(node, yaml.MappingNode):
            self._look_for_twins(node)
            pairs = node.value
            size += len(pairs)
            for key, value in pairs:
                if not isinstance(key, yaml.ScalarNode):
                    size += self.size(key) - 1
                size += 1 if isinstance(value, yaml.ScalarNode) else self.size(value)
        elif isinstance(node, yaml.SequenceNode):
            for child in node.value:
                size += 1 if isinstance(child, yaml.ScalarNode) else self.size(child)
        self._open.discard(id(node))
        if size > LARGEST and not self._too_large:
            self._too_large = True
            self._document.readable = False
            self._report(node, "grows too large when its aliases are written out")
        self._sizes[id(node)] = size
        return size

    def _look_for_twins(self, node: yaml.MappingNode) -> None:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len({key.value for key in keys}) == len(keys):
            return  # nearly all of them
        first: dict[str, yaml.Node] = {}
        for key in keys:
            if key.value != "<<" and first.setdefault(key.value, key) is not key:
                line = first[key.value].start_mark.line + 1
                self._report(key, f"the key {key.value!r} is written twice, first in line {line}")

    def _report(self, node: yaml.Node, message: str) -> None:
        self._document.report(message, node.start_mark.line + 1)
