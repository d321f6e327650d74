"""Files behind HTTP: read by ranges through the guarded client, one client for each thread."""

from __future__ import annotations

import datetime as dt
import email.utils
import io
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import BinaryIO, Literal, cast

import httpx
from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions
from bees.core.errors import GiveUp, SourceError
from bees.core.file_listing import SMALL
from bees.core.http import Answer, Credentials, HttpClient, Limits, basic
from bees.core.storage.base import (
    Changed,
    Entry,
    Gone,
    NotReadError,
    Opened,
    Storage,
    Unreadable,
    no_parts,
    refused,
)
from bees.core.storage.ranges import Later, cut_short
from bees.core.storage.versions import Part, Versions

WIDE = 64 << 20
"""Bytes of a listing, or of a file that comes as a whole because its server gives no parts."""
_OTHER_PART = "the server sends another part of the file than it is asked for: mend it there"
_OF_ALL = (401, 407)
"""Refusals of whoever asks, most likely whatever is asked for."""


class WebAuth(BeeOptions):
    """Who asks."""

    method: Literal["none", "basic", "bearer"] = "none"
    username: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = Field(SecretStr(""), description="of bearer")


def credentials(auth: WebAuth) -> Credentials:
    if auth.method == "basic":
        return Credentials({"Authorization": basic(auth.username, auth.password.get_secret_value())})
    if auth.method == "bearer":
        return Credentials({"Authorization": f"Bearer {auth.token.get_secret_value()}"})
    return Credentials()


