"""Parts of a document that is a zip file: within limits, and XML without entities."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

from nectar.extract.document import NoText

MAX_PARTS = 20_000
MAX_PART = 64 << 20
MAX_TOTAL = 256 << 20
_STEP = 1 << 18
_LOCKED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError, RuntimeError)


class Zipped:
    """A document's parts by name. Raises NoText for what is damaged, locked or too large."""

    def __init__(self, content: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _BROKEN:
            raise NoText("unreadable_document") from None
        self.names = [info.filename for info in self._zip.infolist()]
        self._read = 0
        if len(self.names) > MAX_PARTS:
            raise NoText("too_much_inside")

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def bytes(self, name: str) -> bytes:
        """A part, counted as it is unpacked: what its header says of its size is only a claim."""
        try:
            info = self._zip.getinfo(name)
            if info.flag_bits & _LOCKED:
                raise NoText("password_protected")
            made = bytearray()
            with self._zip.open(info) as part:
                while block := part.read(_STEP):
                    made += block
                    self._read += len(block)
                    if len(made) > MAX_PART or self._read > MAX_TOTAL:
                        raise NoText("too_much_inside")
        except KeyError:
            raise NoText("unreadable_document") from None
        except _BROKEN:
            raise NoText("unreadable_document") from None
        return bytes(made)

    def xml(self, name: str) -> Any:
        return xml(self.bytes(name))


def xml(data: bytes) -> Any:
    """The root of an XML document. Nothing is loaded from anywhere; a document with entities of its own is refused."""
    try:
        from lxml import etree
    except ImportError:
        raise NoText("reader_missing") from None
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise NoText("unreadable_document") from None
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and any(True for _ in declared.iterentities()):
        raise NoText("xml_entities")
    return root
