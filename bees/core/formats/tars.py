"""Tar files whose end is told from damage: Python's reader takes a broken header in the middle for the end.

What stands behind the mark of an end is read too: so it is where archives were joined by `cat`.
"""

from __future__ import annotations

import tarfile
from typing import Any, BinaryIO, Self


class Tar(tarfile.TarFile):
    members: list[tarfile.TarInfo]
    ended = False
    """Whether the last block was the mark of the end, which is zeros."""

    def forget(self) -> None:
        """Let go of the members that were met: Python keeps a kilobyte of each."""
        self.members.clear()


class _Header(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, archive: Any) -> Self:
        try:
            made = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.ended = True
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            if archive.ended:
                raise
            raise tarfile.ReadError("the file ends without a mark of its end") from None
        except tarfile.HeaderError:
            raise tarfile.ReadError("no header where one should be") from None
        archive.ended = False
        return made


def opened_tar(file: BinaryIO, *, seeks: bool = True) -> Tar:
    """Raises tarfile.ReadError, also while it is gone through, where it is damaged or ends without its mark."""
    mode: Any = "r:" if seeks else "r|"
    return Tar.open(fileobj=file, mode=mode, tarinfo=_Header, ignore_zeros=True)
