"""Patterns for RE2, which takes no look-arounds and no back-references: without them they match more, never less."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[a-zA-Z<][^()]*?[>:]|.", re.DOTALL)
_BACK_REFERENCE = re.compile(r"\\[1-9]\d?|\(\?P=\w+\)")


def widened(patterns: Sequence[str]) -> Any:
    """A set of RE2's that finds every line in which one of the patterns matches; numbers are places in the list.

    A pattern that RE2 refuses even so stands for every line.
    """
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = True
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        wider = f"(?m){without_looking_around(pattern)}"
        try:
            re2.compile(wider, options)
        except re2.error:
            wider = ""
        found.Add(wider)
    found.Compile()
    return found


def without_looking_around(pattern: str) -> str:
    """The pattern without its look-arounds; back-references become any text."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if _LOOK_AROUND.match(pattern, at):
            at = _behind_group(pattern, at)
            continue
        reference = _BACK_REFERENCE.match(pattern, at)
        if reference:
            parts.append(".*?")
            at = reference.end()
            continue
        atom = _ATOM.match(pattern, at)
        if atom is None:
            break
        parts.append(atom[0])
        at = atom.end()
    return "".join(parts)


def _behind_group(pattern: str, at: int) -> int:
    """The place behind the group that opens here."""
    depth = 0
    while at < len(pattern):
        atom = _ATOM.match(pattern, at)
        if atom is None:
            break
        depth += atom[0].startswith("(") - (atom[0] == ")")
        at = atom.end()
        if not depth:
            break
    return at
