"""Files of one folder of this machine: texts as documents and tables as rows.

No link is followed beneath the folder, and nothing but regular files is opened. What was read is known by size, times
and inode, and by content: so a file comes again when its bytes differ, whatever its times say. With `watch` the hive
flies the bee when the system tells of a change in the folder; see `hive/folders.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from bees.core.bee import BeeOptions, BeeType
from bees.core.filebee import FileBee, FileOptions
from bees.core.files import YOUNG, Folder, entry_of, trouble
from bees.core.storage.base import Entry, Gone, Listed, Opened, Storage, Unreadable, walk


class LocalOptions(FileOptions):
    """Options of `local`: those of every file system, and `watch`."""

    watch: bool = Field(False, description="fly within a second when something in the folder changes")


class LocalBee(FileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = LocalOptions

    def connect(self) -> Storage:
        return LocalStorage(self.options.path)

    def source_identity(self) -> str:
        return f"local:{os.path.realpath(self.options.path)}"


class LocalStorage(Storage):
    digests = True
    grain = YOUNG

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def check(self) -> None:
        Folder(self._path).close()

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        """The root is opened anew for each pass: what is mounted there may have changed."""
        self.close()
        self._folder = Folder(self._path)
        return walk(self._names, after, recursive=recursive, look=self._listed)

    def _names(self, path: str) -> tuple[list[bytes], list[str]]:
        try:
            return self._folder.names(path)
        except OSError as error:
            raise _not_read(error) from None

    def _listed(self, path: str) -> Entry | None:
        try:
            return self._folder.entry(path)
        except OSError as error:
            if trouble(error, "path") == "gone":
                return None
            return Entry(path, 0, "not seen")  # opening it tells what is the matter

    def open(self, entry: Entry) -> Opened:
        try:
            handle = self._folder.open(entry.path)
        except OSError as error:
            raise _not_read(error) from None
        now = entry_of(entry.path, os.fstat(handle.fileno()))
        return Opened(handle, now, lambda: entry_of(entry.path, os.fstat(handle.fileno())) == now)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        opened = self.open(entry)
        try:
            opened.handle.seek(start)
            return opened.handle.read(size)
        finally:
            opened.close()

    def look(self, path: str) -> Entry | None:
        try:
            handle = self._folder.open(path)
        except OSError as error:
            if trouble(error, "path") == "gone":
                return None
            raise Unreadable from None
        with handle:
            return entry_of(path, os.fstat(handle.fileno()))

    def close(self) -> None:
        super().close()
        if hasattr(self, "_folder"):
            self._folder.close()


def _not_read(error: OSError) -> Gone | Unreadable:
    return Gone() if trouble(error, "path") == "gone" else Unreadable()
