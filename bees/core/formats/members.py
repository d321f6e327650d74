"""Documents within archives and compressed files, each held in memory while it is handed over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bees.core.formats.archives import LARGEST, inside, kind_of, told
from bees.core.formats.names import ARCHIVE_ENDINGS, is_lock, rows_by_name
from bees.core.formats.packed import ENDINGS, TRAILING, packing
from nectar.batch import Reject


@dataclass(frozen=True)
class Member:
    """A file within a file. `path` goes on from the archive's own: `letters.zip/2024/jane.txt`.

    `top` is the number of the archive's member that it is, or is within: reading may begin there again.
    """

    path: str
    data: bytes
    top: int


class LeftOut(Reject):
    """One document that cannot be read, told under its own path, or what never was one: no other is missing."""


def is_archive(data: bytes, name: str) -> bool:
    """Whether a file that begins so, and is no document itself, holds others: zip, tar, 7z, or something compressed."""
    return bool(kind_of(data) or packing(data, name))


def members(file: BinaryIO, name: str, start: int = 0, *, rows_apart: bool = False) -> Iterator[Member | Reject]:
    """Every document within, at any depth, or why one is left out, from the member `start` on.

    `rows_apart`: another stream reads the tables within, and says what is wrong with them.
    """
    for item in inside(file, name, start):
        if isinstance(item, Reject):
            if not (rows_apart and rows_by_name(item.position)):
                yield _left_out(item) if _is_of_one(item, name) else item
        elif rows_by_name(item.path):
            if not rows_apart and not is_lock(item.path):
                reason = (
                    "the table was left out: read it as rows, by a stream with `format: csv` or another one of rows"
                )
                yield LeftOut(item.path, "rows_in_archive", reason)
        else:
            data = item.stream.whole(LARGEST)
            trouble = item.stream.trouble
            if len(data) > LARGEST:
                yield LeftOut(item.path, "too_large", f"the member is larger than {LARGEST} bytes")
            elif trouble in ("", TRAILING):
                yield Member(item.path, data, item.top)
                if trouble:
                    yield _left_out(told(item.path, trouble))
            elif trouble != "too_much_inside":  # the archive tells that of all of it
                reject = told(item.path, trouble)
                yield reject if is_archive(data[:512], item.path) else _left_out(reject)


def _is_of_one(reject: Reject, archive: str) -> bool:
    """Whether what was left out while members were listed is no archive: of such a one nobody knows what is within."""
    if reject.code == "password_protected":
        return reject.position != archive and not reject.position.lower().endswith((*ARCHIVE_ENDINGS, *ENDINGS))
    return reject.code in ("unsafe_name", "linked_member")


def _left_out(reject: Reject) -> LeftOut:
    return LeftOut(reject.position, reject.code, reject.reason, reject.raw)
