"""What a library says in a line of its log, without what it put into it: its words as they stand in its source.

A message with arguments is told by its pattern. One that was put together before it was logged (an f-string, `%`,
`format`) holds values that no form betrays, such as names, so the call is looked up where it stands: what is written
there is told, and what is not is left out.
"""

from __future__ import annotations

import ast
import functools
import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from hive.garbage import tree_of

LEFT_OUT = "..."
_PLACES = re.compile(r"%(?:\((\w+)\))?[-#0 +]*[\d*]*(?:\.[\d*]+)?([a-zA-Z%])")
_FIELDS = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
_METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}
_LARGEST = 1 << 20
"""Bytes of a file that is looked into."""
_FILES = 256

Place = tuple[str | None, ...]
"""A message as it is written: texts, and None for each value between them."""


def pattern(record: logging.LogRecord) -> str:
    """The message of a library's record, with its numbers; texts and objects, which may hold anything, are left out."""
    text, written = str(record.msg), _written(record.pathname)
    if written is None or text in written.constants:  # without a source there is only the last filter
        return with_numbers(text, record.args)
    for place in written.calls.get(record.lineno, ()):
        if re.fullmatch("(?s:.*)".join(re.escape(part) for part in _joined(place)), text, re.DOTALL):
            return with_numbers("".join(LEFT_OUT if part is None else part for part in place), record.args)
    return with_numbers(text, record.args) if record.args else LEFT_OUT


def with_numbers(text: str, args: Any) -> str:
    """A pattern with the numbers of its arguments."""
    if not args:
        return text
    named = args if isinstance(args, dict) else None
    rest = iter(() if named is not None else tuple(args))

    def shown(found: re.Match[str]) -> str:
        if found[2] == "%":
            return "%"
        value = named.get(found[1] or "") if named is not None else next(rest, None)
        return str(value) if value is None or isinstance(value, bool | int | float) else LEFT_OUT

    return _PLACES.sub(shown, text)


class _Written:
    """What a source file says: its texts, and the messages that calls of a logger put together, by their lines."""

    def __init__(self, tree: ast.AST) -> None:
        self.constants: set[str] = set()
        self.calls: defaultdict[int, list[Place]] = defaultdict(list)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.constants.add(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
                self._note(node, node.func.attr)

    def _note(self, call: ast.Call, method: str) -> None:
        given = call.args[1 if method == "log" else 0 :]
        if not given or isinstance(given[0], ast.Constant):
            return
        place = _place(given[0])
        if any(place):  # one of nothing but values would fit every message
            for line in range(call.lineno, (call.end_lineno or call.lineno) + 1):
                self.calls[line].append(place)


@functools.lru_cache(maxsize=_FILES)
def _written(path: str) -> _Written | None:
    """None: it cannot be read."""
    try:
        source = Path(path)
        return _Written(tree_of(source.read_bytes())) if source.stat().st_size <= _LARGEST else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _place(node: ast.expr) -> Place:
    """A message as its expression writes it."""
    if isinstance(node, ast.Constant):
        return (str(node.value),)
    if isinstance(node, ast.JoinedStr):
        return tuple(str(part.value) if isinstance(part, ast.Constant) else None for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _place(node.left) + _place(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        return _between(_PLACES, str(node.left.value), {"%%": "%"})
    if _is_format(node):
        return _between(_FIELDS, node.func.value.value, {"{{": "{", "}}": "}"})  # type: ignore[attr-defined]
    return (None,)


def _is_format(node: ast.expr) -> bool:
    """`"...".format(...)`."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant) and isinstance(node.func.value.value, str)
    )  # fmt: skip


def _between(places: re.Pattern[str], text: str, escapes: dict[str, str]) -> Place:
    """The parts of a pattern, None for each value."""
    parts: list[str | None] = []
    end = 0
    for found in places.finditer(text):
        parts += [text[end : found.start()], escapes.get(found[0])]
        end = found.end()
    return (*parts, text[end:])


def _joined(place: Place) -> list[str]:
    """The texts before, between and behind its values."""
    texts = [""]
    for part in place:
        if part is None:
            texts.append("")
        else:
            texts[-1] += part
    return texts
