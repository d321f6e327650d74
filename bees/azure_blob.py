"""Blobs of an Azure Storage container: documents and tables.

A version is an ETag: a second flight over an unchanged container lists it and reads no content. Reads ask for the
listed ETag, or for the one that all answers tell in its place, so a file is never put together of two versions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from bees.core.bee import BeeOptions, BeeType, Name
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.filebee import RemoteOptions
from bees.core.storage import dial
from bees.core.storage.base import Changed, Entry, Gone, Listed, NotReadError, Storage, Unreadable, no_parts, refused
from bees.core.storage.gated import GatedFileBee
from bees.core.storage.rounds import Rounds
from bees.core.storage.versions import Part, Versions

T = TypeVar("T")
_ARCHIVED = "the blob is archived: rehydrate it, or leave it out by `patterns`"
_BAD_NAME = "the name holds `.` or `..` between slashes, which no request can carry: rename it there"
_PAGE = 5000
_LATE = re.compile("[\ue000-\uffff\U00010000-\U0010ffff]")
"""Characters whose order in UTF-16 is another one than in UTF-8, the order of everything here."""


class AzureAuth(BeeOptions):
    """Who asks."""

    method: Literal["account_key", "sas", "anonymous"] = "account_key"
    account_key: SecretStr = SecretStr("")
    sas: SecretStr = Field(SecretStr(""), description="a shared access signature with the rights to read and list")


class AzureBlobOptions(RemoteOptions):
    account: Name = Field(description="the storage account's name")
    container: Name = Field(description="the container; `path` is the folder in it")
    auth: AzureAuth = AzureAuth()
    endpoint: str = Field(
        "", pattern=r"^$|^https?://", description="unset: https://ACCOUNT.blob.core.windows.net; of other clouds, whole"
    )


class AzureBlobBee(GatedFileBee):
    bee_type: ClassVar[BeeType] = "file"
    Options: ClassVar[type[BeeOptions]] = AzureBlobOptions
    extra = "azure"

    def connect(self) -> Storage:
        return AzureBlobStorage(self.options)

    def source_identity(self) -> str:
        given = self.options
        return f"azure_blob:{given.endpoint}/{given.account}/{given.container}/{given.path.strip('/')}"


class AzureBlobStorage(Storage):
    def __init__(self, options: AzureBlobOptions) -> None:
        super().__init__(options.concurrency)
        inside = options.path.strip("/")
        self._prefix = f"{inside}/" if inside else ""
        self._client, self._session = _client(options, self)
        self._versions = Versions()

    def check(self) -> None:
        self.is_there()

    def is_there(self) -> bool:
        found = self._listing({"name_starts_with": self._prefix or None, "results_per_page": 1}, recursive=True)
        return self._ask(lambda: next(found, None)) is not None

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        asked: dict[str, Any] = {"name_starts_with": self._prefix or None, "results_per_page": _PAGE}
        if after:
            asked["start_from"] = self._prefix + _LATE.split(os.fsdecode(after), maxsplit=1)[0]
        for entry in _in_order(self._entries(asked, recursive=recursive)):
            if entry.key > after:
                yield entry

    def _entries(self, asked: dict[str, Any], *, recursive: bool) -> Iterator[Entry]:
        found = self._listing(asked, recursive=recursive)
        while (blob := self._ask(lambda: next(found, None))) is not None:
            path = blob.name[len(self._prefix) :]
            if not path or path.endswith("/") or (blob.get("metadata") or {}).get("hdi_isfolder"):
                continue
            yield Entry(path, blob.size, f"{blob.etag} {blob.size}", _time(blob), ref=blob.etag)

    def _listing(self, asked: dict[str, Any], *, recursive: bool) -> Iterator[Any]:
        pages = (self._client.list_blobs if recursive else self._client.walk_blobs)(**asked).by_page()
        rounds = Rounds("container")
        for page in pages:
            yield from page
            rounds.on(pages.continuation_token)

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        from azure.core import MatchConditions

        if not size:
            return b""
        if not {".", ".."}.isdisjoint(entry.path.split("/")):  # on its way it would become another blob's name
            raise Unreadable("bad_name", _BAD_NAME)
        blob = self._client.get_blob_client(self._prefix + entry.path)

        def get(etag: str) -> Part:
            asked = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
            return self._ask(lambda: _part(blob.download_blob(start, size, max_concurrency=1, **asked)), of_file=True)

        whole = not start and size >= entry.size
        found = self._versions.read(entry, entry.ref, get, whole=whole).data
        if len(found) > size:
            raise no_parts()
        return found

    def look(self, path: str) -> Entry | None:
        try:
            blob = self._ask(self._client.get_blob_client(self._prefix + path).get_blob_properties, of_file=True)
        except Gone:
            return None
        return Entry(path, blob.size, f"{blob.etag} {blob.size}", _time(blob), ref=blob.etag)

    def _ask(self, request: Callable[[], T], *, of_file: bool = False) -> T:
        from azure.core.exceptions import AzureError, HttpResponseError

        problem: Exception
        try:
            return request()
        except HttpResponseError as error:
            if error.response is None:  # the body of an answer broke off, as often as the library asked for it
                problem = dial.cause(error) or dial.lost("account")
            elif error.status_code in {429, 503}:
                problem = dial.busy("container", getattr(error.response, "headers", None))
            else:
                code = getattr(error, "error_code", None)
                problem = _verdict(error.status_code or 0, str(getattr(code, "value", code)), of_file=of_file)
        except ValueError:  # an answer that does not say which part of the blob it is
            problem = no_parts() if of_file else _unread()
        except (AttributeError, TypeError):  # what the library makes of a page that is no listing
            problem = _unread()
        except (AzureError, OSError) as error:
            problem = dial.cause(error) or _lost(error)
        raise problem

    def close(self) -> None:
        super().close()
        self._client.close()
        self._session.close()


def _part(answer: Any) -> Part:
    total = str(answer.properties.content_range).rpartition("/")[2]
    return Part(bytes(answer.readall()), str(answer.properties.etag or ""), int(total) if total.isdecimal() else -1)


def _in_order(entries: Iterator[Entry]) -> Iterator[Entry]:
    """By their bytes, whether the service goes by UTF-8 or by UTF-16: there, characters above U+FFFF come early.

    What has the same beginning as such a name, up to that character, is held until all of it is there.
    """
    held: list[Entry] = []
    beginning = ""
    for entry in entries:
        if held and not entry.path.startswith(beginning):
            yield from sorted(held, key=lambda one: one.key)
            held = []
        early = re.search("[\U00010000-\U0010ffff]", entry.path)
        if held:
            held.append(entry)
        elif early:
            held, beginning = [entry], entry.path[: early.start()]
        else:
            yield entry
    yield from sorted(held, key=lambda one: one.key)


def _time(blob: Any) -> int | None:
    return int(blob.last_modified.timestamp() * 1_000_000) if blob.last_modified else None


def _verdict(status: int, code: str, *, of_file: bool) -> SourceError | NotReadError:
    if status < 300:
        return _unread()
    if status >= 500 or status == 408:
        return RetryLater("the server failed", code="server_error", where="container")
    if status == 401 or code in {"AuthenticationFailed", "InvalidAuthenticationInfo"}:
        return dial.denied()
    if code == "BlobArchived":
        return Unreadable("archived", _ARCHIVED)
    if of_file and status in (404, 412, 416):
        return Changed() if status == 412 else Gone()
    if of_file:  # such as one that is encrypted with a key of its owner
        return Unreadable() if status == 403 else refused(status)
    if status == 404:
        return GiveUp("the container is not there", code="no_folder", where="container", advice="correct `container`")
    return dial.redirected() if status < 400 else dial.denied()


def _unread() -> RetryLater:
    advice = "look at `endpoint`; it may be that a proxy or the network answers in its place"
    return RetryLater("the server's answer cannot be read", code="bad_answer", where="endpoint", advice=advice)


def _lost(error: Exception) -> SourceError:
    text, inner = type(error).__name__, type(getattr(error, "inner_exception", None)).__name__
    if "SSLError" in (text, inner):
        advice = "install a certificate that this machine trusts, or correct `endpoint`"
        return GiveUp(
            "the server's certificate is not trusted", code="bad_certificate", where="endpoint", advice=advice
        )
    if "Timeout" in text + inner:
        return RetryLater("the server does not answer in time", code="timeout", where="endpoint")
    return dial.lost("account") if text == "ServiceResponseError" else dial.unreachable("account")


def _client(options: AzureBlobOptions, storage: Storage) -> tuple[Any, Any]:
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import ContainerClient

    auth = options.auth
    secret: Any = {"account_key": auth.account_key, "sas": auth.sas}.get(auth.method)
    if secret is not None and not secret.get_secret_value():
        advice = f"give `{auth.method}`, or `method: anonymous`"
        raise GiveUp("the credentials are missing", code="no_credentials", where="auth", advice=advice)
    given = secret.get_secret_value() if secret is not None else None
    if auth.method == "account_key":
        given = {"account_name": options.account, "account_key": given}
    url = options.endpoint or f"https://{options.account}.blob.core.windows.net"
    to = urlsplit(url)
    port = to.port or (80 if to.scheme == "http" else 443)
    policy = dial.policy_for(to.scheme, to.hostname or "", port, allow_private=options.allow_private)
    session = dial.session(policy, "endpoint", options.concurrency + 2, storage)
    transport = RequestsTransport(  # of a transport that is given, the client sets no times: they would be 300 s
        session=session, session_owner=False, use_env_settings=False,
        connection_timeout=min(options.timeout, 10), read_timeout=options.timeout,
    )  # fmt: skip
    try:
        client = ContainerClient(
            url, options.container, credential=given, transport=transport, retry_total=2, retry_connect=1,
            initial_backoff=1, increment_base=2, permit_redirects=False,
        )  # fmt: skip
    except ValueError:
        advice = "correct `account`, `endpoint` and `auth`"
    else:
        return client, session
    raise GiveUp("the account cannot be named so", code="bad_request", where="account", advice=advice)