class WebStorage(Storage):
    """`make` gives a client; adapters ask through `ask`, for folders and for files."""

    for_all = False
    """Whether one refusal of the credentials tells that they are refused for everything."""

    def __init__(self, make: Callable[[Limits], HttpClient], concurrency: int, timeout: float) -> None:
        super().__init__(concurrency)
        self._make = make
        body = max(SMALL, self.block) + (1 << 16)
        self._limits = Limits(connect=min(timeout, 10), read=timeout, total=timeout * 4, body=body)
        self._clients: dict[int, HttpClient] = {}
        self._wide: dict[int, HttpClient] = {}
        self._versions = Versions()
        self._kept: tuple[tuple[str, str], bytes] = ("", ""), b""  # a whole file that was asked for in parts

    def client(self, *, wide: bool = False) -> HttpClient:
        """The client of the calling thread; `wide`: one that takes answers of `WIDE` bytes."""
        me, clients = threading.get_ident(), self._wide if wide else self._clients
        if me not in clients:
            most = max(WIDE, self._limits.body) if wide else self._limits.body
            clients[me] = self._make(replace(self._limits, body=most))
            clients[me].through(self.gate)
        return clients[me]

    def clock(self) -> int:
        skews = [client.skew for client in (*self._clients.values(), *self._wide.values())]
        return time.time_ns() + int(max(skews, key=abs, default=0.0) * 10**9)

    def same(self, entry: Entry) -> bool:
        """Whoever has an ETag asks for it with each read."""
        listed = isinstance(entry.ref, str) and entry.ref and self._versions.is_listed(entry, entry.ref)
        return True if listed else super().same(entry)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """Raises Gone for what is not there, Unreadable for what may not be read, and SourceError."""
        return self._asked(self.client(), method, url, headers, content)

    def ask_wide(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """As `ask`, for answers of up to `WIDE` bytes."""
        return self._asked(self.client(wide=True), method, url, headers, content)

    @staticmethod
    def _asked(
        client: HttpClient, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None = None
    ) -> Answer:
        problem: NotReadError | SourceError
        try:
            return client.request(method, url, where="path", headers=headers, content=content)
        except GiveUp as error:
            problem = _meant(error)
        raise problem

    def ask_file(self, method: str, url: str, headers: Mapping[str, str], *, wide: bool = False) -> Answer:
        """For one file: what the server refuses of it says nothing of the others. Raises as `ask` does."""
        problem: Unreadable
        try:
            return (self.ask_wide if wide else self.ask)(method, url, headers)
        except GiveUp as error:
            if error.status < 400 or error.status in _OF_ALL:
                if self.for_all:
                    raise
                self.check()  # raises unless it is this file alone: one that is redirected, or asks for another login
            problem = refused(error.status, error.code)
        raise problem

    def part(self, url: str, entry: Entry, start: int, size: int, *, wide: bool = False) -> bytes:
        """Bytes of a file, of the listed version where `entry.ref` is its ETag.

        `wide`: where the server sends all of it in place of a part, up to `WIDE` bytes of it are taken.
        """
        whole = size < 0 or (start == 0 and 0 <= entry.size <= size)
        if size == 0:
            return b""
        mark, kept = self._kept
        if start and not whole and mark == (url, entry.version):
            return kept[start : start + size]
        return self._part(url, entry, start, -1 if whole else size, wide=wide and not whole).data

    def unsized(self, url: str, entry: Entry) -> Opened:
        """A file whose size the listing does not tell: one range of it is asked for, which tells how large it is.

        If it does not, and the file is larger than that, all of it is read in its turn, up to `WIDE` bytes.
        """
        try:
            first = self._part(url, entry, 0, self.block)
        except Gone:  # a file of no bytes has no first one
            first = self._part(url, entry, 0, -1)
        except Unreadable as error:
            if error.code != no_parts().code:
                raise
            first = Part(b"")
        if first.total > len(first.data):
            return self.open(replace(entry, size=first.total))
        known = first.total >= 0
        later = Later(lambda: self._part(url, entry, 0, -1, wide=True).data)
        handle = io.BytesIO(first.data) if known else io.BufferedReader(later, 1 << 18)
        now = replace(entry, size=first.total) if known else entry
        return Opened(cast("BinaryIO", handle), now, lambda: self.same(entry))

    def _part(self, url: str, entry: Entry, start: int, size: int, *, wide: bool = False) -> Part:
        """`size` as of `Storage.read`: -1 where no part is asked for, but the file."""
        listed = entry.ref if isinstance(entry.ref, str) else ""

        def get(etag: str) -> Part:
            headers = {"Accept-Encoding": "identity"} | ({"If-Match": etag} if etag else {})
            if size >= 0:
                headers["Range"] = f"bytes={start}-{start + size - 1}"
            answer = self.ask_file("GET", url, headers, wide=wide)
            self.check_answer(url, answer)
            version = _version(answer, asked=bool(etag))
            if size >= 0 and answer.status == 206:
                part = re.match(r"bytes (\d+)-\d*(?:/(\d+))?", answer.headers.get("content-range", ""))
                if part is None or int(part[1]) != start:
                    raise Unreadable("no_ranges", _OTHER_PART)
                return Part(answer.body, version, int(part[2] or -1))
            encoded = bool(answer.headers.get("content-encoding"))
            if len(answer.body) < entry.size and not encoded and (etag or not listed):
                raise cut_short()
            if size >= 0:
                self._kept = (url, entry.version), answer.body
            data = answer.body if size < 0 else answer.body[start : start + size]
            return Part(data, version, -1 if encoded else len(answer.body))

        return self._versions.read(entry, listed, get, whole=size < 0) if listed else get("")

    def check_size(self, entry: Entry, data: bytes, *, same: bool) -> None:
        """`part` does: what came in an encoding that nobody asked for has another size than the file."""

    def check_answer(self, url: str, answer: Answer) -> None:
        """Raise Unreadable where it is not the file that was asked for, though the server says that all is well."""

    def close(self) -> None:
        super().close()
        self._kept = ("", ""), b""
        for clients in (self._clients, self._wide):
            while clients:
                clients.popitem()[1].close()


def _version(answer: Answer, *, asked: bool) -> str:
    """The ETag that came with an answer. Where the listed one was asked for, others than strong ones tell no other."""
    told: str = answer.headers.get("etag", "")
    if asked:
        return "" if told.startswith("W/") or "content-encoding" in answer.headers else told
    return told or str(answer.headers.get("last-modified", ""))


def _meant(error: GiveUp) -> NotReadError | SourceError:
    """What a refusal means for one file or folder. Wrong credentials concern them all."""
    if error.status in (404, 410, 412, 416):
        return Changed() if error.status == 412 else Gone()
    if error.status == 403:
        return Unreadable()
    if error.code == "body_too_large":
        return no_parts()
    return error


def instant(text: str) -> int | None:
    """Microseconds of an HTTP date."""
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return int(at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp()) * 1_000_000


def entry_of(path: str, size: str, etag: str, modified: str) -> Entry:
    """By its ETag, if that is a strong one; else by size and time. Without either it is read each time.

    Many servers make a strong ETag of size and second, nginx among them: while the file is young, it may change again
    and keep it.
    """
    at = instant(modified)
    length = int(size) if size.isdecimal() else -1
    if etag and not etag.startswith("W/"):
        return Entry(path, length, f"{etag} {length}", at, at * 1000 if at is not None else None, ref=etag)
    stamp = at * 1000 if at is not None else 2**63
    return Entry(path, length, f"{etag} {length} {at}", at, stamp)


def folder_url(root: httpx.URL, path: str) -> httpx.URL:
    """A folder or file below the root, each of its names quoted."""
    import os
    from urllib.parse import quote_from_bytes

    raw = root.raw_path.decode().rstrip("/") + "/" + quote_from_bytes(os.fsencode(path), safe="/")
    return root.copy_with(raw_path=raw.encode())
