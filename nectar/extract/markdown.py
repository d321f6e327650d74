"""Markdown stays as it is written; its title is looked for, and what its front matter says of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nectar.extract.text import first_line, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_CLOSING = re.compile(r"[ \t]+#+[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


_TOLD = re.compile(r"(author|date|created|lang|language)[ \t]*:[ \t]*(\S.*?)[ \t]*", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?")


def front_matter(text: str) -> dict[str, str]:
    """`author`, `created` and `language` of simple lines of the front matter; nothing else of YAML is read."""
    told: dict[str, str] = {}
    for line in text[: len(text) - len(_body(text))].split("\n"):
        if (found := _TOLD.fullmatch(line)) and found[2][0] not in "[{|>&*!#":
            value = found[2][1:-1] if len(found[2]) > 1 and found[2][0] == found[2][-1] in "\"'" else found[2]
            name = {"date": "created", "lang": "language"}.get(found[1].lower(), found[1].lower())
            if value.strip() and (name != "created" or _DAY.fullmatch(value)):
                told.setdefault(name, value.strip())
    return told


def title(text: str, limit: int) -> str:
    """The first heading; without one the first line that holds something. Front matter and code do not count."""
    before = ""
    body = _body(text)
    for line in _outside_code(body):
        if (found := _HEADING.match(line)) and (name := _CLOSING.sub("", found[1]).strip()):
            return name[:limit]
        if before and _UNDERLINE.match(line):
            return before[:limit]
        before = line.strip()
    return first_line(body, limit)


def _body(text: str) -> str:
    """What follows the front matter, a block between two `---` at the very beginning."""
    if not text.startswith("---\n"):
        return text
    end = text.find("\n---\n", 3)
    return text if end < 0 else text[end + 5 :]


def _outside_code(text: str) -> Iterator[str]:
    """The lines that stand in no fenced block."""
    fence = ""
    for line in lines(text):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence):
                fence = ""
        elif found:
            fence = found[1]
        else:
            yield line
