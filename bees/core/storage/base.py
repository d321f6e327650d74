"""What a file system must be able to do. One adapter each stands in its connector's file, `bees/sftp.py` and others.

Files are listed in the order of the bytes of their paths: so the memory of a pass is merged with the listing as both
stream by, and a listing goes on in the middle from the path that was handled last.
"""

from __future__ import annotations

import bisect
import io
import marshal
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from bees.core import progress
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.storage.ranges import RangeReader, cut_short

if TYPE_CHECKING:
    from bees.core.http import Gate

_SAME = "the server tells several files by the same name: one of them is read"
DEEPEST = 64
"""Folders within folders, above which a listing is taken for a loop of links."""
IN_A_ROW = 3
"""Files or folders in a row that fail for a while, and it is the source that fails, not one of them."""
_HIDDEN = "the source lists the folder, and says that it is not there: it may be one that the bee's user may not see"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was when looked at.

    path     relative to the root, with slashes; bytes that are no text are escaped as `os.fsdecode` does
    size     bytes; -1 where the source does not say
    version  whatever changes when the content does: an ETag, a generation, or size and times
    modified microseconds since 1970 UTC
    stamp    None where every change has another version; else the nanosecond of the latest time that the version is
             made of: one too young may change again without showing it
    ref      what the adapter needs to open it, where the path does not do
    """

    path: str
    size: int
    version: str
    modified: int | None = None
    stamp: int | None = None
    ref: Any = field(default=None, compare=False)

    @property
    def key(self) -> bytes:
        return os.fsencode(self.path)


@dataclass(frozen=True, slots=True)
class Closed:
    """A folder whose files are not known: it may not be listed, or is too deep. Nothing in it counts as deleted."""

    path: str
    code: str = "unreadable"
    reason: str = "the file or folder may not be read: give the bee's user the right to"

    @property
    def key(self) -> bytes:
        return os.fsencode(self.path) + b"/"


Listed = Entry | Closed


class NotReadError(Exception):
    """One file cannot be read; the others can."""


class Gone(NotReadError):
    """It was listed and is no more, or is no regular file any more."""


class Changed(Gone):
    """It is there, and another version of it took its place."""


class Unreadable(NotReadError):
    """The source refuses it. `code` and `reason` go to quarantine."""

    def __init__(self, code: str = "unreadable", reason: str = Closed("").reason) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def no_parts() -> Unreadable:
    """Of a large file whose server sends all of it in place of a part."""
    return Unreadable("no_ranges", "the file is large, and the server does not send parts of files")


def refused(status: int, code: str = "") -> Unreadable:
    """Of one file that the server does not give, and says so with this status of HTTP; others it may give.

    `code` tells what is the matter where no status does, such as a redirect that is not followed.
    """
    advice = "mend it there, or leave it out by `patterns`"
    why = f"status {status}" if status or not code else code
    return Unreadable("refused", f"the server refuses this file ({why}): {advice}")


@dataclass
class Opened:
    """An open file: `entry` as it was at that moment, `same` whether it still is (asked after reading)."""

    handle: BinaryIO
    entry: Entry
    same: Callable[[], bool]

    def close(self) -> None:
        self.handle.close()


class Storage(ABC):
    """One root on one file system. `read` and `look` are called from several threads at once, the rest from one."""

    digests = False
    """Whether rows are compared by a print of all bytes: where reading is free, and times can be set at will."""
    grain = 900 * 10**9
    """Nanoseconds: younger times are not trusted. Ours and the server's clock may differ by a quarter hour."""
    block = 4 << 20
    """Bytes of one range of a large file."""

    def __init__(self, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.gate: Gate | None = None  # of adapters that speak HTTP, before each of their requests
        self._pool: ThreadPoolExecutor | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="files")
        return self._pool

    @abstractmethod
    def check(self) -> None:
        """Prove that the root is there and can be listed. Raises SourceError."""

    def is_there(self) -> bool:
        """Whether the root is known to be there, of one under which nothing is listed. Raises SourceError.

        A store of objects knows no folders: there a folder without any object cannot be told from a misspelt one.
        """
        return True

    @abstractmethod
    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        """Files beneath the root whose key is above `after`, in order. What is no regular file is left out."""

    @abstractmethod
    def read(self, entry: Entry, start: int, size: int) -> bytes:
        """Some bytes of this version of the file, fewer only at its end; all of them where `size` is -1.

        Raises Gone, Unreadable or SourceError.
        """

    @abstractmethod
    def look(self, path: str) -> Entry | None:
        """The file as it is now, or None where there is none. Raises Unreadable or SourceError."""

    def open(self, entry: Entry) -> Opened:
        """The file for reading from any place on, by ranges side by side; at once where its size is unknown."""
        if entry.size < 0:
            return self.fetch(entry)
        raw = RangeReader(lambda start, size: self.read(entry, start, size), entry.size, self.pool, self.block)
        return Opened(cast("BinaryIO", io.BufferedReader(raw, 1 << 18)), entry, lambda: self.same(entry))

    def fetch(self, entry: Entry) -> Opened:
        """A small file, read at once. Called in threads of the pool."""
        data = self.read(entry, 0, entry.size)
        same = self.same(entry)
        self.check_size(entry, data, same=same)
        now = entry if entry.size >= 0 else replace(entry, size=len(data))
        return Opened(cast("BinaryIO", io.BytesIO(data)), now, lambda: same)

    def ahead(self, entry: Entry) -> Future[Opened]:
        """A small file, while others are read too: at most `concurrency` at once."""
        return self.pool.submit(self.fetch, entry)

    def check_size(self, entry: Entry, data: bytes, *, same: bool) -> None:
        """Raise RetryLater for a transfer that ended early without an error, of a file that did not change."""
        if same and len(data) < entry.size:
            raise cut_short()

    def same(self, entry: Entry) -> bool:
        """Whether the file is still this version."""
        if entry.stamp is None:
            return True  # `read` asked for this version
        now = self.look(entry.path)
        return now is not None and now.version == entry.version

    def clock(self) -> int:
        """Nanoseconds since 1970 by the source's clock, where it tells the time; else by ours."""
        return time.time_ns()

    def close(self) -> None:
        """Give back what was opened. May be called twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class Pile:
    """The files of one folder in little space: some 150 bytes each, so that a million take no more than that."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []

    def append(self, entry: Entry) -> None:
        """Take a file whose `ref` is nothing or plain text."""
        progress.step()
        facts = (entry.size, entry.version, entry.modified, entry.stamp, entry.ref)
        self._rows.append(entry.key + b"\0" + marshal.dumps(facts))

    def __len__(self) -> int:
        return len(self._rows)

    def among(self, folders: list[bytes], after: bytes) -> Iterator[Listed | bytes]:
        """The files above `after`, in order, and the folders between them. Of a name that comes twice one is given."""
        rows = [row for row in self._rows if row.partition(b"\0")[0] > after]
        self._rows = []
        rows += folders
        rows.sort()  # NUL is in no name and below all that is, so rows stand in the order of keys
        yield from _ordered(_piled(rows))


