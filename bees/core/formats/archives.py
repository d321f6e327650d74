"""Archives (zip, tar, 7z) and compressed files as streams of what is within them, within limits.

    for item in inside(file, "letters.zip", start):
        item.path, item.top, item.stream        # read before the next one is asked for

Nothing is ever written to a path. What comes out is counted as it comes: what a header says of a size is a claim.
Where a zip file has a name twice, the last one counts, as for whoever unpacks it. Tar and 7z are read once and in their
order: there the later one comes as `name (2).csv`.
"""

from __future__ import annotations

import errno
import io
import lzma
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, cast

from bees.core.formats.names import rows_by_name
from bees.core.formats.packed import RATIO, TRAILING, TROUBLES, Unpacking, inner_name, packing
from bees.core.formats.tars import Tar, opened_tar
from bees.core.formats.window import Readable, Window
from nectar.batch import Reject

DEEPEST = 3
"""Archives within one another."""
MOST = 100_000
"""Members of one file, those of archives within it counted too."""
LISTED = 400_000
"""Members of a tar file, those counted too that nobody wants: their names are held."""
TOLD = 100
"""Members that are left out for one reason and told one by one; of more only their number."""
LARGEST = 64 << 20
"""Bytes of an archive within an archive, which is held in memory, and of a document."""
TOTAL = 512 << 20
"""Bytes that may come out of any file; out of a large one, up to `RATIO` times its own size."""
REASONS = TROUBLES | {
    "broken_archive": "the archive is damaged here",
    "too_much_inside": "the archive holds more than can be read: the rest was left out",
    "unsafe_name": "a member's name leads out of the archive, or holds a NUL: the member was left out",
    "password_protected": "the member is locked with a password",
}
LINKED = 16 << 20
"""Bytes of a file with several names in a packed tar file, above which it is read under the first one only."""
_LINK = "linked_member"
_DIRECTORY = 16 << 20
"""Bytes of a zip file's list of members, which take some ten times as much once they are read."""
_WIDE = 0xFFFF
"""Members that a zip file's end can tell; of more it says this, or counts from 0 again."""
_HEAD = 512
_LOCKED = 0x1
_ZIP, _SEVEN = (b"PK\x03\x04", b"PK\x05\x06"), b"7z\xbc\xaf\x27\x1c"
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError,
    RuntimeError, struct.error, OverflowError, IndexError, KeyError, TypeError, AttributeError,
)  # fmt: skip


def _must_be_damage(error: Exception) -> None:
    """Raise an error of the file system again: a place before the file's beginning, or one that no file has, is none.

    Neither is what bz2 says of damaged data, which has no number.
    """
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        raise error


class TooMuchError(Exception):
    """More came out than may."""


class Stream:
    """The bytes of a member. They end early where the archive is damaged or holds too much: `trouble` says so then."""

    def __init__(self, source: Readable, took: Callable[[int], None]) -> None:
        self._source, self._took = source, took
        self._held = b""
        self.trouble = ""

    def peek(self, size: int) -> bytes:
        while len(self._held) < size and (more := self._more(size)):
            self._held += more
        return self._held[:size]

    def read(self, size: int, /) -> bytes:
        if not self._held:
            return self._more(size)
        made, self._held = self._held[:size], self._held[size:]
        return made

    def whole(self, most: int) -> bytes:
        """All bytes, or the first `most` + 1 and perhaps some more."""
        made = io.BytesIO()  # gives what it holds without another copy
        made.write(self._held)
        self._held = b""
        while made.tell() <= most and (data := self._more(1 << 18)):
            made.write(data)
        return made.getvalue()

    def put_back(self, data: bytes) -> None:
        self._held = data + self._held

    def _more(self, size: int) -> bytes:
        if self.trouble:
            return b""
        try:
            data = self._source.read(size)
            self._took(len(data))
        except TooMuchError:
            self.trouble = "too_much_inside"
            return b""
        except (*_BROKEN, OSError) as error:
            _must_be_damage(error)
            self.trouble = "broken_archive"
            return b""
        if not data:
            self.trouble = getattr(self._source, "trouble", "")
        return data


@dataclass(frozen=True)
class Inside:
    """A file within a file. `path` goes on from the archive's own: `letters.zip/2024/jane.txt`.

    `top` is the number of the member of the outermost archive that it is, or is within.
    """

    path: str
    top: int
    stream: Stream


Found = tuple[str, Callable[[], Readable]] | Reject
"""A member's path and how to open it, before the next one is asked for; or why it is left out."""


def kind_of(head: bytes) -> str:
    """What archive begins so: `zip`, `tar`, `7z`, or none."""
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(_SEVEN):
        return "7z"
    return "tar" if head[257:262] == b"ustar" or _is_old_tar(head) else ""


