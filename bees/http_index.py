"""Files that a web server lists in pages of links (nginx, Apache, python -m http.server): documents, CSV, JSON Lines.

A page's links to what stands directly in its folder are followed, and no others. Of each file the server is asked
for size, ETag and time (HEAD); one that tells neither ETag nor time is read in each flight.

Who asks at a bad moment gets a page as well: a login, an error, a notice. A page without a link to a file counts as an
empty folder only where it looks as those of web servers do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import ClassVar
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from pydantic import Field

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater
from bees.core.filebee import RemoteOptions
from bees.core.http import Answer, HttpClient, Limits, checked_url
from bees.core.storage.base import (
    IN_A_ROW,
    Entry,
    Gone,
    Listed,
    NotReadError,
    Storage,
    Unreadable,
    joined,
    rooted,
    safe_name,
    walk,
)
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.web import WebAuth, WebStorage, credentials, entry_of, folder_url

_NO_LIST = "the page that should list the folder's files is another one: a login, an error, a page of its own"
_ANOTHER = "the server answers with another page in the file's place: a login, most likely"
_ELSEWHERE = "the listing is redirected to another place: if it is meant, write where it leads into `url` and `path`"
_TOO_LARGE = "the page of links is larger than 64 MiB: part the folder there"
_INDEX = re.compile(r"\b(?:index of|directory (?:listing|of)|listing (?:of|for)|parent directory)\b", re.IGNORECASE)
_TROUBLE = re.compile(
    r"\b(?:errors?|unavailable|maintenance|forbidden|unauthori[sz]ed|denied|not found|bad gateway|timed? ?out"
    r"|sign[- ]?in|log ?in|just a moment)\b",
    re.IGNORECASE,
)


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
        self._failed = 0
        self._root = folder_url(checked_url(options.url), options.path.strip("/"))

    def check(self) -> None:
        rooted(self._links)

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        return walk(lambda path: self._list(path, after), after, recursive=recursive, names=self._links)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        return self.part(str(folder_url(self._root, entry.path)), entry, start, size, wide=True)

    def look(self, path: str) -> Entry | None:
        url = str(folder_url(self._root, path))
        try:
            answer = self._told(url)
        except Gone:
            return None
        self.check_answer(url, answer)
        length, *others = (answer.headers.get(name, "") for name in ("content-length", "etag", "last-modified"))
        size = answer.headers.get("content-range", "").rpartition("/")[2] if answer.status == 206 else length
        return entry_of(path, size, *others)

    def _told(self, url: str) -> Answer:
        """What the server says of a file. Some know nothing of HEAD, and say 404 or 405: those give a part of it."""
        plain = {"Accept-Encoding": "identity"}
        try:
            return self.ask_file("HEAD", url, plain)
        except NotReadError:
            return self.ask_file("GET", url, plain | {"Range": "bytes=0-0"})

    def _list(self, path: str, after: bytes) -> tuple[list[Entry], list[str]]:
        listed, folders = self._links(path)
        self._failed = 0  # files in a row that were asked for in vain
        wanted = [entry for entry in listed if entry.key > after]
        found = list(self.pool.map(self._looked, wanted))
        return [entry for entry in found if entry is not None], folders

    def _looked(self, entry: Entry) -> Entry | None:
        """A file that is listed; None where its link leads nowhere."""
        try:
            found = self.look(entry.path)
        except NotReadError:
            return entry  # listed, and refused when it is read
        except RetryLater as error:
            self._failed += 1
            if error.after is not None or error.code == "rate_limited" or self._failed >= IN_A_ROW:
                raise
            return entry  # it fails when it is read, and is tried again then
        self._failed = 0
        return found

    def check_answer(self, url: str, answer: Answer) -> None:
        """A redirect that leads to a page of another name."""
        asked, came = urlsplit(url).path, urlsplit(str(answer.url)).path
        moved = unquote_to_bytes(asked).rpartition(b"/")[2] != unquote_to_bytes(came).rpartition(b"/")[2]
        if moved and _is_html(answer) and not asked.lower().endswith((".html", ".htm")):
            raise Unreadable("another_page", _ANOTHER)

    def _links(self, path: str) -> tuple[list[Entry], list[str]]:
        """Files, of which no more is known than the name, and folders."""
        url = str(folder_url(self._root, path)).rstrip("/") + "/"
        try:
            answer = self.ask_wide("GET", url)
        except Unreadable as error:
            raise Unreadable("too_large", _TOO_LARGE) if error.code == "no_ranges" else error from None
        page = _Page.of(answer)
        base, own = str(answer.url), urlsplit(str(answer.url))
        if _is_elsewhere(url, base):
            raise Unreadable("redirected", _ELSEWHERE)
        files: dict[str, Entry] = {}
        folders: dict[str, None] = {}
        for link in page.links:
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
        if not page.is_list(own.path, found=bool(files or folders)):
            if path:
                raise Unreadable("no_listing", _NO_LIST)
            raise GiveUp(_NO_LIST, code="no_listing", where="path", advice="correct `url` and `path`, or give `auth`")
        return list(files.values()), list(folders)


def _is_elsewhere(asked: str, came: str) -> bool:
    """Whether a page came from another place than it was asked for: only from http to https of itself is none."""
    one, other = urlsplit(asked), urlsplit(came)
    same = (one.scheme, one.netloc) == (other.scheme, other.netloc)
    secured = one.hostname == other.hostname and (one.scheme, other.scheme) == ("http", "https")
    return not (same or secured) or unquote_to_bytes(one.path) != unquote_to_bytes(other.path)


def _absolute(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:
        return ""


def _is_html(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower() in (
        "text/html",
        "application/xhtml+xml",
    )


class _Page(HTMLParser):
    """The targets of a page's links, and what else tells whether it lists files."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self._heads = ""
        self._tags: set[str] = set()
        self._in_head = self._asks = False

    @classmethod
    def of(cls, answer: Answer) -> _Page:
        """Raises RetryLater for one that breaks off, where the server told no length."""
        page, headers = cls(), answer.headers
        if _is_html(answer) or "content-type" not in headers:
            text = answer.body.decode("utf-8", "replace")
            page.feed(text)
            told = "content-length" in headers or "transfer-encoding" in headers
            if not told and "<html" in text.lower() and "</html" not in text.lower():
                raise RetryLater("a page of links ended early", code="cut_short", where="path")
        return page

    def is_list(self, path: str, *, found: bool) -> bool:
        """`found`: it links to something in its folder, whose path on the server is `path`."""
        named = _INDEX.search(self._heads) is not None
        if self._asks or (_TROUBLE.search(self._heads) and not named):
            return False
        named = named or self._heads.rstrip().endswith(" /") or (path != "/" and path in self._heads)
        plain = self._tags <= {"pre", "a", "meta"} and "pre" in self._tags  # Go's file server gives nothing else
        above = path.rstrip("/").rpartition("/")[0] + "/"
        leads_up = any(link.startswith(("..", "?C=")) or (path != "/" and link == above) for link in self.links)
        return found or named or leads_up or plain

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "a":
            self.links += [link] if (link := told.get("href")) else []
        self._asks |= tag == "input" and (told.get("type") or "").lower() == "password"
        self._in_head = tag in ("title", "h1")
        self._tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        self._in_head = self._in_head and tag not in ("title", "h1")
        self._heads += "\n" if tag in ("title", "h1") else ""

    def handle_data(self, data: str) -> None:
        self._heads += data if self._in_head and len(self._heads) < 4096 else ""