def _piled(rows: list[bytes]) -> Iterator[Listed | bytes]:
    before, last, told = b"", None, b""
    for row in rows:
        key, _, facts = row.partition(b"\0")
        if not facts:
            yield key
        elif key != before or last is None:
            last = Entry(os.fsdecode(key), *marshal.loads(facts))  # noqa: S302 - our own
            yield last
        elif key != told and _is_another(last, Entry(last.path, *marshal.loads(facts))):  # noqa: S302
            told = key
            yield Closed(last.path, "same_name", _SAME)
        before = key


def _is_another(entry: Entry, twin: Entry) -> bool:
    """Whether two files told by one name are two: not where each change has its own version, and it is the same."""
    return twin != entry or (entry.stamp is not None and entry.ref is None)


def _ordered(items: Iterable[Listed | bytes]) -> Iterator[Listed | bytes]:
    """What is closed has a key that ends with a slash: names that go on otherwise may come before it."""
    waiting: list[Closed] = []
    for item in items:
        if isinstance(item, Closed):
            bisect.insort(waiting, item, key=lambda closed: closed.key)
            continue
        key = item if isinstance(item, bytes) else item.key
        while waiting and waiting[0].key <= key:
            yield waiting.pop(0)
        yield item
    yield from waiting


Found = Pile | list[Entry] | list[bytes]
"""Files of one folder; or their keys, where each is looked at in its turn."""
Listing = Callable[[str], tuple[Found, list[str]]]
"""Gives the files and the folders of one folder. Raises Unreadable, or Gone for one that vanished."""


def walk(
    folder: Listing,
    after: bytes,
    *,
    recursive: bool,
    look: Callable[[str], Entry | None] = lambda _: None,
    names: Listing | None = None,
) -> Iterator[Listed]:
    """Folders listed one by one, their files in the order of whole paths, those up to `after` left out.

    `look` gives the file of a key, where `folder` gives keys. A root that is not there is GiveUp: it is no empty one.
    `names` lists as `folder` does, at less cost: that a folder is there is enough. A folder that fails for itself
    keeps no other from being listed, and nothing in it counts as deleted.
    """
    root = rooted(folder)
    inner = _Folders(folder, names or folder)
    stack = [iter(_sorted(*root, after, recursive=recursive))]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, bytes) and not item.endswith(b"/"):
            if (file := look(os.fsdecode(item))) is not None:
                yield file
        elif not isinstance(item, bytes):
            yield item
        elif len(stack) >= DEEPEST:
            reason = f"folders are more than {DEEPEST} deep: a loop of links, most likely"
            yield Closed(os.fsdecode(item[:-1]), "too_deep", reason)
        else:
            stack.append(iter(inner.listed(os.fsdecode(item[:-1]), after, recursive=recursive)))


