"""Files beneath one folder: opened without ever leaving it, remembered in little space, turned into documents."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import pyarrow as pa

from bees.core.errors import GiveUp, RetryLater
from bees.core.storage.base import Entry
from nectar.pollen import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

YOUNG = 2 * 10**9
"""Nanoseconds in which a file may change again without its times showing it: clocks of file systems are coarse."""

DOCUMENT_COLUMNS = (
    Column("path", nullable=False, comment="relative to the folder, with slashes"),
    Column("name", nullable=False),
    Column("size", "integer", nullable=False, comment="bytes"),
    Column("modified", "timestamptz"),
    Column("media_type", nullable=False, comment="by the first bytes, then by the name"),
    Column("moved_from", comment="its path before, where it was seen to be renamed"),
    Column("content", "binary", nullable=False),
)
_ARROW = {"text": pa.string(), "integer": pa.int64(), "timestamptz": pa.timestamp("us", "UTC"), "binary": pa.binary()}
_DOCUMENT = pa.schema([(column.name, _ARROW[column.kind]) for column in DOCUMENT_COLUMNS])
_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000  # microseconds; Python knows no other years
_TAIL = 4096

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}  # ELOOP: a link by now, ENXIO: no regular file any more


def entry_of(path: str, status: os.stat_result) -> Entry:
    """A regular file of this machine: any of size, times and inode another is another version."""
    version = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    stamp = max(status.st_mtime_ns, status.st_ctime_ns)
    return Entry(path, status.st_size, version, status.st_mtime_ns // 1000, stamp)


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
        self._at: tuple[str, int] | None = None  # the folder that was looked into last
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
        self._leave()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self, folder: str) -> tuple[list[bytes], list[str]]:
        """Keys of the regular files and paths of the folders of one folder. Raises OSError.

        Of a million files the names alone are held; `entry` looks at each in its turn.
        """
        files: list[bytes] = []
        folders: list[str] = []
        opened = self._open(folder, _LISTED) if folder else os.open(".", _LISTED, dir_fd=self._root)
        try:
            with os.scandir(opened) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        if not files:
                            self._looked_at(entry)
                        files.append(os.fsencode(path))
        finally:
            os.close(opened)
        return files, folders

    @staticmethod
    def _looked_at(entry: os.DirEntry[str]) -> None:
        """Raises OSError where names may be listed and nothing beneath them may be seen."""
        with contextlib.suppress(FileNotFoundError):
            entry.stat(follow_symlinks=False)

    def entry(self, path: str) -> Entry | None:
        """A file as it is now; None where it is gone, or no regular file any more. Raises OSError."""
        folder, _, name = path.rpartition("/")
        try:
            if self._at is None or self._at[0] != folder:
                self._leave()
                self._at = (folder, self._open(folder, _FOLDER) if folder else os.dup(self._root))
            status = os.stat(name, dir_fd=self._at[1], follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        return entry_of(path, status) if stat.S_ISREG(status.st_mode) else None

    def _leave(self) -> None:
        if self._at is not None:
            os.close(self._at[1])
            self._at = None

    def open(self, path: str) -> BinaryIO:
        """A regular file beneath the folder, for reading. Raises OSError, also for what is no regular file by now."""
        opened = self._open(path, _FILE)
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise OSError(errno.ENXIO, "no regular file")
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
    """A path as text. Bytes that are none become U+FFFD, and a print of all bytes keeps two such names apart.

    The print stands before the name's endings, which tell formats.
    """
    raw = os.fsencode(path)
    text = raw.decode("utf-8", "replace")
    if "\ufffd" not in text:
        return text
    folder, slash, name = text.rpartition("/")
    at = name.find(".", 1)
    at = len(name) if at < 0 else at
    return f"{folder}{slash}{name[:at]}#{hashlib.blake2b(raw, digest_size=8).hexdigest()}{name[at:]}"


def document(file: Entry, data: bytes, media_type: str, moved_from: str | None = None) -> tuple[Any, ...]:
    """The file as a row of `DOCUMENT_COLUMNS`."""
    path = shown(file.path)
    modified = file.modified
    known = modified if modified is not None and _YEAR_1 <= modified < _YEAR_10000 else None
    return path, path.rpartition("/")[2], len(data), known, media_type, moved_from, data


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
    """A print of the bytes before a place. The handle stays where it is."""
    size, at = min(_TAIL, offset), handle.tell()
    handle.seek(offset - size)
    data = handle.read(size)
    handle.seek(at)
    return hashlib.blake2b(data, digest_size=8).hexdigest()


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


@lru_cache(maxsize=256)
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
