"""Compressed files (gzip, bzip2, xz, zstandard, brotli) as streams that end where they break, and tell why."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

from bees.core.errors import GiveUp
from bees.core.tabular import MAX_ROW

_MAGIC = (
    (b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zst"),
)  # fmt: skip
_SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""A frame without data (RFC 8878, 3.1.2), which some programs write first; LZ4 has the same."""
_MEMBERS = {
    "gz": re.compile(rb"\x1f(?:\x8b|\Z)"), "bz2": re.compile(rb"B(?:Z|\Z)"), "xz": re.compile(rb"\xfd(?:7|\Z)"),
    "zst": re.compile(rb"[\x28\x50-\x5f](?:[\xb5\x2a]|\Z)"),
}  # fmt: skip
"""How another member begins; the first piece of it may be of one byte."""
ENDINGS = {".gz": "gz", ".gzip": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst", ".zstd": "zst", ".br": "br"}
_TARS = {".tgz": "gz", ".tbz2": "bz2", ".txz": "xz", ".tzst": "zst"}
RATIO = 250
"""Bytes that one packed byte may give, once more than `SURE` came out: real tables stay far below."""
SURE = 256 << 20
_MEMORY = 128 << 20
_STEP = 1 << 18
_SMALL = 1 << 10


def packing(head: bytes, name: str) -> str:
    """How a file is compressed, by its first bytes; brotli has none, and goes by the name. Empty: it is not.

    A file that was cut within these bytes goes by its name too.
    """
    named = (ENDINGS | _TARS).get(PurePosixPath(name.lower()).suffix, "")
    for magic, kind in _MAGIC:
        if head.startswith(magic) or (head and kind == named and magic.startswith(head)):
            return kind
    if named == "zst" and _SKIPPED.match(head):
        return "zst"
    return "br" if named == "br" else ""


def beginning(file: BinaryIO, name: str, most: int) -> tuple[bytes, bool]:
    """The first `most` bytes of a file, unpacked where it is compressed, and whether they are all there are."""
    file.seek(0)
    head = file.read(most + 1)
    kind = packing(head, name)
    if not kind:
        return head[:most], len(head) <= most
    source, made = Unpacking(file, kind), bytearray()
    while len(made) <= most and (data := source.read(most)):
        made += data
    return bytes(made[:most]), len(made) <= most and not source.trouble


def inner_name(name: str) -> str:
    """The name of what is packed: `a.csv` of `a.csv.gz`, `a.tar` of `a.tgz`."""
    path = PurePosixPath(name)
    ending = path.suffix.lower()
    if ending in ENDINGS:
        return name[: -len(ending)]
    return name[: -len(ending)] + ".tar" if ending in _TARS else name


class _Step(Protocol):
    """A decompressor that gives no more than it is asked for."""

    def give(self, data: bytes, most: int) -> bytes: ...
    @property
    def hungry(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def rest(self) -> bytes: ...


class _Zlib:
    def __init__(self) -> None:
        self._made = zlib.decompressobj(31)

    def give(self, data: bytes, most: int) -> bytes:
        return self._made.decompress(self._made.unconsumed_tail + data, most)

    hungry = property(lambda self: not self._made.unconsumed_tail)
    ended = property(lambda self: self._made.eof)
    rest = property(lambda self: self._made.unused_data)


class _Bounded:
    """bz2 and lzma: their objects keep what they were given until it is asked for."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def give(self, data: bytes, most: int) -> bytes:
        return bytes(self._made.decompress(data, most))

    hungry = property(lambda self: self._made.needs_input)
    ended = property(lambda self: self._made.eof)
    rest = property(lambda self: self._made.unused_data)


class _TrailingError(Exception):
    """Behind a whole member stands what is none."""


class _Unpacked:
    """Packed bytes, one compressed member after another. Raises OSError, EOFError and the libraries' own errors."""

    def __init__(self, file: BinaryIO, make: Callable[[], _Step], begins: re.Pattern[bytes] | None) -> None:
        self._file, self._make, self._begins = file, make, begins
        self._step: _Step = make()
        self._given = False
        self.taken = 0

    def read(self, size: int, /) -> bytes:
        while True:
            fed = b""
            if self._step.ended:
                fed = (self._step.rest or self._take()).lstrip(b"\0")  # zeros may follow each member
                while not fed and (more := self._take()):
                    fed = more.lstrip(b"\0")
                if not fed:
                    return b""
                if self._begins and not self._begins.match(fed):
                    raise _TrailingError
                self._step, self._given = self._make(), False
            elif self._step.hungry:
                fed = self._take()
                if not fed:
                    if not self._given:
                        return b""
                    raise EOFError
            self._given = True
            made = self._step.give(fed, size)
            if made:
                return made

    def _take(self) -> bytes:
        data = self._file.read(_STEP)
        self.taken += len(data)
        return data


class _Zstd:
    """Fed in so small steps that what comes out of one stays bounded: the library has no limit of its own."""

    def __init__(self) -> None:
        made = library("zstandard").ZstdDecompressor(max_window_size=_MEMORY)
        self._made = made.decompressobj()
        self._waiting = b""

    def give(self, data: bytes, _most: int) -> bytes:
        self._waiting += data
        fed, self._waiting = self._waiting[:_SMALL], self._waiting[_SMALL:]
        return bytes(self._made.decompress(fed))

    hungry = property(lambda self: not self._waiting)
    ended = property(lambda self: self._made.eof)
    rest = property(lambda self: self._made.unused_data + self._waiting)


class _Brotli:
    def __init__(self) -> None:
        self._made = library("brotli").Decompressor()
        self._idle = True

    def give(self, data: bytes, most: int) -> bytes:
        made = bytes(self._made.process(data, output_buffer_limit=most))
        self._idle = not made and self._made.can_accept_more_data()
        return made

    hungry = property(lambda self: self._idle)
    ended = property(lambda self: self._made.is_finished())
    rest = property(lambda _: b"")


def library(name: str) -> Any:
    """A module of the extra `documents`. Raises GiveUp with how to install it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise GiveUp(
            f"the library {name} is not installed", code="missing_library",
            where="format", advice="pip install worker-bees[documents]",
        ) from None  # fmt: skip


class Unpacking:
    """What a compressed file holds. It ends where the file breaks: `trouble` says then why, else it is empty."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        file.seek(0)
        self.trouble = ""
        self._given = 0
        make: Mapping[str, Callable[[], _Step]] = {
            "gz": _Zlib,
            "bz2": lambda: _Bounded(bz2.BZ2Decompressor()),
            "xz": lambda: _Bounded(lzma.LZMADecompressor(memlimit=_MEMORY)),
            "zst": _Zstd,
            "br": _Brotli,
        }
        self._source = _Unpacked(file, make[kind], _MEMBERS.get(kind))

    def read(self, size: int, /) -> bytes:
        return b"" if self.trouble else self._more(max(size, _STEP))

    def _more(self, size: int) -> bytes:
        try:
            data = self._source.read(size)
        except EOFError:
            self.trouble = "truncated"
            return b""
        except _TrailingError:
            self.trouble = TRAILING
            return b""
        except MemoryError:
            self.trouble = "too_much_inside"
            return b""
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the file itself
            if not _is_unpackers(error):
                raise
            self.trouble = "broken_compression"
            return b""
        self._given += len(data)
        if self._given > SURE and self._given > RATIO * max(self._source.taken, 1):
            self.trouble = "too_much_inside"
            return b""
        return data


class Troubled(Protocol):
    """Bytes that end early where there is `trouble`."""

    trouble: str

    def read(self, size: int, /) -> bytes: ...


class WholeLines:
    """Whole lines of a stream that may break: half a value must not pass for one. The last one may lack its end."""

    def __init__(self, source: Troubled) -> None:
        self._source = source
        self._held = bytearray()

    def read(self, size: int, /) -> bytes:
        while True:
            data = self._source.read(max(size, _STEP))
            if not data:
                rest = b"" if self._source.trouble not in ("", TRAILING) else bytes(self._held)
                self._held.clear()
                return rest
            self._held += data
            end = self._held.rfind(b"\n") + 1
            if not end and len(self._held) > MAX_ROW:
                end = len(self._held)
            if end:
                made = bytes(self._held[:end])
                del self._held[:end]
                return made


def _is_unpackers(error: Exception) -> bool:
    known = isinstance(error, zlib.error | lzma.LZMAError | OSError | ValueError)
    return known or type(error).__module__.partition(".")[0] in {"zstandard", "zstd", "brotli", "_brotli"}


TRAILING = "trailing_data"
"""All that was compressed was read: the only trouble of which nothing is missing."""
TROUBLES = {
    TRAILING: "behind the compressed data stands something else, which was left out: compress the file anew",
    "truncated": "the compressed file ends in its middle: of a table whole rows before that were read",
    "broken_compression": "the compressed file is damaged: of a table whole rows before that were read",
    "too_much_inside": f"the file unpacks to more than {RATIO} times its size: the rest was left out",
}
