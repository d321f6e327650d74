"""Files of a WebDAV server, such as Nextcloud, SharePoint on premises or a NAS: documents and tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import ClassVar
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree import ElementTree as ET
from xml.parsers import expat

import httpx
from pydantic import Field

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater
from bees.core.filebee import RemoteOptions
from bees.core.http import HttpClient, Limits, checked_url
from bees.core.storage.base import Entry, Gone, Listed, Opened, Pile, Storage, joined, rooted, safe_name, walk
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.web import WebAuth, WebStorage, credentials, entry_of, folder_url

_ASKED = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getetag/><getlastmodified/></prop></propfind>"
)
_UNKNOWN = ("?", "", "")
"""In place of (size, ETag, time): it is not known whether this is a file or a folder."""


class WebdavOptions(RemoteOptions):
    url: Name = Field(description="where the server's files begin; `path` is the folder below it")
    auth: WebAuth = WebAuth()


class WebdavBee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = WebdavOptions

    def connect(self) -> Storage:
        return WebdavStorage(self.options)

    def source_identity(self) -> str:
        return f"webdav:{self.options.url.rstrip('/')}/{self.options.path.strip('/')}"


class WebdavStorage(WebStorage):
    def __init__(self, options: WebdavOptions) -> None:
        def make(limits: Limits) -> HttpClient:
            return HttpClient(
                options.url, credentials=credentials(options.auth), allow_private=options.allow_private, limits=limits
            )

        super().__init__(make, options.concurrency, options.timeout)
        self._root = folder_url(checked_url(options.url), options.path.strip("/"))

    def check(self) -> None:
        rooted(self._list)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(self._list, after, recursive=recursive)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self.part(str(self._at(entry.path)), entry, start, size, wide=True)

    def fetch(self, entry: Entry) -> Opened:
        """Some servers tell no size: such a file may be of any."""
        return super().fetch(entry) if entry.size >= 0 else self.unsized(str(self._at(entry.path)), entry)

    def look(self, path: str) -> Entry | None:
        try:
            found = self._properties(path, "0", "")
        except Gone:
            return None
        files = [entry_of(path, *facts) for _, facts in found if facts is not None]
        return files[0] if files else None

    def _at(self, path: str) -> httpx.URL:
        return folder_url(self._root, path)

    def _list(self, path: str) -> tuple[Pile, list[str]]:
        files, folders = Pile(), []
        for name, facts in self._properties(path, "1", "/"):
            if not safe_name(name):
                continue
            if facts is None:
                folders.append(joined(path, name))
            else:
                files.append(entry_of(joined(path, name), *facts))
        return files, folders

    def _properties(self, path: str, depth: str, end: str) -> list[tuple[str, tuple[str, str, str] | None]]:
        """Name and (size, ETag, time) of what stands in a folder, None for folders; a name is empty for itself."""
        url = str(self._at(path)).rstrip("/") + end
        headers = {"Depth": depth, "Content-Type": "application/xml"}
        answer = self.ask_wide("PROPFIND", url, headers, _ASKED)
        if answer.status != 207:
            message = "the server does not answer as WebDAV"
            raise GiveUp(message, code="no_webdav", where="url", advice="correct `url`")
        own = unquote_to_bytes(urlsplit(url).path).rstrip(b"/")
        found: list[tuple[str, tuple[str, str, str] | None]] = []
        known = foreign = False

        def take(response: ET.Element) -> None:
            nonlocal known, foreign
            href = unquote_to_bytes(urlsplit((response.findtext("{DAV:}href") or "").strip()).path).rstrip(b"/")
            inner = b"" if href == own else href[len(own) + 1 :]
            if href != own and (not href.startswith(own + b"/") or b"/" in inner):
                foreign = foreign or (not (own + b"/").startswith(href + b"/") and not href.startswith(own + b"/"))
                return
            status, known = _status(response), True
            if status >= 500:
                message = f"the listing of the folder has a hole (status {status})"
                raise RetryLater(message, code="bad_listing", where="path")
            facts = _facts(response) if status < 400 else _UNKNOWN
            if facts == _UNKNOWN and status != 404:
                # A folder or a file: each is asked for, and says what is the matter.
                found.extend([(os.fsdecode(inner), None), (os.fsdecode(inner), ("", "", ""))])
            elif status != 404:
                found.append((os.fsdecode(inner), facts))

        _read(answer.body, take)
        if depth == "1" and (foreign or not known):
            message = "the server names its files under other paths than it is asked for"
            raise GiveUp(message, code="no_webdav", where="url", advice="give `url` as the server calls it itself")
        return found


def _status(response: ET.Element) -> int:
    """What the server says of a whole response, or of some properties; 0: nothing."""
    parts = (response.findtext("{DAV:}status") or "").split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0


def _facts(response: ET.Element) -> tuple[str, str, str] | None:
    """None: a folder. `_UNKNOWN`: the server does not say, because who asks may not know, or because it fails."""
    stats = [
        (_status(stat), prop) for stat in response.iterfind("{DAV:}propstat") for prop in stat.iterfind("{DAV:}prop")
    ]
    told = [prop for status, prop in stats if status < 300]
    if any(prop.find("{DAV:}resourcetype/{DAV:}collection") is not None for prop in told):
        return None
    if any(status >= 400 and status != 404 and prop.find("{DAV:}resourcetype") is not None for status, prop in stats):
        return _UNKNOWN
    texts = [
        next((text for prop in told if (text := prop.findtext(f"{{DAV:}}{name}"))), "")
        for name in ("getcontentlength", "getetag", "getlastmodified")
    ]
    return texts[0].strip(), texts[1].strip(), texts[2].strip()


def _read(body: bytes, take: Callable[[ET.Element], None]) -> None:
    """Give each `response` of a listing and forget it; the listing may declare no entities. Raises GiveUp."""
    made = ET.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def refuse(*_: object) -> None:
        raise ValueError

    def end(name: str) -> None:
        element = made.end(_qualified(name))
        if element.tag == "{DAV:}response":
            take(element)
            element.clear()

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = lambda name, _: made.start(_qualified(name), {})
    parser.EndElementHandler = end
    parser.CharacterDataHandler = made.data
    try:
        parser.Parse(body, True)
        made.close()
    except (expat.ExpatError, ValueError, AssertionError):
        message = "the server's listing is no XML, or declares entities"
    else:
        return
    raise GiveUp(message, code="no_webdav", where="url", advice="correct `url`")


def _qualified(name: str) -> str:
    return "{" + name if "}" in name else name
