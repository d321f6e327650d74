"""Files beneath one folder: opened without ever leaving it, remembered in little space, turned into documents."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import pyarrow as pa

from bees.core.errors import GiveUp, RetryLater
from nectar.pollen import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

YOUNG = 2 * 10**9
"""Nanoseconds in which a file may change again without its times showing it: clocks of file systems are coarse."""

DOCUMENT_COLUMNS = (
    Column("path", nullable=False, comment="relative to the folder, with slashes"),
    Column("name", nullable=False),
    Column("size", "integer", nullable=False, comment="bytes"),
    Column("modified", "timestamptz"),
    Column("media_type", nullable=False, comment="by the name's ending"),
    Column("content", "binary", nullable=False),
)
_ARROW = {"text": pa.string(), "integer": pa.int64(), "timestamptz": pa.timestamp("us", "UTC"), "binary": pa.binary()}
_DOCUMENT = pa.schema([(column.name, _ARROW[column.kind]) for column in DOCUMENT_COLUMNS])
# Not `mimetypes`, whose answers depend on the machine.
_MEDIA = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".csv": "text/csv", ".tsv": "text/tab-separated-values",
    ".html": "text/html", ".htm": "text/html", ".json": "application/json", ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson", ".xml": "application/xml", ".yaml": "application/yaml",
    ".yml": "application/yaml",
}  # fmt: skip
_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000  # microseconds; Python knows no other years
_TAIL = 4096

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV}  # ELOOP: a link by now, no file any more


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as it was when looked at. `path` is relative, with slashes, bytes that are no text escaped."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Self:
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def aged(self, now_ns: int) -> bool:
        """Whether any later change must show in the times."""
        return max(self.mtime_ns, self.ctime_ns) < now_ns - YOUNG


def trouble(error: OSError, where: str) -> str:
    """What a failure means for one file: `gone`, or `unreadable` until somebody helps. Else raises RetryLater."""
    if error.errno in _GONE:
        return "gone"
    if error.errno in _UNREADABLE:
        return "unreadable"
    name = errno.errorcode.get(error.errno or 0, "an unknown error")
    message = f"the file system answered {name}"
    raise RetryLater(message, code="file_system", where=where, advice="look at the disk or the mount") from None


class Folder:
    """One folder, held open. No link is followed beneath it, and nothing but regular files is opened."""

    def __init__(self, path: str) -> None:
        """Raises GiveUp that names the option `path`. The folder itself may be reached by a link."""
        try:
            self._root = os.open(os.path.realpath(path, strict=True), _LISTED)
        except FileNotFoundError:
            raise self._refusal(path, "does not exist", "no_folder", "make it, mount it, or correct `path`") from None
        except NotADirectoryError:
            raise self._refusal(path, "is no folder", "no_folder", "set `path` to the folder around it") from None
        except (PermissionError, ValueError):
            advice = "give the user that runs the bee the right to list it"
            raise self._refusal(path, "cannot be listed", "unreadable", advice) from None
        except OSError as error:
            trouble(error, "path")
            raise self._refusal(path, "cannot be opened", "unreadable", "look at the disk or the mount") from None

    @staticmethod
    def _refusal(path: str, problem: str, code: str, advice: str) -> GiveUp:
        return GiveUp(f"the folder {path!r} {problem}", code=code, where="path", advice=advice)

    def close(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def files(self, wanted: Callable[[str], bool], *, recursive: bool) -> Iterator[Found | str]:
        """Every regular file whose path is wanted; as a plain string the path of a folder that may not be listed.

        Folders, files and links that vanish meanwhile are left out, devices and pipes always.
        """
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                found, folders = self._list(folder)
            except OSError as error:
                if trouble(error, "path") == "unreadable":
                    yield folder
                continue
            yield from (file for file in found if wanted(file.path))
            if recursive:
                waiting.extend(folders)

    def _list(self, folder: str) -> tuple[list[Found], list[str]]:
        files: list[Found] = []
        folders: list[str] = []
        opened = self._open(folder, _LISTED) if folder else os.open(".", _LISTED, dir_fd=self._root)
        try:
            with os.scandir(opened) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        try:
                            files.append(Found.of(path, entry.stat(follow_symlinks=False)))
                        except FileNotFoundError:
                            continue
        finally:
            os.close(opened)
        return files, folders

    def open(self, path: str) -> BinaryIO:
        """A regular file beneath the folder, for reading. Raises OSError, also for what is no regular file by now."""
        opened = self._open(path, _FILE)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise OSError(errno.ENODEV, "no regular file")
        return os.fdopen(opened, "rb", buffering=1 << 16)

    def _open(self, path: str, flags: int) -> int:
        *folders, name = path.split("/")
        at = self._root
        try:
            for folder in folders:
                inner = os.open(folder, _FOLDER, dir_fd=at)
                if at != self._root:
                    os.close(at)
                at = inner
            return os.open(name, flags, dir_fd=at)
        finally:
            if at != self._root:
                os.close(at)


def shown(path: str) -> str:
    """A path as text. Bytes that are none become U+FFFD, and a print of all bytes keeps two such names apart."""
    raw = os.fsencode(path)
    text = raw.decode("utf-8", "replace")
    return f"{text}#{hashlib.blake2b(raw, digest_size=8).hexdigest()}" if "\ufffd" in text else text


def document(file: Found, data: bytes, charset: str) -> tuple[Any, ...]:
    """The file as a row of `DOCUMENT_COLUMNS`; `charset` is told where the bytes do not tell it."""
    path = shown(file.path)
    modified = file.mtime_ns // 1000
    known = modified if _YEAR_1 <= modified < _YEAR_10000 else None
    media_type = _MEDIA.get(PurePosixPath(file.path).suffix.lower(), "text/plain")
    media_type += f"; charset={charset}" if charset else ""
    return path, path.rpartition("/")[2], len(data), known, media_type, data


def document_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(_DOCUMENT)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _DOCUMENT, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_DOCUMENT)


def digest(handle: BinaryIO) -> bytes:
    """A print of the whole file."""
    made = hashlib.blake2b()
    handle.seek(0)
    while block := handle.read(1 << 20):
        made.update(block)
    return made.digest()


def tail(handle: BinaryIO, offset: int) -> str:
    """A print of the bytes before a place."""
    size = min(_TAIL, offset)
    return hashlib.blake2b(os.pread(handle.fileno(), size, offset - size), digest_size=8).hexdigest()


def matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a relative path is meant. Hidden files are files like others.

    A pattern without a slash is matched with the name alone, at any depth; in one with a slash `*` stays within a
    folder and `**` crosses folders.
    """
    names = [re.compile(_expression(p), re.DOTALL) for p in patterns if "/" not in p]
    paths = [re.compile(_expression(p.removeprefix("./")), re.DOTALL) for p in patterns if "/" in p]

    def wanted(path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(p.fullmatch(name) for p in names) or any(p.fullmatch(path) for p in paths)

    return wanted


def checked_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns, or ValueError: one that is empty or cannot be read as a glob means no file."""
    for pattern in patterns:
        if not pattern or "\0" in pattern:
            raise ValueError("a pattern is empty, or holds the character NUL: `*` means every file")
        if "[" in _GLOB.sub("", pattern):
            raise ValueError(f"the pattern {pattern!r} has a `[` without its `]`; write `[[]` for the character itself")
        try:
            matcher((pattern,))
        except re.error:
            raise ValueError(f"the pattern {pattern!r} has a range that runs backwards, such as [z-a]") from None
    return patterns


_GLOB = re.compile(r"(?P<folders>\*\*/)|(?P<all>\*\*)|(?P<any>\*)|(?P<one>\?)|\[(?P<not>!?)(?P<set>\]?[^\]/]+)\]")


def _expression(pattern: str) -> str:
    made, at = [], 0
    for found in _GLOB.finditer(pattern):
        made.append(re.escape(pattern[at : found.start()]))
        at = found.end()
        if found["set"]:
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", found["set"])
            made.append(f"[{'^' if found['not'] else ''}{inside}]")
        else:
            made.append({"folders": "(?:.*/)?", "all": ".*", "any": "[^/]*", "one": "[^/]"}[found.lastgroup or "any"])
    return "".join(made) + re.escape(pattern[at:])


class Seen:
    """Which version of which file was read, in 20 bytes a file (27 characters in a cursor).

    A file is its path (48 bits of a hash), a version its size, times and inode (56 bits), a content its bytes
    (56 bits). Names and contents cannot be read back from it. Prints of paths that meet only cause a file to be read
    and sent again; `settings` says how contents are read, and other settings know nothing of what was seen.
    """

    def __init__(self, settings: str, stored: str = "") -> None:
        self._key = hashlib.blake2b(settings.encode(), digest_size=16).digest()
        self._kept: dict[bytes, bytes] = {}
        self._listed: set[bytes] = set()
        try:
            raw = base64.b64decode(stored, validate=True)
        except (binascii.Error, ValueError):
            raw = b""  # reading everything again is the safe answer to a cursor that nobody understands
        for at in range(0, len(raw) - len(raw) % 20, 20):
            self._kept[raw[at : at + 6]] = raw[at + 6 : at + 20]

    def path(self, path: str) -> bytes:
        return self._print(6, b"path", os.fsencode(path))

    def version(self, file: Found) -> bytes:
        stamps = f"{file.size} {file.mtime_ns} {file.ctime_ns} {file.inode} ".encode()
        return self._print(7, b"version", stamps + os.fsencode(file.path))

    def content(self, path: str, digest: bytes) -> bytes:
        return self._print(7, b"content", digest + os.fsencode(path))

    def _print(self, size: int, kind: bytes, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self._key, person=kind).digest()

    def list(self, path: str) -> None:
        """The path is still there: what is known of it outlives this pass."""
        self._listed.add(self.path(path))

    def same_version(self, file: Found) -> bool:
        return self._kept.get(self.path(file.path), b"")[:7] == self.version(file)

    def same_content(self, path: str, content: bytes) -> bool:
        return self._kept.get(self.path(path), b"")[7:] == content

    def add(self, file: Found, content: bytes, now_ns: int) -> None:
        """The file was read. A version as young as a clock's grain is not trusted: the bytes are compared next time."""
        version = self.version(file) if file.aged(now_ns) else bytes(7)
        self._kept[self.path(file.path)] = version + content

    def mark(self, path: str, content: bytes) -> None:
        """What is known of a path, but of no version: its bytes are compared next time."""
        self._kept[self.path(path)] = bytes(7) + content

    def forget(self, path: str) -> None:
        self._kept.pop(self.path(path), None)

    def stored(self, *, end: bool = False) -> str:
        """For a cursor. At the end of a pass, files that were not listed in it are forgotten."""
        kept = sorted(p + v for p, v in self._kept.items() if not end or p in self._listed)
        return base64.b64encode(b"".join(kept)).decode()
