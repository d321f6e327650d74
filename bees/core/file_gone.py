"""What a pass did not find, piece by piece: a bucket of a million keys may be emptied at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bees.core.file_inside import plain
from bees.core.files import shown
from bees.core.storage.memory import Memory


@dataclass
class Piece:
    """Some paths, as they are shown.

    upto  what is gone up to this key is told by then
    last  no other piece follows
    """

    paths: list[str] = field(default_factory=list)
    upto: bytes = b""
    last: bool = False


def gone(memory: Memory, lost: Iterable[bytes], most: int, *, met: bool) -> Iterator[Piece]:
    """The paths that a pass did not find, each once, in pieces of at most `most`.

    `lost`: keys of others. `met` as in `Memory.counted`. What was told may be forgotten before the next piece is taken.
    """
    piece = Piece()
    for key, path in _paths(memory, {plain(key) for key in lost}, met=met):
        if len(piece.paths) >= most:
            yield piece
            piece = Piece(upto=piece.upto)
        piece.paths.append(shown(os.fsdecode(path)))
        piece.upto = max(piece.upto, key)
    if piece.paths:
        piece.last = True
        yield piece


def _paths(memory: Memory, lost: set[bytes], *, met: bool) -> Iterator[tuple[bytes, bytes]]:
    """Key and path of each."""
    twins = _twins(memory)
    done = {path for path in map(plain, memory.there()) if path in twins or path in lost} if twins or lost else set()
    for key in memory.gone(met=met):
        path = plain(key)
        if path in done:
            continue
        if path in twins or path in lost:
            done.add(path)
        yield key, path
    yield from ((b"", path) for path in sorted(lost - done))


def _twins(memory: Memory) -> set[bytes]:
    """Paths of a file and of a member at once: an archive may have become a folder of its name, or the other way."""
    archives = {key.partition(b"\0")[0] for key in memory.in_jar() if b"\0" in key}
    if not archives:
        return set()
    files = {key for key in memory.in_jar() if b"\0" not in key and any(above in archives for above in _above(key))}
    return {path for key in memory.in_jar() if b"\0" in key and (path := plain(key)) in files}


def _above(key: bytes) -> Iterator[bytes]:
    """The folders of a file."""
    at = key.find(b"/")
    while at >= 0:
        yield key[:at]
        at = key.find(b"/", at + 1)
