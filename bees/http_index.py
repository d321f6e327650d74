"""Files that a web server lists in pages of links (nginx, Apache, python -m http.server): documents, CSV, JSON Lines.

A page's links to what stands directly in its folder are followed, and no others. Of each file the server is asked
for size, ETag and time (HEAD); one that tells neither ETag nor time is read in each flight.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import ClassVar
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from pydantic import Field

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.filebee import RemoteOptions
from bees.core.http import HttpClient, Limits, checked_url
from bees.core.storage.base import Entry, Gone, Listed, NotReadError, Storage, joined, rooted, safe_name, walk
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.web import WebAuth, WebStorage, credentials, entry_of, folder_url


class HttpIndexOptions(RemoteOptions):
    url: Name = Field(description="of the first page of links; `path` is the folder below it")
    auth: WebAuth = WebAuth()


class HttpIndexBee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = HttpIndexOptions

    def connect(self) -> Storage:
        return HttpIndexStorage(self.options)

    def source_identity(self) -> str:
        return f"http_index:{self.options.url.rstrip('/')}/{self.options.path.strip('/')}"


class HttpIndexStorage(WebStorage):
    def __init__(self, options: HttpIndexOptions) -> None:
        def make(limits: Limits) -> HttpClient:
            return HttpClient(
                options.url, credentials=credentials(options.auth), allow_private=options.allow_private, limits=limits
            )

        super().__init__(make, options.concurrency, options.timeout)
        self._root = folder_url(checked_url(options.url), options.path.strip("/"))

    def check(self) -> None:
        rooted(self._links)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(lambda path: self._list(path, after), after, recursive=recursive)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self.part(str(folder_url(self._root, entry.path)), entry, start, size)

    def look(self, path: str) -> Entry | None:
        try:
            headers = self.ask("HEAD", str(folder_url(self._root, path)), {"Accept-Encoding": "identity"}).headers
        except Gone:
            return None
        told = (headers.get(name, "") for name in ("content-length", "etag", "last-modified"))
        return entry_of(path, *told)

    def _list(self, path: str, after: bytes) -> tuple[list[Entry], list[str]]:
        listed, folders = self._links(path)
        wanted = [entry for entry in listed if entry.key > after]
        found = list(self.pool.map(self._looked, wanted))
        return [entry for entry in found if entry is not None], folders

    def _looked(self, entry: Entry) -> Entry | None:
        try:
            return self.look(entry.path)
        except NotReadError:
            return entry  # listed, and refused when it is read

    def _links(self, path: str) -> tuple[list[Entry], list[str]]:
        """Files, of which no more is known than the name, and folders."""
        url = str(folder_url(self._root, path)).rstrip("/") + "/"
        answer = self.ask("GET", url)
        base, own = str(answer.url), urlsplit(str(answer.url))
        files: dict[str, Entry] = {}
        folders: dict[str, None] = {}
        for link in _Links.of(answer.body):
            there = urlsplit(_absolute(base, link))
            if (there.scheme, there.netloc, there.query, there.fragment) != (own.scheme, own.netloc, "", ""):
                continue
            inner, start = unquote_to_bytes(there.path), unquote_to_bytes(own.path)
            name = os.fsdecode(inner[len(start) :].removesuffix(b"/"))
            if not inner.startswith(start) or not safe_name(name):
                continue
            if inner.endswith(b"/"):
                folders[joined(path, name)] = None
            else:
                files[name] = Entry(joined(path, name), -1, "", None, 2**63)
        return list(files.values()), list(folders)


def _absolute(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:
        return ""


class _Links(HTMLParser):
    """The targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @classmethod
    def of(cls, page: bytes) -> list[str]:
        parser = cls()
        parser.feed(page.decode("utf-8", "replace"))
        return parser.found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
