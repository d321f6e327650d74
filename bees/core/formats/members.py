"""Documents within archives and compressed files, in memory and within limits. Nothing is ever written to a path."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bees.core.formats.names import rows_by_name
from bees.core.formats.packed import TROUBLES, Unpacking, inner_name, packing
from nectar.batch import Reject

DEEPEST = 3
"""Archives within one another."""
MOST = 10_000
"""Members of one file, those of archives within it counted too."""
LARGEST = 64 << 20
TOTAL = 512 << 20
_STEP = 1 << 18
_TAR = b"ustar"
_LOCKED = 0x1
_REST = "the archive holds more than can be read: the rest was left out"
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OSError,
)


@dataclass(frozen=True)
class Member:
    """A file within a file. `path` goes on from the archive's own: `letters.zip/2024/jane.txt`."""

    path: str
    data: bytes


def is_archive(data: bytes, name: str) -> bool:
    """Whether a file that begins so, and is no document itself, holds others: zip, tar, or something compressed."""
    return data.startswith((b"PK\x03\x04", b"PK\x05\x06")) or data[257:262] == _TAR or bool(packing(data, name))


def members(data: bytes, name: str) -> Iterator[Member | Reject]:
    """Every file within, at any depth, or why one is left out."""
    yield from _Opened().within(data, name, 0)


class _Opened:
    """What was taken out of one file so far."""

    def __init__(self) -> None:
        self._count = self._size = 0

    def within(self, data: bytes, name: str, depth: int) -> Iterator[Member | Reject]:
        from nectar.extract.kinds import media_type

        if depth and (media_type(data, name) is not None or not is_archive(data[:512], name)):
            yield Member(name, data)
        elif depth > DEEPEST:
            yield Reject(name, "nested_too_deep", f"archives are nested deeper than {DEEPEST}")
        else:
            found = self._packed(data, name) if packing(data, name) else self._listed(data, name)
            for item in found:
                if isinstance(item, Reject):
                    yield item
                    continue
                self._count += 1
                self._size += len(item.data)
                if self._count > MOST or self._size > TOTAL:
                    yield Reject(
                        name, "too_much_inside", "the archive holds more than can be read: the rest was left out"
                    )
                    return
                if rows_by_name(item.path):
                    yield Reject(item.path, "rows_in_archive", "rows are not read out of archives: unpack the file")
                else:
                    yield from self.within(item.data, item.path, depth + 1)
                if self._count > MOST or self._size > TOTAL:
                    return

    def _packed(self, data: bytes, name: str) -> Iterator[Member | Reject]:
        source = Unpacking(io.BytesIO(data), packing(data, name), lines=False)
        made = bytearray()
        while block := source.read(_STEP):
            made += block
            if len(made) > LARGEST:
                yield Reject(name, "too_large", f"what is compressed is larger than {LARGEST} bytes")
                return
        if source.trouble:
            yield Reject(name, source.trouble, TROUBLES[source.trouble])
        else:
            yield Member(f"{name}/{inner_name(name).rpartition('/')[2]}", bytes(made))

    def _listed(self, data: bytes, name: str) -> Iterator[Member | Reject]:
        try:
            yield from _of_zip(data, name) if data.startswith(b"PK") else _of_tar(data, name)
        except _BROKEN:
            yield Reject(name, "broken_archive", "the archive is damaged: the rest was left out")


def _of_zip(data: bytes, name: str) -> Iterator[Member | Reject]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist()[: MOST + 1]:
            path = f"{name}/{info.filename}"
            if info.is_dir():
                continue
            if unsafe(info.filename):
                yield _unsafe(name)
            elif info.flag_bits & _LOCKED:
                yield Reject(path, "password_protected", "the member is locked with a password")
            else:
                try:
                    with archive.open(info) as file:
                        held = file.read(LARGEST + 1)
                except _BROKEN:
                    yield Reject(path, "broken_archive", "the member is damaged")
                    continue
                yield _large(path) if len(held) > LARGEST else Member(path, held)


def _of_tar(data: bytes, name: str) -> Iterator[Member | Reject]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for number, info in enumerate(archive):
            path = f"{name}/{info.name}"
            if number > MOST:
                yield Reject(name, "too_much_inside", _REST)
                return
            if not info.isfile():
                continue  # links and devices lead elsewhere
            if unsafe(info.name):
                yield _unsafe(name)
            elif info.size > LARGEST:
                yield _large(path)
            elif (file := archive.extractfile(info)) is not None:
                yield Member(path, file.read())


def unsafe(path: str) -> bool:
    """Whether a member's name leads out of its archive."""
    parts = path.replace("\\", "/").split("/")
    return ".." in parts or path.startswith(("/", "\\")) or path[1:2] == ":" or "\0" in path


def _unsafe(name: str) -> Reject:
    return Reject(name, "unsafe_name", "a member's name leads out of the archive: the member was left out")


def _large(path: str) -> Reject:
    return Reject(path, "too_large", f"the member is larger than {LARGEST} bytes")
