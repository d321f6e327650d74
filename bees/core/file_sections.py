"""Which rows of the next batch came from which file, so that rows leave the jar that their file holds no more.

A file that was read from its beginning to its end takes the place of all that an earlier reading gave of it. One that
was left out in part does not: neither one that changed meanwhile, nor one with a place that nobody could read. A row
that was set aside under its own line is no such place, where lines are the key: the hive keeps what it has of it.

A pass that began from nothing and listed every file tells so in the end (`LISTED`): files of earlier readings that it
did not meet are gone, whatever became of those that it met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from bees.core.tabular import MAX_RAW
from nectar.batch import Reject, Section

_LINE = re.compile(r":[0-9]+$")
_OF_ROWS = frozenset(
    {"bad_unicode", "broken_row", "not_json", "not_object", "not_utf8", "ragged_row", "row_too_long", "too_deep"}
)
"""Codes of what is wrong with one row; any other says that more was left out."""
_HOLE = b"\0" * 8
"""In a row: bytes that never reached the disk. How many rows they were nobody knows."""
LISTED = ""
"""The name that stands for all sections that were not told of since everything is read anew."""


def of_rows_only(rejects: Iterable[Reject], *, placed: bool) -> bool:
    """Whether nothing but rows was set aside whose keys their places tell. `placed`: file and line are the key."""
    return all(placed and _is_of_a_row(reject) for reject in rejects)


def _is_of_a_row(reject: Reject) -> bool:
    """Not where a line has no end: whoever writes the file has not written the rest of it yet."""
    raw = reject.raw
    ended = not raw or len(raw) >= MAX_RAW or raw.rstrip(b"\0").endswith((b"\n", b"\r"))
    return ended and reject.code in _OF_ROWS and _LINE.search(reject.position) is not None and _HOLE not in raw


class Sections:
    """`at` is the number of rows that the next batch has by now."""

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._done: list[Section] = []
        self._now: Section | None = None

    @property
    def reading(self) -> bool:
        """Whether a file's rows come now."""
        return self._now is not None

    def begin(self, name: str, at: int, *, begins: bool) -> None:
        """A file's rows come now; `begins` unless reading goes on in its middle."""
        self._now = Section(name, at, at, begins=begins)

    def end(self, at: int, *, whole: bool) -> None:
        """The file's last row has come. `whole`: nothing of it was left out."""
        now, self._now = self._now, None
        if now is not None:
            self._add(now, at, ends=whole)

    def there(self, name: str, at: int) -> None:
        """A file is there, and nobody could read it."""
        self._add(Section(name, at, at, begins=True), at)

    def gone(self, name: str, at: int) -> None:
        """A file is there no more."""
        self._add(Section(name, at, at, begins=True), at, ends=True)

    def _add(self, section: Section, at: int, *, ends: bool = False) -> None:
        if self._on and (section.begins or ends or section.start < at):
            self._done.append(Section(section.name, section.start, at, section.begins, ends))

    def take(self, at: int) -> tuple[Section, ...]:
        """Those of the batch that is made now. The file that is being read goes on in the next one."""
        if self._now is not None:
            self._done += [replace(self._now, stop=at)] if self._on else []  # also without rows: for what is set aside
            self._now = Section(self._now.name, 0, 0)
        taken, self._done = tuple(self._done), []
        return taken

    def wait(self) -> bool:
        """Whether the hive must be told something, also by a batch without rows."""
        return bool(self._done)