def _is_old_tar(head: bytes) -> bool:
    """Whether a file begins with a header of Unix V7's tar, which has no word of its own but a sum of its bytes."""
    told = head[148:156].strip(b" \0")
    if len(head) < _HEAD or not told.isdigit() or not head[0]:
        return False
    return told.lstrip(b"0") == b"%o" % (sum(head[:148]) + 8 * 0x20 + sum(head[156:_HEAD]))


def most_of(size: int) -> int:
    """Bytes that may come out of a file of this size."""
    return max(TOTAL, RATIO * size)


def told(position: str, code: str) -> Reject:
    return Reject(position, code, REASONS[code])


def inside(
    file: BinaryIO, name: str, start: int = 0, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Inside | Reject]:
    """Every file within, at any depth, or why one is left out, from the member `start` of the outermost archive on.

    `wanted` says by the path whether a member is looked at: what is left out is not unpacked.
    """
    yield from _Walk(file.seek(0, io.SEEK_END), start, wanted).whole(file, name)


class _Walk:
    """What was taken out of one file so far."""

    def __init__(self, size: int, start: int, wanted: Callable[[str], bool]) -> None:
        self._start, self._wanted = start, wanted
        self._top = self._count = self._size = 0
        self._most = most_of(size)
        self._told: Counter[str] = Counter()

    def whole(self, file: BinaryIO, name: str) -> Iterator[Inside | Reject]:
        yield from self.within(file, name, 0)
        for code, count in self._told.items():
            if count > TOLD:
                yield Reject(name, code, f"{count - TOLD} more: {REASONS.get(code, 'left out')}")

    def within(self, file: BinaryIO, name: str, depth: int) -> Iterator[Inside | Reject]:
        try:
            for number, found in enumerate(_listed(file, name)):
                if depth == 0:
                    self._top = number
                if number < self._start and depth == 0:
                    continue
                if isinstance(found, Reject):
                    self._told[found.code] += 1
                    if self._told[found.code] <= TOLD:
                        yield found
                elif self._wanted(found[0]):
                    yield from self._member(*found, depth)
        except TooMuchError:
            if depth:
                raise
            yield told(name, "too_much_inside")
        except (*_BROKEN, OSError) as error:
            _must_be_damage(error)
            yield Reject(name, "broken_archive", "the archive is damaged or ends too early: the rest was left out")

    def _member(self, path: str, opened: Callable[[], Readable], depth: int) -> Iterator[Inside | Reject]:
        self._count += 1
        if self._count > MOST:
            raise TooMuchError
        try:
            stream = Stream(opened(), self._took)
        except (*_BROKEN, OSError) as error:
            _must_be_damage(error)
            yield Reject(path, "broken_archive", "the member is damaged")
            return
        held = b"" if rows_by_name(path) else self._archive(stream, path)
        if not held:
            yield Inside(path, self._top, stream)
        elif len(held) > LARGEST:
            yield Reject(path, "too_large", f"the archive within is larger than {LARGEST} bytes")
        elif depth >= DEEPEST:
            yield Reject(path, "nested_too_deep", f"archives are nested deeper than {DEEPEST}")
        else:
            if stream.trouble:
                yield told(path, stream.trouble)
            yield from self.within(io.BytesIO(held), path, depth + 1)
        if stream.trouble == "too_much_inside":
            raise TooMuchError

    @staticmethod
    def _archive(stream: Stream, path: str) -> bytes:
        """A member that holds others; empty for one that is a document, or no archive: its stream is as it was."""
        from nectar.extract.kinds import media_type

        head = stream.peek(_HEAD)
        if not kind_of(head) and not packing(head, path):
            return b""
        data = stream.whole(LARGEST)
        if media_type(data, path) is None and stream.trouble in ("", TRAILING):
            return data
        stream.put_back(data)
        return b""

    def _took(self, count: int) -> None:
        self._size += count
        if self._size > self._most:
            raise TooMuchError


def _listed(file: BinaryIO, name: str) -> Iterator[Found]:
    """The members of one archive, or the one file that is compressed, each to be read before the next."""
    file.seek(0)
    head = file.read(_HEAD)
    if packed := packing(head, name):
        yield from _of_packed(file, packed, name)
    elif (kind := kind_of(head)) == "zip":
        yield from _of_zip(file, name)
    elif kind == "7z":
        from bees.core.formats.seven import of_seven

        yield from of_seven(file, name)
    else:
        links: dict[int, list[str]] = {}
        file.seek(0)
        with opened_tar(file) as archive:
            yield from _of_tar(archive, name, links)
        if links:
            file.seek(0)
            with opened_tar(file) as archive:
                yield from _of_links(archive, links, seeks=True)


def _of_packed(file: BinaryIO, kind: str, name: str) -> Iterator[Found]:
    path = f"{name}/{inner_name(name).rpartition('/')[2]}"
    source = Unpacking(file, kind)
    window = Window(source, _HEAD)
    is_tar = kind_of(window.read(_HEAD)) == "tar"
    window.seek(0)
    if not is_tar:
        yield path, lambda: _Told(window, source)
        return
    links: dict[int, list[str]] = {}
    try:
        with opened_tar(cast("BinaryIO", window), seeks=False) as archive:
            yield from _of_tar(archive, path, links)
        if links:
            with opened_tar(cast("BinaryIO", Window(Unpacking(file, kind), _HEAD)), seeks=False) as archive:
                yield from _of_links(archive, links, seeks=False)
    except tarfile.TarError:
        if not source.trouble:
            raise
    if source.trouble:
        yield told(name, source.trouble)