class _Folders:
    """The folders below a root."""

    def __init__(self, folder: Listing, names: Listing) -> None:
        self._folder = folder
        self._names = names
        self._failed = 0

    def listed(self, path: str, after: bytes, *, recursive: bool) -> Iterable[Listed | bytes]:
        """What `_sorted` gives of a folder; or that it is closed. Raises SourceError where the source fails."""
        try:
            found = self._found(path)
        except Gone:
            return [Closed(path, reason=_HIDDEN)] if self._is_there(path) else []
        except Unreadable as error:
            return [Closed(path, error.code, error.reason)]
        if isinstance(found, Closed):
            return [found]
        self._failed = 0
        return _sorted(*found, after, recursive=recursive)

    def _found(self, path: str) -> tuple[Found, list[str]] | Closed:
        problem: SourceError
        try:
            return self._folder(path)
        except SourceError as error:
            if not _is_of_one(error) or self._failed + 1 >= IN_A_ROW:
                raise
            rooted(self._names)  # raises where nothing at all is answered
            problem = error
        if isinstance(problem, RetryLater) and problem.code != "timeout":
            try:
                return self._folder(path)
            except SourceError as error:
                if not _is_of_one(error):
                    raise
                problem = error
        self._failed += 1
        reason = f"the folder could not be listed, and others could: {problem.args[0]}; each flight tries it again"
        return Closed(path, "unavailable", reason)

    def _is_there(self, path: str) -> bool:
        """Whether its own folder names it still: who may not see it is told that it is not there."""
        above = path.rpartition("/")[0]
        try:
            return path in self._names(above)[1]
        except NotReadError:
            return False


def _is_of_one(error: SourceError) -> bool:
    """Whether what failed may be one file's or folder's own trouble, and no wish of the source to be asked less."""
    return not isinstance(error, RetryLater) or (error.after is None and error.code != "rate_limited")


def rooted(folder: Listing) -> tuple[Found, list[str]]:
    """The root's files and folders. Raises GiveUp."""
    problem: GiveUp
    try:
        return folder("")
    except Gone:
        problem = GiveUp("the folder is not there", code="no_folder", where="path", advice="correct `path`")
    except Unreadable as error:
        what, advice = "the folder may not be listed", "give the bee's user the right to list it"
        if error.code != Closed("").code:
            what, _, advice = error.reason.partition(": ")
        problem = GiveUp(what, code=error.code, where="path", advice=advice)
    raise problem


def _sorted(files: Found, folders: list[str], after: bytes, *, recursive: bool) -> Iterable[Listed | bytes]:
    """In order: files, or their keys, and keys of folders, which end with a slash."""
    keys = [os.fsencode(name) + b"/" for name in folders] if recursive else []
    keys = [key for key in keys if key > after or after.startswith(key)]
    if isinstance(files, Pile):
        return files.among(keys, after)
    keys += [file for file in files if isinstance(file, bytes) and file > after]
    keyed: list[tuple[bytes, Entry]] = [(e.key, e) for e in files if isinstance(e, Entry) and e.key > after]
    if not keyed:
        keys.sort()
        return list[Listed | bytes](keys)
    both: list[tuple[bytes, Entry | bytes]] = [*keyed, *((key, key) for key in keys)]
    both.sort(key=lambda pair: pair[0])
    made: list[Listed | bytes] = []
    for number, (key, item) in enumerate(both):
        if number == 0 or both[number - 1][0] != key:
            made.append(item)
        elif isinstance(item, Entry) and isinstance(made[-1], Entry) and _is_another(made[-1], item):
            made.append(Closed(item.path, "same_name", _SAME))  # a server that writes bytes it cannot tell as `?`
    return _ordered(made)


def joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def safe_name(name: str) -> bool:
    """Whether a server's name of an entry is one: not a way up, not a path."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def missing_driver(error: ImportError, extra: str) -> GiveUp:
    """For an adapter whose library is not installed."""
    return GiveUp(
        f"the driver {(error.name or 'of this source').split('.')[0]!r} is not installed",
        code="missing_driver", advice=f"pip install 'worker-bees[{extra}]'",
    )  # fmt: skip