class _Told:
    """A window's bytes, with the trouble of what it looks at."""

    def __init__(self, window: Window, source: Unpacking) -> None:
        self.read, self._source = window.read, source

    @property
    def trouble(self) -> str:
        return self._source.trouble


def _of_zip(file: BinaryIO, name: str) -> Iterator[Found]:
    size, count = _directory(file)
    if size > _DIRECTORY:
        raise TooMuchError
    with zipfile.ZipFile(file) as archive:
        file.seek(0)
        listed = len(archive.infolist())
        # A damaged entry may swallow those behind it, and a hole at the end says that there are none.
        if count not in (_WIDE, listed & _WIDE) or (not listed and file.read(4) == _ZIP[0]):
            yield Reject(name, "broken_archive", "the archive's list is damaged: it has another number of members")
        # Python ends a name at a NUL: what it is called then may be another member's name, or no table's any more.
        last = {info.filename: info for info in archive.infolist() if "\0" not in info.orig_filename}
        for info in archive.infolist():
            path = f"{name}/{info.filename}"
            if not info.orig_filename:
                yield told(name, "broken_archive")
            elif "\0" in info.orig_filename:
                yield told(name, "unsafe_name")
            elif info.is_dir() or last[info.filename] is not info:
                continue
            elif unsafe(info.filename):
                yield told(name, "unsafe_name")
            elif info.flag_bits & _LOCKED:
                yield told(path, "password_protected")
            else:
                yield path, lambda info=info: archive.open(info)  # type: ignore[misc]


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Bytes of a zip file's list of members, and their number up to `_WIDE`, as its end says.

    The list is what is read into memory to open the file.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) < at + 22:
        return 0, _WIDE
    count, listed = struct.unpack_from("<HI", end, at + 10)
    wide = end.rfind(b"PK\x06\x06")
    if listed == 0xFFFFFFFF and wide >= 0 and len(end) >= wide + 56:
        (listed,) = struct.unpack_from("<Q", end, wide + 40)
    return int(listed), int(count)


def _of_tar(archive: Tar, name: str, links: dict[int, list[str]]) -> Iterator[Found]:
    """The files. Their other names (hard links) go to `links` by the number of the file, for `_of_links`."""
    taken: dict[str, int] = {}
    files: dict[str, int] = {}
    for number, info in enumerate(archive):
        archive.forget()
        if number >= LISTED:
            raise TooMuchError
        if not (info.isfile() or info.islnk()):
            continue  # symbolic links and devices lead elsewhere
        if unsafe(info.name):
            yield told(name, "unsafe_name")
            continue
        path = f"{name}/{numbered(info.name, taken)}"
        at = number if info.isfile() else files.get(posixpath.normpath(info.linkname))
        if at is None:
            yield Reject(path, _LINK, "the member is another name of a file that is not in the archive before it")
            continue
        files[posixpath.normpath(info.name)] = at
        if info.isfile():
            yield path, lambda info=info: archive.extractfile(info)  # type: ignore[misc]
        else:
            links.setdefault(at, []).append(path)


def _of_links(archive: Tar, links: dict[int, list[str]], *, seeks: bool) -> Iterator[Found]:
    """The files once more, under their other names. Where the archive is read forward only, each is held meanwhile."""
    for number, info in enumerate(archive):
        archive.forget()
        if number not in links:
            continue
        paths = links.pop(number)
        if seeks:
            yield from ((path, partial(archive.extractfile, info)) for path in paths)  # type: ignore[misc]
        elif info.size > LINKED:
            reason = f"the member is another name of a file of more than {LINKED} bytes: unpack the archive"
            yield from (Reject(path, _LINK, reason) for path in paths)
        elif source := archive.extractfile(info):
            data = source.read()
            yield from ((path, partial(io.BytesIO, data)) for path in paths)
        if not links:
            return


def numbered(path: str, taken: dict[str, int]) -> str:
    """The path, with a number where another member has it; from now on it is taken, too."""
    folder, slash, base = path.rpartition("/")
    dot = base.find(".", 1) if "." in base[1:] else len(base)
    made, count = path, taken.get(path, 1)
    while made in taken:
        count += 1
        made = f"{folder}{slash}{base[:dot]} ({count}){base[dot:]}"
    taken[path] = count
    taken[made] = 1
    return made


def unsafe(path: str) -> bool:
    """Whether a member's name leads out of its archive."""
    parts = path.replace("\\", "/").split("/")
    return ".." in parts or path.startswith(("/", "\\")) or path[1:2] == ":" or "\0" in path
